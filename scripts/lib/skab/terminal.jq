# terminal: the result as text.  $ascii and $color come from report.sh.

include "words";

def spaces($n): if $n > 0 then " " * $n else "" end;
def right($n): spaces($n - length) + .;
def left($n): . + spaces($n - length);

def paint($code): if $color then "\u001b[\($code)m\(.)\u001b[0m" else . end;

def head_cell($plan): "\(.key | arm_name) \(.["label"])" | .[0:14];

def aligned:
  (transpose | map(map(length) | max)) as $width
  | map([., $width] | transpose | to_entries
      | map(.value as $v | if .key == 0 then $v[0] | left($v[1])
            else $v[0] | right($v[1]) end)
      | "  " + join("  "));

def table($plan; $result):
  ($plan.arms | map(.key)) as $keys
  | ([""] + ($plan.arms | map(head_cell($plan))) + ["B/A", "95 % interval"])
    as $head
  | [$head] + (rows($plan; $result) | map(. as $row
      | [$row.name | shown_name]
        + [$keys[] as $k | $row.median[$k] | shown_value($row.name) | number]
        + [$row.b_to_a.ratio | change,
           if $row.b_to_a.ratio then $row.b_to_a | interval else "" end]))
  | aligned;

# One line for each pair on a common axis that holds 0 and every ratio.
def strip($plan; $result):
  ([$result.pairs[] | select(.A and .B) | .B / .A]) as $b
  | ([$result.pairs[] | select(.A and .A2) | .A2 / .A]) as $noise
  | if ($b | length) == 0 then [] else
      (($b + $noise + [1]) | min) as $lo | (($b + $noise + [1]) | max) as $hi
      | (if $hi - $lo < 0.01 then 0.01 else $hi - $lo end) as $span
      | def place: ((. - $lo) / $span * 50 | round);
        def row($name; $mark):
          (map(place)) as $at
          | "  " + ($name | left(6)) + ([range(0; 51) as $i
              | if $at | index($i) then $mark
                elif $i == (1 | place) then (if $ascii then "|" else "│" end)
                else (if $ascii then "." else "·" end) end] | join(""));
        [($noise | row("A'/A"; if $ascii then "x" else "○" end)),
         ($b | row("B/A"; if $ascii then "o" else "●" end)),
         "  " + spaces(6) + (($lo | change) as $l | ($hi | change) as $h
           | $l + ($h | right(51 - ($l | length))))]
    end;

def estimate_line($name; $e):
  "  " + ($name | left(12)) + ($e.ratio | change | right(9)) + "   95 % "
  + ($e | interval)
  + (if $e.p then "   Wilcoxon p \($e.p | p_value)" else "" end);

def scaling($plan; $result):
  if $result.scaling then
    [""] + [$result.scaling[] | "  \(.threads | tostring | right(4)) threads  "
      + (. as $e | $plan.arms | map(.key as $k | "\($k | arm_name) "
          + ($e.summary[] | select(.name == $plan.primary.name).median[$k]
             | number)) | join("   "))
      + "   B/A \(.effect.ratio | change) \(.effect | interval)"]
  else [] end;

def explained:
  if .explain then .explain as $e
    | [""] + ([clock_head, clock_rows($e)] | aligned)
    + [""] + ([futex_head, futex_rows($e)] | aligned) + [""]
  else [] end;

def terminal:
  .plan as $plan | .result as $r
  | ($r.verdict | {better: "32", worse: "31"}[.] // "33") as $code
  | [""] + table($plan; $r) + [""]
  + (if $r.effect.n > 0 then
      strip($plan; $r) + [""]
      + [estimate_line("B/A"; $r.effect), estimate_line("A'/A noise"; $r.noise)]
      + [$r.others[] | estimate_line("\(.arm)/A"; .)]
      + scaling($plan; $r)
     else [] end)
  + explained
  + (if $r.coverage_percent then
      ["  coverage    \($r.coverage_percent | digits(1)) % of mallocs ours"]
     else [] end)
  + (if $r.repeated + $r.noisy_kept > 0 then
      ["  noisy runs  \($r.repeated) repeated, \($r.noisy_kept) kept"]
     else [] end)
  + [$r | end_rows | "  ended       \(.)"]
  + [("VERDICT  " + ($r | verdict_words($plan))) | paint($code)]
  | join("\n");
