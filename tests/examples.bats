#!/usr/bin/env bats
# Do the examples do what they say, alone and under the shim?

setup() {
  load helpers
  EXAMPLES=$TOP/build/examples
  make -s -C "$TOP" build/examples/{fanout,pool,inboxes}
}

# both CMD...: runs CMD without and with the shim; the same output is wanted.
both() {
  run --separate-stderr timeout 60 "$@"
  assert_success
  local alone=$output
  run --separate-stderr timeout 60 env LD_PRELOAD="$LIB" "$@"
  assert_success
  assert_equal "$output" "$alone"
}

@test "a message in three queues is read three times and freed once" {
  both "$EXAMPLES/fanout"
  assert_line "reader 0: 50113890"
  assert_line "reader 1: 50113890"
  assert_line "reader 2: 50113890"
  assert_line "still out: 0"
}

@test "a pool dials eight connections and asks them 8000 questions" {
  both "$EXAMPLES/pool"
  assert_line "8000 questions answered over 8 connections"
  assert_line "still out: 0"
  assert_line "hung up: 8"
}

@test "a heap per inbox and one malloc deliver the same letters" {
  both "$EXAMPLES/inboxes" malloc
  assert_line "letters read add up to 799960000"
  run timeout 60 "$EXAMPLES/inboxes" heap
  assert_success
  assert_line "letters read add up to 799960000"
}

@test "with a heap per inbox the report names each, and its limit" {
  run timeout 60 "$EXAMPLES/inboxes" heap
  assert_success
  for i in 0 1 2 3; do
    assert_line --regexp "^paper of $i +108 +0 .* 1000 "
  done
}
