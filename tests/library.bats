#!/usr/bin/env bats
# Does the library by itself, without the shim, say what is wrong and obey the
# options?

load helpers

setup_file() {
  cd "$BATS_FILE_TMPDIR" || return
  write_alone
  cc -O2 -o shared alone.c -I"$TOP/core" -L"$TOP/build" -lskheap \
    -Wl,-rpath,"$TOP/build" -pthread
  cc -O2 -o static alone.c -I"$TOP/core" "$TOP/build/libskheap.a" -pthread
}

# A program for all of this: alone [crowd | stray | late FILE | twice].
write_alone() {
  cat >alone.c <<'END'
#include <sk_heap.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_barrier_t barrier;
static int on_stack;

static void *make(void *none)
{
    pthread_barrier_wait(&barrier);
    sk_heap_unit_allocate(sk_heap_new("first", 8, 8, 8, 0));
    return none;
}

static void crowd(void)
{
    pthread_t ids[16];

    pthread_barrier_init(&barrier, NULL, 16);
    for (int i = 0; i < 16; i++)
        pthread_create(&ids[i], NULL, make, NULL);
    for (int i = 0; i < 16; i++)
        pthread_join(ids[i], NULL);
}

/* GiB of address space that are reserved, MiB of units that are to be had. */
static void measure(sk_heap *heap)
{
    unsigned long from, to, reserved = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    int units = 0;

    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx ---p", &from, &to) == 2 &&
            strstr(line, " ---p ") && to - from > reserved)
            reserved = to - from;
    fclose(maps);
    while (units < 64 * 1024 && sk_heap_unit_allocate(heap))
        units++;
    printf("%lu GiB, %d MiB\n", (reserved + (1ul << 29)) >> 30, units >> 10);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    sk_heap *heap;
    void *unit;

    if (strcmp(what, "crowd") == 0)
        crowd();
    if (strcmp(what, "stray") == 0)
        sk_heap_unit_unref(&on_stack);
    if (strcmp(what, "late") == 0) {
        close(2);
        open(argv[2], O_WRONLY | O_CREAT, 0600);
    }
    heap = sk_heap_new("precious", 1000, 64, 0, SK_HEAP_UNLIMITED);
    unit = sk_heap_unit_allocate(heap);
    if (strcmp(what, "twice") == 0 || strcmp(what, "late") == 0) {
        sk_heap_unit_unref(unit);
        sk_heap_unit_unref(unit);
    }
    measure(heap);
    return 0;
}
END
}

setup() {
  cd "$BATS_FILE_TMPDIR" || return
}

# Strict: jq alone would put other characters in place of bytes that are none.
assert_json() {
  run iconv -f UTF-8 -t UTF-8 "$1"
  assert_success
  run jq -c "$2" "$1"
  assert_success
}

# alone [-127] [VAR=VALUE]... PROGRAM [WORD]...: runs it with these options;
# $said is what was said, without the process id.
alone() {
  local -a wanted=()
  if [ "$1" = -127 ]; then
    wanted=("$1")
    shift
  fi
  echo "\$ $*"
  run "${wanted[@]}" --separate-stderr timeout 60 env "$@"
  said=$(sed -E 's/^skpreload\[[0-9]+\]: //' <<<"$stderr")
  echo "$stderr"
}

@test "a unit freed twice is named, and the program ends by SIGABRT" {
  local how
  for how in ./shared ./static; do
    alone "$how" twice
    assert_equal "$status" 134
    assert_regex "$said" \
      "^sk_heap_unit_unref\(\): 0x[0-9a-f]+ is free \(heap 'precious'\)$"
    alone "$how" stray
    assert_equal "$status" 134
    assert_regex "$said" \
      '^sk_heap_unit_unref\(\): 0x[0-9a-f]+ is no unit of any heap$'
  done
}

@test "nothing is written to a file that took stderr's place" {
  local how
  for how in ./shared ./static; do
    rm -f data
    alone "$how" late data
    assert_equal "$status" 134
    assert [ -e data ]
    assert [ ! -s data ]
  done
}

