# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# explain: after the comparison, two more runs of A and of B that look inside.
# What they cost would spoil a timed run, so nothing of them enters one.
#
#   clock   skab-clock.so in front of the arm's malloc: how long a call takes
#   futex   strace: which locks threads waited for in the kernel

explain_clock='' explain_prefix=()

find_clock() {
  local file=${minder%/*}/skab-clock.so
  [ -r "$file" ] && readlink -f "$file"
}

explain_arms() {
  local i clock=''
  clock=$(find_clock) || warn "no skab-clock.so; the clock is left out"
  type -P strace >/dev/null ||
    warn "no strace; the futex calls are left out (apt-get install strace)"
  for i in "${!arm_key[@]}"; do
    [[ ${arm_key[i]} == [AB] ]] || continue
    explain_one "$i" "$clock" || finish_interrupted
  done
  jq -s 'add' "$work"/explain.*.json >"$work/explain.json"
}

# explain_one INDEX CLOCK: fails only when interrupted.
explain_one() {
  local key=${arm_key[$1]} times=null futexes=null
  if [ -n "$2" ]; then
    say "explain a sampled clock around malloc and free, arm $key"
    explain_clock=$2
    head -c 5152 /dev/zero >"$work/clock"
    chmod 666 "$work/clock"
    run_arms "${threads##*,}" "$1" || return 1
    explain_clock=
    times=$(clock_times)
  fi
  if type -P strace >/dev/null; then
    say "explain the futex calls, arm $key"
    futex_run "$1" || return 1
    futexes=$(futex_classes "${arm_lib[$1]}")
  fi
  jq -cn --arg key "$key" --argjson clock "$times" --argjson futex \
    "$futexes" '{($key): {clock: $clock, futex: $futex}}' \
    >"$work/explain.$key.json"
}

# The counters of skab-clock.so (clock.c says what lies where) as JSON.
clock_times() {
  od -An -v -t u8 -w8 "$work/clock" | awk '
    { count[NR - 1] = $1 }
    END { printf "{\"malloc\":%s,\"free\":%s}\n", half(0), half(322) }

    function half(base, n) {
      n = count[base]
      if (n < 100) return "null"
      return sprintf("{\"sampled\":%d,\"blocked_percent\":%.3f," \
        "\"p50_ns\":%d,\"p99_ns\":%d,\"p999_ns\":%d}", n,
        100 * count[base + 1] / n, quantile(base + 2, n * 0.5),
        quantile(base + 2, n * 0.99), quantile(base + 2, n * 0.999))
    }
    # the middle of the bucket that holds the call of this rank
    function quantile(from, rank, i, seen) {
      for (i = 0; i < 320; i++) {
        seen += count[from + i]
        if (seen >= rank) break
      }
      if (i < 8) return i
      return (8 + i % 8 + 0.5) * 2 ^ (int(i / 8) - 1)
    }'
}

# futex_run INDEX: leaves futex.txt, and maps with all mappings seen.
futex_run() {
  local watcher status=0
  explain_prefix=(strace -f -q -e "trace=futex" -e "signal=none"
    -o "$work/futex.txt")
  : >"$work/maps"
  : >"$work/server.$1.out"
  collect_maps &
  watcher=$!
  run_arms "${threads##*,}" "$1" || status=1
  kill "$watcher" 2>/dev/null
  wait "$watcher" 2>/dev/null
  explain_prefix=()
  return "$status"
}

# Ten times a second the mappings of all threads that strace has named.
collect_maps() {
  local pid
  trap - INT TERM HUP EXIT
  exec {janitor}>&-
  while sleep 0.1 && kill -0 $$ 2>/dev/null; do
    [ -s "$work/futex.txt" ] || continue
    while read -r pid; do
      cat "/proc/$pid/maps" 2>/dev/null
    done < <(awk '!seen[$1]++ { print $1 }' "$work/futex.txt") |
      sort -u - "$work/maps" >"$work/maps.new"
    mv "$work/maps.new" "$work/maps"
  done
}

# futex_classes LIB: calls by what the word they wait on belongs to.
#   ours    the shim's own data: the locks of its heaps and of its region
#   libc    libc's data (main arena, stdio), or the head of a 64 MiB arena
#   other   the program's mutexes and conditions, wherever they lie
futex_classes() {
  awk -v lib="$1" '
    function hex(s, i, n) {
      sub(/^0x/, "", s)
      for (i = 1; i <= length(s); i++)
        n = n * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1
      return n
    }
    function class_of(name) {
      return name ~ /\/libc\.so\.6$/ ? "libc" : name == lib ? "ours" : ""
    }
    FILENAME ~ /maps$/ {
      split($1, at, "-")
      # bss is the nameless mapping right behind the data
      name = $6 != "" ? $6 : behind[at[1]]
      if ($6 != "") behind[at[2]] = $6
      if (name != "" && class_of(name) != "") {
        n++
        from[n] = hex(at[1]); to[n] = hex(at[2]); class[n] = class_of(name)
      }
      next
    }
    match($0, /futex\(0x[0-9a-f]+/) {
      address = substr($0, RSTART + 6, RLENGTH - 6)
      if (!(address in known)) known[address] = classify(hex(address))
      calls[known[address]]++
      if ($0 ~ /FUTEX_(WAIT|LOCK)/) waits[known[address]]++
    }
    function classify(a, i) {
      for (i = 1; i <= n; i++)
        if (a >= from[i] && a < to[i]) return class[i]
      return a % 67108864 < 4096 ? "libc" : "other"
    }
    function shown(c) {
      return sprintf("{\"calls\":%d,\"waits\":%d}", calls[c], waits[c])
    }
    END {
      printf "{\"ours\":%s,\"libc\":%s,\"other\":%s}\n",
        shown("ours"), shown("libc"), shown("other")
    }' "$work/maps" "$work/futex.txt"
}
