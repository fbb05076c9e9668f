#!/usr/bin/env bats
# Does skab know a noisy run from a quiet one, and repeat it without choosing
# by its value?  And does its minder end what a command leaves behind?

load helpers
load minder

PARTS=$TOP/scripts/lib/skab

setup() {
  cd "$BATS_TEST_TMPDIR" || return
}

# noise BEFORE AFTER OWN_CPU_S PRESSURE: "steal busy total pressure" of a
# 2-CPU host twice, in ticks; prints steal, foreign CPU and the judgement.
noise() {
  # shellcheck source=/dev/null
  . "$PARTS/noise.sh"
  # jq 1.7 prints a number as it read it, 0.00, if it need not count with it
  noise_of "$@" | jq -c '[.steal_percent, .foreign_cpu_percent, .noisy]
    | map(if type == "number" then . + 0 else . end)'
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
      run_json[2]="{\"value\":$try,\"noise\":{\"noisy\":${as_told[try]}}}"
      try=$((try + 1))
    }
    run_until_quiet 0 1 1 2' - "$PARTS" "$@" &&
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

@test "a run that was over before it was seen is repeated, not counted" {
  # unseen TIMES: the first runs of one place are, the last one has its proof
  unseen() {
    bash -c '
      . "$1/say.sh"; . "$1/plan.sh"
      work=. try=0 max_repeats=0
      check_libraries() { :; }
      progress() { :; }
      prove() { ! is_unseen "$1" || { echo "no proof"; exit 4; }; }
      run_once() {
        run_json[2]="{\"unseen\":false}"
        [ "$try" -ge "$TIMES" ] || run_json[2]="{\"unseen\":true}"
        try=$((try + 1))
      }
      TIMES=$2
      run_until_quiet 0 1 1 2; echo "$repeats"' - "$PARTS" "$1"
  }
  run unseen 2
  assert_output 0
  run jq -c '[.unseen, .attempt, .kept]' runs.jsonl
  assert_output $'[true,1,false]\n[true,2,false]\n[false,3,true]'
  rm runs.jsonl
  run -4 unseen 5
  assert_output "no proof"
}

@test "runs side by side are repeated together when one of them was noisy" {
  run bash -c '
    . "$1/say.sh"; . "$1/plan.sh"
    work=. try=0 max_repeats=3
    check_libraries() { :; }
    progress() { :; }
    prove() { :; }
    run_once() {
      run_json[0]="{\"arm\":\"A\",\"noise\":{\"noisy\":false}}"
      run_json[1]="{\"arm\":\"B\",\"noise\":{\"noisy\":true}}"
    }
    run_until_quiet 0 4 1 1 0' - "$PARTS"
  # two repeated at once are two of the three that may be
  run jq -c '[.block, .place, .arm, .attempt, .kept]' runs.jsonl
  assert_output '[4,1,"B",1,false]
[4,2,"A",1,false]
[4,1,"B",2,true]
[4,2,"A",2,true]'
}

@test "what the host did is summed over the windows of a run" {
  run bash -c '. "$1/noise.sh"
    noise_sum[3]="0 0 0" at=0
    seen=("1 10 100 -" "3 20 200 -" "50 50 500 -" "54 80 600 -")
    noise_read() { noise_now=${seen[at]}; at=$((at + 1)); }
    noise_begin; noise_end 3; noise_begin; noise_end 3
    echo "${noise_sum[3]}"' - "$PARTS"
  assert_output "6 40 200"
}

@test "the CPU time of a child that ended between two looks is counted" {
  # shellcheck disable=SC2016  # the command's variables
  begin_minder "$MINDER" -i 5000 -o out -c ctl -- bash -c '
    for _ in 1 2 3 4 5 6; do
      bash -c "for ((i = 0; i < 30000; i++)); do :; done"
    done
    times >used.new
    mv used.new used
    sleep 100'
  until_so test -s used
  end_minder 'mark end' 'stop TERM 5'
  # times: of all children, and the mark has the shell's own on top
  run jq --argjson used "$(tail -n 1 used | tr ms '  ' |
    awk '{ print $2 + $4 }')" 'select(.event
    == "mark") | .user_s + .system_s >= $used - 0.03 and $used > 0.05' out
  assert_output true
}

