# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# say: messages, exit codes, and the work directory with its end.  Whatever
# ends skab, on_exit ends what it started first.

readonly EX_BETTER=0 EX_WORSE=1 EX_OPEN=2 EX_NOISE=3 EX_NO_EFFECT=4
readonly EX_USAGE=64 EX_UNAVAILABLE=69 EX_SOFTWARE=70 EX_IO=74
readonly EX_INTERRUPTED=130

work='' janitor=''
interrupted=no
failed_with=
leaving=no

# leave CODE: the end that was meant.
leave() {
  leaving=yes
  exit "$1"
}

say() {
  [ "${quiet:-no}" = yes ] || printf '%s\n' "$*" >&2
}

warn() {
  printf 'skab: %s\n' "$*" >&2
}

# fail CODE MESSAGE: ends skab; what was measured so far is still written.
fail() {
  # Ctrl-C ends our own jq and awk too, and that is no failure of theirs
  [ "$interrupted" = no ] || finish_interrupted
  failed_with=$2
  end_progress
  printf 'skab: %s\n' "$2" >&2
  keep_what_is_there
  leave "$1"
}

usage_error() {
  printf 'skab: %s\n' "$1" >&2
  printf 'skab: see skab --help\n' >&2
  leave "$EX_USAGE"
}

# quote_tail FILE: the last words of a program that failed, marked as its own.
quote_tail() {
  [ -s "$1" ] && tail -n 5 "$1" | tail -c 2000 | sed 's/^/    | /' >&2
}

work_begin() {
  local place why="cannot make a work directory in ${TMPDIR:-/tmp}"
  # absolute, for a server may change its folder before it reports; and before
  # there is a directory, for Ctrl-C ends a realpath as well
  place=$(realpath -- "${TMPDIR:-/tmp}") || fail "$EX_IO" "$why"
  work=$(mktemp -d "$place/skab.XXXXXX") || fail "$EX_IO" "$why"
  exec {janitor}> >(tidy_after "$work" >/dev/null 2>&1)
  trap on_interrupt INT TERM HUP
  # a server that gives up root must still reach its files
  chmod 711 "$work"
  : >"$work/runs.jsonl"
}

# tidy_after DIRECTORY: removes it when skab has gone, killed or not: then
# nobody holds the other end of our input.  The minders may still be ending
# what writes there.
tidy_after() {
  local try
  trap '' INT TERM HUP
  while read -r; do :; done
  for ((try = 0; try < 100; try++)); do
    rm -rf "$1"
    sleep 0.1
    [ -e "$1" ] || break
  done
}

on_interrupt() {
  interrupted=yes
  end_minders KILL
}

# bash ends a script with 1 for a mistake in it, and that would be a verdict.
on_exit() {
  local status=$?
  trap '' INT TERM HUP
  end_minders TERM
  [ -z "$work" ] || rm -rf "$work"
  [ -z "$janitor" ] || exec {janitor}>&-
  # Ctrl-C ends a part in a subshell, and skab with its status
  [[ $leaving == yes || ! $status =~ ^(129|130|143)$ ]] ||
    exit "$EX_INTERRUPTED"
  # the others are what a part in a subshell said and failed with, or a signal
  [[ $leaving == no && $status != "$EX_USAGE" && $status != "$EX_UNAVAILABLE" &&
    $status != "$EX_IO" && $status -le 128 ]] || return 0
  warn "an error in skab itself, status $status; please report it"
  exit "$EX_SOFTWARE"
}
