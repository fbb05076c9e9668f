# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# run: programs below a minder, and a run of a command.  Every program runs
# below a skab-minder of its own, told what to do through a FIFO; when skab
# dies the FIFO has no writer and the minder ends the tree.
#
# A run of the arm with index I leaves, in the work directory:
#   server.I.out   what the minder saw: events, marks, the tree
#   server.I.log   what the program said
#   load.I.out     what the minders of its loads saw, window by window
#   load.I.log     what the last load said (a command: the program itself)
#   values.I       its metrics, an object for each window
#   stats.I/       reports of the shim, one for each process

declare -A minder_pid=() minder_fd=()
arm_port=() values='' filled='' ended=''

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

# fill TEXT SECONDS THREADS INDEX: into `filled`, with numbers in their places
# and what belongs to one arm alone.
fill() {
  local threads=$3
  [ "$threads" != 0 ] || threads=$default_threads
  filled=${1//'{measure}'/$2}
  filled=${filled//'{threads}'/$threads}
  filled=${filled//'{port}'/${arm_port[$4]:-}}
  filled=${filled//'{data}'/$work/data.$4}
}

# fill_command SECONDS THREADS INDEX: the program, into `words`.
fill_command() {
  local word
  words=()
  [ -z "$pin_server" ] || words=(taskset -c "$pin_server")
  for word in "${command[@]}"; do
    fill "$word" "$@"
    words+=("$filled")
  done
}

free_port() {
  local try
  while :; do
    try=$((20000 + SRANDOM % 12000))
    [[ " ${arm_port[*]} " == *" $try "* ]] ||
      (exec 3<>"/dev/tcp/127.0.0.1/$try") 2>/dev/null || break
  done
  echo "$try"
}

# arm_places: for every arm a port and a directory of its own, the same in
# all its runs.
arm_places() {
  local i
  for i in "${!arm_key[@]}"; do
    arm_port[i]=$(free_port)
    mkdir "$work/data.$i" "$work/stats.$i"
    # a server that gives up root must still write its report
    [ "$(id -u)" != 0 ] || chmod 1777 "$work/stats.$i"
  done
}

# arm_arguments INDEX: into `arguments`, what the minder gives this arm.  The
# padding moves the stack by a random amount, or LD_PRELOAD's own length
# would be a difference between the arms.
arm_arguments() {
  local lib text preload=$preloaded
  pad[$1]=$((SRANDOM % 4096))
  printf -v text '%*s' "${pad[$1]}" ''
  arguments=(-e "SKAB_PAD=${text// /x}")
  for lib in "${known_libs[@]}"; do arguments+=(-m "$lib"); done
  for lib in "${child_env[@]}"; do arguments+=(-e "$lib"); done
  [ -z "${arm_lib[$1]}" ] || preload=${arm_lib[$1]}${preload:+:$preload}
  if [ -n "$explain_clock" ]; then
    preload=$explain_clock${preload:+:$preload}
    arguments+=(-e "SKAB_CLOCK=$work/clock")
  fi
  # an empty one, too: --env may take away what is exported
  [ -z "$preload${LD_PRELOAD:-}" ] || arguments+=(-e "LD_PRELOAD=$preload")
  [ -n "${arm_lib[$1]}" ] || return 0
  arguments+=(-e "SKPRELOAD_STATS=$work/stats.$1/%p.json")
  [ -z "${arm_conf[$1]}" ] ||
    arguments+=(-e "SKPRELOAD_CONF=${arm_conf[$1]}")
}

# end_of NAME: how its command ended, into `ended`: a status, which may be a
# shell's word for a signal, "signal N, NAME" or "timeout".
end_of() {
  local line
  ended=unknown
  while read -r line; do
    [[ $line == *'"event":"end"'* ]] || continue
    if [[ $line == *'"timed_out":true'* ]]; then
      ended=timeout
    elif [[ $line =~ \"status\":([0-9]+) ]]; then
      ended=${BASH_REMATCH[1]}
      [[ $ended -le 128 || $ended -gt 159 ]] ||
        ended+=", as after signal $(kill -l "$ended")"
    elif [[ $line =~ \"signal\":([0-9]+) ]]; then
      ended="signal ${BASH_REMATCH[1]}, $(kill -l "${BASH_REMATCH[1]}")"
    fi
  done <"$work/$1.out"
  [ "$ended" != unknown ] || fail "$EX_IO" "the record of a run is cut short: \
no space left in $work, or skab-minder was killed"
}

# end_words: `ended`, and the option that set the bound.
end_words() {
  echo "${ended/#timeout/more than $load_timeout s; see --load-timeout}"
}

# run_command THREADS INDEX: one run of a command.
run_command() {
  local arguments words name=server.$2
  fill_command "$measure" "$@"
  forget_run "$2"
  arm_arguments "$2"
  noise_begin
  start_minder "$name" "$work/load.$2.log" -w -t "$load_timeout" \
    "${arguments[@]}" -- "${explain_prefix[@]}" "${words[@]}"
  await "$name"
  noise_end "$2"
  [ "$interrupted" = no ] || return 1
  end_of "$name"
  if [ "$ended" = 0 ]; then
    metric_values "$work/load.$2.log"
    echo "$values" >"$work/values.$2"
    return 0
  fi
  quote_tail "$work/load.$2.log"
  fail "$EX_UNAVAILABLE" "the command failed ($(end_words)) in arm \
$(arm_name "${arm_key[$2]}"): ${command[*]}"
}

# forget_run INDEX: what the last run of this arm left.
forget_run() {
  rm -f "$work/stats.$1"/*
  : >"$work/server.$1.log"
  : >"$work/load.$1.out"
  : >"$work/values.$1"
  noise_sum[$1]='0 0 0'
}

# metric_value REGEX: of the last of `said` that matches, into `value`, as
# JSON; times come out in ms whatever the tool wrote.
metric_value() {
  local line number='' unit=''
  for line in "${said[@]}"; do
    [[ $line =~ $1 ]] || continue
    number=${BASH_REMATCH[1]} unit=${BASH_REMATCH[2]-}
  done
  value=null
  [[ $number =~ ^[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$ ]] || return 0
  value=$(awk -v x="$number" -v unit="$unit" 'BEGIN {
    f["us"] = 0.001; f["ms"] = 1; f["s"] = 1000; f["m"] = 60000
    f["k"] = 1e3; f["K"] = 1e3; f["M"] = 1e6; f["G"] = 1e9
    x = sprintf("%.9g", x * (unit in f ? f[unit] : 1))
    print x ~ /[a-df-z]/ ? "null" : x }') # 1e999 is inf
}

# metric_values FILE: all of them, as a JSON object.  One that has to be there
# and is not ends skab; so this is no command for a subshell.
metric_values() {
  local spec name value said out=''
  mapfile -t said < <(tail -c 200000 "$1" | tr -d '\0')
  for spec in "$primary" "${metrics[@]}" "requests:higher:$requests"; do
    [ -n "${spec#*:*:}" ] || continue
    name=${spec%%:*} value=${spec#*:*:}
    [[ $name == requests && $value =~ ^[0-9]+$ ]] ||
      metric_value "$value"
    [ "$value" != null ] || no_number "$spec" "$1"
    out+="${out:+,}\"$name\":$value"
  done
  values="{$out}"
}

# no_number SPEC FILE: of a metric that only describes it is said once.
declare -A unmatched=()
no_number() {
  local what="no number for '${1%%:*}' in the output (pattern: ${1#*:*:})"
  case ${1%%:*} in
    requests | "$primary_name")
      quote_tail "$2"
      fail "$EX_UNAVAILABLE" "$what"
      ;;
  esac
  [ -z "${unmatched[$1]:-}" ] || return 0
  unmatched[$1]=yes
  end_progress
  warn "$what; its row has less, or is left out"
}

# own_cpu INDEX: CPU seconds that a run and its loads used while the host was
# watched.
own_cpu() {
  jq -s --arg mode "$mode" '
    def cpu: .user_s + .system_s;
    (map(select(.event == "mark")) | group_by(.name)
      | map(map(cpu) | add)) as $marks
    | (map(select(.event == "end").total | cpu)) as $ends
    | if $mode == "command" then $ends | add // 0
      else ($marks[1] - $marks[0]) + ($ends[1:] | add // 0) end' \
    "$work/server.$1.out" "$work/load.$1.out"
}

# entry_of THREADS INDEX: the run that just was, as JSON.
entry_of() {
  local own
  own=$(own_cpu "$2" 2>/dev/null)
  jq -cn -L "$SKAB_PARTS" \
    --arg mode "$mode" --arg arm "${arm_key[$2]}" \
    --arg lib "${arm_lib[$2]}" --argjson threads "$1" \
    --argjson padding "${pad[$2]}" --argjson stop "$stop_signal" \
    --arg primary "$primary_name" \
    --argjson noise \
    "$(noise_of "0 0 0 -" "${noise_sum[$2]} -" "${own:-0}" "$pressure")" \
    --slurpfile values "$work/values.$2" \
    --slurpfile server "$work/server.$2.out" \
    --slurpfile load "$work/load.$2.out" \
    --slurpfile stats <(cat "$work/stats.$2"/*.json /dev/null) \
    --arg libs "$(printf '%s\n' "${known_libs[@]}")" \
    'include "run"; run'
}