# They stand in front of everything else in /proc/PID/status.
@test "a command in very many groups is measured like any other" {
  local groups
  groups=$(seq -s, 1234567000 1234567999)
  setpriv --groups "$groups" true || skip "needs the right to set groups"
  # shellcheck disable=SC2016  # the command's variables
  begin_minder setpriv --groups "$groups" "$MINDER" -o out -c ctl -- bash -c '
    for _ in 1 2 3; do sleep 0.01; done; echo >slept; sleep 100'
  until_so test -s slept
  end_minder 'mark end' 'stop TERM 5'
  run jq 'select(.event == "mark") | .rss_kb > 100 and .voluntary > 2' out
  assert_output true
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
  begin_minder "$MINDER" -o out -c ctl -- sh -c 'setsid sleep 100.25 &'
  until_so grep -q '"exit"' out
  until_so pgrep -f "^sleep 100.25$" >/dev/null
  end_minder 'mark end' 'stop TERM 5'
  run jq -c 'select(.event == "mark") | [.processes, .tree[-1].name]' out
  assert_output '[1,"sleep"]'
}

@test "a command's own end is told from a signal" {
  run "$MINDER" -w -o out -- sh -c 'kill -SEGV $$'
  run jq -c 'select(.event == "end") | [.status, .signal]' out
  assert_output '[null,11]'
}

# news_of STOP: what is said of the end in `out` of a server that is stopped so
news_of() {
  # run.jq is compiled with the variables that it gets from skab
  jq -rs -L "$PARTS" --argjson stop "$1" --arg mode '' --arg arm '' \
    --arg lib '' --arg primary '' --arg libs '' --argjson threads 0 \
    --argjson padding 0 --argjson noise null --argjson values '[]' \
    --argjson server '[]' --argjson load '[]' --argjson stats '[]' \
    'include "run"; end_of_run($stop).news' out
}

@test "one that has to be killed, or dies of another signal than told, is news" {
  begin_minder "$MINDER" -o out -c ctl -- \
    sh -c 'trap "" TERM; touch deaf; exec sleep 100'
  until_so test -e deaf
  end_minder 'stop TERM 0.3'
  run news_of 15
  assert_output "did not end when told to, and was killed"
  "$MINDER" -w -o out -- sh -c 'kill -HUP $$'
  run news_of 1
  assert_output null
  run news_of 15
  assert_output "signal 1"
  "$MINDER" -w -o out -- sh -c 'exit 136'
  run news_of 15
  assert_output "status 136, as after signal 8, FPE"
}

@test "of what a command prints without an end, the end is kept" {
  # every look is as good as the first, for the sizes are the file's own
  "$MINDER" -w -t 1 -o out -- sh -c 'head -c 200000000 /dev/zero; echo last
    sleep 100' >log
  run tail -n 1 log
  assert_output --partial last
  assert_equal "$(stat -c %s log)" 200000005
  assert [ "$(($(stat -c %b log) * 512))" -lt 20000000 ]
}

@test "a command that lasts too long is ended, and marked so" {
  run "$MINDER" -w -t 0.2 -o out -- sleep 100
  run jq -c 'select(.event == "end") | [.timed_out, .signal]' out
  assert_output '[true,15]'
}

@test "a library is seen in a command's short life, however rare samples are" {
  # a host so full that the first sample is the only one
  sed 's/LEAST_REST = 50/LEAST_REST = 1000000/' "$TOP/scripts/lib/minder.c" \
    >rare.c
  run -1 cmp rare.c "$TOP/scripts/lib/minder.c"
  gcc -std=gnu11 -I"$TOP/scripts/lib" -o rare rare.c \
    "$TOP/scripts/lib/proctree.c" -lm
  # shellcheck disable=SC2016  # the child's variables
  run ./rare -w -i 9000 -o out -m "$LIB" -e "LIB=$LIB" -- \
    bash -c 'sleep 0.1; LD_PRELOAD=$LIB exec sleep 0.4'
  run jq -c 'select(.event == "end").tree
    | map(select(.mapped[0]).name)' out
  assert_output '["sleep"]'
}

@test "a mapped library is seen, and an exec forgets it" {
  # shellcheck disable=SC2016  # the child's variables
  run "$MINDER" -w -i 10 -o out -m "$LIB" -e "LD_PRELOAD=$LIB" -- \
    bash -c 'sleep 3; LD_PRELOAD= exec sleep 3'
  run jq -c 'select(.event == "end").tree | map([.name, .mapped[0]])' out
  assert_output '[["sleep",false],["sleep",true]]'
}
