# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# run: one run of one arm, from a fresh start to the last process gone.
# Every program runs below a skab-minder of its own, told what to do through
# a FIFO; when skab dies the FIFO has no writer and the minder ends the tree.

declare -A minder_pid=() minder_fd=()

# start_minder NAME LOG ARG...
start_minder() {
  local name=$1 log=$2 fd
  shift 2
  rm -f "$work/$name.ctl"
  mkfifo "$work/$name.ctl" || fail "$EX_IO" "cannot make a FIFO in $work"
  exec {fd}<>"$work/$name.ctl"
  : >"$work/$name.out"
  "$minder" -o "$work/$name.out" -c "$work/$name.ctl" "$@" \
    >"$log" 2>&1 </dev/null &
  minder_pid[$name]=$!
  minder_fd[$name]=$fd
}

# tell NAME WORDS: the FIFO is open for reading here too, so this never blocks.
tell() {
  [ -z "${minder_fd[$1]:-}" ] || printf '%s\n' "$2" >&"${minder_fd[$1]}"
}

is_running() {
  [ -n "${minder_pid[$1]:-}" ] && kill -0 "${minder_pid[$1]}" 2>/dev/null
}

# await NAME: until its minder has ended.  A trapped signal ends `wait` early.
await() {
  local fd=${minder_fd[$1]:-}
  while is_running "$1"; do
    wait "${minder_pid[$1]}" 2>/dev/null
  done
  [ -z "$fd" ] || exec {fd}>&-
  unset "minder_pid[$1]" "minder_fd[$1]"
}

# end_minders SIGNAL: everything that was started, whatever it is doing.
end_minders() {
  local name
  for name in "${!minder_pid[@]}"; do tell "$name" "stop $1 2"; done
  for name in "${!minder_pid[@]}"; do await "$name"; done
}

