#!/usr/bin/env bats
# Does a program start, whatever else is loaded, asked or interposed before
# its main?

load helpers
load shim

@test "look-ups, allocations and interposed calls may nest at the start" {
  local libs=$PROGS/libinterpose.so
  BEFORE=$libs on_shim /bin/ls "$TOP/VERSION"
  assert_success
  assert_output "$TOP/VERSION"
  AFTER=$libs on_shim /bin/ls "$TOP/VERSION"
  assert_success
  assert_output "$TOP/VERSION"
  assert_served ls
}

@test "a look-up of a missing name may allocate in a constructor" {
  BEFORE=$PROGS/libmissing.so on_shim /bin/true
  assert_success
  assert_output "missing name is missing"
  AFTER=$PROGS/libmissing.so on_shim /bin/true
  assert_success
  assert_output "missing name is missing"
}

@test "other libraries may be preloaded beside the shim, 30 starts each" {
  local more=$PROGS/libempty.so:$PROGS/libkeys.so:$PROGS/libmissing.so i
  for i in {1..30}; do
    AFTER=$more on_shim /bin/echo "$i"
    assert_success
    assert_line "$i"
    BEFORE=$more on_shim LD_BIND_NOW=1 /bin/echo "$i"
    assert_success
    assert_line "$i"
  done
  assert_served echo
}

@test "another allocator may be preloaded before or behind the shim" {
  local other i
  local -a others
  mapfile -t others < <(ls /usr/lib/*/lib{jemalloc.so.2,tcmalloc_minimal.so.4} \
    /usr/lib/*/libmimalloc.so.[23] 2>/dev/null)
  [ ${#others[@]} -gt 0 ] || skip "needs libjemalloc2, or another allocator"
  for other in "${others[@]}"; do
    for i in {1..10}; do
      BEFORE=$other on_shim /bin/echo "$i"
      assert_success
      assert_output "$i"
      AFTER=$other on_shim /bin/echo "$i"
      assert_success
      assert_output "$i"
    done
    AFTER=$other on_shim "$PROGS/realloc_storm"
    assert_success
    BEFORE=$other on_shim "$PROGS/realloc_storm"
    assert_success
  done
}

@test "blocks given out during the look-ups can be used and freed later" {
  AFTER=$PROGS/libnested.so on_shim "$PROGS/nested"
  assert_success
  assert_output ok
  assert_served nested
}

@test "glibc may free all it holds at the end, also what is of the start" {
  on_shim "$PROGS/freeres"
  assert_success
  assert_output ok
  BEFORE=$PROGS/libnested.so AFTER=$PROGS/libnested.so \
    on_shim "$PROGS/freeres"
  assert_success
}

@test "an option is obeyed by the first allocation of an early constructor" {
  on_shim "$PROGS/early"
  assert_output 32
  on_shim SKPRELOAD_CONF=max_small:16 "$PROGS/early"
  assert_output 24
  on_shim SKPRELOAD_CONF=mode:pass "$PROGS/early"
  assert_output 24
  on_shim SKPRELOAD_OFF=1 "$PROGS/early"
  assert_output 24
}

@test "200 static objects with destructors come and go" {
  on_shim "$PROGS/statics"
  assert_success
  assert_output "200 alive
all gone"
  assert_served statics
}

@test "a process that has 40 thread keys already starts threads" {
  AFTER=$PROGS/libkeys.so on_shim "$PROGS/first_call"
  assert_success
  assert_output ok
  BEFORE=$PROGS/libkeys.so on_shim "$PROGS/first_call"
  assert_success
  assert_output ok
  assert_served first_call
}

@test "a library's constructor may wait for a thread that allocates" {
  on_shim "$PROGS/starter" "$PROGS/libstarter.so"
  assert_success
  assert_output ok
  assert_served starter
}

@test "an auditor of the loader may watch" {
  on_shim LD_AUDIT="$PROGS/libaudit.so" /bin/ls "$TOP/VERSION"
  assert_success
  assert_output "$TOP/VERSION"
  assert_served ls
}

@test "the shim opened instead of preloaded works or refuses with a reason" {
  on_glibc "$PROGS/opened" "$LIB"
  assert_success
  assert_output --regexp '^(ok|refused: .+)$'
}

@test "an empty environment is enough" {
  run bounded env -i LD_PRELOAD="$LIB" "$PROGS/usable" classes
  assert_success
  assert_output ok
}

@test "a library that wraps dlsym may ask for memory of any kind in there" {
  local what
  for what in malloc large realloc aligned memalign aligned_alloc pvalloc \
    posix_memalign trim mallopt mallinfo2 stats; do
    echo "$what"
    run bounded env WRAPS=$what LD_PRELOAD="$PROGS/libwraps.so:$LIB" \
      "$PROGS/first_malloc"
    assert_success
    run bounded env WRAPS=$what LD_PRELOAD="$LIB:$PROGS/libwraps.so" \
      "$PROGS/first_malloc"
    assert_success
  done
}

@test "a process is started with closed stdin, stdout and stderr" {
  # shellcheck disable=SC2016 # the inner shell expands it
  on_shim sh -c '"$1" <&- >&- 2>&-' - "$PROGS/first_malloc"
  assert_success
  assert_served first_malloc
}
