#!/usr/bin/env bats
# Does skab know a noisy run from a quiet one, and repeat it without choosing
# by its value?  And does its minder end what a command leaves behind?

load helpers

PARTS=$TOP/scripts/lib/skab
MINDER=$TOP/build/skab-minder

setup() {
  cd "$BATS_TEST_TMPDIR" || return
}

# noise BEFORE AFTER OWN_CPU_S PRESSURE: "steal busy total pressure" of a
# 2-CPU host twice, in ticks; prints steal, foreign CPU and the judgement.
noise() {
  # shellcheck source=/dev/null
  . "$PARTS/noise.sh"
  noise_of "$@" | jq -c '[.steal_percent, .foreign_cpu_percent, .noisy]'
}

@test "a run that had the host to itself is quiet" {
  run noise "5 1000 10000 0" "5 2000 12000 0" 10 0
  assert_output '[0,0,false]'
}

@test "a run from which the hypervisor took time is noisy" {
  run noise "0 1000 10000 0" "60 2000 12000 0" 10 0
  assert_output '[3,0,true]'
}

@test "a run beside somebody else's work is noisy" {
  run noise "0 1000 10000 0" "0 2000 12000 0" 8 0
  assert_output '[0,10,true]'
}

@test "a run that began while others waited for a CPU is noisy" {
  run noise "0 1000 10000 0" "0 2000 12000 0" 10 35
  assert_output '[0,0,true]'
}

@test "what the kernel does not tell is null, and no reason to repeat" {
  run noise "- - - -" "- - - -" 10 null
  assert_output '[null,null,false]'
}

# repeated NOISY...: runs one place of a block; the n-th try is noisy as given
repeated() {
  bash -c '
    . "$1/say.sh"; . "$1/plan.sh"
    work=. as_told=("${@:2}") try=0 max_repeats=3
    check_libraries() { :; }
    progress() { :; }
    prove() { :; }
    run_once() {
      run_json="{\"value\":$try,\"noise\":{\"noisy\":${as_told[try]}}}"
      try=$((try + 1))
    }
    run_until_quiet 2 0 1 1' - "$PARTS" "$@" &&
    jq -c '[.value, .attempt, .kept, .noise.noisy]' runs.jsonl
}

@test "a quiet run is kept at once" {
  run repeated false
  assert_output '[0,1,true,false]'
}

@test "a noisy run is marked and repeated, and stays in the record" {
  run repeated true false
  assert_output $'[0,1,false,true]\n[1,2,true,false]'
}

@test "a host that never gets quiet gets its third try, marked as noisy" {
  run repeated true true true
  assert_output $'[0,1,false,true]\n[1,2,false,true]\n[2,3,true,true]'
}

@test "a command's orphans are ended, in whatever session they are" {
  run "$MINDER" -w -o out -- sh -c \
    'setsid sh -c "echo \$\$ >pid; exec sleep 100" & while [ ! -s pid ]; do :
    done; exit 3'
  assert_success
  run jq -c 'select(.event == "end") | [.status, .signal]' out
  assert_output '[3,null]'
  assert [ ! -e "/proc/$(<pid)" ]
}

@test "a daemon is watched after its command has ended, until told to stop" {
  mkfifo ctl
  "$MINDER" -o out -c ctl -- sh -c 'setsid sleep 100 &' 3>&- &
  local pid=$!
  exec 4>ctl
  for _ in {1..100}; do
    ! grep -q '"exit"' out || break
    sleep 0.05
  done
  printf 'mark end\nstop TERM 5\n' >&4
  wait "$pid"
  exec 4>&-
  run jq -c 'select(.event == "mark") | [.processes, .tree[-1].name]' out
  assert_output '[1,"sleep"]'
}

@test "a command's own end is told from a signal" {
  run "$MINDER" -w -o out -- sh -c 'kill -SEGV $$'
  run jq -c 'select(.event == "end") | [.status, .signal]' out
  assert_output '[null,11]'
}

@test "a command that lasts too long is ended, and marked so" {
  run "$MINDER" -w -t 0.2 -o out -- sleep 100
  run jq -c 'select(.event == "end") | [.timed_out, .signal]' out
  assert_output '[true,15]'
}

@test "a mapped library is seen, and an exec forgets it" {
  # shellcheck disable=SC2016  # the child's variables
  run "$MINDER" -w -i 10 -o out -m "$LIB" -e "LD_PRELOAD=$LIB" -- \
    bash -c 'sleep 1; LD_PRELOAD= exec sleep 1'
  run jq -c 'select(.event == "end").tree | map([.name, .mapped[0]])' out
  assert_output '[["sleep",false],["sleep",true]]'
}
