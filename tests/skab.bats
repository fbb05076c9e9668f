#!/usr/bin/env bats
# Does skab compare what it says it compares, say why when it cannot, and
# leave nothing behind?  No test here asserts a time: see skab-heavy.bats; and
# servers have skab-server.bats.

load helpers
load skab
load minder

# One comparison serves the tests that only read its result.
setup_file() {
  own_shim
  cd "$BATS_FILE_TMPDIR" || return
  local code=0
  SKAB_TEST=whole "$SKAB" --shim "$SHIM" --pass --warmup 1 --pairs 6 \
    --max-repeats 0 --seed 7 -- "${NAP[@]}" >said 2>log 3>&- || code=$?
  echo "$code" >code
}

setup() {
  own_folder
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

@test "the order hangs on the seed alone, whatever was repeated meanwhile" {
  # ordered WORD: two arms in six blocks, where WORD says what a run does
  ordered() {
    bash -c '. "$1/plan.sh"; . "$1/serve.sh"
      pairs=6 seed=5 threads=0 arm_key=(A A2 B) runs_planned=18 mode=command
      run_until_quiet() { echo "$2.$4"; [ "$WORD" = calm ] || : $RANDOM; }
      refuse_zero() { :; }
      WORD=$2 all_blocks' - "$TOP/scripts/lib/skab" "$1"
  }
  run ordered calm
  assert_equal "${#lines[@]}" 18
  local calm=$output
  run ordered restless
  assert_output "$calm"
}

@test "the environment is padded by a random length, the same for every arm" {
  # shellcheck disable=SC2016  # the command's variable
  run skab --metric 'pad:lower:pad ([0-9]+)' -- \
    bash -c 'sleep 0.06; echo "pad ${#SKAB_PAD}"'
  run jq -c '[.runs[] | .metrics.pad == .padding_bytes and .metrics.pad < 4096]
    | unique, length' ab.json
  assert_output $'[true]\n18'
  run jq '[.runs[].padding_bytes] | unique | length > 12' ab.json
  assert_output true
}

@test "options of the shim in the environment do not reach the arms" {
  run env SKPRELOAD_CONF=mode:pass SKPRELOAD_OFF=1 SKAB_TEST=env "$SKAB" \
    --shim "$SHIM" --warmup 0 --pairs 6 --max-repeats 0 -- "${NAP[@]}"
  assert_regex "$status" '^[0123]$'
  assert_line "skab: SKPRELOAD_CONF of the environment is not used; see\
 --conf"
  run jq -c '[.runs[] | select(.arm == "B").coverage.modes] | unique' ab.json
  assert_output '[["on"]]'
}

@test "LD_PRELOAD of --env is every arm's, behind the arm's own library" {
  built mark.so -shared -fPIC <<<'int mark;'
  # shellcheck disable=SC2016  # the command's variable
  run env LD_PRELOAD="$PWD/no-such.so" SKAB_TEST=preload "$SKAB" \
    --shim "$SHIM" --warmup 0 --pairs 6 --max-repeats 0 \
    --env LD_PRELOAD="$PWD/mark.so" -- \
    bash -c 'echo "$LD_PRELOAD" >>seen; sleep 0.06'
  assert_regex "$status" '^[0123]$'
  run sort -u seen
  assert_line "$PWD/mark.so"
  assert_line "$SHIM:$PWD/mark.so"
  assert_equal "${#lines[@]}" 2
}

@test "an empty LD_PRELOAD of --env takes away the exported one in every arm" {
  built mark.so -shared -fPIC <<<'int mark;'
  # shellcheck disable=SC2016  # the command's variable
  LD_PRELOAD=$PWD/mark.so run skab --env LD_PRELOAD= -- \
    bash -c 'echo "<$LD_PRELOAD>" >>seen; sleep 0.06'
  run sort -u seen
  assert_line '<>'
  assert_line "<$SHIM>"
  assert_equal "${#lines[@]}" 2
}

@test "--env of what skab sets for single arms is refused, the shim too" {
  run skab --env SKPRELOAD_CONF=mode:pass -- true
  assert_failure 64
  assert_line --partial "write --conf 'mode:pass'"
  run skab --env SKPRELOAD_STATS=x -- true
  assert_failure 64
  assert_line --partial "skab sets SKPRELOAD_STATS itself"
  run skab --env "LD_PRELOAD=$SHIM" -- true
  assert_failure 4
  assert_line --partial "leave it out of --env"
}

@test "any number of --env reaches the program, in every arm" {
  local i many=()
  for ((i = 1; i <= 300; i++)); do many+=(--env "SKAB_TEST_$i=$i x"); done
  # shellcheck disable=SC2016  # the command's variables
  run skab "${many[@]}" -- bash -c 'echo "$SKAB_TEST_1, $SKAB_TEST_300" >>seen
    sleep 0.06'
  assert_regex "$status" '^[0123]$'
  run sort seen
  assert_equal "${#lines[@]}" 18
  assert_equal "$(sort -u seen)" "1 x, 300 x"
}

@test "a dozen libraries are a dozen arms, 31 are too many, exit 64" {
  local i many=()
  for ((i = 1; i <= 31; i++)); do
    built lib$i.so -shared -fPIC <<<"int mark$i;"
    many+=(--alloc "l$i=lib$i.so")
  done
  run skab "${many[@]:0:24}" -- "${NAP[@]}"
  assert_regex "$status" '^[0123]$'
  run jq -c '[.runs[] | select(.arm | test("^l")) | .effect.ok]
    | unique, length' ab.json
  assert_output $'[true]\n72'
  run skab "${many[@]}" -- "${NAP[@]}"
  assert_failure 64
  assert_line --index 0 "skab: --alloc: at most 30"
}

@test "a command's CPU time can decide, and says so" {
  run skab --primary cpu_s -- "${NAP[@]}"
  assert_regex "$status" '^[0123]$'
  run jq -c '[.runs[] | .primary == .usage.cpu_s and (.primary
    - .usage.user_s - .usage.system_s | fabs) < 1e-5] | unique' ab.json
  assert_output '[true]'
  run jq -r '.plan.primary | "\(.name) \(.better)"' ab.json
  assert_output 'cpu_s lower'
}

