# Is skserver a server one can compare allocators with?  It must take its
# options, check what it carries, talk over TCP and end with a report.

# bats runs each test in a subshell: what it sets is meant to end there.
# shellcheck disable=SC2030,SC2031
load helpers

setup() {
  SKSERVER=$TOP/build/skserver
  [ -x "$SKSERVER" ] || make -s -C "$TOP" build/skserver >&2
}

teardown() {
  [ -z "${SERVER:-}" ] || kill -9 "$SERVER" 2>/dev/null || true
}

# start_server ARGS...: a --listen server; PORT is where, SERVER its pid.
start_server() {
  : >"$BATS_TEST_TMPDIR/err"
  "$SKSERVER" --listen 0 "$@" >"$BATS_TEST_TMPDIR/out" \
    2>"$BATS_TEST_TMPDIR/err" 3>&- &
  SERVER=$!
  local try
  for try in {1..200}; do
    PORT=$(sed -n 's/.*listening on 127\.0\.0\.1://p' \
      "$BATS_TEST_TMPDIR/err")
    [ -z "$PORT" ] || return 0
    sleep 0.05
  done
  echo "no port after $try looks at:" >&2
  cat "$BATS_TEST_TMPDIR/err" >&2
  return 1
}

# at_work PID: waits until PID has used a tenth of a second of processor time.
at_work() {
  local try
  for try in {1..400}; do
    awk '{exit !($14 + $15 >= 10)}' "/proc/$1/stat" && return 0
    sleep 0.05
  done
  echo "process $1 used no processor time in $try looks" >&2
  return 1
}

# server_ends: SIGTERM; the status of the server, its report in $output.
server_ends() {
  kill -TERM "$SERVER"
  local status_of=0
  wait "$SERVER" || status_of=$?
  SERVER=
  run cat "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/err"
  return "$status_of"
}

# json_says FILTER: $output is JSON of which FILTER holds.
json_says() {
  jq -e "$1" <<<"$output" >/dev/null || {
    echo "not so: $1" >&2
    echo "in: $output" >&2
    return 1
  }
}

@test "every message that was sent is answered, and counted" {
  run --separate-stderr timeout 60 "$SKSERVER" --messages 10007 \
    --producers 3 --workers 2 --json
  assert_success
  json_says '.ops == 10007 and .producers == 3 and .workers == 2'
}

@test "the text report has messages per second and three percentiles" {
  run timeout 60 "$SKSERVER" --messages 1000
  assert_success
  assert_line --regexp '^1000 messages in [0-9.]+ s$'
  assert_line --regexp '^[0-9]+ messages/s$'
  assert_line --regexp '^latency  p50 [0-9.]+ us  p99 [0-9.]+ us  p99.9 '
}

@test "the JSON report is one object with the options it ran with" {
  run --separate-stderr timeout 60 "$SKSERVER" --messages 5000 --seed 7 \
    --sizes 8,9000 --parts 2 --depth 33 --json
  assert_success
  assert_equal "${#lines[@]}" 1
  json_says '.workload == "skserver" and .seed == 7 and .depth == 33'
  json_says '.sizes == [8, 9000] and .parts == 2'
  json_says '.messages_per_s > 0 and .seconds > 0 and .peak_rss_kib > 0'
  json_says '0 < .p50_us and .p50_us <= .p99_us and .p99_us <= .p99_9_us'
}

@test "it runs for as long as --seconds says" {
  run --separate-stderr timeout 60 "$SKSERVER" --seconds 0.5 --json
  assert_success
  json_says '.seconds >= 0.5 and .seconds < 20 and .ops > 0'
}

@test "one producer, one worker, one message on its way is enough" {
  run --separate-stderr timeout 60 "$SKSERVER" --messages 200 \
    --producers 1 --workers 1 --depth 1 --sizes 1 --parts 1 --json
  assert_success
  json_says '.ops == 200'
}

@test "more producers and workers than processors lose nothing" {
  run --separate-stderr timeout 60 "$SKSERVER" --messages 30000 \
    --producers 32 --workers 32 --depth 8 --full --json
  assert_success
  json_says '.ops == 30000'
}

