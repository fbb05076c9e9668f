#!/usr/bin/env bats
# Does the shim live beside other owners of memory, or stand down and say so?

# shellcheck disable=SC2030,SC2031 # each test is a subshell of its own

load helpers
load shim

# stands_down REASON: the last run said, in verbose, why it passes.
stands_down() {
  assert_line --regexp "^skpreload\[[0-9]+\]: mode pass: $1\$"
}

# build NAME FLAGS...: a program of the test's own from the C source on stdin.
build() {
  local name=$1
  shift
  cat >"$BATS_TEST_TMPDIR/$name.c"
  cc -o "$BATS_TEST_TMPDIR/$name" "$BATS_TEST_TMPDIR/$name.c" "$@"
}

@test "plugins opened with RTLD_DEEPBIND share blocks with their host" {
  on_shim "$PROGS/deepbind"
  assert_success
  assert_line ok
  assert_served deepbind
}

@test "with verbose, RTLD_DEEPBIND is told of once, when it is used" {
  run --separate-stderr bounded env LD_PRELOAD="$LIB" "$PROGS/deepbind"
  assert_success
  assert_equal "$stderr" ""
  run --separate-stderr bounded env LD_PRELOAD="$LIB" \
    SKPRELOAD_CONF=verbose:on "$PROGS/deepbind"
  assert_success
  assert_equal "$(sed -E 's/^skpreload\[[0-9]+\]: //; /^version/d' \
    <<<"$stderr")" \
    "dlopen(\"libplugin.so\"): RTLD_DEEPBIND dropped, or the plugin would \
free our units with libc's free"
  run --separate-stderr bounded env LD_PRELOAD="$LIB" \
    SKPRELOAD_CONF=mode:pass,verbose:on "$PROGS/deepbind"
  assert_success
  refute_regex "$stderr" DEEPBIND
}

@test "php loads its extensions as on glibc" {
  requires php
  # The warning of the test before goes to stderr.
  same_on_both sh -c 'php -m 2>/dev/null'
  assert_success
  assert_served php
}

@test "a program that brings its own malloc keeps it" {
  on_shim SKPRELOAD_VERBOSE=1 "$PROGS/own_malloc"
  assert_success
  assert_line "ours, 0 of others"
  stands_down "the program brings its own malloc"
  assert_passed own_malloc
}

@test "a program at a fixed address that takes malloc's address is served" {
  # Its malloc has an address in the program then, and no definition there.
  build takes_malloc -O1 -fno-pie -no-pie -fno-builtin <<'C'
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
extern char etext[];
void *(*volatile take)(size_t);
int main(void)
{
    take = malloc;
    printf("%d %zu\n", (char *)take < etext, malloc_usable_size(take(25)));
    return 0;
}
C
  on_shim "$BATS_TEST_TMPDIR/takes_malloc"
  assert_success
  assert_output "1 32"
  assert_served takes_malloc
}

@test "blocks of libc's own malloc are resized and freed by libc" {
  on_shim "$PROGS/foreign" libc
  assert_success
  assert_output ok
}

@test "pointers that nobody handed out are libc's to judge, as without us" {
  local what
  for what in stack mmap static; do
    same_on_both "$PROGS/foreign" $what
    assert_equal "$status" 134
    assert_output "free(): invalid pointer"
  done
}

@test "a program's handler of SIGABRT is told before the end" {
  local how
  for how in "" blocked; do
    # shellcheck disable=SC2086
    on_shim "$PROGS/abort_handler" $how
    [ "$status" -eq 134 ]
    assert_line handled
    assert_line --regexp "was never handed out"
  done
}

# misuse WHAT: runs it, and leaves the pointer in $bad.
misuse() {
  on_shim "$PROGS/misuse" "$1"
  bad=$(grep -o '^0x[0-9a-f]*$' <<<"$output")
  [ -n "$bad" ]
}

@test "a free inside a unit is named with its heap, and aborts" {
  local what
  for what in interior unaligned; do
    misuse $what
    assert_equal "$status" 134
    assert_line --regexp "^skpreload\[[0-9]+\]: free\(\): not the start of \
a unit: $bad \(heap malloc-64\)$"
  done
}

@test "a second free is named with its heap, and aborts" {
  misuse twice
  assert_equal "$status" 134
  assert_line --regexp "^skpreload\[[0-9]+\]: free\(\): freed twice: $bad \
\(heap malloc-64\)$"
}

@test "a pointer of the region that was never handed out is named" {
  misuse never
  assert_equal "$status" 134
  assert_line --regexp \
    "^skpreload\[[0-9]+\]: free\(\): $bad was never handed out$"
  misuse usable
  assert_equal "$status" 134
  assert_line --regexp "malloc_usable_size\(\): $bad was never handed out$"
  misuse realloc
  assert_equal "$status" 134
  assert_line --regexp "realloc\(\).*: $bad was never handed out$"
}