# One comparison in twenty may say so by chance, two in a row do not.
@test "glibc against glibc as arm B is not better or worse" {
  run skab --alloc B=glibc -- "${NAP[@]}"
  [[ $status == [23] ]] || run skab --alloc B=glibc -- "${NAP[@]}"
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

@test "a program with its own malloc is refused with exit 4 and the reason" {
  own_malloc
  run skab -- ./own
  assert_failure 4
  assert_line --regexp '^STOP .*the shim stood aside: .+'
}

@test "mode:pass as the shim's own option is no comparison, also in quiet" {
  run skab --quiet --conf mode:pass -- "${NAP[@]}"
  assert_failure 4
  assert_line --regexp '^STOP .*stood aside'
}

@test "a child that drops the preload and does the work is no proof" {
  built busy <<<'int main(void) {
    for (volatile long i = 0; i < 2000000000; i++) ; return 0; }'
  run skab -- sh -c 'unset LD_PRELOAD; ./busy'
  assert_failure 4
  assert_line --regexp '^STOP .*busy\[[0-9]+\] used [0-9]+ % of the CPU time'
}

@test "a process that had ended at its first look is no reason to stop" {
  # run.jq is compiled with the variables that it gets from skab
  local given=(--arg mode '' --arg arm '' --arg lib '' --arg primary ''
    --arg libs '' --argjson threads 0 --argjson padding 0 --argjson noise null
    --argjson values '[]' --argjson server '[]' --argjson load '[]'
    --argjson stats '[]' --argjson stop 15)
  run jq -nc -L "$TOP/scripts/lib/skab" "${given[@]}" 'include "run";
    def of($seen): effect([
      {pid: 1, name: "x", cpu_s: 1, mapped: [true], maps_seen: true},
      {pid: 2, name: "x", cpu_s: 0.3, mapped: [false], maps_seen: $seen}];
      ["/l.so"]; "/l.so"; null; 1) | .ok;
    of(false), of(true)'
  assert_output $'true\nfalse'
}

