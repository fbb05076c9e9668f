#!/usr/bin/env bats
# Is the report true, whole, where it was asked for, and nowhere else?

load helpers
load shim

# figures NAME LABEL: "allocations frees remote_frees in_use" of a heap.
figures() {
  jq -r --arg name "$2" '.heaps[] | select(.label == $name) |
    "\(.allocations) \(.frees) \(.remote_frees) \(.in_use)"' \
    "$(reports "$1" | head -n 1)"
}

@test "allocations, frees, units in use and remote frees are exact" {
  on_shim "$PROGS/counted"
  assert_success
  cat "$(reports counted)"
  assert_equal "$(figures counted malloc-1792)" "1000 700 300 300"
  assert_equal "$(figures counted malloc-3584)" "10 3 0 7"
  # A realloc within a class is no allocation.
  assert_equal "$(figures counted malloc-20480)" "7 7 0 0"
  report_has counted '.libc.calls == 10 and .libc.bytes == 1500001'
}

@test "the report is JSON with its schema, and all of its sums agree" {
  on_shim "$PROGS/exchange"
  assert_success
  report_has exchange '.schema == "skpreload-stats/1"'
  report_has exchange ".version == \"$(cat "$TOP/VERSION")\""
  report_has exchange '.mode == "on" and .reason == "" and .pid > 0'
  report_has exchange '.program == "exchange"'
  report_has exchange '.region | .reserved_bytes >= .committed_bytes
    and .committed_bytes > 0'
  # What a heap gave out is in use, or was freed.
  report_has exchange '[.heaps[] | .allocations == .frees + .in_use] | all'
  report_has exchange '[.heaps[] | .remote_frees <= .frees] | all'
  report_has exchange '[.heaps[] | .label == "malloc-\(.unit_bytes)"] | all'
  report_has exchange '[.heaps[] | .chunks > 0 or .in_use + .cached == 0] | all'
  report_has exchange '[.heaps[].label] | length == (unique | length)'
  # Everything was freed; what libc and the loader keep is little.
  report_has exchange '([.heaps[].in_use] | add) < 200'
  report_has exchange '
    ([.heaps[].allocations] | add) as $ours |
    (100 * $ours / ($ours + .libc.calls) - .coverage.calls_percent)
      | (. >= 0 and . < 0.2)'
  report_has exchange '.coverage.bytes_percent | (. > 0 and . <= 100)'
}

@test "counts stay exact when threads free each other's units and end" {
  on_shim "$PROGS/free_only"
  assert_success
  # 1.6 million went through, all of them freed by one thread.
  report_has free_only '[.heaps[] | .allocations] | add
    | (. >= 1600000 and . < 1600300)'
  report_has free_only '([.heaps[].in_use] | add) < 200'
  report_has free_only '[.heaps[].remote_frees] | add
    | (. >= 1599000 and . <= 1600300)'
}

@test "in pass-through the report says so, why, and that we served nothing" {
  on_shim SKPRELOAD_CONF=mode:pass "$PROGS/counted"
  assert_success
  report_has counted '.mode == "pass" and .heaps == []'
  report_has counted '.coverage.calls_percent == 0 and .libc.calls > 1000'
  on_shim SKPRELOAD_CONF=reserve:0 "$PROGS/alignment"
  report_has alignment '.mode == "pass" and .reason == "reserve is 0"'
  on_shim SKPRELOAD_OFF=1 "$PROGS/usable"
  assert_success
  assert_equal "$(reports usable)" ""
}

@test "every process writes its own report: fork, exec, subshells" {
  # shellcheck disable=SC2016 # the inner shell expands it
  on_shim bash -c '"$1" & "$1" & wait; (exec "$2")' - \
    "$PROGS/counted" "$PROGS/alignment"
  assert_success
  assert_equal "$(reports counted | wc -l)" 2
  assert_equal "$(reports alignment | wc -l)" 1
  report_has bash '.mode == "on"'
}

