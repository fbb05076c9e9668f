#!/usr/bin/env bats
# May a signal handler allocate while malloc or free is interrupted?  POSIX
# says no, programs do it, and glibc breaks in places.

load helpers
load shim

# stepped SCENE CALL STRIDE MOST: at so many instruction boundaries of the call
# a handler that allocates does harm, all of them within the bodies of malloc
# and free.
stepped() {
  BOUND=200 on_shim "$PROGS/stepped" "$1" "$2" "$3"
  assert_success
  # Harmed processes may have said why.
  assert_line --regexp "^[1-9][0-9]+ looked at, .* 0 elsewhere$"
  [[ $output =~ ([0-9]+)\ harmed ]] && [ "${BASH_REMATCH[1]}" -le "$4" ]
}

setup() {
  [ "$(uname -m)" = x86_64 ] || skip "needs the trap flag of x86"
}

@test "a handler on top of malloc's hit path does harm at 4 instructions" {
  # Between the load of the bin's head and the store of the next one.
  stepped malloc shortest 1 4
  assert_served stepped
}

@test "a handler on top of free's hit path does harm at 2 instructions" {
  stepped free shortest 1 2
}

@test "a handler on top of the free of a small block of another thread's does no harm" {
  stepped foreign shortest 1 0
}

@test "a handler on top of malloc's slow path does no harm" {
  stepped malloc longest 83 0
}

@test "a handler on top of free's slow paths does no harm" {
  stepped free longest 197 0
  stepped foreign longest 97 0
}

@test "3000 signals whose handler allocates and frees, in allocating threads" {
  on_shim "$PROGS/sigprof" balanced 3000
  assert_success
  assert_output ok
  assert_served sigprof
}

@test "3000 signals whose handler queues blocks of a size of its own" {
  on_shim "$PROGS/sigprof" queueing 3000
  assert_success
  assert_output ok
  report_has sigprof 'any(.heaps[]; .label == "malloc-720"
    and .allocations > 1000 and .remote_frees > 0)'
}
