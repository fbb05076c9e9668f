#!/usr/bin/env bats
# tests/signals.bats at length: a minute of a profiler's signals, and every
# few instructions of the slow paths.

load helpers
load shim

@test "60 000 signals whose handler allocates and frees, in a minute" {
  BOUND=400 on_shim "$PROGS/sigprof" balanced 60000
  assert_success
  assert_output ok
  assert_served sigprof
}

@test "60 000 signals whose handler queues blocks of a size of its own" {
  BOUND=400 on_shim "$PROGS/sigprof" queueing 60000
  assert_success
  assert_output ok
  assert_served sigprof
}

@test "a handler on top of any slow path does no harm, looked at closely" {
  [ "$(uname -m)" = x86_64 ] || skip "needs the trap flag of x86"
  local scene
  for scene in malloc free foreign; do
    BOUND=500 on_shim "$PROGS/stepped" $scene longest 11
    assert_success
    assert_line --regexp "^[1-9][0-9]+ looked at, 0 harmed inside, 0 elsewhere$"
  done
}
