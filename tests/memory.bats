#!/usr/bin/env bats
# Does memory come back, and does a program stay whole at every limit?
#
# The scenarios are tests/bench/memory.c's, smaller.  Bounds are wide: they
# tell a broken promise from a kept one, not a good day from a bad one;
# `make bench-memory` has the figures.

load helpers
load shim

# remember NAME SCENARIO OPTIONS...: runs the scenario on the shim, and on
# glibc where NAME is glibc; its report is kept as $BATS_TEST_TMPDIR/NAME.
remember() {
  local name=$1 on=on_shim
  shift
  [ "$name" != glibc ] || on=on_glibc
  "$on" "${vars[@]}" "$TOP/build/bench/memory" --json --scenario "$@"
  assert_success
  tail -n 1 <<<"$output" >"$BATS_TEST_TMPDIR/$name"
}

# says NAME FILTER: the jq FILTER over that report is true.  $at is a
# function of the filter: at("built") is RSS in KiB at that mark.
says() {
  jq -e "def at(\$m): first(.marks[] | select(.at == \$m)).rss_kib;
    def live(\$m): first(.marks[] | select(.at == \$m)).live_kib;
    $2" "$BATS_TEST_TMPDIR/$1" >/dev/null ||
    fail "not so on $1: $2
$(jq -c '.peak_rss_kib, (.marks[] | [.at, .seconds, .rss_kib, .live_kib])' \
      "$BATS_TEST_TMPDIR/$1")"
}

# peak NAME: the largest RSS of that report in KiB.
peak() {
  jq .peak_rss_kib "$BATS_TEST_TMPDIR/$1"
}

setup() {
  requires jq
  vars=()
}

@test "a sleeping owner's memory comes back while a worker frees it" {
  remember shim sleeper --scale 0.25 --seconds 2
  says shim 'at("end") < at("built") / 10'
  says shim 'at("built") > 200000'
  assert_served memory
}

@test "a burst that its owner frees is given back when the owner goes on" {
  remember shim burst --scale 0.3 --seconds 2
  says shim 'at("end") < at("built") / 10 and at("built") > 140000'
  assert_served memory
}

@test "without a delay a burst is given back before its last free returns" {
  vars=(SKPRELOAD_CONF=purge_delay:0)
  remember shim burst --scale 0.3 --seconds 0
  says shim 'at("freed") < at("built") / 10 and at("built") > 140000'
  report_has memory '.region.dirty_bytes == 0 and .region.purges > 0'
}

@test "holes are filled by other sizes, in little more than glibc needs" {
  remember glibc holes --scale 0.5 --seconds 0
  remember shim holes --scale 0.5 --seconds 0
  # Issue: 1.15.  90 % of the units are gone at random, so no chunk is wholly
  # free, and another class cannot have what is in between; glibc can.
  [ "$(peak shim)" -lt $(($(peak glibc) * 130 / 100)) ] ||
    fail "peak $(peak shim) KiB, glibc's $(peak glibc)"
  assert_served memory
}

@test "four that allocate and one that frees: RSS stays where it is" {
  remember glibc bleed --seconds 6
  remember shim bleed --seconds 6
  says shim '[.marks[] | select(.seconds > 4) | .rss_kib] as $late
    | [.marks[] | select(.seconds > 1.8 and .seconds < 4) | .rss_kib] as $early
    | ($late | max) < ($early | max) * 1.2 + 2048'
  # Issue: at most glibc's.  What is on its way home is held back by design:
  # four idle chunks and the batches of each producer, bounded.
  [ "$(peak shim)" -lt $(($(peak glibc) + 32 * 1024)) ] ||
    fail "peak $(peak shim) KiB, glibc's $(peak glibc)"
  assert_served memory
}

@test "malloc_trim gives all small blocks back that are free" {
  remember shim trim --scale 0.5 --seconds 0
  # 95 % of what was freed; the table of blocks stays.
  says shim '(at("built") - at("trimmed"))
    > (live("built") - live("trimmed")) * 0.95'
  assert_served memory
}