@test "a damaged message is found before it is freed" {
  # An allocator that hands out one block twice: the pattern must show it.
  cat >"$BATS_TEST_TMPDIR/twice.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdatomic.h>
static _Atomic long calls;
static void *_Atomic last;
void *malloc(size_t n)
{
    void *(*real)(size_t) = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    if (n == 777 && ++calls % 100 == 0)
        return last;
    void *p = real(n);
    if (n == 777)
        last = p;
    return p;
}
END
  "${CC:-cc}" -shared -fPIC -fno-builtin -o "$BATS_TEST_TMPDIR/twice.so" \
    "$BATS_TEST_TMPDIR/twice.c"
  run env LD_PRELOAD="$BATS_TEST_TMPDIR/twice.so" \
    timeout 60 "$SKSERVER" --messages 5000 --sizes 777
  assert_failure 1
  assert_output --partial 'of 777 bytes lost its pattern'
}

@test "SIGTERM ends a run without limit, with its report" {
  "$SKSERVER" --seconds 0 --json >"$BATS_TEST_TMPDIR/out" \
    2>"$BATS_TEST_TMPDIR/err" 3>&- &
  SERVER=$!
  at_work "$SERVER"
  server_ends
  json_says '.ops > 0'
}

@test "over TCP both ends count the same messages" {
  start_server --json
  run --separate-stderr timeout 60 "$SKSERVER" --connect "$PORT" \
    --messages 3001 --depth 16 --json
  assert_success
  json_says '.ops == 3001 and .p99_us > 0'
  server_ends
  output=$(cat "$BATS_TEST_TMPDIR/out")
  json_says '.ops == 3001 and .p99_us > 0 and .peak_rss_kib > 0'
}

@test "a TCP server serves one load after the other" {
  local depth
  start_server --json --workers 2
  for depth in 1 2 500; do
    run --separate-stderr timeout 60 "$SKSERVER" --connect "$PORT" \
      --messages 400 --depth "$depth" --producers 5 --sizes 1,70000 --json
    assert_success
    json_says '.ops == 400'
  done
  server_ends
  output=$(cat "$BATS_TEST_TMPDIR/out")
  json_says '.ops == 1200'
}

@test "a load generator whose server has gone says so and fails" {
  start_server
  (at_work "$SERVER" && kill -TERM "$SERVER") 3>&- &
  run timeout 60 "$SKSERVER" --connect "$PORT" --seconds 30
  assert_failure 1
  assert_output --regexp 'the server went away, [0-9]+ messages unanswered'
  SERVER=
}

@test "a client that speaks nonsense is turned away, others are served" {
  start_server
  run timeout 20 bash -c "exec 9<>/dev/tcp/127.0.0.1/$PORT
    head -c 400 /dev/zero | tr '\\0' x >&9; cat <&9; echo closed"
  assert_output 'closed'
  run timeout 60 "$SKSERVER" --connect "$PORT" --messages 50 --depth 4
  assert_success
  server_ends
  assert_output --partial 'a client speaks another protocol'
  assert_line --regexp '^50 messages in '
}

@test "nobody listens: one line with the reason" {
  run timeout 20 "$SKSERVER" --connect 1 --messages 1 --producers 1
  assert_failure 1
  assert_output 'skserver: cannot connect to 127.0.0.1:1: Connection refused'
}

@test "--help lists every option" {
  run "$SKSERVER" --help
  assert_success
  local option
  for option in producers workers sizes parts depth seconds messages listen \
    connect seed full json; do
    assert_line --regexp "^  --$option +[a-z]"
  done
}

# refused MESSAGE ARGS...: status 64 and exactly this line.
refused() {
  local message=$1
  shift
  run timeout 20 "$SKSERVER" "$@"
  assert_failure 64
  assert_output "skserver: $message"
}

@test "a bad option ends with status 64 and a line that names it" {
  refused "'--worker' is no option; --help lists them" --worker 3
  refused "'x' is no option; --help lists them" x
  refused "--workers wants a value" --workers
  refused "--workers wants a whole number from 1 to 256, not '0'" --workers 0
  refused "--depth wants a whole number from 1 to 1048576, not '9x'" \
    --depth=9x
  refused "--seconds wants a number from 0 to 1000000, not 'soon'" \
    --seconds soon
  refused "--sizes wants numbers from 1 to 1048576 with commas between, not \
'64,,2'" --sizes 64,,2
  refused "--json takes no value" --json=1
  refused "--listen and --connect are two programs" --listen 0 --connect 9
  refused "--messages is for the side that sends" --listen 0 --messages 5
}
