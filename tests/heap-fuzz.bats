#!/usr/bin/env bats
# Do the library's heaps and queues agree with their models on every tape?

setup() {
  load helpers
}

# fuzz TARGET SECONDS [CORPUS]: libFuzzer for so long, where there is clang,
# else random tapes.  The tape that did not agree stays in build/fuzz.
fuzz() {
  local target=$1 seconds=$2 build=$TOP/build
  if type -P clang >/dev/null; then
    make -s -C "$TOP" "build/fuzz/$target"
    mkdir -p "$BATS_TEST_TMPDIR/found"
    run timeout $((seconds + 120)) "$build/fuzz/$target" -print_final_stats=1 \
      -max_total_time="$seconds" -max_len=1024 -len_control=0 \
      -artifact_prefix="$build/fuzz/$target." \
      "$BATS_TEST_TMPDIR/found" "${@:3}"
    assert_success
    assert_line --regexp '^stat::number_of_executed_units: +[1-9][0-9]+$'
  else
    make -s -C "$TOP" "build/replay/$target"
    run timeout $((seconds + 120)) "$build/replay/$target" \
      --seconds "$seconds" "$RANDOM"
    assert_success
    assert_line --regexp '^[1-9][0-9]* random tapes run$'
  fi
}

@test "every tape of the corpus replays without a complaint" {
  make -s -C "$TOP" build/replay/heap_fuzz
  run timeout 120 "$TOP/build/replay/heap_fuzz" "$TOP"/tests/fuzz/corpus-heap/*
  assert_success
  assert_line --regexp '^[1-9][0-9]* tapes replayed$'
}

@test "random tapes run without a complaint" {
  local target
  for target in heap queue; do
    make -s -C "$TOP" "build/replay/${target}_fuzz"
    run timeout 120 "$TOP/build/replay/${target}_fuzz" --seconds 2 1
    assert_success
    assert_line --regexp '^[1-9][0-9]* random tapes run$'
  done
}

@test "heaps agree with their model on whatever is found in 60 seconds" {
  fuzz heap_fuzz 60 "$TOP/tests/fuzz/corpus-heap"
}

@test "queues agree with their model on whatever is found in 15 seconds" {
  fuzz queue_fuzz 15
}