@test "malloc_trim gives back what waits in both worlds, and says so" {
  # Nothing comes back by itself.
  on_shim SKPRELOAD_CONF=purge_delay:3600000 "$PROGS/trim"
  assert_success
  assert_output "1 1 1"
  report_has trim '.region.dirty_bytes == 0 and .grown.residue_bytes == 0
    and .grown.in_use == 1
    and ([.heaps[] | select(.label == "malloc-64") | .cached] == [0])'
}

@test "64 threads that keep a quarter of what they had: no more than glibc" {
  remember glibc night --seconds 0
  remember shim night --seconds 0
  # As much to 2 %, of which the shim's own data are a part.
  [ "$(jq '[.marks[].rss_kib] | last' "$BATS_TEST_TMPDIR/shim")" -lt \
    $(($(jq '[.marks[].rss_kib] | last' "$BATS_TEST_TMPDIR/glibc") *
      102 / 100)) ] ||
    fail "peak $(peak shim) KiB, glibc's $(peak glibc)"
  assert_served memory
}

@test "10 000 threads with 1 MiB each leave little more than what is live" {
  # Issue: 10 % and a few MiB, the argument's default.  Fifty states are
  # parked with their bins filled, and the last chunks wait for the delay.
  on_shim "$PROGS/thread_mib" 65536
  assert_success
  assert_line ok
  assert_served thread_mib
}

@test "10 000 threads one after another: within 10 % of what is live" {
  # Nothing is added to the issue's tenth: 5 % were measured.
  on_shim "$PROGS/thread_mib" 0 1
  assert_success
  assert_line ok
  assert_served thread_mib
}

@test "a child that only mallocs and frees copies few pages" {
  on_glibc "$PROGS/fork_dirt"
  assert_success
  local glibc=$output
  on_shim "$PROGS/fork_dirt"
  assert_success
  [ "$output" -gt 0 ] && [ "$output" -le $((glibc * 2)) ] ||
    fail "$output KiB, glibc's child $glibc"
  assert_served fork_dirt
}

@test "under a limit the heaps hold no more, and all data are whole" {
  local mib
  for mib in 1 8 24; do
    rm -rf "$REPORTS"
    on_shim SKPRELOAD_CONF=limit:${mib}M "$PROGS/full"
    assert_success
    assert_output ok
    report_has full ".region | .refusals > 1000
      and .used_bytes + .dirty_bytes <= $mib * 1048576
      and .committed_bytes <= ($mib + 4) * 1048576"
    # And not much less: the rest went to libc, not all.
    report_has full ".region.committed_bytes >= $mib * 1048576
      and .libc.calls > 1000"
  done
}

@test "a region of 16 MiB is exhausted, and all data are whole" {
  on_shim SKPRELOAD_CONF=reserve:16M "$PROGS/full"
  assert_success
  assert_output ok
  report_has full '.region | .reserved_bytes == .committed_bytes
    and .refusals > 1000'
}

# core_of PREFIX: the bytes of a core dump of dumps_core, run on glibc or on
# the shim, in $bytes.
core_of() {
  local dir=$BATS_TEST_TMPDIR/$1
  mkdir "$dir"
  "$1" bash -c 'cd "$1" && ulimit -c unlimited && exec "$2"' - "$dir" \
    "$PROGS/dumps_core"
  assert_failure 139
  bytes=$(find "$dir" -type f -name 'core*' -printf '%s\n')
  [ -n "$bytes" ] || fail "no core in $dir"
}

@test "a core dump is written at once, and is about as large as glibc's" {
  local bytes glibc
  [[ $(cat /proc/sys/kernel/core_pattern) =~ ^core[^/|]*$ ]] ||
    skip "core_pattern is not a plain file"
  (ulimit -c unlimited) 2>/dev/null || skip "core dumps are forbidden"
  core_of on_glibc
  glibc=$bytes
  BOUND=20 core_of on_shim
  # Holes in it count: what was handed out and not yet used.
  [ "$bytes" -lt $((glibc * 11 / 10)) ] || fail "$bytes bytes, glibc's $glibc"
}
