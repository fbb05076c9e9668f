# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# options: the command line and the tools it needs.  Sets the variables named
# at the top; everything later reads them only.

preset='' replay='' shim='' conf='' ready='' load='' stop_signal=''
warmup='' measure='' pairs='' seed='' threshold=1 max_noise=10
primary='' quick=no explain=no with_pass=no quiet=no threads=''
json='' md='' html='' hyperfine='' ready_timeout=30 load_timeout=600
max_repeats='' mode=command pairs_default=12 measure_default=10
repeats_default='' warmup_default=3 default_threads=4 base_label=glibc
command=() allocs=() metrics=() child_env=()
requests='' windows='' one_by_one=no pin_server='' pin_load=''
minder='' preloaded=''

usage() {
  sed 's/^  | \{0,1\}//' <<'USAGE'
  | usage: skab [options] -- COMMAND...          time a command
  |        skab --ready R --load L --primary P [options] -- SERVER...
  |        skab --preset NAME [options]
  |        skab --replay ab.json [--md F] [--html F] [--hyperfine F]
  |
  | what is run
  |   --ready CMD|tcp:PORT    when the server takes requests
  |   --load CMD              the load; {measure} and {threads} are replaced
  |   --primary N:higher|lower:REGEX   the metric that decides; the first
  |                           group is the number, a second one its unit; or
  |                           wall_s, cpu_s, cpu_us_per_request, peak_rss_kb
  |   --requests N|REGEX      requests in the load, for cpu_us_per_request
  |   --metric N:higher|lower:REGEX    a further one (may be repeated)
  |   --preset NAME           redis nginx memcached postgresql mariadb
  |                           skserver
  |   --env NAME=VALUE        for the program, in every arm
  |   --threads 1,2,4         the same at each count; draws the scaling
  |                           ({threads} is 4 without it)
  |   {port} in server, --ready and --load: a free port for each arm, so that
  |                           the servers live side by side and the load
  |                           visits them by turns; {data}: a directory
  | arms
  |   --shim LIB              arm B instead of the built libskpreload.so
  |   --conf K:V,...          SKPRELOAD_CONF of arm B
  |   --alloc NAME=LIB        a further arm; B=LIB replaces the shim; LIB
  |                           may be the word glibc
  |   --pass                  arm P: the shim with mode:pass
  | how
  |   --pairs N               blocks, at least 6 (12)
  |   --warmup TIME|RUNS      thrown away: before each load (3s), or runs of
  |                           a command in each arm (1)
  |   --measure TIME          replaces {measure} in the load (10s)
  |   --windows N             parts of it, with {port} (5, else 1)
  |   --one-by-one            one server at a time in spite of {port}
  |   --pin SERVER/LOAD       CPUs of the server and of the load, like 0/1
  |   --seed N                of the order of the arms
  |   --threshold PERCENT     smallest change of interest (1)
  |   --max-noise PERCENT     of A'/A, above which there is no verdict (10)
  |   --max-repeats N         runs repeated because the host was noisy
  |   --stop SIGNAL           ends the server (TERM)
  |   --ready-timeout TIME    (30s)   --load-timeout TIME (10m)
  |   --explain               then two runs each of A and B that look inside:
  |                           the time of a malloc, the futex calls
  |   --quick                 6 pairs, short windows: a first look
  | reports
  |   --json F --md F --html F --hyperfine F     (ab.json)
  |   --quiet                 only the result
  |   --help                  this text     --version    of skab
  |
  | exit: 0 better, 1 worse, 2 no difference or inconclusive, 3 noise too
  | high, 4 preload not effective, 64 usage, 69 could not measure, 70 an
  | error in skab, 74 a report could not be written, 130 interrupted
USAGE
}

parse_options() {
  local given_json=no
  while [ $# -gt 0 ]; do
    case $1 in
      --) shift && command=("$@") && break ;;
      -h | --help) usage && leave 0 ;;
      --version) skab_version && leave 0 ;;
      --quick) quick=yes && shift ;;
      --explain) explain=yes && shift ;;
      --pass) with_pass=yes && shift ;;
      --quiet) quiet=yes && shift ;;
      --one-by-one) one_by_one=yes && shift ;;
      --quick=* | --explain=* | --pass=* | --quiet=* | --one-by-one=* | \
        --help=* | --version=*) usage_error "${1%%=*} takes no value" ;;
      --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
      --*)
        [[ $# -ge 2 || $(usage) != *" $1 "* ]] ||
          usage_error "$1 needs a value"
        set_option "$1" "${2-}"
        [ "$1" != --json ] || given_json=yes
        shift 2
        ;;
      *) usage_error "'$1' is no option; the command stands behind --" ;;
    esac
  done
  [ "$given_json" = yes ] || [ -n "$replay" ] || json=ab.json
}

