#!/usr/bin/env bats
# What do a unit's allocate and unref cost, in instructions, beside our malloc
# and free?  Callgrind's counts repeat to the digit.

setup() {
  load helpers
  make -s -C "$TOP" build/bench/heap_pair
  cd "$BATS_TEST_TMPDIR" || return
}

# count SCALE HOW: instructions of the whole run.
count() {
  env LD_PRELOAD="$LIB" valgrind --tool=callgrind \
    --callgrind-out-file=/dev/null "$TOP/build/bench/heap_pair" \
    --scale "$1" --how "$2" 2>&1 >/dev/null |
    awk '/Collected/ { print $4 }'
}

# per_pair HOW: ten times the instructions of one turn, its loop included; of
# so many turns that what differs in two starts does not count.
per_pair() {
  local few many
  few=$(count 0.0001 "$1") # 20 000 turns
  many=$(count 0.0011 "$1") # 220 000
  echo $(((many - few + 10000) / 20000)) # rounded
}

@test "allocate and unref take no more instructions than malloc and free" {
  requires valgrind
  local unit malloc
  unit=$(per_pair unit)
  malloc=$(per_pair malloc)
  echo "tenths of an instruction per turn: unit $unit, malloc $malloc"
  assert [ "$unit" -gt 100 ]
  assert [ "$unit" -le "$malloc" ]
}
