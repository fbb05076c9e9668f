#!/usr/bin/env bats
# Does every function of the malloc family keep libc's contract?

load helpers
load shim

@test "the aligned family answers as glibc's, in 1000 combinations" {
  same_on_both "$PROGS/aligned"
  assert_success
  assert_served aligned
}

@test "malloc, calloc, realloc, reallocarray answer odd sizes as glibc's" {
  same_on_both "$PROGS/oddsizes"
  assert_success
  assert_served oddsizes
}

@test "blocks of every size are 16-byte aligned and do not overlap" {
  on_shim "$PROGS/alignment"
  assert_success
  assert_output ok
  assert_served alignment
}

@test "errno is kept by what succeeds and ENOMEM after what fails" {
  on_shim "$PROGS/keeps_errno"
  assert_success
  assert_output ok
  assert_served keeps_errno
}

@test "a calloc whose product overflows gives NULL and ENOMEM" {
  on_shim "$PROGS/oddsizes"
  assert_success
  assert_line "calloc 2 9223372036854775808: NULL 12"
  assert_line "calloc 16 18446744073709551615: NULL 12"
}

@test "the usable size is the size class, constant, writable and zeroed" {
  on_shim "$PROGS/usable" classes
  assert_success
  assert_output ok
  assert_served usable
}

@test "a block of the next sizes is clean and aligned like one of its own" {
  on_glibc "$PROGS/borrowed"
  assert_success
  assert_output "0 larger"$'\n'"ok"
  on_shim "$PROGS/borrowed"
  assert_success
  assert_line ok
  refute_line "0 larger"
  assert_served borrowed
}

@test "realloc keeps the content between all classes and both worlds" {
  on_shim "$PROGS/realloc_matrix"
  assert_success
  assert_output ok
  assert_served realloc_matrix
}

@test "any function of the family may be a thread's first call" {
  on_shim "$PROGS/first_call"
  assert_success
  assert_output ok
  assert_served first_call
}

@test "cfree, bound with its old version, frees" {
  on_shim "$PROGS/cfree"
  assert_success
  assert_output ok
  assert_served cfree
}

@test "a library with unversioned imports gets one family, not two halves" {
  on_shim "$PROGS/unbound" "$PROGS/libunbound.so"
  assert_success
  assert_output ok
  assert_served unbound
}

@test "free_sized and free_aligned_sized free, whatever size they are told" {
  on_shim "$PROGS/sized"
  assert_success
  assert_output ok
  assert_served sized
}

@test "figures can be asked for on the smallest stack of a thread" {
  on_shim "$PROGS/small_stack"
  assert_success
  assert_line ok
}

@test "mallinfo2, malloc_info and malloc_stats count our heaps too" {
  on_shim "$PROGS/inspect"
  assert_success
  assert_line ok
}
