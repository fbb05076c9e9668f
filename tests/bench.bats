# Do the workloads of `make bench` run, check what they allocate, and report
# what the scripts around them understand?  Sizes are tiny: speed is not
# tested here.

# bats runs each test in a subshell: what it sets is meant to end there.
# shellcheck disable=SC2030,SC2031
load helpers

setup_file() {
  make -s -C "$BATS_TEST_DIRNAME/.." benches build/skserver >&2
}

setup() {
  BENCH=$TOP/build/bench
  # One peer is enough here, and the shim is a library that surely is there.
  export SHIM=$LIB
}

# json_says FILTER [FILE]: FILTER holds of FILE, or of $output.
json_says() {
  local text=$output
  [ $# -lt 2 ] || text=$(cat "$2")
  jq -e "$1" <<<"$text" >/dev/null || {
    echo "not so: $1" >&2
    echo "in: $text" >&2
    return 1
  }
}

# works WORKLOAD ARGS...: tiny, on glibc and on the shim, by its ends and with
# every byte checked.
works() {
  local workload=$1 full
  shift
  for full in "" --full; do
    run --separate-stderr timeout 60 "$BENCH/$workload" --json --scale 0.001 \
      ${full:+"$full"} "$@"
    assert_success
    assert_equal "${#lines[@]}" 1
    json_says ".workload == \"$workload\" and .ops > 0 and .seconds > 0"
    json_says '.peak_rss_kib > 0 and .threads > 0 and .seed == 1'
    run --separate-stderr preloaded timeout 60 "$BENCH/$workload" --json \
      --scale 0.001 ${full:+"$full"} "$@"
    assert_success
    json_says '.ops > 0'
  done
}

@test "workload pair works" { works pair; }
@test "workload batch works" { works batch; }
@test "workload batches works" { works batches; }
@test "workload random works" { works random; }
@test "workload mixed works" { works mixed; }
@test "workload handoff works" { works handoff; }
@test "workload onetomany works" { works onetomany; }
@test "workload manytoone works" { works manytoone; }
@test "workload ring works" { works ring; }
@test "workload sharing-active works" { works sharing-active; }
@test "workload sharing-passive works" { works sharing-passive; }
@test "workload churn works" { works churn; }
@test "workload crowd works" { works crowd --threads 100; }
@test "workload phases works" { works phases; }
@test "workload tree works" { works tree; }
@test "workload containers works" { works containers; }
@test "workload realloc works" { works realloc; }
@test "workload calloc works" { works calloc; }
@test "workload breathe works" { works breathe --period 20; }
@test "the table of delays has a row for each of them and for glibc" {
  run --separate-stderr "$TOP/scripts/bench-delay" --scale 0.01 --periods 10
  assert_success
  assert_line --regexp '^delay 0 ms +[0-9.]+ ms +[0-9.]+ MiB$'
  assert_line --regexp '^delay 500 ms +[0-9.]+ ms +[0-9.]+ MiB$'
  assert_line --regexp '^glibc +[0-9.]+ ms +[0-9.]+ MiB$'
  run "$TOP/scripts/bench-delay" --periods soon
  assert_failure 64
  assert_output --partial "--periods wants a whole number from 1"
}
@test "the table of threads has glibc and the shim beside each other" {
  run --separate-stderr "$TOP/scripts/bench-threads" --scale 0.001 --rounds 1 \
    --allocators glibc,skpreload
  assert_success
  assert_line --regexp '^ring +glibc( +[0-9.]+){5}$'
  assert_line --regexp '^ring +skpreload( +[0-9.]+){5}$'
  run "$TOP/scripts/bench-threads" --allocators none
  assert_failure 64
}
@test "workload startup works" { works startup; }

@test "threads in plenty and a single one do the same work" {
  local workload threads
  for workload in mixed onetomany manytoone ring handoff; do
    for threads in 1 33; do
      run --separate-stderr timeout 60 "$BENCH/$workload" --json \
        --scale 0.001 --threads $threads
      assert_success
      json_says ".threads == $threads and .ops > 0"
    done
  done
}

@test "the list of workloads in scripts/bench is what tests/bench has" {
  local listed built
  listed=$("$TOP/scripts/bench" --help |
    sed -n 's/^workloads: //p' | tr ' ' '\n' | sort)
  built=$(cd "$TOP/tests/bench" && printf '%s\n' *.c *.cc |
    sed 's/\.cc*$//' | grep -vxE 'hotpath|memory|breathe|heap_.*' | sort)
  assert_equal "$listed" "$built"
}

# A library whose malloc hands out every thousandth block twice.
make_twice() {
  cat >"$BATS_TEST_TMPDIR/twice.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
static long calls;
static void *kept[64];
void *malloc(size_t n)
{
    static void *(*real)(size_t);
    if (!real)
        real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    if (n < 1024 && ++calls % 1000 == 0 && kept[n / 16])
        return kept[n / 16];
    void *p = real(n);
    if (n < 1024)
        kept[n / 16] = p;
    return p;
}
END
  "${CC:-cc}" -shared -fPIC -fno-builtin -o "$BATS_TEST_TMPDIR/twice.so" \
    "$BATS_TEST_TMPDIR/twice.c"
}

@test "a block that is handed out twice ends a workload with a reason" {
  make_twice
  local workload
  for workload in batch random mixed onetomany; do
    run env LD_PRELOAD="$BATS_TEST_TMPDIR/twice.so" \
      timeout 60 "$BENCH/$workload" --scale 0.01 --threads 1
    assert_failure
    assert_output --regexp 'lost its pattern|free\(\)|tcache|corrupt'
  done
}

@test "a zeroed block that is not zero ends calloc with a reason" {
  cat >"$BATS_TEST_TMPDIR/dirty.c" <<'END'
#include <stddef.h>
void *malloc(size_t);
void *calloc(size_t a, size_t b)
{
    static long calls;
    char *p = malloc(a * b);
    for (size_t i = 0; i < a * b; i++)
        p[i] = 0;
    if (++calls > 50 && a == 1)
        p[a * b - 1] = 1;
    return p;
}
END
  "${CC:-cc}" -shared -fPIC -fno-builtin -o "$BATS_TEST_TMPDIR/dirty.so" \
    "$BATS_TEST_TMPDIR/dirty.c"
  run env LD_PRELOAD="$BATS_TEST_TMPDIR/dirty.so" \
    timeout 60 "$BENCH/calloc" --scale 0.001
  assert_failure 1
  assert_output --partial 'gave a block that is not zero'
}

@test "a bad option of a workload ends with status 64 and names it" {
  run "$BENCH/pair" --sizes 3
  assert_failure 64
  assert_output "pair: '--sizes' is no option; --help lists them"
  run "$BENCH/mixed" --threads 0
  assert_failure 64
  assert_output "mixed: --threads wants a whole number from 1 to 1024, not '0'"
  run "$BENCH/random" --least 9 --most 8
  assert_failure 64
  assert_output "random: --least 9 is above --most 8"
  run "$BENCH/memory" --scenario nap
  assert_failure 64
  assert_output --partial "not 'nap'"
}

@test "scripts/bench compares two workloads and writes table, JSON and SVG" {
  local out=$BATS_TEST_TMPDIR/b
  run --separate-stderr timeout 120 "$TOP/scripts/bench" --rounds 2 \
    --scale 0.005 --only pair,ring --out "$out"
  assert_success
  assert_line --regexp '^time +s +glibc +skpreload'
  assert_line --regexp '^pair +[0-9.]+ +1\.00 +[0-9.]+'
  assert_line --regexp '^peak RSS +MiB +glibc'
  json_says '.schema == "skbench/1" and .rounds == 2' "$out.json"
  json_says '[.workloads[].name] == ["pair", "ring"]' "$out.json"
  json_says '.runs | length == 2 * 2 * ([.[].allocator] | unique | length)' \
    "$out.json"
  json_says '[.workloads[].arms[].failed] | add == 0' "$out.json"
  json_says '.workloads[0] | .arms.skpreload.seconds / .arms.glibc.seconds
    == .time_vs_glibc.skpreload' "$out.json"
  json_says '.geomean | .time_vs_glibc.glibc == 1 and .rss_vs_glibc.glibc == 1
    and .time_vs_glibc.skpreload > 0' "$out.json"
  run cat "$out.svg"
  assert_line --partial '>pair</text>'
  assert_line --partial '>geomean</text>'
  assert_output --regexp '</svg>$'
}

@test "the medians and geometric means of scripts/bench are right" {
  local runs=$BATS_TEST_TMPDIR/runs
  # Workload w: glibc 1 2 9 s, shim 1 s, peer 0.5 s; v: glibc 4, shim 1.
  cat >"$runs" <<'END'
{"allocator":"glibc","round":0,"result":{"workload":"w","threads":2,"ops":1,"seconds":9,"peak_rss_kib":100}}
{"allocator":"glibc","round":1,"result":{"workload":"w","threads":2,"ops":1,"seconds":1,"peak_rss_kib":100}}
{"allocator":"glibc","round":2,"result":{"workload":"w","threads":2,"ops":1,"seconds":2,"peak_rss_kib":100}}
{"allocator":"skpreload","round":0,"result":{"workload":"w","threads":2,"ops":1,"seconds":1,"peak_rss_kib":50}}
{"allocator":"p","round":0,"result":{"workload":"w","threads":2,"ops":1,"seconds":0.5,"peak_rss_kib":200}}
{"allocator":"glibc","round":0,"result":{"workload":"v","threads":1,"ops":1,"seconds":4,"peak_rss_kib":100}}
{"allocator":"skpreload","round":0,"result":{"workload":"v","threads":1,"ops":1,"seconds":0.5,"peak_rss_kib":200}}
{"allocator":"p","round":0,"result":{"workload":"v"},"failed":{"status":139,"stderr":""}}
END
  run jq -s --argjson host '{}' --argjson rounds 3 --argjson scale 1 \
    --argjson seed 1 --arg date now --argjson allocators \
    '[{"name":"glibc"},{"name":"skpreload"},{"name":"p"}]' \
    -f "$TOP/scripts/lib/bench/summary.jq" "$runs"
  assert_success
  json_says '.workloads[0].arms.glibc.seconds == 2'
  json_says '.workloads[0].time_vs_glibc == {glibc: 1, skpreload: 0.5,
    p: 0.25}'
  json_says '.workloads[0].best_peer | .time == "p" and .time_ratio == 2
    and .rss_ratio == 0.25'
  json_says '.workloads[1].arms.p | .seconds == null and .failed == 1'
  json_says '.workloads[1].best_peer.time == null'
  json_says '.geomean.time_vs_glibc.skpreload | . > 0.2499 and . < 0.2501'
  json_says '.geomean.time_vs_glibc_threaded.skpreload == 0.5'
  json_says '.geomean.rss_vs_glibc.skpreload | . > 0.999 and . < 1.001'
}

