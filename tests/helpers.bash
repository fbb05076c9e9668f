# What every bats file loads: where things are, how a program is preloaded,
# and what a test may ask of the machine.  Never export LD_PRELOAD: bats' own
# shell would run on the shim.
#
#   load helpers

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

TOP=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
LIB=$TOP/build/libskpreload.so
PROGS=$TOP/build/progs

# preloaded CMD...: runs CMD on the shim, everything else of the environment
# as it is.
preloaded() {
  env LD_PRELOAD="$LIB" "$@"
}

# requires PROGRAM...: skips, with the reason, where a program is absent.
requires() {
  local prog
  for prog in "$@"; do
    command -v "$prog" >/dev/null || skip "needs $prog"
  done
}
