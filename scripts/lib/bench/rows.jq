# build/bench.json to lines for awk: kind, workload, then by kind
#   names   -  ALLOCATOR...
#   time    W  seconds of glibc, ratio of each allocator, best peer, ratio to it
#   rss     W  MiB of glibc, the same
#   note    -  text
# "-" is a figure that was not measured.
def show($digits): if . == null then "-"
  else pow(10; $digits) as $p | . * $p | round / $p | tostring end;

. as $all
| [.allocators[].name] as $names
| (["names", "-"] + $names | @tsv),
  (.workloads[] | . as $w
   | ["time", .name, (.arms.glibc.seconds | show(3))]
     + [$names[] | $w.time_vs_glibc[.] | show(3)]
     + [.best_peer.time // "-", (.best_peer.time_ratio | show(3))] | @tsv),
  (["time", "geomean", "-"] + [$names[] | $all.geomean.time_vs_glibc[.]
    | show(3)] + ["each", (.geomean.time_vs_best_peer | show(3))] | @tsv),
  (["time", "threaded", "-"]
   + [$names[] | $all.geomean.time_vs_glibc_threaded[.] | show(3)]
   + ["-", "-"] | @tsv),
  (.workloads[] | . as $w
   | ["rss", .name,
      (.arms.glibc.peak_rss_kib | if . then . / 1024 else null end | show(1))]
     + [$names[] | $w.rss_vs_glibc[.] | show(3)]
     + [.best_peer.rss // "-", (.best_peer.rss_ratio | show(3))] | @tsv),
  (["rss", "geomean", "-"] + [$names[] | $all.geomean.rss_vs_glibc[.]
    | show(3)] + ["each", (.geomean.rss_vs_best_peer | show(3))] | @tsv),
  (["note", "-", "\(.date), \(.host.cpu), \(.host.cpus) processors, "
    + "\(.host.libc), medians of \(.rounds) rounds, scale \(.scale)"] | @tsv),
  (.workloads[] | .name as $w | .arms | to_entries[]
   | select(.value.failed > 0)
   | ["note", "-", "\($w) failed \(.value.failed) times under \(.key)"]
   | @tsv)