@test "skab that is itself preloaded with the shim is refused" {
  run env LD_PRELOAD="$SHIM" "$SKAB" -- "${NAP[@]}"
  assert_failure 4
  assert_output --partial "LD_PRELOAD already names libskpreload.so"
}

# --- it could not be measured ------------------------------------------------

@test "a command that fails is named with its arm, exit 69" {
  run skab -- sh -c 'sleep 0.05; echo broken >&2; exit 9'
  assert_failure 69
  assert_line --partial "the command failed (9) in arm"
  run skab -- bash -c 'kill -SEGV $$'
  assert_line --partial "the command failed (signal 11, SEGV) in arm"
  run skab -- bash -c 'bash -c "kill -SEGV \$\$"; exit'
  assert_line --partial "the command failed (139, as after signal SEGV) in arm"
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
  assert_output "skab: --json: cannot write missing/ab.json: no such folder,\
 or no permission; name another file"
  mkdir folder
  run skab --json folder -- "${NAP[@]}"
  assert_failure 74
  assert_output "skab: --json: cannot write folder: it is a folder; name\
 another file"
  run skab --md /proc/x -- "${NAP[@]}"
  assert_failure 74
  assert_output --partial "--md: cannot write /proc/x"
  run ls
  assert_output $'folder\ntmp'
}

@test "a full disk costs the report, not the result, exit 74" {
  run "$SKAB" --replay "$WHOLE/ab.json" --json /dev/full
  assert_failure 74
  assert_line --regexp '^VERDICT  '
  assert_line --partial "cannot write /dev/full: no space left"
}

@test "no room in the work directory is said, exit 74" {
  [ "$(id -u)" = 0 ] || skip "needs root to mount a small file system"
  mkdir small
  mount -t tmpfs -o size=64k none small || skip "may not mount here"
  cat /dev/zero >small/filled 2>log || true
  TMPDIR=$PWD/small run skab -- "${NAP[@]}"
  umount small
  assert_failure 74
  assert_output --partial "no space left in $PWD/small/skab."
}

@test "a report to standard output leaves its name and what is there alone" {
  ln -s /proc/self/fd/1 stdout
  echo before >text
  run bash -c '"$1" --replay "$2" --md stdout >>text; exit $?' - "$SKAB" \
    "$WHOLE/ab.json"
  assert_regex "$status" '^[0123]$'
  assert_equal "$(readlink stdout)" /proc/self/fd/1
  assert_equal "$(head -n 1 text)" before
  run cat text
  assert_line --regexp '^VERDICT  '
  assert_line --regexp '^\| --- '
  run bash -c '"$1" --replay "$2" --quiet --md /dev/fd/3 3>fd >text' - \
    "$SKAB" "$WHOLE/ab.json"
  assert_regex "$status" '^[0123]$'
  run cat fd
  assert_line --regexp '^\| --- '
}

@test "the name of a report may begin with a dash" {
  run "$SKAB" --replay "$WHOLE/ab.json" --md=-x.md
  assert_regex "$status" '^[0123]$'
  assert [ -s ./-x.md ]
  run ls -A
  assert_output $'-x.md\ntmp'
}

@test "a result that nobody can be shown is in the file, exit 74" {
  run bash -c '"$1" --replay "$2" --json out.json >/dev/full' - "$SKAB" \
    "$WHOLE/ab.json"
  assert_failure 74
  assert_output "skab: cannot write the result to standard output; it is in\
 out.json"
  run cmp <(jq .result "$WHOLE/ab.json") <(jq .result out.json)
  assert_success
}

