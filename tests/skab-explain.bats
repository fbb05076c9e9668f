#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031  # bats: output is each test's own
# Does skab --explain count what it says it counts?

load helpers

PARTS=$TOP/scripts/lib/skab

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  export work=.
}

# parts FUNCTION ARG...: a function of explain.sh
parts() {
  bash -c '. "$1/explain.sh"; "${@:2}"' - "$PARTS" "$@"
}

@test "a futex belongs to whom its word belongs to" {
  cat >maps <<'MAPS'
55aa86c5a000-55aa86c5b000 rw-p 00008000 fe:00 1  /usr/sbin/server
55aa86c5b000-55aa86c70000 rw-p 00000000 00:00 0
55aa87027000-55aa87048000 rw-p 00000000 00:00 0  [heap]
7fb386664000-7fb386666000 rw-p 001d3000 fe:00 2  /usr/lib/x/libc.so.6
7fb386666000-7fb386673000 rw-p 00000000 00:00 0
7fb386697000-7fb386698000 rw-p 00016000 fe:00 3  /opt/libskpreload.so
7fb386698000-7fb386711000 rw-p 00000000 00:00 0
MAPS
  cat >futex.txt <<'CALLS'
101 futex(0x7fb386665010, FUTEX_WAIT_PRIVATE, 2, NULL) = 0
102 futex(0x7fb386670000, FUTEX_WAKE_PRIVATE, 1) = 1
101 futex(0x7fb374000020, FUTEX_WAIT_PRIVATE, 2, NULL <unfinished ...>
101 <... futex resumed>) = 0
102 futex(0x7fb386697010, FUTEX_WAIT_PRIVATE, 2, NULL) = 0
102 futex(0x7fb3866ef3e0, FUTEX_WAKE_PRIVATE, 1) = 0
103 futex(0x55aa86c5b248, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL) = 0
103 futex(0x55aa87027748, FUTEX_WAKE_PRIVATE, 1) = 0
103 futex(0x7fb37400a020, FUTEX_LOCK_PI, 2, NULL) = 0
CALLS
  run parts futex_classes /opt/libskpreload.so
  # libc: data, bss, the head of the arena at 7fb374000000 (64 MiB aligned)
  assert_output '{"ours":{"calls":2,"waits":1},"libc":{"calls":3,"waits":2},'`
    `'"other":{"calls":3,"waits":2}}'
}

@test "without a shim no futex is the shim's" {
  echo "7fb386698000-7fb386711000 rw-p 00000000 00:00 0" >maps
  echo "1 futex(0x7fb3866ef3e0, FUTEX_WAIT_PRIVATE, 2, NULL) = 0" >futex.txt
  run parts futex_classes ''
  assert_output '{"ours":{"calls":0,"waits":0},"libc":{"calls":0,"waits":0},'`
    `'"other":{"calls":1,"waits":1}}'
}

# counters: "INDEX VALUE" lines on stdin become the file of skab-clock.so
counters() {
  perl -e '@n = (0) x 644; /(\d+) (\d+)/ && ($n[$1] = $2) while <>;
    print pack "Q<644", @n' >clock
}

@test "quantiles come from the middle of their bucket" {
  # malloc: 9890 calls of 5 ns, 100 in the bucket from 96 ns (8 + 4 << 3),
  # 10 in the one from 1024 ns (8 << 7); 3 blocked
  counters <<<'0 10000
1 3
7 9890
38 100
66 10'
  run parts clock_times
  assert_output '{"malloc":{"sampled":10000,"blocked_percent":0.030,'`
    `'"p50_ns":5,"p99_ns":100,"p999_ns":100},"free":null}'
}

# clock_in PROGRAM PRELOADED: runs it behind the clock, and prints the figures
clock_in() {
  gcc -O1 -shared -fPIC -fno-builtin -ftls-model=initial-exec \
    -o skab-clock.so "$PARTS/clock.c"
  head -c 5152 /dev/zero >clock
  env SKAB_CLOCK=clock SKPRELOAD_STATS=report.json \
    LD_PRELOAD="$PWD/skab-clock.so$2" "./$1" || return
  parts clock_times
}

# clocked PRELOADED: 4 threads of 50000 pairs, and a child that does as much
clocked() {
  gcc -x c -O1 -fno-builtin -o pairs - -pthread <<'C'
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void *pairs(void *x)
{
    for (int i = 0; i < 50000; i++) {
        char *p = malloc(1 + i % 500);
        p[0] = 1;
        free(p);
    }
    return x;
}
int main(void)
{
    pthread_t t[4];
    pid_t child = fork();
    int status = 0;
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], 0, pairs, 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], 0);
    return child ? waitpid(child, &status, 0) < 0 || status : 0;
}
C
  clock_in pairs "$1"
}

# clocked_alone PRELOADED: one thread, that calls malloc before the clock runs
clocked_alone() {
  gcc -x c -O1 -shared -fPIC -fno-builtin -o early.so - <<'C'
#include <stdlib.h>
__attribute__((constructor)) static void early(void)
{
    free(malloc(10));
}
C
  gcc -x c -O1 -fno-builtin -o alone - <<'C'
#include <stdlib.h>
int main(void)
{
    for (int i = 0; i < 400000; i++)
        free(malloc(1 + i % 500));
    return 0;
}
C
  clock_in alone "$1:$PWD/early.so"
}

assert_clocked() {
  assert_success
  # 400000 calls, one in 512 on average
  run jq -c '.malloc, .free | [(.sampled > 500 and .sampled < 1200),
    .p50_ns <= .p99_ns, .p99_ns <= .p999_ns]' <<<"$output"
  assert_output $'[true,true,true]\n[true,true,true]'
}

@test "the clock samples glibc's malloc in all threads and children" {
  run clocked ''
  assert_clocked
}

@test "the clock samples a program of one thread that begins early" {
  run clocked_alone ''
  assert_clocked
}

@test "the shim behind the clock serves, it does not stand down" {
  run clocked_alone ":$LIB"
  assert_clocked
  assert_equal "$(jq -r .mode report.json)" on
  assert [ "$(jq '[.heaps[].allocations] | add' report.json)" -gt 400000 ]
}

@test "the clock samples the shim's malloc in all threads and children" {
  run clocked ":$LIB"
  assert_clocked
}
