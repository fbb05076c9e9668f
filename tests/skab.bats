#!/usr/bin/env bats
# Does skab compare what it says it compares, say why when it cannot, and
# leave nothing behind?  No test here asserts a time: see skab-heavy.bats.

load helpers

SKAB=$TOP/scripts/skab
MINDER=$TOP/build/skab-minder
DATA=$BATS_TEST_DIRNAME/data

# One comparison serves the tests that only read its result.  The shim is a
# copy, so that a build beside the tests is no change in the middle.
setup_file() {
  export SHIM=$BATS_FILE_TMPDIR/libskpreload.so
  cp "$LIB" "$SHIM"
  cd "$BATS_FILE_TMPDIR" || return
  local code=0
  SKAB_TEST=whole "$SKAB" --shim "$SHIM" --pass --warmup 1 --pairs 6 \
    --max-repeats 0 --seed 7 -- "${NAP[@]}" >said 2>log 3>&- || code=$?
  echo "$code" >code
}

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  export TMPDIR=$BATS_TEST_TMPDIR/tmp WHOLE=$BATS_FILE_TMPDIR
  mkdir "$TMPDIR"
}

# skab OPTIONS: six pairs of one short arm each, no warm-up.
skab() {
  SKAB_TEST=$BATS_TEST_NAME "$SKAB" --shim "$SHIM" --warmup 0 --pairs 6 \
    --max-repeats 0 "$@"
}

# Something that lasts long enough to be looked at, and needs no CPU.
NAP=(sh -c 'sleep 0.06')