# set_option NAME VALUE: an empty value is a variable that was not set, and to
# go on without would measure something else.  No list of options and no file
# are what they say.
set_option() {
  case $1 in
    --preset | --replay | --shim | --ready | --load | --primary | --requests | \
      --threads | --warmup)
      [ -n "$2" ] || usage_error "$1: the value is empty; leave the option out"
      ;;
  esac
  case $1 in
    --preset) preset=$2 ;;
    --replay) replay=$2 ;;
    --shim) shim=$2 ;;
    --conf) conf=$2 ;;
    --ready) ready=$2 ;;
    --load) load=$2 ;;
    --stop) set_stop "$2" ;;
    --primary) primary=$2 ;;
    --metric) metrics+=("$2") ;;
    --requests) requests=$2 ;;
    --windows) windows=$(whole_of "$1" "$2") || exit ;;
    --pin) set_pin "$2" ;;
    --alloc) allocs+=("$2") ;;
    --env) child_env+=("$2") ;;
    --threads) threads=$2 ;;
    --warmup) warmup=$2 ;;
    --measure) measure=$(some_seconds_of "$1" "$2") || exit ;;
    --ready-timeout) ready_timeout=$(some_seconds_of "$1" "$2") || exit ;;
    --load-timeout) load_timeout=$(some_seconds_of "$1" "$2") || exit ;;
    --pairs) pairs=$(whole_of "$1" "$2") || exit ;;
    --seed) seed=$(whole_of "$1" "$2") || exit ;;
    --max-repeats) max_repeats=$(whole_of "$1" "$2") || exit ;;
    --threshold) threshold=$(percent_of "$1" "$2") || exit ;;
    --max-noise) max_noise=$(percent_of "$1" "$2") || exit ;;
    --json) json=$2 ;;
    --md) md=$2 ;;
    --html) html=$2 ;;
    --hyperfine) hyperfine=$2 ;;
    *) usage_error "unknown option $1" ;;
  esac
}

# set_stop NAME|NUMBER: as a number, for the minder knows fewer names.
set_stop() {
  local number=$1
  [[ $1 =~ ^[0-9]{1,9}$ ]] || number=$(kill -l "$1" 2>/dev/null)
  number=$((10#${number:-0}))
  [[ $number -ge 1 && $number -le 64 ]] ||
    usage_error "--stop: '$1' is no signal; write TERM, SIGINT or 15"
  stop_signal=$number
}

# set_pin SERVER/LOAD: lists of CPUs as taskset reads them.
set_pin() {
  local cpus='[0-9]+([-,][0-9]+)*'
  [[ $1 =~ ^$cpus/$cpus$ ]] ||
    usage_error "--pin: '$1' is not SERVER/LOAD, lists of CPUs like 0-2/3"
  pin_server=${1%/*} pin_load=${1#*/}
  for cpus in "$pin_server" "$pin_load"; do
    taskset -c "$cpus" true 2>/dev/null ||
      usage_error "--pin: CPUs '$cpus' cannot be had here (taskset -c)"
  done
}

# Numbers leave these functions as bash and jq read them: no zero in front,
# which is octal or no number at all, no exponent, no more digits than fit.

# plain NUMBER [TIMES [BY]]
plain() {
  awk -v x="$1" -v times="${2:-1}" -v by="${3:-1}" 'BEGIN {
    x = sprintf("%.6f", x * times / by)
    sub(/\.?0+$/, "", x)
    print x }'
}

# seconds_of OPTION VALUE: 500ms, 3s, 2m or plain seconds, as seconds.
seconds_of() {
  [[ $2 =~ ^([0-9]{1,9}(\.[0-9]{1,9})?)(ms|s|m|min)?$ ]] ||
    usage_error "$1: '$2' is no time; write 500ms, 3s or 2m"
  case ${BASH_REMATCH[3]} in
    ms) plain "${BASH_REMATCH[1]}" 1 1000 ;;
    m | min) plain "${BASH_REMATCH[1]}" 60 ;;
    *) plain "${BASH_REMATCH[1]}" ;;
  esac
}

