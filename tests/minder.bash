# shellcheck shell=bash disable=SC2034  # variables for those who load it
# A server under skab-minder, which obeys by its FIFO, ctl, and writes to out.
# Load it after helpers.

MINDER=$TOP/build/skab-minder

# begin_minder CMD...: CMD, which starts skab-minder, in the background.
begin_minder() {
  mkfifo ctl
  "$@" 3>&- &
  minder=$!
  exec 4>ctl
}

# until_so CMD...: waits until CMD succeeds, 20 s at most; what it was for is
# the test's to assert.
until_so() {
  local i
  for i in {1..400}; do
    ! "$@" || return 0
    sleep 0.05
  done
}

# end_minder LINE...: the last ones that it is told.
end_minder() {
  printf '%s\n' "$@" >&4
  wait "$minder"
  exec 4>&-
}