# built NAME FLAGS <<<SOURCE: a program of this test alone.
built() {
  local name=$1
  shift
  gcc -x c -O1 -o "$name" "$@" -
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# Every process of a test carries its directory in the environment (TMPDIR).
left_behind() {
  local file
  for file in /proc/[0-9]*/environ; do
    [[ $file != "/proc/$$/environ" && $file != "/proc/$BASHPID/environ" ]] ||
      continue
    if tr '\0' '\n' 2>/dev/null <"$file" | grep -qx "SKAB_TEST=$1"; then
      tr '\0' ' ' <"${file%environ}cmdline"
      echo
    fi
  done
  ls -A "$TMPDIR"
}

assert_nothing_left() {
  run left_behind "$BATS_TEST_NAME"
  assert_output ""
}

validated() {
  jq -r --slurpfile schema "$DATA/skab-1.schema.json" \
    -f "$DATA/skab-validate.jq" "$1"
}

# --- the whole way -----------------------------------------------------------

@test "a comparison of a command ends with a verdict and a valid ab.json" {
  run cat "$WHOLE/code"
  assert_output --regexp '^[0123]$'
  run cat "$WHOLE/said" "$WHOLE/log"
  assert_line --regexp '^check +preload mapped in .*ok$'
  assert_line --partial "6 blocks, seed 7"
  assert_line --regexp '^VERDICT  '
  run validated "$WHOLE/ab.json"
  assert_output ""
  run left_behind whole
  assert_output ""
}

@test "ab.json holds every arm of every block once, with the proof" {
  run jq -c '[.runs | group_by(.block)[] | map(.arm) | sort | join(" ")]
    | unique' "$WHOLE/ab.json"
  assert_output '["A A2 B P"]'
  run jq -c '[.runs[] | select(.effect.ok | not)] | length' "$WHOLE/ab.json"
  assert_output 0
  run jq -c '[.runs[] | {(.arm): .coverage.modes}] | unique' "$WHOLE/ab.json"
  assert_output \
    '[{"A":null},{"A2":null},{"B":["on"]},{"P":["pass"]}]'
}

# order_of SEED: five shuffles of four arms
order_of() {
  bash -c '. "$1"; RANDOM=$2
    for _ in 1 2 3 4 5; do shuffled 4; echo "${order[*]}"; done' - \
    "$TOP/scripts/lib/skab/plan.sh" "$1"
}

@test "the seed decides the order of the arms, which differs between blocks" {
  local once
  once=$(order_of 11)
  run order_of 11
  assert_output "$once"
  run order_of 12
  refute_output "$once"
  assert [ "$(sort -u <<<"$once" | wc -l)" -gt 1 ]
}

@test "a server is started anew for each run, loaded, and ended" {
  local port
  port=$(free_port)
  run skab --warmup 50ms --ready "tcp:$port" \
    --load "$TOP/build/skserver --connect $port --producers 2 \
--messages 2000 --json" \
    --primary 'rate:higher:"messages_per_s": *([0-9.]+)' \
    -- "$TOP/build/skserver" --listen "$port" --workers 2 --seconds 0
  assert_regex "$status" '^[0123]$'
  assert_line --regexp '^VERDICT  '
  run jq -c '[.runs[].tree[] | select(.name == "skserver").pid]
    | unique | length' ab.json
  assert_output 18
  run validated ab.json
  assert_output ""
  assert_nothing_left
}

@test "a server that becomes a daemon is measured, and ended too" {
  local port
  port=$(free_port)
  run skab --warmup 0 --ready "tcp:$port" \
    --load "$TOP/build/skserver --connect $port --messages 500 --json; exit 7" \
    --primary 'rate:higher:"messages_per_s": *([0-9.]+)' -- sh -c \
    "(setsid $TOP/build/skserver --listen $port --seconds 0 &) ; exit 0"
  assert_failure 69
  assert_line --partial "the load failed (7)"
  assert_line --partial '"messages_per_s"'
  assert_nothing_left
}

@test "glibc against glibc as arm B is never better or worse" {
  run skab --alloc B=glibc -- "${NAP[@]}"
  assert_line --partial "B glibc"
  assert_regex "$status" '^[23]$'
}

@test "a replay says the same again, and writes the report that is asked for" {
  run --separate-stderr "$SKAB" --replay "$WHOLE/ab.json" --json again.json
  assert_equal "$output" "$(<"$WHOLE/said")"
  assert_equal "$status" "$(<"$WHOLE/code")"
  run cmp <(jq .result "$WHOLE/ab.json") <(jq .result again.json)
  assert_success
}

@test "switches are summed over all threads, not read from the first" {
  # the leader of this program waits; its threads hand a byte to and fro
  built pingpong -pthread <<'C'
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static int a[2], b[2];
static void *pong(void *x)
{
    char c;
    for (int i = 0; i < 3000; i++)
        if (read(a[0], &c, 1) != 1 || write(b[1], &c, 1) != 1)
            break;
    pause();
    return x;
}
static void *ping(void *x)
{
    char c = 0;
    for (int i = 0; i < 3000; i++)
        if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1)
            break;
    puts("done");
    fflush(stdout);
    pause();
    return x;
}
int main(void)
{
    pthread_t t[2];
    if (pipe(a) || pipe(b))
        return 1;
    pthread_create(&t[0], 0, pong, 0);
    pthread_create(&t[1], 0, ping, 0);
    return pause();
}
C
  mkfifo ctl
  "$MINDER" -o out -c ctl -- ./pingpong >said 3>&- &
  exec 4>ctl
  for _ in {1..100}; do
    [ ! -s said ] || break
    sleep 0.05
  done
  printf 'mark end\nstop TERM 5\n' >&4
  wait $!
  exec 4>&-
  run jq 'select(.event == "mark") | .tasks == 3 and .voluntary > 2000' out
  assert_output true
}

# --- no proof, no result -----------------------------------------------------

@test "a static binary is refused with exit 4" {
  built still -static <<<'#include <unistd.h>
int main(void) { return usleep(60000); }'
  run skab -- ./still
  assert_failure 4
  assert_line --regexp '^STOP .*no process had libskpreload.so mapped'
  refute_line --regexp '^VERDICT  .*better'
}

@test "a setuid binary is refused with exit 4" {
  [ "$(id -u)" = 0 ] || skip "needs root to make a binary of another user"
  [ ! -e /etc/ld.so.preload ] || skip "something is preloaded everywhere"
  built other <<<'#include <unistd.h>
int main(void) { return usleep(60000); }'
  chmod 755 . "$BATS_TEST_TMPDIR"
  chown nobody other
  chmod 4755 other
  run skab -- ./other
  assert_failure 4
  assert_line --regexp '^STOP .*no process had libskpreload.so mapped'
}

