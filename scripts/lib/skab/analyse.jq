# analyse: from the raw runs of an ab.json to its .result.  A replay does the
# same again, so nothing but .plan and .runs is read.

include "stats";

def exits:
  {better: 0, worse: 1, no_difference: 2, inconclusive: 2, too_few_pairs: 2,
   noise_too_high: 3};

# What a run measured, by name: the load's metrics and ours.
def values:
  .metrics + {wall_s, peak_rss_kb, cpu_us_per_request} + .usage
  + {context_switches: (.usage |
       if .voluntary_switches == null then null
       else .voluntary_switches + .involuntary_switches end)};

# The value of an arm in each block, for blocks where both arms have one.
def pairs_of($runs; $x; $base; value):
  ($runs | group_by(.block))
  | map(INDEX(.arm) | [.[$x], .[$base]] | map(if . then value else null end)
      | select(all(. != null)));

# exp of the estimate of log ratios: a ratio with its interval.
def as_ratio:
  {n, ratio: (.estimate | if . then exp else null end),
   low: (.low | if . then exp else null end),
   high: (.high | if . then exp else null end), level, p};

def log_ratios: map(select(.[0] > 0 and .[1] > 0) | .[0] / .[1] | log);

def compare($runs; $x; $base; value):
  pairs_of($runs; $x; $base; value) | log_ratios | paired_estimate;

def arms_of($plan): $plan.arms | map(.key);

# Medians of every value in every arm, and B against A for each.
def summary($runs; $arms):
  ([$runs[] | values | keys_unsorted[]] | unique) as $names
  | [$names[] as $name
     | {name: $name,
        median: ([$arms[] as $arm | {key: $arm, value:
          ([$runs[] | select(.arm == $arm) | values[$name]
            | select(. != null)] | median)}] | from_entries),
        b_to_a: (compare($runs; "B"; "A"; values[$name]) | as_ratio
          | del(.level))}];

# One experiment: all kept runs at one number of threads.
def experiment($plan; $runs):
  arms_of($plan) as $arms
  | compare($runs; "B"; "A"; .primary) as $effect
  | compare($runs; "A2"; "A"; .primary) as $noise
  | verdict($effect; $noise; $plan.primary.better; $plan.threshold;
      $plan.max_noise) as $verdict
  | {verdict: $verdict.value, exit: exits[$verdict.value],
     pairs_needed: $verdict.pairs_needed,
     below_noise: ($verdict.below_noise // false),
     effect: ($effect | as_ratio),
     noise: ($noise | as_ratio
       + {bound: ($noise | if .low == null then null else
           [.low, .high] | map(exp - 1 | fabs) | max end)}),
     others: ($arms - ["A", "A2", "B"] | map({arm: .} +
       (compare($runs; .; "A"; .primary) | as_ratio))),
     pairs: ([$runs | group_by(.block)[]
       | {block: .[0].block} + (INDEX(.arm) | map_values(.primary))]),
     summary: summary($runs; $arms)};

# How the runs of each arm ended: what is news, and what arm A never does.
def ends($runs; $arms):
  def way: .end | .news // if .signal then "signal \(.signal)"
    else "status \(.status)" end;
  [$runs[] | select(.end) | {arm, news: .end.news, way: way}] as $all
  | [$all[] | select(.arm == "A" or .arm == "A2").way] as $usual
  | [$arms[] as $arm | [$all[] | select(.arm == $arm)] as $own
     | $own | group_by(.way)[]
     | select(.[0].news or (.[0].way | IN($usual[]) | not))
     | {arm: $arm, way: .[0].way, runs: length, of: ($own | length)}];

def coverage_percent($runs):
  [$runs[] | select(.arm == "B").coverage.calls_percent // empty] | median;

def analyse:
  .plan as $plan
  | ([.runs[] | select(.kept)]) as $kept
  | ($plan.threads // []) as $threads
  | (if $threads == [] then experiment($plan; $kept) else
       ($threads | map(. as $t | {threads: $t} + experiment($plan;
         [$kept[] | select(.threads == $t)]))) as $scaling
       | ($scaling | last) + {scaling: $scaling}
     end) as $result
  | .result = $result + {
      coverage_percent: coverage_percent($kept),
      ends: ends(.runs; arms_of($plan)),
      runs: (.runs | length), kept: ($kept | length),
      repeated: ([.runs[] | select((.kept | not) and .effect.ok)] | length),
      noisy_kept: ([$kept[] | select(.noise.noisy)] | length)};