@test "a number that no computer holds, or none at all, is no number, exit 69" {
  local word
  for word in 1e999 -1e999 NaN inf 12,5 '1 000' 0x10; do
    run skab --primary 'x:higher:x=(.+)$' -- sh -c "sleep 0.06; echo x='$word'"
    assert_failure 69
    assert_line --partial "no number for 'x' in the output"
  done
}

@test "a relative TMPDIR is the same one wherever the program goes" {
  run env TMPDIR=tmp SKAB_TEST=relative "$SKAB" --shim "$SHIM" --warmup 0 \
    --pairs 6 --max-repeats 0 -- bash -c 'cd /; sleep 0.06'
  run jq -c '[.runs[] | select(.arm == "B").coverage.modes] | unique' ab.json
  assert_output '[["on"]]'
}

# --- the end in the middle ---------------------------------------------------

@test "Ctrl-C while the work directory is made leaves none, exit 130" {
  mkdir bin
  printf '%s\n' '#!/bin/bash' 'kill -INT 0' >bin/realpath
  chmod +x bin/realpath
  run env PATH="$PWD/bin:$PATH" setsid -w "$SKAB" -- "${NAP[@]}"
  assert_failure 130
  run ls -A "$TMPDIR"
  assert_output ''
}

@test "a signal that ends a part of skab's alone is an interruption, too" {
  # shellcheck disable=SC2016 # the inner shell's
  run bash -c '. "$1"; trap on_exit EXIT; x=$(kill -TERM $BASHPID) || exit' - \
    "$TOP/scripts/lib/skab/say.sh"
  assert_failure 130
}

@test "Ctrl-C keeps what is there and leaves nothing, exit 130" {
  SKAB_TEST=$BATS_TEST_NAME begin_minder "$MINDER" -o out -c ctl -w -- \
    "$SKAB" --shim "$SHIM" --warmup 0 -- sh -c 'sleep 0.3' >log 2>&1
  begun
  end_minder 'stop INT 20'
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
  usage_error --alloc a/b=glibc -- true
  usage_error --requests none -- true
  usage_error --primary cpu_us_per_request -- true
  usage_error --windows 2 -- true
  usage_error --pin 0 -- true
  usage_error --pin 0/9999 -- true
  usage_error --load 'x {port}' --ready tcp:80 --primary wall_s -- true
  usage_error --preset mysql
  usage_error --nonsense 1 -- true
  usage_error true
  usage_error --replay /dev/null
}

# says CODE TEXT OPTION...: skab ends with CODE and says TEXT first
says() {
  run "$SKAB" "${@:3}"
  assert_failure "$1"
  assert_line --index 0 "skab: $2"
}

@test "an unknown option is unknown, and no value is taken for a command" {
  says 64 "unknown option --bogus" --bogus
  says 64 "unknown option --bogus" --bogus -- true
  says 64 "unknown option --bogus" --bogus=1 -- true
  says 64 "--pairs needs a value" --pairs
  says 64 "--quick takes no value" --quick=yes -- true
  says 64 "--warmup: '3s' is no number of runs, as a command takes it" \
    --warmup 3s -- true
}

@test "a value that is empty, as of a variable not set, is not left out" {
  local option
  for option in preset replay shim ready load primary requests threads \
    warmup; do
    says 64 "--$option: the value is empty; leave the option out" \
      "--$option" '' -- true
    says 64 "--$option: the value is empty; leave the option out" \
      "--$option=" -- true
  done
}

@test "a mistake in the shim's options is named, not measured" {
  says 64 "--conf: option 'max_smal' unknown, did you mean 'max_small'? \
(SKPRELOAD_CONF, char 9)" --conf mode:on,max_smal:1K -- true
  says 64 "--conf: option 'reserve' has no value, write 'reserve:VALUE' \
(SKPRELOAD_CONF, char 1)" --conf reserve -- true
  says 64 "--env: variable 'SKPRELOAD_OF' unknown, did you mean \
'SKPRELOAD_OFF'?" --env SKPRELOAD_OF=1 -- true
  says 64 "--conf: arm B is glibc, which has none of these options" \
    --alloc B=glibc --conf max_small:1K -- true
}