# some_seconds_of OPTION VALUE: more than none.
some_seconds_of() {
  local seconds
  seconds=$(seconds_of "$1" "$2") || exit
  [ "$seconds" != 0 ] ||
    usage_error "$1: '$2' is no time at all; write 500ms, 3s or 2m"
  printf '%s\n' "$seconds"
}

whole_of() {
  [[ $2 =~ ^[0-9]{1,9}$ ]] || usage_error "$1: '$2' is no whole number"
  printf '%s\n' "$((10#$2))"
}

percent_of() {
  [[ $2 =~ ^([0-9]{1,9}(\.[0-9]{1,9})?)%?$ ]] ||
    usage_error "$1: '$2' is no percentage"
  plain "${BASH_REMATCH[1]}"
}

find_tools() {
  local tool
  for tool in jq awk mktemp readlink; do
    type -P "$tool" >/dev/null ||
      fail "$EX_UNAVAILABLE" "needs $tool (Debian: apt-get install $tool)"
  done
}

find_minder() {
  local tool
  for tool in "${SKAB_MINDER:-}" "$SKAB_HOME/../build/skab-minder" \
    "$SKAB_PARTS/skab-minder"; do
    [ -x "$tool" ] && minder=$tool && return
  done
  fail "$EX_UNAVAILABLE" "skab-minder is not built; type: make"
}

# own_metric NAME: one that skab measures itself.
own_metric() {
  [[ $1 == wall_s || $1 == cpu_s || $1 == cpu_us_per_request ||
    $1 == peak_rss_kb ]]
}

# check_regex OPTION VALUE REGEX: bash itself is asked, it fails with 2.
check_regex() {
  [[ '' =~ $3 ]] 2>/dev/null
  [ $? -ne 2 ] || usage_error \
    "$1: '$2': '$3' is no extended regular expression, see regex(7)"
}

# The names of what skab measures itself, in run.jq and analyse.jq.
built_in=(requests wall_s cpu_s cpu_us_per_request peak_rss_kb
  voluntary_switches involuntary_switches context_switches runqueue_wait_s
  user_s system_s minor_faults major_faults)

# check_metric OPTION SPEC NAME...: these names are taken.
check_metric() {
  [[ $2 =~ ^[A-Za-z_][A-Za-z0-9_]*:(higher|lower):.*\(.+\) ]] ||
    usage_error "$1: '$2' is not NAME:higher|lower:REGEX with a (group)"
  check_regex "$1" "$2" "${2#*:*:}"
  [[ " ${built_in[*]} " != *" ${2%%:*} "* ]] || usage_error \
    "$1: '$2': skab itself measures '${2%%:*}'; give it another name"
  [[ " ${*:3} " != *" ${2%%:*} "* ]] || usage_error \
    "$1: '$2': '${2%%:*}' is there already; give it another name"
}