@test "a program that calls another allocator by name gets it alone" {
  local jemalloc
  jemalloc=$(ls /usr/lib/*/libjemalloc.so.2 2>/dev/null) ||
    skip "needs libjemalloc2"
  build uses_jemalloc "$jemalloc" <<'C'
#include <stdlib.h>
void sdallocx(void *p, size_t size, int flags);
int main(void)
{
    for (size_t size = 1; size < 100000; size += 7)
        sdallocx(malloc(size), size, 0);
    return 0;
}
C
  on_shim SKPRELOAD_VERBOSE=1 "$BATS_TEST_TMPDIR/uses_jemalloc"
  assert_success
  stands_down "the program calls another allocator by its own names"
}

@test "a next malloc that lacks its free, calloc or realloc is left alone" {
  local lacks
  for lacks in nothing free calloc realloc; do
    build "$lacks.so" -shared -fPIC -D"no_$lacks" <<'C'
#include <stddef.h>
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);
void *malloc(size_t bytes) { return __libc_malloc(bytes); }
#ifndef no_calloc
void *calloc(size_t n, size_t bytes) { return __libc_calloc(n, bytes); }
#endif
#ifndef no_realloc
void *realloc(void *p, size_t bytes) { return __libc_realloc(p, bytes); }
#endif
#ifndef no_free
void free(void *p) { __libc_free(p); }
#endif
C
    AFTER=$BATS_TEST_TMPDIR/$lacks.so on_shim SKPRELOAD_VERBOSE=1 \
      "$PROGS/first_malloc"
    assert_success
    if [ "$lacks" = nothing ]; then
      assert_served first_malloc
    else
      stands_down "the next malloc and free belong to different libraries"
      assert_passed first_malloc
    fi
    rm -rf "$REPORTS"
  done
}

@test "a program linked with another allocator runs" {
  local other
  for other in jemalloc.so.2 tcmalloc_minimal.so.4 mimalloc.so.2; do
    other=$(ls /usr/lib/*/lib$other 2>/dev/null) || continue
    cc -o "$BATS_TEST_TMPDIR/linked" -pthread -Wl,--no-as-needed \
      "$TOP/tests/progs/realloc_storm.c" "$other"
    on_shim "$BATS_TEST_TMPDIR/linked"
    assert_success
    assert_output ok
  done
  [ -n "${status-}" ] || skip "needs libjemalloc2, or another allocator"
}

@test "heaptrack records a program on the shim" {
  requires heaptrack
  cd "$BATS_TEST_TMPDIR"
  BOUND=60 on_shim heaptrack -o trace "$PROGS/alignment"
  assert_success
  assert_line ok
}

@test "a program with address sanitizer runs, and finds its own bugs" {
  build overflow -g -fsanitize=address <<'C' || skip "needs libasan"
#include <stdlib.h>
int main(int argc, char **argv)
{
    char *volatile p = malloc(100);

    p[argc > 1 ? 100 : 0] = argv[0][0];
    free(p);
    return 0;
}
C
  # The sanitizer itself refuses to come second, unless told otherwise.
  on_shim ASAN_OPTIONS=verify_asan_link_order=0 SKPRELOAD_VERBOSE=1 \
    "$BATS_TEST_TMPDIR/overflow"
  assert_success
  stands_down "a sanitizer owns malloc in this process"
  on_shim ASAN_OPTIONS=verify_asan_link_order=0 \
    "$BATS_TEST_TMPDIR/overflow" now
  assert_failure
  assert_output --partial "heap-buffer-overflow"
  local asan
  asan=$(readlink -f "$(cc -print-file-name=libasan.so)")
  BEFORE=$asan on_shim "$BATS_TEST_TMPDIR/overflow" now
  assert_failure
  assert_output --partial "heap-buffer-overflow"
}

@test "a program with thread sanitizer runs, and finds its own races" {
  build race -g -fsanitize=thread -pthread <<'C' || skip "needs libtsan"
#include <pthread.h>
#include <stdlib.h>
static int *shared;
static void *race(void *arg) { ++*shared; return arg; }
int main(int argc, char **argv)
{
    pthread_t thread;
    (void)argv;
    shared = calloc(1, sizeof *shared);
    pthread_create(&thread, NULL, race, NULL);
    if (argc > 1)
        race(NULL);
    pthread_join(thread, NULL);
    return 0;
}
C
  # The sanitizer cannot run where addresses are very random (its own limit).
  on_glibc setarch -R "$BATS_TEST_TMPDIR/race"
  assert_success
  on_shim SKPRELOAD_VERBOSE=1 setarch -R "$BATS_TEST_TMPDIR/race"
  assert_success
  stands_down "a sanitizer owns malloc in this process"
  on_shim setarch -R "$BATS_TEST_TMPDIR/race" now
  assert_failure
  assert_output --partial "data race"
}

@test "valgrind's memcheck sees every block and finds an overflow" {
  requires valgrind
  build overflow -g <<'C'
#include <stdlib.h>
int main(void)
{
    char *volatile p = malloc(100);

    p[100] = 1;
    free(p);
    return malloc(7) == NULL;
}
C
  BOUND=100 on_shim SKPRELOAD_VERBOSE=1 valgrind --leak-check=full \
    "$BATS_TEST_TMPDIR/overflow"
  assert_success
  assert_output --partial "Invalid write of size 1"
  assert_output --partial "7 bytes in 1 blocks are definitely lost"
  stands_down "a valgrind tool replaces malloc in this process"
}

@test "a name of valgrind's in another variable is no valgrind" {
  on_shim OTHER=vgpreload_memcheck-amd64-linux.so "$PROGS/first_malloc"
  assert_success
  assert_line "32 992"
}

@test "valgrind's other tools run on our heaps" {
  requires valgrind
  BOUND=100 on_shim valgrind -q --tool=callgrind \
    --callgrind-out-file=/dev/null "$PROGS/first_malloc"
  assert_success
  assert_line "32 992"
}