@test "a shim that is switched off is libc, and refused with exit 4" {
  local text="arm B would be libc: the shim is switched off, by --conf or --env"
  says 4 "$text" --conf mode:off -- true
  says 4 "$text" --env SKPRELOAD_OFF=1 -- true
  run skab --quiet --json '' --conf mode:off,mode:on --env SKPRELOAD_OFF=0 \
    -- "${NAP[@]}"
  assert_regex "$status" '^[0123]$'
}

@test "arm P is the shim, whatever takes the place of arm B" {
  run arms_of --alloc B=glibc --pass
  assert_output "A= A2= B= P=$SHIM"
  run arms_of --alloc "B=$LIB" --pass
  assert_output "A= A2= B=$LIB P=$SHIM"
  says 64 "--alloc: the name 'B' is taken" --alloc B=glibc --alloc B=glibc \
    -- true
}

# arms_of OPTION...: the arms' libraries
arms_of() {
  bash -c '. "$1/say.sh"; . "$1/options.sh"; . "$1/arms.sh"
    shim=$2; shift 2
    parse_options "$@" -- true; plan_arms
    for i in "${!arm_key[@]}"; do words+=("${arm_key[i]}=${arm_lib[i]}"); done
    echo "${words[*]}"' - "$TOP/scripts/lib/skab" "$SHIM" "$@"
}

@test "--help and skab(1) have the same options, and skab knows them" {
  local helped paged option
  helped=$("$SKAB" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u)
  paged=$(sed -n '/^What to run/,/^\.Sh HOW/s/^\.It Fl -//p' \
    "$TOP/man/skab.1" | sed 's/ , Fl -/\n/g' | sed 's/^\([a-z-]*\).*/--\1/' |
    sort -u)
  assert_equal "$helped" "$paged"
  for option in $helped; do
    run "$SKAB" "$option"
    refute_line --partial "unknown option"
  done
  run bash -c 'mandoc -T lint "$1" 2>&1 |
    grep -vE "mandoc.db|referenced manual not found"' - "$TOP/man/skab.1"
  assert_output ''
}

# read_as CODE OPTION...: what check_options makes of these
read_as() {
  bash -c '. "$1/say.sh"; . "$1/options.sh"; . "$1/serve.sh"; . "$1/run.sh"
    code=$2; shift 2
    parse_options "$@" -- sh -c "{threads}"
    check_options; eval "echo $code"' - "$TOP/scripts/lib/skab" "$@"
}

@test "a number may have zeros in front, and is read as a decimal one" {
  run read_as '$measure $ready_timeout $load_timeout' --measure 08s \
    --ready-timeout 09 --load-timeout 010m
  assert_output '8 9 600'
  run read_as '$pairs $seed $max_repeats $warmup $threads' --pairs 08 \
    --seed 09 --max-repeats 008 --warmup 08 --threads 01,08
  assert_output '8 9 8 8 1,8'
  run read_as '$threshold $max_noise $measure' --threshold 01.50% \
    --max-noise 08 --measure 00500ms
  assert_output '1.5 8 0.5'
  run read_as '$windows $window_seconds $warmup $ready' --load 'x {threads}' \
    --primary wall_s --ready tcp:0080 --windows 08 --measure 08m --warmup 09s
  assert_output '8 60 9 tcp:80'
}

# preset_as CODE OPTION...: what main makes of these with a preset
preset_as() {
  bash -c '. "$1/say.sh"; . "$1/options.sh"; . "$1/serve.sh"; . "$1/run.sh"
    . "$1/presets.sh"
    need() { :; }
    code=$2; shift 2
    parse_options "$@"; use_preset "$preset"; command[0]=true
    check_options
    eval "echo $code"' - "$TOP/scripts/lib/skab" "$@"
}