@test "a process that does not end by exit or return leaves no report" {
  on_shim sh -c 'kill -TERM $$'
  assert_failure 143
  on_shim perl -MPOSIX -e 'POSIX::_exit(3)'
  assert_failure 3
  assert_equal "$(ls "$REPORTS")" ""
  # What it turns into by execve has its own, and so has a daemon, whose
  # parent left by _exit.
  on_shim sh -c 'exec perl -e 1'
  assert_equal "$(reports sh)" ""
  assert_served perl
  on_shim "$PROGS/daemon" "$BATS_TEST_TMPDIR/said"
  for tries in {1..200}; do
    [ -z "$(reports daemon)" ] || break
    sleep 0.1
  done
  assert_equal "$(reports daemon | wc -l)" 1
  assert_served daemon
}

@test "a forked child's counts are its own process's, and whole" {
  on_shim "$PROGS/fork_exit"
  assert_success
  local report n=0
  while IFS= read -r report; do
    n=$((n + 1))
    jq -e '[.heaps[] | .allocations >= .in_use] | all' "$report"
  done < <(reports fork_exit)
  assert_equal $n 2
}

@test "the file appears whole or not at all, under its name only" {
  local dir=$BATS_TEST_TMPDIR/dir
  mkdir "$dir"
  echo old >"$dir/report"
  run bounded env LD_PRELOAD="$LIB" SKPRELOAD_STATS="$dir/report" \
    "$PROGS/counted"
  assert_success
  assert_equal "$(ls "$dir")" report
  jq -e '.program == "counted"' "$dir/report"
}

@test "a report is its owner's to write, also of a daemon without a umask" {
  (umask 0 && on_shim "$PROGS/alignment")
  (umask 077 && on_shim "$PROGS/usable")
  assert_equal "$(stat -c %a "$(reports alignment)")" 644
  assert_equal "$(stat -c %a "$(reports usable)")" 600
}

@test "a report that cannot be written is named in verbose, and harms not" {
  run --separate-stderr bounded env LD_PRELOAD="$LIB" \
    SKPRELOAD_STATS=/nowhere/report "$PROGS/counted"
  assert_success
  assert_output ok
  assert_equal "$stderr" ""
  run --separate-stderr bounded env LD_PRELOAD="$LIB" SKPRELOAD_VERBOSE=1 \
    SKPRELOAD_STATS=/nowhere/report "$PROGS/counted"
  assert_success
  assert_equal "$(sed -n '$s/^skpreload\[[0-9]*\]: //p' <<<"$stderr")" \
    "option 'stats': cannot write '/nowhere/report'"
}

@test "a fifo or a link to a device that is named stays what it is" {
  local dir=$BATS_TEST_TMPDIR/dir
  mkdir "$dir"
  mkfifo "$dir/fifo"
  ln -s /dev/null "$dir/null"
  run bounded env LD_PRELOAD="$LIB" SKPRELOAD_STATS="$dir/fifo" \
    "$PROGS/counted"
  assert_success
  [ -p "$dir/fifo" ]
  run bounded env LD_PRELOAD="$LIB" SKPRELOAD_STATS="$dir/null" \
    "$PROGS/counted"
  assert_success
  [ -L "$dir/null" ]
  [ -c /dev/null ]
}

@test "a link of the system to standard output is written through" {
  [ "$(id -u)" = 0 ] || skip "needs root, whose link it is"
  cd "$BATS_TEST_TMPDIR" || return
  ln -s /proc/self/fd/1 stdout
  # shellcheck disable=SC2016 # the inner shell expands it
  run bounded env SKPRELOAD_STATS=stdout LD_PRELOAD="$LIB" bash -c \
    'echo before >text; exec "$1" >>text' - "$PROGS/alignment"
  assert_success
  assert_equal "$(readlink stdout)" /proc/self/fd/1
  assert_equal "$(head -n 1 text)" before
  assert_equal "$(sed '/^{/,$!d' text | jq -r .program)" alignment
  run ls
  assert_output $'stdout\ntext'
}