check_options() {
  [ ${#command[@]} -gt 0 ] || usage_error "which command?  skab -- COMMAND..."
  if [ -n "$load" ]; then
    mode=server
    [ -n "$primary" ] ||
      usage_error "--load needs --primary: what decides is named in advance"
    [ -n "$ready" ] || usage_error "--load needs --ready: tcp:PORT or a command"
  else
    [ -z "$ready" ] || usage_error "--ready needs --load"
  fi
  check_ready
  check_port
  check_metrics
  [ -z "$threads" ] || check_threads
  check_env
  type -P "${command[0]}" >/dev/null || fail "$EX_UNAVAILABLE" \
    "the command '${command[0]}' is not there or cannot be executed"
  set_defaults
}

# One name for two numbers, and the last of them would decide.
check_metrics() {
  local m taken
  if own_metric "$primary"; then
    primary=$primary:lower:
  elif [ -n "$primary" ]; then
    check_metric --primary "$primary"
  fi
  taken=("${primary%%:*}")
  for m in "${metrics[@]}"; do
    check_metric --metric "$m" "${taken[@]}"
    taken+=("${m%%:*}")
  done
  [[ ! $requests || $requests =~ ^[1-9][0-9]*$ || $requests =~ \(.+\) ]] ||
    usage_error "--requests: '$requests' is no number, nor a REGEX with a \
(group)"
  check_regex --requests "$requests" "$requests"
  [[ $primary != cpu_us_per_request:* || $requests ]] || usage_error \
    "--primary cpu_us_per_request: --requests says how many there were"
}

check_ready() {
  local port=${ready#tcp:} number
  [[ $ready == tcp:* && $ready != 'tcp:{port}' ]] || return 0
  [[ $port =~ ^[0-9]{1,9}$ ]] && number=$((10#$port))
  [[ ${number:-0} -ge 1 && $number -le 65535 ]] ||
    usage_error "--ready: '$ready' is not tcp:PORT, a number up to 65535"
  ready=tcp:$number
}

check_threads() {
  local count plain=()
  [[ $threads =~ ^[0-9]+(,[0-9]+)*$ ]] ||
    usage_error "--threads: '$threads' is not a list like 1,2,4"
  [[ "$load ${command[*]}" == *'{threads}'* ]] ||
    usage_error "--threads: write {threads} where the command takes the count"
  for count in ${threads//,/ }; do
    count=$(whole_of --threads "$count") || exit
    [ "$count" != 0 ] ||
      usage_error "--threads: '$threads' has a 0; write counts like 1,2,4"
    [[ " ${plain[*]} " != *" $count "* ]] ||
      usage_error "--threads: '$threads' has $count twice; write it once"
    plain+=("$count")
  done
  threads=$(IFS=, && echo "${plain[*]}")
}

# What skab sets for single arms would hide the value there.  LD_PRELOAD takes
# the place of the exported one, behind the library of the arm.
check_env() {
  local m kept=()
  preloaded=${LD_PRELOAD:-}
  for m in "${child_env[@]}"; do
    [[ $m == [A-Za-z_]*=* ]] || usage_error "--env: '$m' is not NAME=VALUE"
    case ${m%%=*} in
      LD_PRELOAD) preloaded=${m#*=} && continue ;;
      SKPRELOAD_CONF) usage_error "--env: '$m' is for the arms with the shim \
alone; write --conf '${m#*=}'" ;;
      SKPRELOAD_STATS | SKAB_PAD | SKAB_CLOCK) usage_error \
        "--env: '$m' would be lost, skab sets ${m%%=*} itself; leave it out" ;;
    esac
    kept+=("$m")
  done
  child_env=("${kept[@]}")
}

# A {port} that only one of the two sides knows is a mistake.
check_port() {
  local given='' text
  [ "$mode" = server ] || return 0
  for text in "${command[*]/'{data}'/'{port}'}" "$ready" "$load"; do
    [[ $text == *'{port}'* ]] && given+=y || given+=n
  done
  [[ $given == yyy || $given == nnn ]] ||
    usage_error "{port} belongs in the server, --ready and --load alike"
}

set_defaults() {
  if [ "$quick" = yes ]; then
    : "${pairs:=6}"
    [ "$mode" = command ] || : "${warmup:=1s}" "${measure:=5}"
    : "${measure:=2}"
  fi
  : "${pairs:=$pairs_default}" "${measure:=$measure_default}"
  : "${repeats_default:=$pairs}"
  : "${max_repeats:=$repeats_default}"
  [ "$pairs" -le 100 ] || usage_error "--pairs: at most 100"
  [ "$pairs" -ge 6 ] || usage_error \
    "--pairs: at least 6; with 5 the smallest possible p is 0.0625"
  [ -n "$seed" ] || seed=$((SRANDOM % 1000000))
  case $mode:$warmup in
    command:) warmup=1 ;;
    command:*[!0-9]*) usage_error \
      "--warmup: '$warmup' is no number of runs, as a command takes it" ;;
    command:*) warmup=$(whole_of --warmup "$warmup") || exit ;;
    server:) warmup=$warmup_default ;;
    server:*) warmup=$(seconds_of --warmup "$warmup") || exit ;;
  esac
  set_windows
  set_stop "${stop_signal:-TERM}"
  [[ -z $primary ]] && primary=wall_s:lower:
  primary_name=${primary%%:*}
  [ -n "$threads" ] || threads=0
}

# Windows of a second or more; a load of fixed work is one window whole.
set_windows() {
  local fit
  side_by_side && fit=$((${measure%.*} < 5 ? ${measure%.*} : 5)) || fit=1
  [ "$mode" = server ] || [ -z "$windows" ] ||
    usage_error "--windows: only a server under --load has windows"
  : "${windows:=$((fit > 0 ? fit : 1))}"
  [[ $windows -ge 1 && $windows -le 100 ]] ||
    usage_error "--windows: 1 to 100"
  window_seconds=$(plain "$measure" 1 "$windows")
}