@test "what the command line says, a preset leaves, in whatever order" {
  local own preset all
  own=(--stop HUP --ready 'up {port}' --load 'l {port}' --requests 7 --primary
    wall_s --warmup 7 --measure 7 --pairs 7 --windows 3 --metric 'a:lower:(1)')
  for preset in redis nginx memcached postgresql mariadb; do
    all='$stop_signal,$ready,$load,$requests,$primary,$warmup,$measure,'
    all+='$pairs,$windows,${metrics[0]}'
    run preset_as "$all" --preset "$preset" "${own[@]}"
    assert_output '1,up {port},l {port},7,wall_s:lower:,7,7,7,3,a:lower:(1)'
    run preset_as "$all" "${own[@]}" --preset "$preset"
    assert_output '1,up {port},l {port},7,wall_s:lower:,7,7,7,3,a:lower:(1)'
  done
  run preset_as '$stop_signal' "${own[@]}" --preset postgresql
  assert_output 1
  run preset_as '$stop_signal' --preset postgresql
  assert_output 2
  run preset_as '$stop_signal' --preset redis
  assert_output 15
}

@test "a preset's load makes the requests that are asked for" {
  run preset_as '$requests: $load' --requests 8000 --preset redis
  assert_output --regexp '^8000: redis-benchmark .* -n 8000$'
  run preset_as '$requests: $load' --requests 8000 --preset memcached
  assert_output --regexp '^8000: .*--execute-number=1000 '
  # of another load the preset does not know how many there are
  run -64 preset_as '$requests' --preset redis --load 'x {port}'
  assert_output --partial "--requests says how many there were"
}

@test "a metric of the command line takes the place of the preset's" {
  run preset_as '${primary%%:*} ${metrics[@]%%:*}' --preset nginx \
    --primary 'requests_per_s:higher:x([0-9]+)' --metric 'p99_ms:lower:(1)'
  assert_output 'requests_per_s p99_ms'
  run preset_as '${primary%%:*} ${metrics[@]%%:*}' --preset nginx
  assert_output 'cpu_us_per_request requests_per_s p99_ms'
}

@test "a time, a port or a count of threads that is none is named, exit 64" {
  local option
  for option in measure ready-timeout load-timeout; do
    run skab "--$option" 0.0s -- true
    assert_failure 64
    assert_line --index 0 \
      "skab: --$option: '0.0s' is no time at all; write 500ms, 3s or 2m"
  done
  usage_error --threads 0 -- echo '{threads}'
  assert_line --partial "--threads: '0' has a 0"
  usage_error --threads 2,0 -- echo '{threads}'
  assert_line --partial "--threads: '2,0' has a 0"
  usage_error --threads 2,02 -- echo '{threads}'
  assert_line --partial "has 2 twice"
  usage_error --load true --primary wall_s --ready tcp:65536 -- true
  assert_line --partial "a number up to 65535"
}

@test "a metric's name is no other number's, exit 64" {
  local name
  usage_error --primary 'a:higher:a ([0-9]+)' --metric 'a:higher:b ([0-9]+)' \
    -- true
  assert_line --partial "--metric: 'a:higher:b ([0-9]+)': 'a' is there already"
  usage_error --metric 'b:higher:(1)' --metric 'b:lower:(2)' -- true
  assert_line --partial "'b' is there already; give it another name"
  for name in requests wall_s cpu_s peak_rss_kb context_switches user_s; do
    usage_error --metric "$name:lower:(1)" -- true
    assert_line --partial "skab itself measures '$name'"
    usage_error --primary "$name:lower:(1)" -- true
  done
}