@test "a workload that fails under an allocator is reported, not fatal" {
  local out=$BATS_TEST_TMPDIR/b
  make_twice
  PEERS="twice=$BATS_TEST_TMPDIR/twice.so" run --separate-stderr timeout 120 \
    "$TOP/scripts/bench" --rounds 1 --scale 0.005 --only batch --out "$out"
  assert_success
  assert_line 'batch failed 1 times under twice'
  json_says '.workloads[0].arms.twice | .failed == 1 and .seconds == null' \
    "$out.json"
}

@test "scripts/bench names a bad option, workload or peer" {
  run "$TOP/scripts/bench" --only nap
  assert_failure 64
  assert_output --partial "no workload 'nap'; there are pair batch"
  run "$TOP/scripts/bench" --rounds 0
  assert_failure 64
  assert_output "bench: --rounds wants a whole number from 1 to 1000, not '0'"
  run "$TOP/scripts/bench" --fast
  assert_failure 64
  run "$TOP/scripts/bench" --only pair --allocators glibc,nap
  assert_failure 64
  assert_line --partial "bench: no allocator 'nap' here; there are glibc"
    PEERS=x run "$TOP/scripts/bench" --only pair
  assert_failure 64
  assert_line "bench: PEERS wants name=/path, not 'x'"
  PEERS=x=/nowhere.so run "$TOP/scripts/bench" --only pair
  assert_failure 1
  assert_line 'bench: PEERS: /nowhere.so cannot be preloaded'
}

