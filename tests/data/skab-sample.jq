# A comparison as skab writes it, with known values: 8 blocks in which A' is
# A's own ratio .again of that block and B is A's ratio .gain; for --replay.
# Run with -n and --argjson threads (null or a list).
def usage($scale):
  {voluntary_switches: (4000 * $scale), involuntary_switches: 200,
   runqueue_wait_s: 0.5, user_s: (2 * $scale), system_s: (0.25 * $scale),
   minor_faults: 3000, major_faults: 0, cpu_s: (2.25 * $scale)};

def one($block; $place; $arm; $value; $threads):
  {block: $block, place: $place, attempt: 1, kept: true, arm: $arm,
   threads: $threads, wall_s: 10.01, primary: $value,
   metrics: {rps: $value, p99: (2000 / $value)}, usage: usage($value / 1000),
   peak_rss_kb: 20480, cpu_us_per_request: null, padding_bytes: 17,
   windows: [{wall_s: 10.01, metrics: {rps: $value, p99: (2000 / $value)}}],
   tree: [{pid: 100, name: "server", cpu_s: 2.25, hwm_kb: 20480,
     mapped: (if $arm == "B" then ["libskpreload.so"] else [] end)}],
   noise: {steal_percent: 0, foreign_cpu_percent: 0.5,
     psi_before_percent: 0, noisy: false},
   coverage: (if $arm != "B" then null else {reports: 1, modes: ["on"],
     reasons: [], calls: 1000, calls_percent: 93.4, bytes_percent: 61.1}
     end),
   effect: {ok: true, reason: null,
     mapped_in: (if $arm == "B" then ["server[100]"] else [] end)}};

[1.002, 0.999, 1.001, 0.998, 1.003, 0.997, 1.0, 1.0015] as $again
| [1.063, 1.061, 1.065, 1.060, 1.066, 1.059, 1.064, 1.062] as $gain
| {schema: "skab/1", tool: "skab 0.1.0", created: "2026-01-02T03:04:05Z",
   complete: true, stopped_by: null,
   host: {kernel: "Linux 6.1", machine: "x86_64", cpu: "a CPU", cpus: 2,
     libc: "glibc 2.36", os: "Debian GNU/Linux 12 (bookworm)",
     memory_kb: 4000000},
   plan: {mode: "server", preset: null,
     command: ["/usr/sbin/server", "--name", "<b>&\"|\""],
     ready: "tcp:8080", load: "wrk -t1 http://127.0.0.1:8080/", warmup: 3,
     measure_s: 10, windows: 1, side_by_side: false, requests: null,
     pin: null, pairs: 8, seed: 7, threshold: 0.01, max_noise: 0.1,
     primary: {name: "rps", better: "higher",
       pattern: "Requests/sec: *([0-9.]+)"},
     metrics: [{name: "p99", better: "lower", pattern: "99% *([0-9.]+)"}],
     arms: [{key: "A", "label": "glibc", library: null, sha256: null,
         conf: null},
       {key: "A2", "label": "glibc again", library: null, sha256: null,
         conf: null},
       {key: "B", "label": "skpreload", library: "/lib/libskpreload.so",
         sha256: "00", conf: null}],
     threads: $threads},
   runs: [range(0; 8) as $i | (($threads // [null]) | .[]) as $t
     | (1000 * (1 + $i / 100) * ($t // 1)) as $a
     | one($i + 1; 1; "A"; $a; $t), one($i + 1; 2; "A2"; $a * $again[$i]; $t),
       one($i + 1; 3; "B"; $a * $gain[$i]; $t)],
   result: null}
