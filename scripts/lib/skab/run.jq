# run: what the minders and the shim's reports say about one run, as an entry
# of .runs in ab.json.  Unknown is null, never 0.

def event($name): map(select(.event == $name)) | last;

# What the tree used: from its first to its last breath for a command, over
# the measured windows for a server.  spans: [[from, to]...]
def usage($spans):
  {voluntary_switches: "voluntary", involuntary_switches: "involuntary",
   runqueue_wait_s: "runwait_s", user_s: "user_s", system_s: "system_s",
   minor_faults: "minor_faults", major_faults: "major_faults"}
  | map_values(. as $f | [$spans[] | .[1][$f] - (.[0][$f] // 0)] | add)
  | map_values(if . < 0 then 0 else (. * 1e6 | round / 1e6) end)
  | . + {cpu_s: ((.user_s + .system_s) * 1e6 | round / 1e6)};

def mean: map(select(. != null)) | if . == [] then null else add / length end;

# The metrics of all windows as one: means, but requests are counted.
def as_one:
  . as $w
  | ($w[0] // {} | del(.requests) | with_entries(.key as $k
      | .value = ([$w[][$k]] | mean)))
  + (if $w[0].requests then {requests: ([$w[].requests] | add)} else {} end);

# One entry for all processes that wrote a report of the shim.
def coverage($reports):
  ($reports | map(select(type == "object" and .coverage))) as $r
  | if $r == [] then null else
      ([$r[].heaps[]?.allocations] | add // 0) as $ours
      | ([$r[].libc.calls // 0] | add) as $libc
      | {reports: ($r | length),
         modes: ($r | map(.mode) | unique),
         reasons: ($r | map(.reason // empty) | unique),
         calls: ($ours + $libc),
         calls_percent: (if $ours + $libc > 0
           then 100 * $ours / ($ours + $libc) else null end),
         bytes_percent: ($r | max_by(.libc.calls // 0)
           | .coverage.bytes_percent // null)}
    end;

# Was the arm's library at work?  Every process with a tenth of the CPU time
# must have it mapped; a report written by the shim proves the same.  Of a
# process that had ended at its first look nobody knows what it had mapped.
# unseen: a run so short that another one may well be seen better.
def effect($tree; $libs; $lib; $coverage; $wall_s):
  ($tree | map(.cpu_s) | add // 0) as $cpu
  | ($tree | map(. + {name: "\(.name)[\(.pid)]",
      share: (if $cpu > 0 then .cpu_s / $cpu else 0 end)})) as $tree
  | if $lib == "" then
      ($tree | map(select(.mapped | any)) | .[0]) as $other
      | {ok: ($other == null), mapped_in: [],
         reason: (if $other == null then null else
           "\($other.name) of a glibc arm has a preloaded library mapped"
           end)}
    else
      ($libs | index($lib)) as $i
      | ($tree | map(select(.mapped[$i]))) as $with
      | ($tree | map(select((.mapped[$i] | not) and .maps_seen and .share >= 0.1
          and .cpu_s >= 0.05))) as $without
      | ($coverage != null and $coverage.modes != ["on"]
          and ($coverage.modes | index("on") == null)) as $passes
      | {mapped_in: ($with | map(.name)),
         ok: (($with != [] or $coverage != null) and $without == []),
         passes: $passes,
         unseen: ($with == [] and $without == [] and $coverage == null
           and $wall_s < 1),
         reason: (if $without != [] then
             "\($without[0].name) used \($without[0].share * 100 | round) % "
             + "of the CPU time without it"
           elif $with == [] and $coverage == null then
             "no process had \($lib | split("/") | last) mapped"
             + (if $wall_s < 0.05 then "; the command ended after "
                 + "\($wall_s * 1000 | round) ms, too soon to look at it"
                else "" end)
           else null end)}
    end;

def signal_words:
  "signal \(.)" + ({"4": "ILL", "5": "TRAP", "6": "ABRT", "7": "BUS",
    "8": "FPE", "9": "KILL", "11": "SEGV", "15": "TERM", "31": "SYS"}
    [tostring] // null | if . then ", \(.)" else "" end);

# How the command ended.  news: what an operator wants to know, which is not
# that it obeyed the signal that stops a server.
def end_of_run($stop):
  map(select(.event == "crash")) as $crashes
  | event("end")
  | {status, signal, killed: (.killed // false)}
  | . + {news: (
      (if .killed then ["did not end when told to, and was killed"]
       elif .signal and .signal != $stop then [.signal | signal_words]
       elif (.status // 0) - 128 | IN(4, 5, 6, 7, 8, 11, 31) then
         ["status \(.status), as after \(.status - 128 | signal_words)"]
       else [] end)
      + [$crashes[] | "\(.name) ended by \(.signal | signal_words)"]
      | unique | if . == [] then null else join("; ") end)};

def marks($name): map(select(.event == "mark" and .name == $name));

def run:
  ($libs | split("\n") | map(select(. != ""))) as $libs
  | ($mode == "server") as $serves
  | ($server | if $serves then marks("end") | last else event("end") end)
    as $last
  | (if $serves then [$server | marks("begin"), marks("end")] | transpose
     else [[{}, $last.total]] end | usage(.)) as $usage
  | [$load[] | select(.event == "end").wall_s] as $window_s
  | (if $serves then $window_s | add else $last.wall_s end) as $wall_s
  | ($values | as_one) as $metrics
  | coverage($stats) as $coverage
  | effect($last.tree; $libs; $lib; $coverage; $wall_s) as $effect
  | {arm: $arm, threads: (if $threads > 0 then $threads else null end),
     wall_s: $wall_s, metrics: $metrics, usage: $usage,
     peak_rss_kb: ($server | event("end").peak_rss_kb),
     cpu_us_per_request: (if $metrics.requests > 0
       then 1e6 * $usage.cpu_s / $metrics.requests else null end),
     padding_bytes: $padding,
     windows: (if $serves then [$values, $window_s] | transpose
       | map({wall_s: .[1], metrics: .[0]}) else null end),
     # of a build's hundreds, those that matter
     tree: ($last.tree | sort_by(-.cpu_s)[:20] | map({pid, name, cpu_s, hwm_kb,
       mapped: ([.mapped, $libs] | transpose
         | map(select(.[0])[1] | split("/") | last))})),
     noise: $noise, coverage: $coverage, effect: $effect,
     end: ($server | end_of_run($stop))}
  | .primary = ({wall_s, cpu_s: .usage.cpu_s, peak_rss_kb,
      cpu_us_per_request} + .metrics)[$primary];
