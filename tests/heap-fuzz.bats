#!/usr/bin/env bats
# Do the library's heaps agree with their model on every tape found so far?

setup() {
  load helpers
  make -s -C "$TOP" build/replay/heap_fuzz
}

@test "every tape of the corpus replays without a complaint" {
  run timeout 120 "$TOP/build/replay/heap_fuzz" "$TOP"/tests/fuzz/corpus-heap/*
  assert_success
  assert_line --regexp '^[1-9][0-9]* tapes replayed$'
}

@test "random tapes replay without a complaint" {
  for i in 1 2 3 4 5 6 7 8; do
    awk -v seed="$i" 'BEGIN {
      srand(seed)
      for (i = 0; i < 3000; i++) printf "%c", 1 + int(rand() * 127)
    }' >"$BATS_TEST_TMPDIR/tape-$i"
  done
  run timeout 120 "$TOP/build/replay/heap_fuzz" "$BATS_TEST_TMPDIR"/tape-*
  assert_success
  assert_line "8 tapes replayed"
}
