#!/usr/bin/env bats
# Does a process that forks, in whatever way, go on, and does its child?

load helpers
load shim

@test "children of a process with 4 allocating threads use every class" {
  # 5000 of them, or as many as a minute has.
  BOUND=300 on_shim "$PROGS/fork_storm" 5000 4 60
  assert_success
  assert_output ok
  assert_served fork_storm
}

@test "fork goes on while other threads print, open streams and allocate" {
  on_shim "$PROGS/fork_stdio" 500 "$PROGS/libplugin.so"
  assert_success
  assert_output ok
  assert_served fork_stdio
}

@test "a child may ask for figures that another thread was asking for" {
  on_shim "$PROGS/fork_stats"
  assert_success
  assert_output ok
}

@test "fork handlers may allocate and take locks of allocating threads" {
  AFTER=$PROGS/libatfork.so on_shim "$PROGS/atfork"
  assert_success
  BEFORE=$PROGS/libatfork.so on_shim "$PROGS/atfork"
  assert_success
  on_shim "$PROGS/atfork" "$PROGS/libatfork.so"
  assert_success
  assert_output ok
  assert_served atfork
}

@test "8 threads fork at once, in little more time than on glibc" {
  local started glibc shim
  started=$(date +%s%N)
  on_glibc "$PROGS/fork_many" 8 250
  assert_success
  glibc=$(($(date +%s%N) - started))
  started=$(date +%s%N)
  on_shim "$PROGS/fork_many" 8 250
  assert_success
  shim=$(($(date +%s%N) - started))
  echo "glibc $((glibc / 1000000)) ms, shim $((shim / 1000000)) ms"
  # Two cores that others use too: only a storm's collapse is meant.
  [ $shim -lt $((4 * glibc + 2000000000)) ]
  assert_served fork_many
}

@test "posix_spawn, vfork and clone children share the memory unnoticed" {
  on_shim "$PROGS/spawn"
  assert_success
  assert_output ok
  assert_served spawn
}

@test "python starts 300 subprocesses from two threads" {
  requires python3
  BOUND=100 on_shim PYTHONMALLOC=malloc python3 -S -c '
import subprocess, threading
def work():
    for i in range(150):
        assert subprocess.run(["/bin/echo", "x" * i],
                              stdout=subprocess.PIPE).stdout
threads = [threading.Thread(target=work) for _ in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
print("ok")'
  assert_success
  assert_output ok
}

@test "a daemon's grandchild allocates and starts threads" {
  local tries
  on_shim "$PROGS/daemon" "$BATS_TEST_TMPDIR/said"
  assert_success
  for tries in {1..200}; do
    [ -s "$BATS_TEST_TMPDIR/said" ] && break
    sleep 0.1
  done
  echo "looked $tries times"
  run cat "$BATS_TEST_TMPDIR/said"
  assert_output ok
}

@test "fork charges what is in use, not what is reserved" {
  on_shim "$PROGS/fork_live"
  assert_success
  assert_output ok
  assert_served fork_live
}

@test "no thread is added, and parent and child have memory of their own" {
  on_shim "$PROGS/fork_alone"
  assert_success
  assert_output ok
  assert_served fork_alone
}

@test "a child has the memory of the threads that did not come along" {
  on_shim "$PROGS/fork_adopt"
  assert_success
  assert_output ok
  assert_served fork_adopt
}
