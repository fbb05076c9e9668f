#!/usr/bin/env bats
# Do C++ programs keep the new, delete and exit they know?

load helpers
load shim

@test "new and delete work in all forms, sizes and failures" {
  same_on_both "$PROGS/new_delete"
  assert_success
  assert_output ok
  assert_served new_delete
}

@test "a new_handler may free a reserve, as on glibc" {
  on_glibc prlimit --as=400000000 "$PROGS/reserve"
  assert_success
  assert_output "handled 2, after many"
  on_shim prlimit --as=400000000 "$PROGS/reserve"
  assert_success
  assert_output --regexp "^handled [0-9]+, after many$"
  refute_output --partial "handled 0"
  on_shim SKPRELOAD_CONF=mode:pass prlimit --as=400000000 "$PROGS/reserve"
  assert_output "handled 2, after many"
}

@test "new of a plugin opened for itself alone throws, as on glibc" {
  same_on_both "$PROGS/local_new"
  assert_success
  assert_output ok
  on_shim SKPRELOAD_CONF=mode:pass "$PROGS/local_new"
  assert_output ok
}

@test "a program's own operator new and delete are called, by all forms" {
  same_on_both "$PROGS/own_new"
  assert_success
  assert_output ok
  assert_served own_new
}

@test "a tree of a million nodes is freed after main, in little time" {
  local started glibc shim
  started=$(date +%s%N)
  on_glibc "$PROGS/tree"
  assert_success
  glibc=$(($(date +%s%N) - started))
  started=$(date +%s%N)
  on_shim "$PROGS/tree"
  assert_success
  assert_output "1000000 nodes"
  shim=$(($(date +%s%N) - started))
  echo "glibc $((glibc / 1000000)) ms, shim $((shim / 1000000)) ms"
  # A teardown at exit would cost many times this; noise does not.
  [ $shim -lt $((3 * glibc + 1000000000)) ]
  assert_served tree
}

@test "the destructors of 200 static objects run, under any locale" {
  on_shim LC_ALL=C.UTF-8 "$PROGS/statics"
  assert_success
  assert_line "all gone"
}
