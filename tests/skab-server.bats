#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031  # bats: variables are each test's own
# Does skab start, load, measure and end servers as it says?  No test here
# asserts a time: see skab-heavy.bats.

load helpers
load skab
load minder

setup_file() {
  own_shim
}

setup() {
  own_folder
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

# A server that is there while its file is, with its pid; the load counts
# those files.
SERVER=(bash -c 'trap "rm -f up.{port}; exit 0" TERM; echo $$ >new.{port}
  mv new.{port} up.{port}
  sleep 100 & wait')
COUNTING=(--ready 'test -e up.{port}'
  --load 'set -- up.*; echo "{port} alive $#"'
  --primary 'alive:higher:alive ([0-9]+)' --metric 'port:higher:^([0-9]+)')

@test "with {port} the servers of all arms live side by side, by turns loaded" {
  run skab --windows 3 "${COUNTING[@]}" -- "${SERVER[@]}"
  assert_line --partial "visits each in 3 windows a block"
  run jq -c '.plan.side_by_side, ([.runs[].primary] | unique),
    ([.runs[].windows | length] | unique), (.runs | length),
    ([.runs[] | "\(.arm) \(.metrics.port)"] | unique | length),
    ([.runs | group_by(.block)[] | map(.place) | sort] | unique)' ab.json
  assert_output $'true\n[3]\n[3]\n18\n3\n[[1,2,3]]'
  run validated ab.json
  assert_output ""
  assert_nothing_left
}

@test "servers side by side are told to end at once, not one after the other" {
  run skab --ready 'test -e up.{port}' --load 'echo 1 at {port}' \
    --primary 'x:higher:(1)' -- bash -c 'trap "touch down.{port}
      until [ -e all ]; do set -- down.*; [ \$# -lt 3 ] || touch all; done
      rm up.{port}; exit" TERM
    rm -f down.{port} all; touch up.{port}; sleep 100 & wait'
  assert_regex "$status" '^[0123]$'
  refute_line --partial 'did not end when told to'
  assert_nothing_left
}

@test "--one-by-one has one server at a time in spite of {port}" {
  run skab --one-by-one "${COUNTING[@]}" -- "${SERVER[@]}"
  run jq -c '.plan.side_by_side, ([.runs[].primary] | unique),
    ([.runs[].windows | length] | unique)' ab.json
  assert_output $'false\n[1]\n[1]'
}

@test "the server's CPU time is divided by the requests of all windows" {
  run skab --windows 2 --warmup 50ms --ready 'tcp:{port}' \
    --load "$TOP/build/skserver --connect {port} --producers 2 \
--messages 3000 --json" --requests '"ops": *([0-9]+)' \
    --primary cpu_us_per_request \
    -- "$TOP/build/skserver" --listen '{port}' --workers 2 --seconds 0
  assert_regex "$status" '^[0123]$'
  run jq -c '[.runs[] | .metrics.requests
    == ([.windows[].metrics.requests] | add) and .primary
    == 1e6 * .usage.cpu_s / .metrics.requests and .primary > 0] | unique' \
    ab.json
  assert_output '[true]'
  assert_nothing_left
}

@test "--pin keeps server and load to their CPUs" {
  [ "$(nproc)" -ge 2 ] || skip "needs two CPUs"
  local first second
  IFS=, read -r first second _ < <(sed -n 's/^Cpus_allowed_list:\t//p' \
    /proc/self/status | tr - ,)
  # shellcheck disable=SC2016  # the load's own variables
  run skab --pin "$first/$second" --ready 'test -e up.{port}' \
    --load 'cpus=$(taskset -cp $(cat up.{port})); echo at 1${cpus##*: }' \
    --primary 'server:higher:at ([0-9]+)$' --requests 1 \
    -- "${SERVER[@]}"
  assert_regex "$status" '^[0123]$'
  run jq -c '[.runs[].primary] | unique' ab.json
  assert_output "[1$first]" # a metric of 0 would be refused
  run skab --pin "$first/$second" --ready 'test -e up.{port}' \
    --load 'cpus=$(taskset -cp $$); echo at 1${cpus##*: } # {port}' \
    --primary 'load:higher:at ([0-9]+)$' -- "${SERVER[@]}"
  run jq -c '[.runs[].primary] | unique' ab.json
  assert_output "[1$second]"
}

@test "a static server is refused with exit 4 and the reason" {
  built still -static <<<'#include <unistd.h>
int main(void) { return pause(); }'
  touch idle
  run skab --ready '[ ! -e idle ] || { rm idle; false; }' \
    --load 'touch idle; echo 1' --primary 'x:higher:(1)' -- ./still
  assert_failure 4
  assert_line --regexp '^STOP .*no process had libskpreload.so mapped'
  assert_line --partial "static: no ld.so runs that could preload anything"
  assert_nothing_left
}

@test "a ready check that hangs is one that fails, exit 69" {
  run skab --ready 'sleep 50' --ready-timeout 1s --load true \
    --primary 'x:higher:(1)' -- sleep 100
  assert_failure 69
  assert_line --regexp "the server was not ready after 1 s in arm (A|A'|B) "
  assert_nothing_left
}

# hanging_check: skab is in the background as $!, its check has begun.
hanging_check() {
  # shellcheck disable=SC2016  # the check's own variable
  SKAB_TEST=$BATS_TEST_NAME "$SKAB" --shim "$SHIM" \
    --ready 'echo $$ >checking; sleep 300' --ready-timeout 5m --load true \
    --primary 'x:higher:(1)' -- sleep 100 >log 2>&1 3>&- &
  for _ in {1..400}; do
    [ ! -s checking ] || return 0
    sleep 0.05
  done
  return 1
}

# soon_gone PID
soon_gone() {
  for _ in {1..200}; do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.05
  done
  return 1
}

@test "SIGTERM ends skab while a ready check hangs, and the check, exit 130" {
  hanging_check
  local pid=$! code=0
  kill -TERM "$pid"
  soon_gone "$pid"
  wait "$pid" || code=$?
  assert_equal "$code" 130
  wait_gone "$BATS_TEST_NAME"
  assert_nothing_left
}

@test "skab killed while a ready check hangs leaves nothing behind" {
  hanging_check
  local pid=$!
  kill -KILL "$pid"
  wait_gone "$BATS_TEST_NAME"
  assert_nothing_left
}

@test "what a ready check leaves running is ended with it" {
  run skab --ready 'sleep 200 & false' --ready-timeout 1s --load true \
    --primary 'x:higher:(1)' -- sleep 100
  assert_failure 69
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
  begin_minder "$MINDER" -o out -c ctl -- ./pingpong >said
  until_so test -s said
  end_minder 'mark end' 'stop TERM 5'
  run jq 'select(.event == "mark") | .tasks == 3 and .voluntary > 2000' out
  assert_output true
}

@test "a server with its own malloc that leaves no report is refused, too" {
  own_malloc
  touch idle
  run skab --ready '[ ! -e idle ] || { rm idle; false; }' \
    --load 'touch idle; echo 1' --primary 'x:higher:(1)' -- ./own stay
  assert_failure 4
  assert_line --regexp '^STOP .*the program brings its own malloc'
}

@test "a server that never gets ready is ended, exit 69" {
  run skab --ready "tcp:$(free_port)" \
    --ready-timeout 1s --load true --primary 'x:higher:(1)' -- sleep 100
  assert_failure 69
  assert_line --regexp "the server was not ready after 1 s in arm (A|A'|B) "
  assert_nothing_left
}

@test "the port of a server that never gets ready is said as a number" {
  run skab --ready 'tcp:{port}' --ready-timeout 1s --load 'true {port}' \
    --primary 'x:higher:(1)' -- sleep '100{port}'
  assert_failure 69
  assert_line --regexp "in arm (A|A'|B) \(tcp:[0-9]+\); see --ready-timeout"
}

@test "a server that ends before it is ready is quoted, exit 69" {
  run skab --ready "tcp:$(free_port)" --load true --primary 'x:higher:(1)' \
    -- sh -c 'echo no such table; exit 3'
  assert_failure 69
  assert_line --partial "| no such table"
  assert_line --regexp "the server ended before it was ready in arm .* \(3\)"
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

@test "a server that crashes under load is named with its arm and signal" {
  # it lives on glibc, and the load fails with it a moment before its end
  # shellcheck disable=SC2016  # the server's own variables
  run skab --one-by-one --ready 'test -e up' \
    --load 'touch hit; sleep 0.2; echo 1; test -e up' \
    --primary 'x:higher:(1)' -- bash -c 'trap "rm -f up; exit 0" TERM
      rm -f hit
      touch up
      until [ -e hit ]; do sleep 0.02; done
      [ -z "$LD_PRELOAD" ] || { rm up; sleep 0.3; kill -SEGV $$; }
      sleep 100 & wait'
  assert_failure 69
  assert_line \
    "skab: the server ended during the load in arm B (signal 11, SEGV)"
  assert_nothing_left
}

# ending CODE OPTION...: a server that runs CODE when it is told to stop
ending() {
  # shellcheck disable=SC2016  # the server's own variables
  run skab --ready 'test -e up.{port}' --load 'echo 1 at {port}' \
    --primary 'x:higher:(1)' "${@:2}" -- bash -c "trap 'rm -f up.{port}; $1
      exit 0' TERM
      touch up.{port}
      sleep 100 & wait"
  assert_regex "$status" '^[0123]$'
}

@test "a server that crashes on its way down is news, once, and in the result" {
  ending '[ -z "$LD_PRELOAD" ] || kill -SEGV $$' --md ab.md --html ab.html
  assert_equal "$(grep -c 'how a run of' <<<"$output")" 1
  assert_line "skab: how a run of arm B (skpreload) ended: signal 11, SEGV"
  assert_line '  ended       arm B, 6 of 6 runs: signal 11, SEGV'
  assert_equal "$(grep -c 'arm B, 6 of 6 runs: signal 11' ab.md ab.html)" \
    $'ab.md:1\nab.html:1'
  run validated ab.json
  assert_output ""
  run jq -c '[.runs[] | select(.arm != "B").end.news] | unique' ab.json
  assert_output '[null]'
}

@test "a crash below a shell, and a daemon's, are told as well" {
  ending '(kill -ABRT $BASHPID); [ -z "$LD_PRELOAD" ] || exit 134'
  assert_line --partial "ended: status 134, as after signal 6, ABRT"
  # shellcheck disable=SC2016  # the daemon's own variables
  run skab --ready 'test -e up.{port}' --load 'echo 1 at {port}' \
    --primary 'x:higher:(1)' -- bash -c "setsid bash -c 'trap \"rm up.{port}
      kill -BUS \\\$\\\$\" TERM; touch up.{port}; sleep 100 & wait' &"
  assert_line --regexp 'arm A .* ended: bash ended by signal 7, BUS'
  assert_line "  ended       arm A', 6 of 6 runs: bash ended by signal 7, BUS"
  assert_nothing_left
}

@test "an exit status that arm A never has is told, one of all arms is not" {
  ending '[ -z "$LD_PRELOAD" ] || exit 3'
  assert_line '  ended       arm B, 6 of 6 runs: status 3'
  ending 'exit 3'
  refute_line --partial ended
}

@test "a load that fails is quoted, exit 69, and the server is ended" {
  local port
  port=$(free_port)
  run skab --ready "tcp:$port" --load 'echo refused; exit 5' \
    --primary 'x:higher:(1)' -- "$TOP/build/skserver" --listen "$port" \
    --seconds 0
  assert_failure 69
  assert_line --partial "| refused"
  assert_line --regexp "the load failed \(5\) in arm (A|A'|B): "
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

@test "a further metric without a number is said once, and ends nothing" {
  run skab --ready 'test -e up.{port}' --load 'echo 1 at {port}' \
    --primary 'x:higher:(1)' --metric 'typo:lower:latencie ([0-9]+)' \
    --metric 'y:lower:(1) at' -- "${SERVER[@]}"
  assert_regex "$status" '^[0123]$'
  assert_equal "$(grep -F "no number for '" <<<"$output")" "skab: no number \
for 'typo' in the output (pattern: latencie ([0-9]+)); its row has less, or is \
left out"
}

@test "a load or a command that lasts too long is named with the bound" {
  run skab --ready 'test -e up.{port}' --load 'sleep 50 # {port}' \
    --load-timeout 1s --primary 'x:higher:(1)' -- "${SERVER[@]}"
  assert_failure 69
  assert_line --regexp 'failed \(more than 1 s; see --load-timeout\) in arm'
  run skab --load-timeout 1s -- sleep 50
  assert_failure 69
  assert_line --regexp 'failed \(more than 1 s; see --load-timeout\) in arm'
  assert_nothing_left
}

@test "a killed skab leaves nothing behind" {
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
  wait_gone "$BATS_TEST_NAME"
  assert_nothing_left
}