# fill TEXT SECONDS THREADS: the places for numbers in a command.
fill() {
  local text=${1//'{measure}'/$2} threads=$3
  [ "$threads" != 0 ] || threads=$default_threads
  printf '%s\n' "${text//'{threads}'/$threads}"
}

# arm_arguments INDEX: into `arguments`, what the minder gives this arm.  The
# padding moves the stack by a random amount, or LD_PRELOAD's own length
# would be a difference between the arms.
arm_arguments() {
  local lib pad preload=${LD_PRELOAD:-}
  printf -v pad '%*s' "$((RANDOM % 4096))" ''
  arguments=(-e "SKAB_PAD=${pad// /x}")
  for lib in "${known_libs[@]}"; do arguments+=(-m "$lib"); done
  for lib in "${child_env[@]}"; do arguments+=(-e "$lib"); done
  [ -z "${arm_lib[$1]}" ] || preload=${arm_lib[$1]}${preload:+:$preload}
  if [ -n "$explain_clock" ]; then
    preload=$explain_clock${preload:+:$preload}
    arguments+=(-e "SKAB_CLOCK=$work/clock")
  fi
  [ -z "$preload" ] || arguments+=(-e "LD_PRELOAD=$preload")
  [ -n "${arm_lib[$1]}" ] || return 0
  arguments+=(-e "SKPRELOAD_STATS=$work/stats/%p.json")
  [ -z "${arm_conf[$1]}" ] ||
    arguments+=(-e "SKPRELOAD_CONF=${arm_conf[$1]}")
}

# answers: does something take requests where the server will?
answers() {
  if [[ $ready == tcp:* ]]; then
    (exec 3<>"/dev/tcp/127.0.0.1/${ready#tcp:}") 2>/dev/null
  else
    bash -c "$ready" >/dev/null 2>&1 </dev/null
  fi
}

wait_ready() {
  local give_up=$((SECONDS + ${ready_timeout%.*} + 1))
  until answers; do
    [ "$interrupted" = no ] || return 1
    # the minder stays as long as a daemon does that the command left behind
    if ! is_running server; then
      quote_tail "$work/server.log"
      fail "$EX_UNAVAILABLE" "the server ended before it was ready \
(arm ${arm_key[$1]})"
    fi
    if [ "$SECONDS" -ge "$give_up" ]; then
      quote_tail "$work/server.log"
      fail "$EX_UNAVAILABLE" "the server was not ready after \
${ready_timeout} s ($ready); see --ready-timeout"
    fi
    sleep 0.05
  done
}

# end_of NAME: how its command ended: a status, "signal N" or "timeout".
end_of() {
  local line
  line=$(grep '"event":"end"' "$work/$1.out")
  if [[ $line == *'"timed_out":true'* ]]; then
    echo timeout
  elif [[ $line =~ \"status\":([0-9]+) ]]; then
    echo "${BASH_REMATCH[1]}"
  elif [[ $line =~ \"signal\":([0-9]+) ]]; then
    echo "signal ${BASH_REMATCH[1]}"
  else
    echo "unknown"
  fi
}

# run_load SECONDS THREADS warm|measured
run_load() {
  local limit=$load_timeout words status
  # wrk, pgbench and sysbench take whole seconds only
  words=$(fill "$load" "$(awk -v s="$1" 'BEGIN { print int(s + 0.999) }')" \
    "$2")
  [[ $3 == measured || $load == *'{measure}'* ]] || limit=$1
  start_minder load "$work/load.log" -w -i 1000 -t "$limit" -- \
    bash -c "$words"
  await load
  [ "$interrupted" = no ] || return 1
  status=$(end_of load)
  [ "$status" != 0 ] || return 0
  [[ $status != timeout || $3 == measured || $load == *'{measure}'* ]] ||
    return 0
  quote_tail "$work/load.log"
  if ! is_running server; then
    quote_tail "$work/server.log"
    fail "$EX_UNAVAILABLE" "the server ended during the load"
  fi
  fail "$EX_UNAVAILABLE" "the load failed ($status): $words"
}

# run_server INDEX THREADS: leaves server.out, load.out and load.log.
run_server() {
  local arguments words=() word
  answers && fail "$EX_UNAVAILABLE" \
    "something answers at '$ready' before the server was started: port in use?"
  for word in "${command[@]}"; do
    words+=("$(fill "$word" "$measure" "$2")")
  done
  arm_arguments "$1"
  start_minder server "$work/server.log" "${arguments[@]}" -- \
    "${explain_prefix[@]}" "${words[@]}"
  wait_ready "$1" || return 1
  [ "$warmup" = 0 ] || run_load "$warmup" "$2" warm || return 1
  noise_begin=$(noise_read)
  tell server "mark begin"
  run_load "$measure" "$2" measured || return 1
  is_running server || {
    quote_tail "$work/server.log"
    fail "$EX_UNAVAILABLE" "the server ended during the load"
  }
  noise_end=$(noise_read)
  tell server "mark end"
  tell server "stop $stop_signal 10"
  await server
  [ "$interrupted" = no ]
}

# run_command INDEX THREADS: leaves server.out and load.log, its output.
run_command() {
  local arguments words=() word status
  for word in "${command[@]}"; do
    words+=("$(fill "$word" "$measure" "$2")")
  done
  arm_arguments "$1"
  noise_begin=$(noise_read)
  start_minder server "$work/load.log" -w -t "$load_timeout" \
    "${arguments[@]}" -- "${explain_prefix[@]}" "${words[@]}"
  await server
  noise_end=$(noise_read)
  [ "$interrupted" = no ] || return 1
  status=$(end_of server)
  [ "$status" = 0 ] && return
  quote_tail "$work/load.log"
  fail "$EX_UNAVAILABLE" "the command failed ($status) in arm \
${arm_key[$1]}: ${command[*]}"
}

# metric_value SPEC: the number the last matching line of the load's output
# holds; times come out in ms whatever the tool wrote.
metric_value() {
  local regex=${1#*:*:} line number='' unit=''
  while IFS= read -r line || [ -n "$line" ]; do
    [[ $line =~ $regex ]] || continue
    number=${BASH_REMATCH[1]} unit=${BASH_REMATCH[2]-}
  done < <(tail -c 200000 "$work/load.log" | tr -d '\0')
  awk -v x="$number" -v unit="$unit" 'BEGIN {
    f["us"] = 0.001; f["ms"] = 1; f["s"] = 1000; f["m"] = 60000
    f["k"] = 1e3; f["K"] = 1e3; f["M"] = 1e6; f["G"] = 1e9
    if (x !~ /^[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$/) print "null"
    else printf "%.9g\n", x * (unit in f ? f[unit] : 1)
  }'
}

# metric_values: all of them, as a JSON object.
metric_values() {
  local spec value out=
  for spec in "$primary" "${metrics[@]}"; do
    [ "$spec" != wall_s:lower: ] || continue
    value=$(metric_value "$spec")
    if [ "$value" = null ] && [ "$spec" = "$primary" ]; then
      quote_tail "$work/load.log"
      fail "$EX_UNAVAILABLE" "no number for '$primary_name' in the output \
(pattern: ${spec#*:*:})"
    fi
    out+="${out:+,}\"${spec%%:*}\":$value"
  done
  printf '{%s}\n' "$out"
}

# run_once INDEX THREADS: sets run_json; fails only when interrupted.
run_once() {
  local pressure own values
  rm -f "$work"/stats/* "$work"/load.out
  pressure=$(quiet_host)
  run_"$mode" "$1" "$2" || return 1
  own=$(jq -s '[.[] | select(.event == "end").total | .user_s + .system_s]
    | add // 0' "$work"/server.out "$work"/load.out 2>/dev/null)
  [ "$mode" = command ] || own=$(own_cpu_in_window)
  values=$(metric_values) || exit
  run_json=$(jq -cn -L "$SKAB_PARTS" \
    --arg mode "$mode" --arg arm "${arm_key[$1]}" \
    --arg lib "${arm_lib[$1]}" --argjson threads "$2" \
    --argjson values "$values" --arg primary "$primary_name" \
    --argjson noise \
    "$(noise_of "$noise_begin" "$noise_end" "${own:-0}" "$pressure")" \
    --slurpfile server "$work/server.out" \
    --slurpfile load <(cat "$work/load.out" 2>/dev/null) \
    --slurpfile stats <(cat "$work"/stats/*.json /dev/null) \
    --arg libs "$(printf '%s\n' "${known_libs[@]}")" \
    'include "run"; run') ||
    fail "$EX_UNAVAILABLE" "could not read what was measured (arm \
${arm_key[$1]})"
}

own_cpu_in_window() {
  jq -s '(map(select(.event == "mark")) | map({(.name):
      (.user_s + .system_s)}) | add) as $m
    | ($m["end"] - $m["begin"]) + ([.[] | select(.event == "end" and
        (has("wall_s"))) | .total.user_s + .total.system_s] | last)' \
    "$work/server.out" "$work/load.out"
}
