#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031  # a test's status is its own
# Does skab come to the right verdict with real servers and real time?  These
# take minutes and want a quiet machine, so only `make check-programs` runs
# them.

load helpers

SKAB=$TOP/scripts/skab
DATA=$BATS_TEST_DIRNAME/data

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  export SHIM=$BATS_FILE_TMPDIR/libskpreload.so
  PATH=$PATH:/usr/sbin$(printf ':%s' /usr/lib/postgresql/*/bin)
  [ -e "$SHIM" ] || cp "$LIB" "$SHIM"
  # postgresql gives up root and must still be able to read it
  chmod a+rx "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR"
}

skab() {
  "$SKAB" --shim "$SHIM" "$@"
}

validated() {
  jq -r --slurpfile schema "$DATA/skab-1.schema.json" \
    -f "$DATA/skab-validate.jq" "$1"
}

@test "our message server is better on the shim, within two minutes" {
  local began=$SECONDS
  run skab --preset skserver
  assert_success
  assert_line --regexp '^VERDICT  skpreload is better: throughput'
  assert [ $((SECONDS - began)) -lt 120 ]
  run jq '.result.effect.low > 1 and .result.coverage_percent > 99' ab.json
  assert_output true
}

@test "a program that does not allocate is never better or worse" {
  requires openssl
  run skab --pairs 8 -- openssl speed -seconds 1 -bytes 16384 sha256
  assert_regex "$status" '^[23]$'
  run skab --pairs 8 -- bash -c 'for ((i = 0; i < 200000; i++)); do :; done'
  assert_regex "$status" '^[23]$'
}

@test "our message server on glibc against glibc is never better or worse" {
  run skab --preset skserver --alloc B=glibc
  assert_regex "$status" '^[23]$'
}

@test "--threads compares at each number and draws the scaling" {
  run skab --preset skserver --threads 1,4 --pairs 6 --measure 1 \
    --html ab.html
  assert_regex "$status" '^[0123]$'
  assert_line --regexp '^ +1 threads  A [0-9 ]+   A'"'"
  assert_line --regexp '^ +4 threads  A [0-9 ]+   A'"'"
  run jq -c '[.result.scaling[] | [.threads, .effect.n]]' ab.json
  assert_output '[[1,6],[4,6]]'
  run validated ab.json
  assert_output ""
}

@test "--explain tells the locks of libc's arenas from the shim's" {
  requires strace
  run skab --preset skserver --pairs 6 --measure 1 --explain
  assert_regex "$status" '^[0123]$'
  run jq -c '.explain | [.A.futex.libc.waits > 0, .A.futex.ours.calls,
    .B.futex.libc.waits <= .A.futex.libc.waits,
    (.A, .B | .clock | .malloc, .free
      | .sampled > 1000 and .p50_ns < .p99_ns and .p99_ns <= .p999_ns)]' \
    ab.json
  assert_output '[true,0,true,true,true,true,true]'
  run validated ab.json
  assert_output ""
}

# preset NAME SERVER LOAD: runs to a verdict, with proof
preset() {
  requires "${@:2}"
  run skab --preset "$1" --quick
  assert_regex "$status" '^[0123]$'
  assert_line --regexp '^check   preload mapped in .*ok$'
  assert_line --regexp '^VERDICT  '
  run validated ab.json
  assert_output ""
  run jq '.result.effect.n' ab.json
  assert_output 6
}

@test "the preset redis runs to a verdict" {
  preset redis redis-server redis-benchmark
}

@test "the preset nginx runs to a verdict" {
  preset nginx nginx wrk
}

@test "the preset memcached runs to a verdict" {
  preset memcached memcached memcslap
}

@test "the preset postgresql runs to a verdict" {
  preset postgresql initdb pgbench
}

@test "the preset mariadb runs to a verdict" {
  preset mariadb mariadbd sysbench
}

# picture light|dark
picture() {
  local scheme=1
  [ "$1" = light ] || scheme=0
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
    --user-data-dir="$PWD/profile" --window-size=960,1500 \
    --blink-settings=preferredColorScheme=$scheme \
    --screenshot="$1.png" "file://$PWD/ab.html" >"$1.log" 2>&1
}

@test "a browser shows the page with its marks, light and dark" {
  requires chromium perl
  jq -n --argjson threads null -f "$DATA/skab-sample.jq" >in.json
  "$SKAB" --replay in.json --html ab.html
  picture light
  # background, arm B, arm A, noise band
  run perl "$DATA/skab-pixels.pl" light.png fcfcfb 1666c0 7a828e e9ecf1
  assert_success
  assert [ "${lines[0]}" -gt 1000000 ]
  assert [ "${lines[1]}" -gt 1000 ]
  assert [ "${lines[2]}" -gt 300 ]
  assert [ "${lines[3]}" -gt 1000 ]
  picture dark
  run perl "$DATA/skab-pixels.pl" dark.png 15181c 6cb0ff 97a1af fcfcfb
  assert [ "${lines[0]}" -gt 1000000 ]
  assert [ "${lines[1]}" -gt 1000 ]
  assert [ "${lines[2]}" -gt 300 ]
  assert_equal "${lines[3]}" 0
}
