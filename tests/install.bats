#!/usr/bin/env bats
# Can a stranger use the installed library, and does the shim's copy win?

setup_file() {
  TOP=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
  export ROOT=$BATS_FILE_TMPDIR/root
  make -s -C "$TOP" install DESTDIR="$ROOT" PREFIX=/opt/sk
  export PKG_CONFIG_PATH=$ROOT/opt/sk/lib/pkgconfig
  export PKG_CONFIG_SYSROOT_DIR=$ROOT
}

setup() {
  load helpers
  cd "$BATS_TEST_TMPDIR" || return
}

# A program in C and in C++ alike: 1000 units, a queue, the 2007 names.
write_consumer() {
  cat >"$1" <<'END'
#include <server_heap.h>
#include <sk_queue.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    server_heap_t *heap = server_heap_new("consumer", 64, 32, 1000,
                                          SERVER_HEAP_GROW_EXPONENTIALLY |
                                          SERVER_HEAP_SHRINK);
    sk_queue *queue = sk_queue_new("consumer's queue", 0);
    void *block = malloc(100);
    int got = 0;

    for (int i = 0; i < 1000; i++) {
        void *unit = server_heap_unit_allocate(heap);
        server_heap_unit_ref(unit);
        sk_queue_put(queue, unit);
        server_heap_unit_unref(unit);
    }
    if (server_heap_unit_allocate(heap))
        return 2;
    if (getenv("LEAVE"))
        return 0;
    for (void *unit; (unit = sk_queue_try_get(queue)); got++)
        server_heap_unit_unref(unit);
    free(block);
    printf("%d units, %ld left\n", got, sk_heap_destroy(heap, 0));
    return 0;
}
END
}

# flags OPTION...: what pkg-config says, as words.
flags() {
  local words
  read -ra words < <(pkg-config "$@" skheap)
  printf '%s\n' "${words[@]}"
}

build() {
  local compiler=$1 source=$2
  shift 2
  mapfile -t words < <(flags --cflags --libs)
  run "$compiler" "$@" -Wall -Wextra -Wpedantic -Werror -o consumer "$source" \
    "${words[@]}" -Wl,-rpath,"$ROOT/opt/sk/lib"
  assert_success
}

@test "a C program outside the tree builds with pkg-config and runs" {
  requires pkg-config cc
  write_consumer consumer.c
  build cc consumer.c -std=c11
  run ./consumer
  assert_output "1000 units, 0 left"
}

@test "a C++ program outside the tree builds with pkg-config and runs" {
  requires pkg-config c++
  write_consumer consumer.cc
  build c++ consumer.cc -std=c++17
  run ./consumer
  assert_output "1000 units, 0 left"
}

@test "a program can take the static library" {
  requires pkg-config cc
  write_consumer consumer.c
  run cc -o consumer consumer.c -I"$ROOT/opt/sk/include" \
    "$ROOT/opt/sk/lib/libskheap.a" -pthread
  assert_success
  run ./consumer
  assert_output "1000 units, 0 left"
}

@test "a C++ program can take the static library" {
  requires c++
  write_consumer consumer.cc
  run c++ -std=c++17 -Wall -Wextra -Werror -o consumer consumer.cc \
    -I"$ROOT/opt/sk/include" "$ROOT/opt/sk/lib/libskheap.a" -pthread
  assert_success
  run ./consumer
  assert_output "1000 units, 0 left"
}

write_follower() {
  cat >follower.c <<'END'
#include <sk_queue.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static sk_queue *queue;
static int count(sk_heap *heap, void *to)
{
    (void)heap;
    ++*(int *)to;
    return 0;
}
static void *consume(void *none)
{
    void *unit;
    while ((unit = sk_queue_get(queue)))
        sk_heap_unit_unref(unit);
    return none;
}
/* One for each region, its units. */
static long huge_maps(void)
{
    char line[512];
    unsigned long from, to;
    long huge = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx ---p", &from, &to) == 2 &&
            strstr(line, " ---p ") && to - from > (4ul << 30))
            huge++;
    fclose(maps);
    return huge;
}
int main(int argc, char **argv)
{
    sk_heap *heap = sk_heap_new("follower", 100, 10, 1000, 0);
    struct sk_heap_info info;
    int heaps = 0, status;
    void *stray = NULL;
    pthread_t id;
    (void)argv;
    queue = sk_queue_new("inbox", 50);
    pthread_create(&id, NULL, consume, NULL);
    for (int i = 0; i < 20000; i++) {
        void *unit = sk_heap_unit_allocate(heap);
        while (!unit)
            unit = sk_heap_unit_allocate(heap);
        sk_queue_put(queue, sk_heap_unit_ref(unit));
        sk_heap_unit_unref(unit);
    }
    sk_queue_close(queue);
    pthread_join(id, NULL);
    sk_heap_each(count, &heaps);
    if (fork() == 0)
        _exit(sk_heap_of_unit(sk_heap_unit_allocate(heap)) != heap);
    wait(&status);
    sk_heap_read(heap, &info);
    printf("%d heaps, %ld maps, %ld got, %ld live, child %d, left %ld\n",
           heaps, huge_maps(), (long)info.allocations, (long)info.live_units,
           status, sk_queue_destroy(queue));
    sk_heap_trim(heap);
    fflush(stdout);
    if (argc > 1)
        sk_heap_unit_unref(&stray);
    if (getenv("LEAVE"))
        return 0;
    return sk_heap_destroy(heap, 0) != 0;
}
END
}