# own_malloc: a program that brings its own, ./own, and lives for 60 ms, or
# until it is killed with the argument "stay".
own_malloc() {
  built own -rdynamic <<'C'
#include <stddef.h>
#include <unistd.h>
static char room[1 << 20];
static size_t used;
void *malloc(size_t n)
{
    used += (n + 15) & ~(size_t)15;
    return room + used - ((n + 15) & ~(size_t)15);
}
void free(void *p) { (void)p; }
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n) { (void)p; return malloc(n); }
int main(int argc, char **argv)
{
    (void)argv;
    return (argc > 1 ? pause() : usleep(60000)) || !malloc(10);
}
C
}

@test "a program with its own malloc is refused with exit 4 and the reason" {
  own_malloc
  run skab -- ./own
  assert_failure 4
  assert_line --regexp '^STOP .*the shim stood aside: .+'
}

@test "a server with its own malloc that leaves no report is refused, too" {
  own_malloc
  touch idle
  run skab --ready '[ ! -e idle ] || { rm idle; false; }' \
    --load 'touch idle; echo 1' --primary 'x:higher:(1)' -- ./own stay
  assert_failure 4
  assert_line --regexp '^STOP .*the program brings its own malloc'
}

@test "mode:pass as the shim's own option is no comparison" {
  run skab --conf mode:pass -- "${NAP[@]}"
  assert_failure 4
  assert_line --regexp '^STOP .*stood aside'
}

@test "a child that drops the preload and does the work is no proof" {
  built busy <<<'int main(void) {
    for (volatile long i = 0; i < 200000000; i++) ; return 0; }'
  run skab -- sh -c 'unset LD_PRELOAD; ./busy'
  assert_failure 4
  assert_line --regexp '^STOP .*busy\[[0-9]+\] used [0-9]+ % of the CPU time'
}

@test "skab that is itself preloaded with the shim is refused" {
  run env LD_PRELOAD="$SHIM" "$SKAB" -- "${NAP[@]}"
  assert_failure 4
  assert_output --partial "LD_PRELOAD already names libskpreload.so"
}

# --- it could not be measured ------------------------------------------------

@test "a server that never gets ready is ended, exit 69" {
  run skab --ready "tcp:$(free_port)" \
    --ready-timeout 1s --load true --primary 'x:higher:(1)' -- sleep 100
  assert_failure 69
  assert_line --partial "the server was not ready after 1 s"
  assert_nothing_left
}

@test "a server that ends before it is ready is quoted, exit 69" {
  run skab --ready "tcp:$(free_port)" --load true --primary 'x:higher:(1)' \
    -- sh -c 'echo no such table; exit 3'
  assert_failure 69
  assert_line --partial "| no such table"
  assert_line --partial "the server ended before it was ready"
}