@test "every number that a run has of itself is a name that is taken" {
  local name
  for name in $(jq -r '[.runs[] | keys[], (.usage | keys[])] | unique[]
      | select(test("_(s|kb|switches|faults|request)$"))' "$WHOLE/ab.json"); do
    usage_error --metric "$name:lower:(1)" -- true
  done
}

@test "a signal or a regular expression that is none is named, exit 64" {
  local word
  for word in BOGUS 0 65 EXIT DEBUG 137 ''; do
    usage_error --stop "$word" -- true
    assert_line --index 0 \
      "skab: --stop: '$word' is no signal; write TERM, SIGINT or 15"
  done
  run read_as '$stop_signal' --stop SIGINT
  assert_output 2
  run read_as '$stop_signal' --stop 015
  assert_output 15
  usage_error --primary 'a:higher:[ (.+)' -- true
  assert_line --partial "'[ (.+)' is no extended regular expression"
  usage_error --metric 'a:higher:+*(a)(' -- true
  assert_line --partial "is no extended regular expression"
  usage_error --requests '(a)[' -- true
  assert_line --partial "--requests: '(a)[': '(a)[' is no extended"
}

@test "a mistake in skab itself is no verdict, exit 70" {
  # with_mistake CODE: skab with a part that has it
  with_mistake() {
    mkdir -p tree/lib
    cp -r "$TOP/scripts/skab" tree
    cp -r "$TOP/scripts/lib/skab" tree/lib
    printf '%s\n' "$1" >>tree/lib/skab/report.sh
    run env SKAB_MINDER="$MINDER" tree/skab --shim "$SHIM" --warmup 0 \
      --max-repeats 0 --pairs 6 -- "${NAP[@]}"
    assert_failure 70
  }
  with_mistake 'run_plan() { : $((08)); }'
  assert_line --partial "an error in skab itself"
  with_mistake 'run_plan() { : "$no_such_variable"; }'
  with_mistake 'run_plan() { exit 1; }'
  with_mistake 'run_plan() { :; }; analyse() { :; }; assemble() { : >"$1"; }'
  assert_line --partial "the result has no verdict"
}

@test "a command or a library that is not there is named, exit 69" {
  run "$SKAB" -- ./no-such-program
  assert_failure 69
  assert_line --partial "./no-such-program"
  run "$SKAB" --alloc je=./no-such.so -- true
  assert_failure 69
  assert_line --partial "./no-such.so"
  run "$SKAB" --shim ./no-such.so -- true
  assert_failure 69
  assert_output "skab: --shim: cannot read './no-such.so'; name a\
 libskpreload.so"
  run "$SKAB" --shim . -- true
  assert_failure 69
  assert_line --partial "--shim: cannot read '.'"
}

@test "an installed skab finds its shim in lib64, and its own server" {
  make -s -C "$TOP" install DESTDIR="$PWD/there" PREFIX=/usr LIBDIR=/usr/lib64
  run there/usr/bin/skab --preset skserver --warmup 0 --pairs 6 \
    --max-repeats 0 --measure 60ms
  assert_regex "$status" '^[0123]$'
  run jq -r '.plan.arms[] | select(.key == "B").library' ab.json
  assert_output "$(readlink -f there)/usr/lib64/libskpreload.so"
  run jq -r '.plan.command[0]' ab.json
  assert_output "$(readlink -f there)/usr/lib/skpreload/skab/skserver"
}

@test "a primary that is 0 in every arm is said after a block, exit 69" {
  run skab --primary 'errors:lower:errors ([0-9]+)' -- \
    sh -c 'sleep 0.06; echo errors 0'
  assert_failure 69
  assert_line --partial "--primary: 'errors' is 0 or less in every arm"
  run jq '.runs | length' ab.json
  assert_output 3
}

@test "pairs with a 0, which have no ratio, are counted in the verdict" {
  local half='if .arm == "B" and .block < 3 then .primary = 0 else . end'
  jq ".runs |= map($half)" "$WHOLE/ab.json" >zeros.json
  run "$SKAB" --replay zeros.json
  assert_line --partial "none yet: 4 of at least 6 pairs are there"
  assert_output --regexp '2 pairs +do +not'
  run "$SKAB" --replay "$WHOLE/ab.json"
  refute_output --partial 'do not count'
}
