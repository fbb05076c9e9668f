#!/usr/bin/env bats
# Does what realloc grows beyond the largest class stay whole, fast and small?

load helpers
load shim

setup() {
  requires jq
}

# grew FILTER: the report's "grown" and the rest satisfy the jq FILTER.
grew() {
  report_has grown "$1"
}

@test "blocks grow and shrink over every edge, and keep content and errno" {
  on_glibc "$PROGS/grown" matrix
  assert_output ok
  local most
  for most in 1M 0 8M; do
    rm -rf "$REPORTS"
    on_shim SKPRELOAD_CONF=max_grown:$most "$PROGS/grown" matrix
    assert_success
    assert_output ok
    grew '.grown.in_use == 0 and .grown.in_use_bytes == 0
      and .grown.spare_bytes == 0 and .grown.residue_bytes == 0'
  done
}

@test "all of a grown block's usable size may be written, and stays" {
  on_glibc "$PROGS/grown" usable
  assert_output ok
  on_shim "$PROGS/grown" usable
  assert_success
  assert_output ok
  grew '.grown.allocations > 100'
}

@test "a block grows up to max_grown where it is" {
  on_shim "$PROGS/grown" moves
  assert_success
  assert_output 0
  grew '.grown.allocations == 1'
}

@test "a growth that cannot be had leaves the block as it was" {
  same_on_both "$PROGS/grown" refused
  assert_output ok
  grew '.grown.allocations == 1 and .grown.in_use == 0'
}

@test "max_grown is the largest block that stays; 0 and max_small: none" {
  # usable grows to 1 MiB; malloc's own requests are libc's anyway.
  on_shim SKPRELOAD_CONF=max_grown:0 "$PROGS/grown" usable
  assert_success
  grew '.grown.allocations == 0 and .libc.calls > 100'
  rm -rf "$REPORTS"
  on_shim SKPRELOAD_CONF=max_small:16K "$PROGS/grown" usable
  assert_success
  grew '.grown.allocations == 0 and .libc.calls > 100'
  rm -rf "$REPORTS"
  on_shim SKPRELOAD_CONF=max_grown:512K "$PROGS/grown" usable
  assert_success
  grew '.grown.allocations > 50 and .libc.calls > 50'
  rm -rf "$REPORTS"
  on_shim SKPRELOAD_CONF=mode:pass "$PROGS/grown" usable
  assert_success
  grew '.grown.allocations == 0'
}

@test "threads grow, shrink and free each other's blocks" {
  on_glibc "$PROGS/grown" threads
  assert_output ok
  local conf
  for conf in purge_delay:500 purge_delay:0 limit:4M reserve:8M; do
    rm -rf "$REPORTS"
    on_shim SKPRELOAD_CONF=$conf "$PROGS/grown" threads
    assert_success
    assert_output ok
    grew '.grown | .allocations > 1000 and .in_use == 0 and .in_use_bytes == 0
      and .spare_bytes == 0 and .residue_bytes == 0'
  done
}

@test "at a limit or in a full region blocks go to libc, and stay whole" {
  local conf
  for conf in limit:2M reserve:2M limit:64K; do
    rm -rf "$REPORTS"
    on_shim SKPRELOAD_CONF=$conf "$PROGS/grown" many
    assert_success
    grew '.region.refusals > 100 and .libc.calls > 1000'
  done
}

@test "60 children of a process that grows blocks use them and their own" {
  BOUND=120
  on_glibc "$PROGS/grown" children
  assert_output ok
  on_shim "$PROGS/grown" children
  assert_success
  assert_output ok
}

@test "1500 grown buffers at once need what they wrote, as on glibc" {
  on_glibc "$PROGS/grown" many
  assert_success
  local glibc=$output
  on_shim "$PROGS/grown" many
  assert_success
  # Some pages of bookkeeping for each, and the parts of a class.
  [ "$output" -le $((glibc * 110 / 100)) ] ||
    fail "$output KiB, glibc's $glibc"
  grew '.grown.allocations > 1500'
}

@test "a free inside a grown block is named with the block, and aborts" {
  local what bad p
  for what in interior rest; do
    on_shim "$PROGS/grown" $what
    assert_equal "$status" 134
    read -r bad p <<<"${lines[0]}"
    assert_line --regexp "^skpreload\[[0-9]+\]: free\(\): not the start of a \
block: $bad \($p grew\)$"
  done
  on_shim "$PROGS/grown" resized
  assert_equal "$status" 134
  read -r bad p <<<"${lines[0]}"
  assert_line --regexp "^skpreload\[[0-9]+\]: realloc\(\) or \
malloc_usable_size\(\): not the start of a block: $bad \($p grew\)$"
}

@test "a second free of a grown block is named, and aborts" {
  local bad p
  on_shim "$PROGS/grown" twice
  assert_equal "$status" 134
  read -r bad p <<<"${lines[0]}"
  assert_line --regexp "^skpreload\[[0-9]+\]: free\(\): freed twice: $bad \
\(a block that grew\)$"
}
