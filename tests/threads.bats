#!/usr/bin/env bats
# Do threads come, go, end late, and free each other's blocks as on glibc?

load helpers
load shim

@test "10 000 threads allocate in key destructors to the last and leak none" {
  on_shim "$PROGS/late_keys"
  assert_success
  assert_output ok
  assert_served late_keys
}

@test "threads may make libc's first allocation together, 100 times" {
  local i
  for i in {1..100}; do
    on_shim "$PROGS/first_libc"
    assert_success
    assert_output ok
  done
}

@test "C++ thread_local destructors allocate and free" {
  on_shim "$PROGS/thread_local"
  assert_success
  assert_output ok
  assert_served thread_local
}

@test "110 000 threads come and go with one malloc each: RSS has a plateau" {
  BOUND=100 on_shim "$PROGS/thread_churn" 100000
  assert_success
  assert_output ok
  assert_served thread_churn
}

@test "2000 threads live at the same time" {
  on_shim "$PROGS/thread_crowd" 2000
  assert_success
  assert_output "all
ok"
  assert_served thread_crowd
}

@test "threads that cannot be had are no reason to fail" {
  on_shim prlimit --as=400000000 "$PROGS/thread_crowd" 4000
  assert_success
  assert_line ok
}

@test "one thread frees what four allocate: RSS follows what is live" {
  on_shim "$PROGS/free_only"
  assert_success
  assert_output ok
  report_has free_only '[.heaps[].remote_frees] | add > 1000000'
}

@test "blocks of ended threads are whole, resized and freed by others" {
  on_shim "$PROGS/exchange"
  assert_success
  assert_output ok
  assert_served exchange
}

@test "a process ends 30 times while its threads allocate" {
  local i
  for i in {1..30}; do
    on_shim "$PROGS/exit_busy"
    assert_success
    assert_output ok
  done
  assert_served exit_busy
}

@test "a real-time thread and a normal one on one core exchange blocks" {
  on_shim "$PROGS/realtime"
  [ "$status" -ne 77 ] || skip "needs the right to real-time threads"
  assert_success
  assert_output ok
  assert_served realtime
}
