# words: numbers and verdicts as people read them, for every report alike.

def digits($n):
  pow(10; $n) as $f | (. * $f | round) as $i
  | ($i / $f | floor) as $whole
  | if $n <= 0 then "\($whole)"
    else "\($whole)." + (("000000" + "\($i - $whole * $f)")[-$n:]) end;

def grouped:
  tostring | [match(".{1,3}(?=(.{3})*$)"; "g").string] | join(" ");

# Four digits that matter, thousands apart.
def number:
  if . == null then "n/a"
  elif . < 0 then "-" + (-. | number)
  elif . >= 1000 then round | grouped
  elif . >= 100 then digits(1)
  elif . >= 10 then digits(2)
  elif . >= 0.1 then digits(3)
  elif . == 0 then "0"
  else digits(5) end;

# A ratio as a change: 1.063 is +6.3 %.
def change:
  if . == null then "n/a"
  else ((. - 1) * 100) as $p
    | (if $p < 0 then "-" else "+" end) + ($p | fabs
      | if . >= 999 then (. / 100 + (if $p < 0 then 0 else 1 end)
          | "\(round)x") else digits(1) end)
    | if endswith("x") then .[1:] else . + " %" end end;

# Fewer than six pairs have no interval that covers 95 %.
def interval: if .n < 6 then "[n/a]"
  else "[\(.low | change), \(.high | change)]" end;

def percent: if . == null then "n/a" else "\(. * 100 | digits(1)) %" end;

def p_value: if . == null then "n/a" elif . < 0.0001 then "< 0.0001"
  else "= " + (if . < 0.01 then digits(4) else digits(2) end) end;

def arm_name: if . == "A2" then "A'" else . end;

def label_of($plan; $key): $plan.arms[] | select(.key == $key)["label"];

# kB as MiB, seconds as they are: the name says the unit.
def shown_name:
  {peak_rss_kb: "peak RSS MiB", wall_s: "wall time s",
   cpu_s: "CPU time s", cpu_us_per_request: "CPU us per request",
   voluntary_switches: "voluntary switches",
   involuntary_switches: "involuntary switches",
   context_switches: "context switches", runqueue_wait_s: "run-queue wait s",
   user_s: "user time s", system_s: "system time s",
   minor_faults: "minor faults", major_faults: "major faults"}[.] // .;

def shown_value($name):
  if . == null then null
  elif $name == "peak_rss_kb" then . / 1024 else . end;

# The rows of a table: the primary metric, the others in their order, ours.
def rows($plan; $result):
  ([$plan.primary.name] + ($plan.metrics | map(.name))
   + ["cpu_us_per_request", "wall_s", "cpu_s", "peak_rss_kb", "context_switches", "voluntary_switches",
      "involuntary_switches", "runqueue_wait_s", "system_s", "user_s",
      "minor_faults", "major_faults"])
  | reduce .[] as $n ([]; if index($n) then . else . + [$n] end)
  | map(. as $n | $result.summary[] | select(.name == $n)
      | select([.median[]] | any(. != null)));

# "by about 6 %": the effect in one or two digits.
def about:
  (. - 1) * 100 | fabs | if . >= 10 then "\(round)" else digits(1) end
  | . + " %";

def said_better($plan; $result):
  $result.effect.ratio as $r
  | (if $r > 1 then "higher" else "lower" end) as $way
  | "\($plan.primary.name) \($r | about) \($way)";

# Pairs that were measured, yet have a 0 and so no ratio.
def without_ratio:
  (.effect.n // 0) as $n
  | ([.pairs[]? | select(.A != null and .B != null)] | length) - $n;

def verdict_words($plan):
  . as $r | label_of($plan; "B") as $b | without_ratio as $zeros
  | if .verdict == "better" then
      "\($b) is better: \(said_better($plan; $r)), clearly above this "
      + "machine's noise (\(.noise.bound | percent))."
    elif .verdict == "worse" then
      "\($b) is worse: \(said_better($plan; $r)), clearly above this "
      + "machine's noise (\(.noise.bound | percent))."
    elif .verdict == "no_difference" then
      "no difference larger than \($plan.threshold | percent): "
      + "nothing to gain here."
    elif .verdict == "noise_too_high" then
      "none: \(label_of($plan; "A")) differs from itself by up to "
      + "\(.noise.bound | percent) on this machine; "
      + "make it quieter, or measure longer."
    elif .verdict == "too_few_pairs" then
      "none yet: \(.effect.n) of at least 6 pairs are there."
    else
      "inconclusive: "
      + (if .below_noise then "the effect is within this machine's noise "
         + "(\(.noise.bound | percent)); " else "" end)
      + (if .pairs_needed then "about \(.pairs_needed) pairs would decide."
         else "no reasonable number of pairs would decide." end)
    end
  | . + if $zeros > 0 then
      " \($zeros) pairs do not count: \($plan.primary.name) is 0 or less in "
      + "A or B, which has no ratio." else "" end;

# A line for each way to end that is worth one.
def end_rows: .ends[]? | "arm \(.arm | arm_name), \(.runs) of \(.of) runs: "
  + .way;

def nanoseconds: if . >= 1000000 then "\(. / 1000000 | number) ms"
  elif . >= 1000 then "\(. / 1000 | number) us" else "\(.) ns" end;

# What --explain saw, as rows: arm, call, p50, p99, p99.9, blocked.
def clock_rows($explain):
  ["A", "B"][] as $arm | ["malloc", "free"][] as $call
  | $explain[$arm].clock[$call] // empty
  | [$arm, $call, (.p50_ns, .p99_ns, .p999_ns | nanoseconds),
     "\(.blocked_percent | digits(3)) %"];

def clock_head: ["arm", "call", "p50", "p99", "p99.9", "blocked"];

# Arm, calls and waits of each class.
def futex_rows($explain):
  ["A", "B"][] as $arm | $explain[$arm].futex // empty
  | [$arm, (.libc, .ours, .other
      | "\(.calls | grouped) (\(.waits | grouped))")];

def futex_head: ["arm", "futex calls (waits): libc", "shim", "program"];