@test "a port in use is said before anything is measured, exit 69" {
  local port
  port=$(free_port)
  "$TOP/build/skserver" --listen "$port" --seconds 20 >/dev/null 2>&1 3>&- &
  local server=$!
  for _ in {1..100}; do
    (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.05
  done
  run skab --ready "tcp:$port" --load true --primary 'x:higher:(1)' \
    -- sleep 100
  kill "$server"
  assert_failure 69
  assert_line --partial "port in use?"
}

@test "a load that fails is quoted, exit 69, and the server is ended" {
  local port
  port=$(free_port)
  run skab --ready "tcp:$port" --load 'echo refused; exit 5' \
    --primary 'x:higher:(1)' -- "$TOP/build/skserver" --listen "$port" \
    --seconds 0
  assert_failure 69
  assert_line --partial "| refused"
  assert_line --partial "the load failed (5)"
  assert_nothing_left
}

@test "a load without the metric's number is quoted, exit 69" {
  local port
  port=$(free_port)
  run skab --ready "tcp:$port" --load 'echo no figures' \
    --primary 'rps:higher:Requests: ([0-9]+)' \
    -- "$TOP/build/skserver" --listen "$port" --seconds 0
  assert_failure 69
  assert_line --partial "| no figures"
  assert_line --partial "no number for 'rps'"
}

@test "a command that fails is named with its arm, exit 69" {
  run skab -- sh -c 'sleep 0.05; echo broken >&2; exit 9'
  assert_failure 69
  assert_line --partial "the command failed (9) in arm"
}

@test "a library that is rebuilt meanwhile ends the comparison" {
  cp "$SHIM" mine.so
  run skab --shim ./mine.so -- \
    sh -c "sleep 0.06; cp $SHIM new.so; mv new.so mine.so"
  assert_failure 69
  assert_line --partial "a library of an arm was changed"
}

@test "a report that cannot be written is said at once, exit 74" {
  run skab --json missing/ab.json -- "${NAP[@]}"
  assert_failure 74
  assert_output "skab: cannot write missing/ab.json"
}

@test "a full disk costs the report, not the result, exit 74" {
  run "$SKAB" --replay "$WHOLE/ab.json" --json /dev/full
  assert_failure 74
  assert_line --regexp '^VERDICT  '
  assert_line --partial "cannot write /dev/full: no space left"
}

# --- the end in the middle ---------------------------------------------------

# begun FILE: waits until skab is at its second run.
begun() {
  for _ in {1..200}; do
    [ -s "$(echo "$TMPDIR"/skab.*/runs.jsonl)" ] && return
    sleep 0.05
  done
  return 1
}

@test "Ctrl-C keeps what is there and leaves nothing, exit 130" {
  mkfifo ctl
  SKAB_TEST=$BATS_TEST_NAME "$MINDER" -o out -c ctl -w -- \
    "$SKAB" --shim "$SHIM" --warmup 0 -- sh -c 'sleep 0.3' >log 2>&1 3>&- &
  local pid=$!
  exec 4>ctl
  begun
  echo "stop INT 20" >&4
  wait "$pid"
  exec 4>&-
  run jq -c 'select(.event == "end").status' out
  assert_output 130
  run cat log; echo "$output"
  assert_line --partial "interrupted after"
  run jq -c '[.complete, .stopped_by, (.runs | length > 0)]' ab.json
  assert_output '[false,"interrupt",true]'
  run validated ab.json
  assert_output ""
  assert_nothing_left
}

@test "a killed skab leaves no server behind" {
  local port
  port=$(free_port)
  SKAB_TEST=$BATS_TEST_NAME "$SKAB" --shim "$SHIM" --ready "tcp:$port" \
    --load 'sleep 30' --primary 'x:higher:(1)' \
    -- "$TOP/build/skserver" --listen "$port" --seconds 0 >log 2>&1 3>&- &
  local pid=$!
  for _ in {1..100}; do
    (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.05
  done
  kill -KILL "$pid"
  for _ in {1..100}; do
    left_behind "$BATS_TEST_NAME" | grep -qv skab || break
    sleep 0.05
  done
  run left_behind "$BATS_TEST_NAME"
  refute_line --partial skserver
  refute_line --partial sleep
}

# --- the command line --------------------------------------------------------

usage_error() {
  run "$SKAB" "$@"
  assert_failure 64
  assert_line --index 1 "skab: see skab --help"
}

@test "a wrong command line is answered with what is wrong, exit 64" {
  usage_error
  usage_error --pairs 5 -- true
  usage_error --pairs x -- true
  usage_error --threshold much -- true
  usage_error --measure 3h -- true
  usage_error --load true -- true
  usage_error --load true --primary 'a:higher:(1)' -- true
  usage_error --ready tcp:80 -- true
  usage_error --primary 'a:bigger:(1)' -- true
  usage_error --primary 'a:higher:1' -- true
  usage_error --threads 1,2 -- true
  usage_error --threads one -- true
  usage_error --alloc nolib -- true
  usage_error --env novalue -- true
  usage_error --preset mysql
  usage_error --nonsense 1 -- true
  usage_error true
  usage_error --replay /dev/null
}

@test "a command or a library that is not there is named, exit 69" {
  run "$SKAB" -- ./no-such-program
  assert_failure 69
  assert_line --partial "./no-such-program"
  run "$SKAB" --alloc je=./no-such.so -- true
  assert_failure 69
  assert_line --partial "./no-such.so"
}
