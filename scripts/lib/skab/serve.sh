# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# serve: fresh servers under load, measured in windows.
#
# One server at a time is all that can be done where the port is fixed.  Where
# the command takes {port} (or {data}, which holds a port), the servers of all
# arms live side by side and the load visits them by turns, in short windows:
# what the host does meanwhile, which changes from second to second, then meets
# all arms alike.

# run_servers THREADS INDEX...: one run of these arms, side by side.  Fails
# only when interrupted.
run_servers() {
  local count=$1 arm window order
  shift
  for arm in "$@"; do start_server "$count" "$arm" || return 1; done
  for arm in "$@"; do
    [ "$warmup" = 0 ] || run_load "$count" "$arm" "$warmup" warm || return 1
  done
  for ((window = 1; window <= windows; window++)); do
    shuffled $#
    for arm in "${order[@]}"; do
      measure_window "$count" "${@:arm+1:1}" || return 1
    done
  done
  stop_servers "$@"
}

# side_by_side: can the servers of all arms live at the same time?
side_by_side() {
  [[ $mode == server && $one_by_one == no &&
    "${command[*]}" =~ \{(port|data)\} ]]
}

# answers INDEX: does something take requests where the arm's server will?
# Below a minder as well, for a check may hang, and a connection too where the
# queue of the server is full: that is no answer.
answers() {
  local check
  fill "$ready" "$measure" 0 "$1"
  check=$filled
  [[ $filled != tcp:* ]] || check="exec 3<>/dev/tcp/127.0.0.1/${filled#tcp:}"
  start_minder ready "$work/ready.log" -w -t "$ready_timeout" -- \
    bash -c "$check"
  await ready
  end_of ready
  [ "$ended" = 0 ]
}

# start_server THREADS INDEX
start_server() {
  local arguments words name=server.$2
  answers "$2" && fail "$EX_UNAVAILABLE" \
    "something answers at '$filled' before the server was started: port in use?"
  [ "$interrupted" = no ] || return 1
  fill_command "$measure" "$@"
  forget_run "$2"
  arm_arguments "$2"
  start_minder "$name" "$work/$name.log" "${arguments[@]}" -- \
    "${explain_prefix[@]}" "${words[@]}"
  wait_ready "$2"
}

wait_ready() {
  local give_up=$((SECONDS + ${ready_timeout%.*} + 1)) name=server.$1
  until answers "$1"; do
    [ "$interrupted" = no ] || return 1
    # the minder stays as long as a daemon does that the command left behind
    if ! is_running "$name"; then
      quote_tail "$work/$name.log"
      end_of "$name"
      fail "$EX_UNAVAILABLE" \
        "the server ended before it was ready $(whose_end "$1")"
    fi
    if [ "$SECONDS" -ge "$give_up" ]; then
      quote_tail "$work/$name.log"
      fail "$EX_UNAVAILABLE" "the server was not ready after \
${ready_timeout} s in arm $(arm_name "${arm_key[$1]}") ($filled); \
see --ready-timeout"
    fi
    sleep 0.05
  done
}

# run_load THREADS INDEX SECONDS warm|measured: leaves load.INDEX.log, and
# what the minder saw in load.out.
run_load() {
  local limit=$load_timeout words whole=${3%.*} prefix=()
  # wrk, pgbench and sysbench take whole seconds only
  [[ $3 != *.*[1-9]* ]] || whole=$((whole + 1))
  fill "$load" "$whole" "$1" "$2"
  words=$filled
  [[ $4 == measured || $load == *'{measure}'* ]] || limit=$3
  [ -z "$pin_load" ] || prefix=(taskset -c "$pin_load")
  start_minder load "$work/load.$2.log" -w -i 1000 -t "$limit" -- \
    "${prefix[@]}" bash -c "$words"
  await load
  [ "$interrupted" = no ] || return 1
  end_of load
  [ "$ended" != 0 ] || return 0
  [[ $ended != timeout || $4 == measured || $load == *'{measure}'* ]] ||
    return 0
  quote_tail "$work/load.$2.log"
  # it fails with the server, whose end takes a moment to be seen
  for _ in {1..20}; do
    is_running "server.$2" || break
    sleep 0.05
  done
  still_there "$2"
  fail "$EX_UNAVAILABLE" "the load failed ($(end_words)) in arm \
$(arm_name "${arm_key[$2]}"): $words"
}

still_there() {
  is_running "server.$1" && return
  quote_tail "$work/server.$1.log"
  end_of "server.$1"
  fail "$EX_UNAVAILABLE" "the server ended during the load $(whose_end "$1")"
}

whose_end() {
  echo "in arm $(arm_name "${arm_key[$1]}") ($ended)"
}

# measure_window THREADS INDEX: one window; its figures join the others.
measure_window() {
  noise_begin
  tell "server.$2" "mark begin"
  run_load "$1" "$2" "$window_seconds" measured || return 1
  still_there "$2"
  tell "server.$2" "mark end"
  noise_end "$2"
  cat "$work/load.out" >>"$work/load.$2.out"
  metric_values "$work/load.$2.log"
  echo "$values" >>"$work/values.$2"
}

# stop_servers INDEX...: all at once, for one may take its ten seconds.
stop_servers() {
  local arm
  for arm in "$@"; do tell "server.$arm" "stop $stop_signal 10"; done
  for arm in "$@"; do await "server.$arm"; done
  [ "$interrupted" = no ]
}