@test "every memory scenario marks RSS and what is live" {
  local scenario
  for scenario in sleeper burst holes bleed trim night; do
    run --separate-stderr timeout 60 "$BENCH/memory" --json --scale 0.01 \
      --seconds 0.5 --scenario $scenario
    assert_success
    json_says ".scenario == \"$scenario\" and .peak_rss_kib > 0"
    json_says '.marks[0].at == "start" and .marks[-1].at == "end"'
    json_says '[.marks[].rss_kib] | min > 0'
    json_says '[.marks[].live_kib] | max > 1000'
  done
}

@test "scripts/bench-memory samples RSS and draws it" {
  local out=$BATS_TEST_TMPDIR/m
  run --separate-stderr timeout 120 "$TOP/scripts/bench-memory" \
    --only sleeper --allocators glibc,skpreload --scale 0.02 --seconds 1 \
    --out "$out"
  assert_success
  assert_line --regexp '^sleeper +skpreload +[0-9.]+ +[0-9.]+'
  json_says '.schema == "skbench-memory/1"' "$out.json"
  json_says '[.runs[] | .status == 0 and (.samples | length >= 3)
    and ([.samples[].rss_kib] | max) > 1000] | all' "$out.json"
  run cat "$out.svg"
  assert_output --regexp '</svg>$'
  assert_line --partial 'class="line bold s2"'
}

@test "scripts/hotpath counts what callgrind counts, twice the same" {
  requires valgrind
  local out=$BATS_TEST_TMPDIR/h.json first
  run --separate-stderr timeout 120 "$TOP/scripts/hotpath" --quick \
    --allocators floor --out "$out"
  assert_success
  assert_line --regexp '^floor +[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+$'
  json_says '.instructions.floor | .pair >= 15 and .pair <= 40
    and .large >= .pair and .large <= 70' "$out"
  first=$(jq .instructions.floor.pair "$out")
  run --separate-stderr timeout 120 "$TOP/scripts/hotpath" --quick \
    --allocators floor --only pair --out "$out"
  assert_success
  assert_equal "$(jq .instructions.floor.pair "$out")" "$first"
}

@test "scripts say their --help wherever they are called, and what is wrong" {
  local name up
  cd "$BATS_TEST_TMPDIR" || return
  up=$(realpath --relative-to=. "$TOP/scripts")
  for name in ab-servers bench bench-contention bench-delay bench-heap \
    bench-memory bench-threads check hotpath; do
    run "$up/$name" --help
    assert_success
    assert_line --partial "scripts/$name "
    run "$up/$name" --bogus
    assert_failure 64
    refute_output --partial "can't read"
  done
}
