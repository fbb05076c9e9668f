# markdown: the result for a pull request: verdict, table, how it was found.
include "words";

def cell: tostring | gsub("\\|"; "\\|") | gsub("\n"; " ");
def line: "| " + (map(cell) | join(" | ")) + " |";

def table_rows($plan; $result):
  ($plan.arms | map(.key)) as $keys
  | ([""] + ($plan.arms | map("\(.key | arm_name) \(.["label"])"))
     + ["B/A", "95 % interval"]) as $head
  | ($head | line),
    ($head | to_entries | map(if .key == 0 then "---" else "---:" end) | line),
    (rows($plan; $result)[] as $row
     | [($row.name | shown_name)
         | if $row.name == $plan.primary.name then "**\(.)**" else . end]
       + [$keys[] as $k | $row.median[$k] | shown_value($row.name) | number]
       + [($row.b_to_a.ratio | change),
          (if $row.b_to_a.ratio then $row.b_to_a | interval else "" end)]
     | line);

def scaling_rows($plan; $result):
  if $result.scaling then
    "", (["threads"] + ($plan.arms | map(.key | arm_name))
      + ["B/A", "95 % interval"] | line),
    (["---:"] + ($plan.arms | map("---:")) + ["---:", "---:"] | line),
    ($result.scaling[] | . as $e | [.threads]
      + [$plan.arms[].key as $k | $e.summary[]
         | select(.name == $plan.primary.name).median[$k] | number]
      + [(.effect.ratio | change), (.effect | interval)] | line)
  else empty end;

def grid($head; rows): "", ($head | line), ($head | map("---:") | line),
  (rows | line);

def markdown:
  .plan as $plan | .result as $r | .host as $h
  | [ "**\($r | verdict_words($plan))**", "",
      table_rows($plan; $r), scaling_rows($plan; $r),
      (.explain // empty | grid(clock_head; clock_rows(.)),
        grid(futex_head; futex_rows(.))), "",
      "B/A \($r.effect.ratio | change), 95 % \($r.effect | interval), "
      + "Wilcoxon p \($r.effect.p | p_value); "
      + "A'/A noise \($r.noise | interval). Medians of \($r.effect.n) pairs, "
      + "seed \($plan.seed)"
      + (if $r.coverage_percent then
          "; \($r.coverage_percent | digits(1)) % of mallocs ours"
         else "" end)
      + (if $r.repeated + $r.noisy_kept > 0 then
          "; noisy runs: \($r.repeated) repeated, \($r.noisy_kept) kept"
         else "" end) + ".",
      ($r | end_rows | "\nHow it ended: \(.)."), "",
      "\($h.cpu), \($h.cpus) CPUs, \($h.kernel), \($h.libc), \($h.os); "
      + "\(.tool), \(.created).",
      "", "```", ($plan.command | join(" ")),
      (if $plan.load then "load: \($plan.load)" else empty end), "```" ]
  | join("\n");
