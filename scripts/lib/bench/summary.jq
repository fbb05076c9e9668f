# Runs of scripts/bench (slurped) to build/bench.json, schema skbench/1.
# A figure that was not measured is null.

def median:
  sort | length as $n
  | if $n == 0 then null
    elif $n % 2 == 1 then .[($n - 1) / 2]
    else (.[$n / 2 - 1] + .[$n / 2]) / 2 end;

def ratio($a; $b): if $a == null or $b == null or $b == 0 then null
                   else $a / $b end;

def geomean: map(select(. != null and . > 0))
  | if length == 0 then null else (map(log) | add / length | exp) end;

# One allocator on one workload.
def arm: {
  seconds: (map(.result.seconds | values) | median),
  least_seconds: (map(.result.seconds | values) | min),
  most_seconds: (map(.result.seconds | values) | max),
  peak_rss_kib: (map(.result.peak_rss_kib | values) | median),
  p99_us: (map(.result.p99_us | values) | median),
  failed: (map(select(.failed)) | length)
};

def threads_of: [.[].result | .threads // (.producers + .workers)] | max;

. as $runs
| ["glibc", "skpreload"] as $own
| ($allocators | map(.name)) as $names
| (reduce $runs[].result.workload as $w ([]; if index([$w]) then .
     else . + [$w] end)) as $workloads
| [ $workloads[] as $w
    | ($runs | map(select(.result.workload == $w))) as $mine
    | ($mine | group_by(.allocator)
       | map({key: .[0].allocator, value: arm}) | from_entries) as $arms
    | ([$names[] | select(IN($own[]) | not)
        | select($arms[.].seconds != null)]) as $peers
    | ($peers | min_by($arms[.].seconds)) as $fastest
    | ($peers | min_by($arms[.].peak_rss_kib)) as $leanest
    | { name: $w, threads: ($mine | threads_of),
        ops: ([$mine[].result.ops | values] | median), arms: $arms,
        time_vs_glibc: (reduce $names[] as $n ({};
          .[$n] = ratio($arms[$n].seconds; $arms.glibc.seconds))),
        rss_vs_glibc: (reduce $names[] as $n ({};
          .[$n] = ratio($arms[$n].peak_rss_kib; $arms.glibc.peak_rss_kib))),
        best_peer: {
          time: $fastest, rss: $leanest,
          time_ratio: (if $fastest then
            ratio($arms.skpreload.seconds; $arms[$fastest].seconds)
            else null end),
          rss_ratio: (if $leanest then
            ratio($arms.skpreload.peak_rss_kib; $arms[$leanest].peak_rss_kib)
            else null end)} } ] as $rows
| { schema: "skbench/1", date: $date, host: $host, rounds: $rounds,
    scale: $scale, seed: $seed, allocators: $allocators, workloads: $rows,
    geomean: {
      time_vs_glibc: (reduce $names[] as $n ({};
        .[$n] = ([$rows[].time_vs_glibc[$n]] | geomean))),
      time_vs_glibc_threaded: (reduce $names[] as $n ({};
        .[$n] = ([$rows[] | select(.threads > 1) | .time_vs_glibc[$n]]
                 | geomean))),
      rss_vs_glibc: (reduce $names[] as $n ({};
        .[$n] = ([$rows[].rss_vs_glibc[$n]] | geomean))),
      time_vs_best_peer: ([$rows[].best_peer.time_ratio] | geomean),
      rss_vs_best_peer: ([$rows[].best_peer.rss_ratio] | geomean)},
    runs: $runs }
