#!/usr/bin/env bats
# Does a program live within every limit that it could live in without us?

load helpers
load shim

@test "ls runs under every address limit it runs under on glibc" {
  local size
  for size in 8M 16M 32M 64M 128M 512M 2G 8G 100G 1T; do
    same_on_both prlimit --as="$(numfmt --from=iec $size)" /bin/ls "$TOP"
    assert_success
  done
  assert_served ls
}

@test "an address limit leaves most of itself to the program" {
  # The program lowers the limit to 40 % of what it was, and still allocates.
  on_shim prlimit --as="$(numfmt --from=iec 8G)" "$PROGS/limit_later" 3276
  assert_success
  on_shim prlimit --as="$(numfmt --from=iec 2G)" "$PROGS/limit_later" 819
  assert_success
  assert_served limit_later
}

@test "under an address limit three quarters can be mapped" {
  local size
  for size in 64M 300M 2G 8G; do
    on_shim prlimit --as="$(numfmt --from=iec $size)" "$PROGS/maps_much"
    assert_success
    echo "$output of $size"
    [ "$output" -ge \
      $(($(numfmt --from=iec $size) * 3 / 4 / 1048576 - 32)) ]
  done
}

@test "a limit that is another process's, or a high one, costs no heaps" {
  local which
  for which in child vfork high asked files; do
    same_on_both "$PROGS/limit_of_others" $which
    assert_success
    assert_output ok
  done
  report_has limit_of_others '.coverage.calls_percent > 99'
  while read -r report; do
    jq -e '.coverage.calls_percent > 99' "$report"
  done < <(reports limit_of_others)
}

@test "a program may lower its address limit after it started" {
  local mib how
  for mib in 128 256 1024 8192; do
    same_on_both "$PROGS/limit_later" $mib
    assert_success
  done
  assert_served limit_later
  for how in setrlimit64 prlimit prlimit64; do
    same_on_both "$PROGS/limit_later" 1024 $how
    assert_success
    assert_output ok
  done
}

@test "a child that no fork handler saw may lower its address limit too" {
  local mib
  for mib in 128 8192; do
    same_on_both "$PROGS/limit_later" $mib clone
    assert_success
    assert_output ok
  done
  assert_served limit_later
}

# A limit on data that is set later has no room for promises; nor has a kernel
# that counts them all.
@test "what is reserved counts for no data" {
  local on_glibc
  on_glibc awk '/VmData/ { print $2 }' /proc/self/status
  on_glibc=$output
  on_shim awk '/VmData/ { print $2 }' /proc/self/status
  assert_success
  echo "KiB: $output"
  [ "$output" -lt $((on_glibc + 8192)) ]
  assert_served awk
}

@test "no memory left under an address limit: NULL, ENOMEM and no crash" {
  on_shim prlimit --as=300000000 "$PROGS/exhaust"
  assert_success
  assert_output ok
}

@test "blocks are whole under any address limit, from 16 MiB to 8 GiB" {
  local size
  for size in 16M 40M; do # all of it is taken
    on_shim prlimit --as="$(numfmt --from=iec $size)" "$PROGS/exhaust"
    assert_success
    assert_output ok
  done
  for size in 256M 1G 8G; do
    on_shim prlimit --as="$(numfmt --from=iec $size)" "$PROGS/full"
    assert_success
    assert_output ok
  done
  assert_served full
}

@test "no memory left under a data limit: NULL, ENOMEM and no crash" {
  on_shim prlimit --data=64000000 "$PROGS/exhaust"
  assert_success
  assert_output ok
  report_has exhaust '.mode == "on" or .mode == "pass"'
}

@test "ls runs under every data limit it runs under on glibc" {
  local size
  for size in 1M 2M 4M 16M 64M; do
    same_on_both prlimit --data="$(numfmt --from=iec $size)" /bin/ls "$TOP"
    assert_success
  done
}

@test "the region lies in 47 bits, with no hint, wherever that is" {
  on_shim "$PROGS/region"
  assert_success
  assert_line "canonical yes"
  on_shim setarch -R "$PROGS/region"
  assert_success
  assert_line "canonical yes"
  on_shim setarch -L "$PROGS/region"
  assert_success
  assert_line "canonical yes"
}

@test "valgrind's 128 GiB of address space are enough" {
  requires valgrind
  BOUND=120 on_shim valgrind -q --tool=none "$PROGS/usable" classes
  assert_success
  assert_output ok
}

@test "any reservation that is asked for is taken, or less, or none" {
  local size
  for size in 0 1 64K 1M 64M 1G 64G 256G 1T; do
    on_shim SKPRELOAD_CONF=reserve:$size "$PROGS/alignment"
    assert_success
    assert_output ok
  done
  report_has alignment '.mode == "pass" and .region.reserved_bytes == 0'
  report_has alignment '.region.reserved_bytes == 68719476736'
}

@test "a region that is full sends what is more to libc" {
  on_shim SKPRELOAD_CONF=reserve:64M "$PROGS/fork_live"
  assert_success
  report_has fork_live '.libc.calls > 500000'
}

@test "the number of mappings stays bounded in ten rounds of churn" {
  on_shim "$PROGS/maps_churn"
  assert_success
  assert_output ok
  assert_served maps_churn
}

@test "mlockall makes the reservation neither resident nor locked" {
  on_shim "$PROGS/locked"
  [ "$status" -ne 77 ] || skip "needs the right to lock memory"
  assert_success
  assert_line ok
  assert_served locked
}

@test "who may lock a few megabytes still may" {
  [ "$(id -u)" = 0 ] || skip "needs to become somebody else"
  local as=(setpriv --reuid=65534 --clear-groups
    --inh-caps=-all --bounding-set=-all prlimit --memlock=8388608)
  local dir
  dir=$(mktemp -d)
  cp "$LIB" "$dir/shim.so"
  cp "$PROGS/locks_itself" "$dir"
  chmod -R a+rX "$dir"
  run bounded "${as[@]}" "$dir/locks_itself"
  glibc=$status
  run bounded "${as[@]}" env LD_PRELOAD="$dir/shim.so" "$dir/locks_itself"
  rm -r "$dir"
  [ "$glibc" -eq 0 ] || skip "needs the right to lock memory"
  assert_success
}

# A memory cgroup of so many bytes in $group; removed by teardown.
memory_group() {
  local root=/sys/fs/cgroup/memory file=memory.limit_in_bytes
  [ -d "$root" ] || root=/sys/fs/cgroup file=memory.max
  mkdir "$root/skpreload.$BASHPID" 2>/dev/null ||
    skip "needs the right to make a cgroup"
  group=$root/skpreload.$BASHPID
  [ -e "$group/$file" ] || skip "needs a cgroup of memory"
  echo "$1" >"$group/$file"
}

teardown() {
  [ -z "${group-}" ] || rmdir "$group"
}

@test "in a container limit holds the heaps, and a data limit gives NULL" {
  memory_group $((128 << 20))
  local enter='echo $$ >"$1/cgroup.procs" && shift && exec "$@"'
  # Without a limit of its own the program is killed where it takes on.
  on_shim sh -c "$enter" - "$group" "$PROGS/exhaust"
  assert_failure 137
  # With both: NULL and ENOMEM first, and what it holds is whole.
  on_shim SKPRELOAD_CONF=limit:24M sh -c "$enter" - "$group" \
    prlimit --data=$((96 << 20)) "$PROGS/exhaust"
  assert_success
  assert_output ok
  report_has exhaust '.mode == "on" and .region.refusals > 0
    and .region.used_bytes + .region.dirty_bytes <= 24 * 1048576'
}