@test "limit and reserve hold for the library alone" {
  local how
  for how in ./shared ./static; do
    alone "$how"
    assert_success
    assert_output "64 GiB, 64 MiB"
    assert_equal "$said" ""
    alone SKPRELOAD_CONF=limit:8M,reserve:2G "$how"
    assert_success
    assert_output "2 GiB, 7 MiB"
    assert_equal "$said" ""
  done
}

@test "what is the shim's alone changes nothing" {
  local options=mode:off,max_small:0,max_grown:0,verbose:1,stats:report
  alone SKPRELOAD_CONF=$options,reserve:0 ./shared
  assert_success
  assert_output "64 GiB, 64 MiB"
  assert_equal "$said" ""
  assert [ ! -e report ]
}

@test "an option in error is named once, and the program goes on" {
  local how words
  for how in ./shared ./static; do
    for words in "" crowd; do
      # shellcheck disable=SC2086
      alone SKPRELOAD_CONF=bogus:1,limit:8M "$how" $words
      assert_success
      # Less where 16 heaps hold some.
      assert_output --regexp "^64 GiB, [67] MiB$"
      assert_equal "$said" "option 'bogus' unknown, did you mean 'mode'? \
(SKPRELOAD_CONF, char 1)
1 option ignored, running with defaults; strict:1 would stop here"
    done
  done
}

@test "with strict it ends the program at its first heap" {
  local how
  for how in "./shared" "./static" "./static crowd"; do
    # shellcheck disable=SC2086
    alone -127 SKPRELOAD_CONF=strict:1,limit:x $how
    assert_output ""
    assert_equal "$said" "option 'limit': value 'x' is not within 0..1T, \
using 1T (SKPRELOAD_CONF, char 10)
1 option ignored, running with defaults; strict:1 stops here"
  done
}

# Where nobody may run it.
secure_program() {
  [ "$(id -u)" -eq 0 ] || skip "needs root, to make a setuid program"
  requires setpriv
  dir=$(mktemp -d)
  chmod 755 "$dir"
  cp static "$dir"
}

teardown() {
  [ -z "${dir-}" ] || rm -rf "$dir"
}

@test "a setuid program obeys none and says nothing of them" {
  secure_program
  local nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  alone SKPRELOAD_CONF=limit:8M,bogus:1 "${nobody[@]}" "$dir/static"
  assert_output "64 GiB, 7 MiB"
  assert_not_equal "$said" ""
  chmod 4755 "$dir/static"
  alone SKPRELOAD_CONF=limit:8M,bogus:1,strict:1 "${nobody[@]}" "$dir/static"
  assert_success
  assert_output "64 GiB, 64 MiB"
  assert_equal "$said" ""
}

@test "preloaded, the shim's start reads the options, and nobody again" {
  local how
  for how in ./shared ./static; do
    alone LD_PRELOAD="$LIB" SKPRELOAD_CONF=bogus:1,reserve:2G "$how" crowd
    assert_success
    assert_output "2 GiB, 64 MiB"
    assert_equal "$said" "option 'bogus' unknown, did you mean 'mode'? \
(SKPRELOAD_CONF, char 1)
1 option ignored, running with defaults; strict:1 would stop here"
    alone LD_PRELOAD="$LIB" SKPRELOAD_CONF=mode:pass,limit:8M,bogus:1 "$how"
    assert_success
    assert_output "64 GiB, 7 MiB"
    assert_equal "$(wc -l <<<"$said")" 2
  done
}

# Such a library may be initialized before the shim is, and call malloc later.
@test "preloaded, a constructor's heap may be the first of all calls" {
  cat >early.c <<'END'
#include <sk_heap.h>
__attribute__((constructor)) static void early(void)
{
    sk_heap_unit_allocate(sk_heap_new("early", 8, 8, 8, 0));
}
END
  cc -shared -fPIC -o libearly.so early.c -I"$TOP/core" -L"$TOP/build" \
    -lskheap -Wl,-rpath,"$TOP/build"
  cc -o early alone.c -I"$TOP/core" -Wl,--no-as-needed ./libearly.so \
    -L"$TOP/build" -lskheap -Wl,-rpath,"$TOP/build" -pthread
  alone SKPRELOAD_CONF=reserve:2G ./early
  assert_success
  assert_output "2 GiB, 64 MiB"
  alone LD_PRELOAD="$LIB" SKPRELOAD_CONF=reserve:2G,bogus:1 ./early
  assert_success
  assert_output "2 GiB, 64 MiB"
  assert_equal "$(wc -l <<<"$said")" 2
}

