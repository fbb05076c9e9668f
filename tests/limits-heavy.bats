#!/usr/bin/env bats
# What needs the whole machine or a rare kernel: settings that every process
# shares are changed for seconds, and put back.

load helpers
load shim

setup() {
  [ "$(id -u)" -eq 0 ] || skip "needs root"
}

teardown() {
  [ -z "${sleeper-}" ] || kill -KILL "$sleeper"
  [ -z "${overcommit-}" ] || set_overcommit "$overcommit" "$ratio"
}

# set_overcommit MODE RATIO
set_overcommit() {
  echo "$1" >/proc/sys/vm/overcommit_memory &&
    echo "$2" >/proc/sys/vm/overcommit_ratio
}

# What the kernel has promised to all processes, in MiB.
promised() {
  awk '/^Committed_AS:/ { print int($2 / 1024) }' /proc/meminfo
}

# start_sleeper ENV...: a program that has allocated and waits; its pid in
# $sleeper.
start_sleeper() {
  local said=$BATS_TEST_TMPDIR/said tries
  : >"$said"
  env "$@" setsid "$PROGS/full" wait <&- >"$said" 2>&1 3>&- &
  sleeper=$!
  disown "$sleeper"
  for tries in {1..200}; do
    grep -q ready "$said" && return
    sleep 0.1
  done
  fail "not ready after $tries looks: $(cat "$said")"
}

@test "where every promise is counted, a reservation is none" {
  local before
  # So much may be promised that no neighbour is refused anything.
  overcommit=$(cat /proc/sys/vm/overcommit_memory)
  ratio=$(cat /proc/sys/vm/overcommit_ratio)
  { echo 10000000 >/proc/sys/vm/overcommit_ratio &&
    echo 2 >/proc/sys/vm/overcommit_memory; } 2>/dev/null ||
    skip "needs the right to set vm.overcommit_memory"
  before=$(promised)
  start_sleeper LD_PRELOAD="$LIB" SKPRELOAD_CONF=reserve:1T
  # 64 MiB of blocks, of 1 TiB; neighbours come and go.
  echo "promised $before MiB before, $(promised) with it"
  [ "$(promised)" -lt $((before + 16384)) ]
  on_shim "$PROGS/fork_live"
  assert_success
  on_shim "$PROGS/full"
  assert_success
  report_has full '.mode == "on" and .region.reserved_bytes == 274877906944'
}

@test "a process on the shim is saved by criu and goes on" {
  requires criu
  local dir=$BATS_TEST_TMPDIR/image
  criu check >"$BATS_TEST_TMPDIR/check" 2>&1 ||
    skip "criu and this kernel do not fit: $(
      tail -n 1 "$BATS_TEST_TMPDIR/check")"
  start_sleeper LD_PRELOAD="$LIB"
  mkdir "$dir"
  run bounded criu dump -t "$sleeper" -D "$dir"
  assert_success
  run kill -0 "$sleeper"
  assert_failure
  run bounded criu restore -d -D "$dir"
  assert_success
  # It looks at all blocks, frees them and says so.
  kill -USR1 "$sleeper"
  for tries in {1..200}; do
    grep -q ok "$BATS_TEST_TMPDIR/said" && break
    sleep 0.1
  done
  sleeper=
  run cat "$BATS_TEST_TMPDIR/said"
  assert_output "ready
ok"
}
