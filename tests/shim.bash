# What the tests of the shim share: programs run on glibc and on the shim, in
# bounds of time, and proof from the program's own report that the shim served
# it.  Load after helpers.
#
#   on_glibc CMD...       run, without the shim
#   on_shim CMD...        run, with the shim; reports go to $REPORTS
#   assert_served NAME    the program of that name was served by our heaps
#   assert_passed NAME    it ran in pass-through
#   same_on_both CMD...   status and output are equal on both
#
# Variables a test may set: BOUND seconds (60), BEFORE and AFTER, libraries to
# preload in front of the shim and behind it.  CMD may begin with VAR=VALUE.

REPORTS=$BATS_TEST_TMPDIR/reports

bounded() {
  timeout --kill-after=5 "${BOUND:-60}" "$@"
}

on_glibc() {
  echo "\$ $*"
  run bounded env "$@" 3>&-
}

on_shim() {
  local preload=${BEFORE:+$BEFORE:}$LIB${AFTER:+:$AFTER}
  mkdir -p "$REPORTS"
  echo "\$ LD_PRELOAD=$preload $*"
  run bounded env LD_PRELOAD="$preload" \
    SKPRELOAD_STATS="$REPORTS/%e.%p.json" "$@" 3>&-
}

# reports NAME: the reports of processes that ran the program NAME.  A program
# name may be cut to the 15 characters the kernel keeps.
reports() {
  local report
  for report in "$REPORTS/$1".*.json "$REPORTS/${1:0:15}".*.json; do
    [ -e "$report" ] && echo "$report"
  done | sort -u
}

# report_has NAME FILTER: a report of NAME for which the jq FILTER is true.
report_has() {
  local report
  while IFS= read -r report; do
    jq -e "$2" "$report" >/dev/null && return 0
  done < <(reports "$1")
  echo "no report of $1 has $2; the reports:"
  ls -l "$REPORTS"
  reports "$1" | xargs -r head -n 40
  return 1
}

assert_served() {
  report_has "$1" '.mode == "on" and ([.heaps[].allocations] | add) > 0'
}

assert_passed() {
  report_has "$1" '.mode == "pass" and .reason != ""'
}

same_on_both() {
  local glibc_status glibc_output
  on_glibc "$@"
  glibc_status=$status
  glibc_output=$output
  on_shim "$@"
  assert_equal "$status" "$glibc_status"
  if [ "$output" != "$glibc_output" ]; then
    echo "glibc (-) and the shim (+) differ:"
    diff -U1 <(echo "$glibc_output") <(echo "$output")
    return 1
  fi
}