# The static library's code is in the plugin.
write_plugin() {
  cat >plugin.c <<'END'
#include <sk_heap.h>
static sk_heap *heap;
__attribute__((visibility("default"))) int use(void)
{
    int is_new = !heap;

    if (is_new)
        heap = sk_heap_new("plugin", 8, 8, 8, 0);
    sk_heap_unit_unref(sk_heap_unit_allocate(heap));
    return is_new;
}
END
  cat >host.c <<'END'
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *plugin;

static int use(void)
{
    plugin = dlopen("./plugin.so", RTLD_NOW);
    if (!plugin)
        exit(2);
    return ((int (*)(void))dlsym(plugin, "use"))();
}

static void *close_and_end(void *none)
{
    if (use() != 1 || dlclose(plugin) != 0)
        exit(3);
    return none;
}

int main(void)
{
    pthread_t id;

    pthread_create(&id, NULL, close_and_end, NULL);
    pthread_join(id, NULL);
    printf("used again: %d\n", use());
    return 0;
}
END
  cc -shared -fPIC -o plugin.so plugin.c -I"$TOP/core" \
    "$TOP/build/libskheap.a" -pthread
  cc -o host host.c -pthread -ldl
}

@test "a plugin with heaps may be closed before a thread that used it ends" {
  write_plugin
  alone ./host
  assert_success
  assert_output "used again: 0"
  alone LD_PRELOAD="$LIB" ./host
  assert_success
}

@test "preloaded, a visitor may leave by an exception or its thread's end" {
  requires g++
  cat >leave.cc <<'END'
#include <pthread.h>
#include <sk_heap.h>
#include <stdio.h>
static int by_exception(sk_heap *, void *) { throw 1; }
static int by_end(sk_heap *, void *) { pthread_exit(nullptr); }
static void *visit(void *)
{
    sk_heap_each(by_end, nullptr);
    puts("went on");
    return nullptr;
}
int main()
{
    int caught = 0;
    sk_heap_new("first", 8, 8, 8, 0);
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        try {
            sk_heap_each(by_exception, nullptr);
        } catch (int one) {
            caught += one;
        }
        pthread_create(&thread, nullptr, visit, nullptr);
        pthread_join(thread, nullptr);
    }
    printf("caught %d, then %s\n", caught,
           sk_heap_new("last", 8, 8, 8, 0) ? "a heap" : "none");
}
END
  g++ -o leave leave.cc -I"$TOP/core" -L"$TOP/build" -lskheap \
    -Wl,-rpath,"$TOP/build" -pthread
  alone timeout 20 ./leave
  assert_output "caught 2, then a heap"
  alone LD_PRELOAD="$LIB" timeout 20 ./leave
  assert_output "caught 2, then a heap"
}

@test "reports are sound JSON, whatever is in labels and in a program's name" {
  requires jq iconv
  cat >named.c <<'END'
#include <sk_queue.h>
#include <stdio.h>
int main(void)
{
    /* 31 bytes end within the 16th. */
    sk_heap *heap = sk_heap_new("\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"
                                "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9",
                                8, 8, 8, 0);
    sk_heap_unit_allocate(heap);
    sk_queue_new("M\374nchen", 0);
    if (freopen("heaps", "w", stdout))
        sk_heap_report(NULL, 1, SK_HEAP_JSON);
    if (freopen("queues", "w", stdout))
        sk_queue_report(NULL, 1, SK_HEAP_JSON);
    return 0;
}
END
  local name=$'M\374nchen' label=ééééééééééééééé
  cc -o "$name" named.c -I"$TOP/core" "$TOP/build/libskheap.a" -pthread
  alone LD_PRELOAD="$LIB" SKPRELOAD_STATS=stats "./$name"
  assert_success
  assert_json heaps '.heaps | map(.label)'
  assert_output "[\"sk_queue\",\"M_nchen\",\"$label\"]"
  assert_json queues '.queues[].label'
  assert_output '"M_nchen"'
  assert_json stats "[.program, (.heaps[].label | select(. == \"$label\"))]"
  assert_output "[\"M_nchen\",\"$label\"]"
}