@test "preloaded, a program that has the static library in it follows the shim's" {
  requires cc jq
  write_follower
  local expected="3 heaps, 1 maps, 20000 got, 0 live, child 0, left 0" how
  for how in "" -O2 -no-pie -rdynamic "-O2 -DSK_HEAP_NO_INLINE"; do
    # shellcheck disable=SC2086
    run cc $how -o follower follower.c -I"$ROOT/opt/sk/include" \
      "$ROOT/opt/sk/lib/libskheap.a" -pthread
    assert_success
    run ./follower
    assert_success
    assert_output "$expected"
    run env LEAVE=1 LD_PRELOAD="$LIB" SKPRELOAD_STATS=report.json ./follower
    assert_success
    assert_output "$expected"
    run jq -r '.heaps[] | select(.label == "follower") | .allocations' \
      report.json
    assert_output 20000
    run env LD_PRELOAD="$LIB" ./follower stray
    assert_equal "$status" 134
    assert_output --partial "is no unit of any heap"
  done
}

@test "preloaded, a copy of the library that was opened privately follows, too" {
  requires cc
  write_follower
  sed -i 's/^int main(/int run(/' follower.c
  run cc -O2 -shared -fPIC -o plugin.so follower.c -I"$ROOT/opt/sk/include" \
    "$ROOT/opt/sk/lib/libskheap.a" -Wl,-Bsymbolic -pthread
  assert_success
  cat >host.c <<'END'
#include <dlfcn.h>
int main(void)
{
    void *plugin = dlopen("./plugin.so", RTLD_NOW | RTLD_LOCAL);
    int (*run)(int, char **) = (int (*)(int, char **))dlsym(plugin, "run");
    return run(1, 0);
}
END
  run cc -o host host.c
  assert_success
  local expected="3 heaps, 1 maps, 20000 got, 0 live, child 0, left 0"
  run ./host
  assert_output "$expected"
  run env LD_PRELOAD="$LIB" ./host
  assert_output "$expected"
}

@test "a static program can take the static library" {
  requires cc
  write_follower
  run cc -static -o follower follower.c -I"$ROOT/opt/sk/include" \
    "$ROOT/opt/sk/lib/libskheap.a" -pthread
  assert_success
  refute_output
  run ./follower
  assert_output "3 heaps, 1 maps, 20000 got, 0 live, child 0, left 0"
}

@test "the library has a soname, versioned names and no others" {
  local lib=$ROOT/opt/sk/lib/libskheap.so.1
  run readelf -dW "$lib"
  assert_output --partial "soname: [libskheap.so.1]"
  run bash -c "nm -D --defined-only '$lib' | awk '\$2 != \"A\" { print \$3 }'"
  assert_success
  refute_line --regexp '^sk_(state|region|chunk|class|os|say|config|stats)_'
  local name
  for name in "${lines[@]}"; do
    [[ $name == sk_heap_*@@SKHEAP_1 || $name == sk_queue_*@@SKHEAP_1 ]] ||
      fail "exports $name"
  done
}

@test "preloaded, a program that links the library has one region" {
  requires pkg-config cc
  write_consumer consumer.c
  build cc consumer.c
  run env LD_PRELOAD="$LIB" ./consumer
  assert_output "1000 units, 0 left"
  # Both are mapped, one reserved.  The reservation is most of VmSize.
  cat >size.c <<'END'
#include <sk_heap.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
    char line[512];
    unsigned long from, to;
    int huge = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    sk_heap_unit_allocate(sk_heap_new("x", 8, 8, 8, 0));
    rewind(maps);
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx ---p", &from, &to) == 2 &&
            strstr(line, " ---p ") && to - from > (4ul << 30))
            huge++;
    printf("%d\n", huge);
    return 0;
}
END
  build cc size.c
  run ./consumer
  local alone=$output
  run env LD_PRELOAD="$LIB" ./consumer
  assert_output "$alone"
}

@test "preloaded, one report has the program's heaps beside malloc's" {
  requires pkg-config cc jq
  write_consumer consumer.c
  build cc consumer.c
  run env LEAVE=1 LD_PRELOAD="$LIB" SKPRELOAD_STATS=report.json ./consumer
  assert_success
  run jq -r '.heaps[] | select(.label == "consumer") |
    "\(.allocations) \(.in_use)"' report.json
  assert_output "1000 1000"
  run jq -r '[.heaps[] | select(.label == "malloc-112")] | length' report.json
  assert_output 1
}