@test "a link that somebody planted is replaced, not followed" {
  cd "$BATS_TEST_TMPDIR" || return
  echo data >data
  ln -s "$PWD/data" report
  run bounded env SKPRELOAD_STATS=report LD_PRELOAD="$LIB" "$PROGS/alignment"
  assert_success
  assert [ ! -L report ]
  assert_equal "$(cat data)" data
}

@test "no report and no message goes into a file that became descriptor 2" {
  local file=$BATS_TEST_TMPDIR/data
  on_shim SKPRELOAD_VERBOSE=1 "$PROGS/fd2" "$file" "$PROGS/libplugin.so"
  assert_success
  assert_equal "$(cat "$file")" data
  report_has fd2 '.mode == "on"'
}

@test "the last word before an abort does not go there either" {
  local file=$BATS_TEST_TMPDIR/data
  on_shim "$PROGS/fd2" "$file" "$PROGS/libplugin.so" abort
  assert_equal "$status" 134
  assert_equal "$(cat "$file")" data
}

@test "a program started without descriptor 2 has its file to itself" {
  local file=$BATS_TEST_TMPDIR/data
  # shellcheck disable=SC2016 # the inner shell expands it
  on_shim SKPRELOAD_CONF=nonsense:1 SKPRELOAD_VERBOSE=1 \
    sh -c 'exec "$1" "$2" "$3" 2>&-' - "$PROGS/fd2" "$file" \
    "$PROGS/libplugin.so"
  assert_success
  assert_equal "$(cat "$file")" data
}

@test "a report that exceeds the limit on files' sizes ends no program" {
  on_shim prlimit --fsize=100 "$PROGS/counted"
  assert_success
  assert_equal "$(find "$REPORTS" -name 'counted*')" ""
}

# by_strace OPTION...: the program counted on the shim, with a report.
by_strace() {
  run strace -o "$BATS_TEST_TMPDIR/calls" -e trace=close "$@" \
    -E LD_PRELOAD="$LIB" -E SKPRELOAD_STATS="$BATS_TEST_TMPDIR/report" \
    -E SKPRELOAD_VERBOSE=1 "$PROGS/counted"
}

@test "a report whose end the disk refuses at the last takes no other's place" {
  requires strace
  echo old >"$BATS_TEST_TMPDIR/report"
  by_strace
  [ "$status" -eq 0 ] || skip "needs the right to ptrace"
  jq -e .schema "$BATS_TEST_TMPDIR/report"
  echo old >"$BATS_TEST_TMPDIR/report"
  by_strace -e inject=close:error=ENOSPC:when="$(
    grep -c close "$BATS_TEST_TMPDIR/calls")"
  assert_success
  assert_line --partial "option 'stats': cannot write"
  assert_equal "$(cat "$BATS_TEST_TMPDIR"/report*)" old
}

@test "exit() writes it also on the smallest stack, in a thread to be cancelled" {
  on_shim "$PROGS/cancelled"
  assert_success
  assert_served cancelled
}

@test "a message that nobody reads ends no program" {
  mkfifo "$BATS_TEST_TMPDIR/pipe"
  # Open for writing alone, after somebody who reads was there.
  exec 7<>"$BATS_TEST_TMPDIR/pipe"
  exec 8>"$BATS_TEST_TMPDIR/pipe" 7<&-
  for conf in nonsense:1 verbose:on; do
    # shellcheck disable=SC2016 # the inner shell expands it
    run bounded env --default-signal=PIPE LD_PRELOAD="$LIB" \
      SKPRELOAD_CONF="$conf" sh -c 'exec 2>&8 "$@"' - "$PROGS/counted"
    assert_success
  done
  exec 8>&-
}
