# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# plan: which runs, in which order, and which of them again.

known_libs=() library_marks='' run_json=() pad=() pressure=null
runs_done=0 runs_planned=0 repeats=0 began=0 run_seconds=0
block_said=0 pause=0.05

# shuffled N: 0..N-1 in random order, into `order`.
shuffled() {
  local i j t
  order=()
  for ((i = 0; i < $1; i++)); do order+=("$i"); done
  for ((i = $1 - 1; i > 0; i--)); do
    j=$((RANDOM % (i + 1)))
    t=${order[i]} order[i]=${order[j]} order[j]=$t
  done
}

run_plan() {
  local lib
  for lib in "${arm_lib[@]}"; do
    [[ -z $lib || " ${known_libs[*]} " == *" $lib "* ]] || known_libs+=("$lib")
  done
  library_marks=$(library_marks 2>&1)
  runs_planned=$((pairs * ${#arm_key[@]} * $(wc -w <<<"${threads//,/ }")))
  [ "$mode" = server ] || warm_rounds
  [ "$interrupted" = no ] || return 0
  # the look at the host costs a tenth of a run, or a quarter of a second
  pause=0.25
  [ "$mode" = server ] || pause=$(awk -v s="$run_seconds" \
    'BEGIN { s /= 10; print (s < 0.05 ? 0.05 : s > 0.25 ? 0.25 : s) }')
  say_plan
  began=$EPOCHREALTIME
  all_blocks
  end_progress
}

# A command is warmed by runs of every arm that are thrown away.
warm_rounds() {
  local round arm
  began=$EPOCHREALTIME
  for ((round = 0; round < warmup; round++)); do
    for arm in "${!arm_key[@]}"; do
      run_once "${threads%%,*}" "$arm" || return 0
      is_unseen "$arm" || prove "$arm"
    done
  done
  [ "$warmup" -eq 0 ] || run_seconds=$(awk -v b="$began" \
    -v e="$EPOCHREALTIME" -v n="$((warmup * ${#arm_key[@]}))" \
    'BEGIN { print (e - b) / n }')
}

# run_once THREADS INDEX...: one run of these arms, side by side if they are
# several; sets run_json[INDEX].  Fails only when interrupted.
run_once() {
  local arm
  quiet_host
  run_arms "$@" || return 1
  for arm in "${@:2}"; do
    run_json[arm]=$(entry_of "$1" "$arm") || fail "$EX_UNAVAILABLE" \
      "could not read what was measured (arm ${arm_key[arm]})"
    tell_end "$arm"
  done
}

# tell_end INDEX: a server that crashes on its way down has been measured, and
# is news all the same; once for each arm and way.
declare -A told=()
tell_end() {
  local name
  [[ ${run_json[$1]} =~ \"news\":\"([^\"]*)\" ]] || return 0
  name="arm $(arm_name "${arm_key[$1]}") (${arm_label[$1]})"
  [ -z "${told[$name ${BASH_REMATCH[1]}]:-}" ] || return 0
  told[$name ${BASH_REMATCH[1]}]=yes
  end_progress
  warn "how a run of $name ended: ${BASH_REMATCH[1]}"
}

say_plan() {
  local i words='' time=''
  for i in "${!arm_key[@]}"; do
    words+="${words:+, }$(arm_name "${arm_key[i]}") ${arm_label[i]}"
  done
  [[ $load != *'{measure}'* ]] ||
    run_seconds=$(awk -v w="$warmup" -v m="$window_seconds" -v n="$windows" \
      'BEGIN { print w + m * n + 1.5 }')
  [ "$run_seconds" = 0 ] ||
    time=", about $(duration "$run_seconds" "$runs_planned")"
  say "plan    $words; $pairs blocks, seed $seed$time"
  ! side_by_side || say "        servers side by side, the load visits each in \
$windows windows a block"
}

arm_name() {
  [ "$1" = A2 ] && echo "A'" || echo "$1"
}

# duration SECONDS TIMES: for people.
duration() {
  awk -v t="$1" -v n="$2" 'BEGIN {
    s = int(t * n + 0.5)
    if (s < 100) printf "%d s", s; else printf "%d min", (s + 59) / 60 }'
}

# run_arms THREADS INDEX...
run_arms() {
  if [ "$mode" = server ]; then run_servers "$@"; else run_command "$@"; fi
}

# The order within a block hangs on the seed alone, not on how many runs were
# repeated before it.
all_blocks() {
  local block count arm order place i=0 block_seeds=()
  RANDOM=$seed
  for ((i = 0; i < runs_planned; i++)); do
    block_seeds+=($((RANDOM << 15 | RANDOM)))
  done
  i=0
  for ((block = 1; block <= pairs; block++)); do
    for count in ${threads//,/ }; do
      RANDOM=${block_seeds[i]}
      i=$((i + 1))
      shuffled ${#arm_key[@]}
      if side_by_side; then
        run_until_quiet "$count" "$block" 1 "${order[@]}" || return 0
      else
        place=0
        for arm in "${order[@]}"; do
          place=$((place + 1))
          run_until_quiet "$count" "$block" "$place" "$arm" || return 0
        done
      fi
      [ "$block" -gt 1 ] || refuse_zero
    done
  done
}

# refuse_zero: ends skab where all arms have nothing to make a ratio of.
refuse_zero() {
  local entry
  for entry in "${run_json[@]}"; do
    [[ $entry =~ \"primary\":(-[^,}]*|0)[,}] ]] || return 0
  done
  fail "$EX_UNAVAILABLE" "--primary: '$primary_name' is 0 or less in every arm; \
arms are compared by their ratio: name a metric above 0"
}

# is_unseen INDEX: was its last run over before the library could be seen?
is_unseen() {
  [[ ${run_json[$1]} == *'"unseen":true'* ]]
}

# run_until_quiet THREADS BLOCK PLACE INDEX...: a run on a noisy host, or one
# that was over before anybody looked, is marked and repeated, in its own block,
# with those beside it; it is never dropped for its value.
run_until_quiet() {
  local count=$1 block=$2 place=$3 attempt=0 kept seen arm i
  shift 3
  while :; do
    attempt=$((attempt + 1))
    check_libraries
    progress "$block" "$@"
    run_once "$count" "$@" || return 1
    kept=true seen=yes
    for arm in "$@"; do
      if [ "$attempt" -lt 5 ] && is_unseen "$arm"; then
        seen=no
      else
        prove "$arm"
      fi
      [[ ${run_json[arm]} != *'"noisy":true'* ]] || kept=false
    done
    if [ "$attempt" -gt 2 ] || [ $((repeats + $#)) -gt "$max_repeats" ]; then
      kept=true
    fi
    [ $seen = yes ] || kept=false
    i=$place
    for arm in "$@"; do
      keep "$block" "$i" "$attempt" "$kept" "${run_json[arm]}"
      i=$((i + 1))
    done
    [ "$kept" = false ] || break
    [ $seen = no ] || repeats=$((repeats + $#))
  done
  runs_done=$((runs_done + $#))
}

# keep BLOCK PLACE ATTEMPT KEPT ENTRY
keep() {
  printf '{"block":%d,"place":%d,"attempt":%d,"kept":%s,%s\n' \
    "$1" "$2" "$3" "$4" "${5#\{}" >>"$work/runs.jsonl" ||
    fail "$EX_IO" "cannot keep the runs in $work"
}

# progress BLOCK INDEX...
progress() {
  local left=''
  [ "$quiet" = no ] || return 0
  if [ "$runs_done" -gt 0 ]; then
    left=$(awk -v b="$began" -v e="$EPOCHREALTIME" -v d="$runs_done" \
      -v n="$runs_planned" 'BEGIN { print (e - b) / d * (n - d) }')
    left=", $(duration "$left" 1) left"
  fi
  if [ -t 2 ]; then
    printf '\r\033[Kblock   %d of %d%s%s' "$1" "$pairs" \
      "$([ $# -gt 2 ] || echo ", arm $(arm_name "${arm_key[$2]}")")" \
      "$left" >&2
  elif [ "$1" != "$block_said" ]; then
    block_said=$1
    printf 'block   %d of %d%s\n' "$1" "$pairs" "$left" >&2
  fi
}

end_progress() {
  [ "$quiet" = no ] && [ -t 2 ] && printf '\r\033[K' >&2
  return 0
}