@test "free() of a unit names its heap and aborts" {
  requires pkg-config cc
  cat >broken.c <<'END'
#include <sk_heap.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    sk_heap *heap = sk_heap_new("precious", 64, 8, 8, 0);
    void *unit = sk_heap_unit_allocate(heap);
    (void)argv;
    if (argc > 1)
        return realloc(unit, 500) != NULL;
    free(unit);
    return 0;
}
END
  build cc broken.c
  local said="is a unit of heap 'precious', freed by"
  run env LD_PRELOAD="$LIB" ./consumer
  assert_equal "$status" 134
  assert_output --regexp "free\(\): 0x[0-9a-f]+ $said sk_heap_unit_unref"
  run env LD_PRELOAD="$LIB" ./consumer realloc
  assert_equal "$status" 134
  assert_output --regexp "realloc.*\(\): 0x[0-9a-f]+ $said"
}

@test "uninstall takes away what install put there" {
  local there=$BATS_TEST_TMPDIR/there
  make -s -C "$TOP" install DESTDIR="$there" PREFIX=/usr LIBDIR=/usr/lib64 \
    INCLUDEDIR=/usr/include/sk MANDIR=/usr/man
  assert [ -e "$there/usr/lib64/libskheap.so.1" ]
  assert [ -e "$there/usr/lib64/libskpreload.so" ]
  assert [ -e "$there/usr/include/sk/sk_heap.h" ]
  assert [ -e "$there/usr/man/man3/sk_heap.3" ]
  make -s -C "$TOP" uninstall DESTDIR="$there" PREFIX=/usr LIBDIR=/usr/lib64 \
    INCLUDEDIR=/usr/include/sk MANDIR=/usr/man
  run find "$there" -type f -o -type l
  assert_output ""
}

# finds LIBRARY: do the installed skrun and skab find this one?
finds() {
  assert_equal "$(there/usr/bin/skrun printenv LD_PRELOAD)" "$1"
  assert_equal "$(bash -c 'SKAB_HOME=$(readlink -f there/usr/bin)
    eval "$(grep -E "^(bindir|libdir)=" there/usr/bin/skab)"
    shim=; . there/usr/lib/skpreload/skab/arms.sh; find_shim')" "$1"
}

@test "a library in use is replaced at once, never written to in its place" {
  requires strace
  make -s -C "$TOP" install DESTDIR="$PWD/there" PREFIX=/usr
  run strace -f -qq -o calls -e trace=openat,rename,renameat,renameat2 \
    make -s -C "$TOP" install DESTDIR="$PWD/there" PREFIX=/usr
  assert_success
  run grep -E 'libsk(preload\.so|heap\.so\.1)", O_WRONLY' calls
  assert_output ''
  run grep -oE 'libsk(preload\.so|heap\.so\.1|heap\.a)"[^"]* = 0$' calls
  assert_output 'libskpreload.so") = 0
libskheap.so.1") = 0
libskheap.a") = 0'
  assert_equal "$(find there/usr/lib there/usr/bin -name '.*')" ''
}

@test "skrun and skab find the library wherever LIBDIR is" {
  local dir
  for dir in /usr/lib/x86_64-linux-gnu /usr/lib64 /opt/of/its/own \
    /usr/local/lib; do
    rm -rf there
    make -s -C "$TOP" install DESTDIR="$PWD/there" PREFIX=/usr LIBDIR="$dir"
    finds "$PWD/there$dir/libskpreload.so"
  done
}

@test "an installed skrun and skab find a LIBDIR without a DESTDIR, too" {
  make -s -C "$TOP" install PREFIX="$PWD/there/usr" LIBDIR="$PWD/elsewhere"
  finds "$PWD/elsewhere/libskpreload.so"
}

@test "blanks in DESTDIR are part of it, when installing and when removing" {
  mkdir -p kept there
  echo mine >kept/file
  make -s -C "$TOP" install DESTDIR="$PWD/kept $PWD/there" PREFIX=/usr
  assert [ -x "$PWD/kept $PWD/there/usr/bin/skab" ]
  make -s -C "$TOP" uninstall DESTDIR="$PWD/kept $PWD/there" PREFIX=/usr
  run find "$PWD/kept $PWD/there" -type f -o -type l
  assert_output ""
  assert [ -s kept/file ]
}

@test "the manual pages are clean" {
  requires mandoc
  cd "$TOP"
  local page
  for page in man/sk_heap.3 man/sk_queue.3 man/libskpreload.7; do
    run mandoc -T lint -W warning "$page"
    assert_success
    assert_output ""
  done
}
