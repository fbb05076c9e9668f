# html: one page with nothing outside it: verdict, pictures, table, facts.
include "words";
include "svg";

def style: "
:root { color-scheme: light dark; --bg: #fcfcfb; --fg: #22252a;
  --soft: #666d78; --line: #dcdfe4; --band: #e9ecf1; --a: #7a828e;
  --b: #1666c0; --c: #b4540a; --d: #2c7a3f; --e: #8a3ab0;
  --good: #1f7a3d; --bad: #b3261e; --open: #7a5b00; }
@media (prefers-color-scheme: dark) { :root { --bg: #15181c; --fg: #e4e7ec;
  --soft: #a0a8b4; --line: #333a44; --band: #242a33; --a: #97a1af;
  --b: #6cb0ff; --c: #f0a35e; --d: #7fd08f; --e: #d09af0;
  --good: #7fd08f; --bad: #ff8f86; --open: #e8c465; } }
body { background: var(--bg); color: var(--fg); max-width: 56rem;
  margin: 2rem auto; padding: 0 1rem;
  font: 16px/1.5 system-ui, \"Liberation Sans\", sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.verdict { border-left: .3rem solid; padding: .3rem 1rem; font-size: 1.15rem; }
.better { color: var(--good); } .worse { color: var(--bad); }
.no_difference, .inconclusive, .noise_too_high, .too_few_pairs {
  color: var(--open); }
table { border-collapse: collapse; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .55rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
td:first-child, th:first-child { text-align: left; padding-left: 0; }
tr.primary td { font-weight: 600; } .scroll { overflow-x: auto; }
code { overflow-wrap: anywhere; } svg { width: 100%; height: auto; }
figure { margin: 1rem 0; } figcaption, .facts { color: var(--soft);
  font-size: .9rem; }
svg .tick { fill: var(--soft); font-size: 12px; }
svg .name { fill: var(--fg); font-size: 14px; }
svg .legend { fill: var(--fg); font-size: 13px; }
.key { display: flex; flex-wrap: wrap; gap: .4rem 1.6rem; margin: 1rem 0; }
.key div { min-width: 6.5rem; } .key dt { color: var(--soft);
  font-size: .8rem; } .key dd { margin: 0; font-size: 1.05rem;
  font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--line); } svg .zero { stroke: var(--soft);
  stroke-width: 1.5; } svg .band { fill: var(--band); }
svg .dot { stroke: var(--bg); stroke-width: 1; }
svg .faint { fill-opacity: .35; }
svg .interval { stroke-width: 3; stroke-linecap: round; }
svg .path { fill: none; stroke-width: 1.5; stroke-opacity: .6; }
" + (["a", "b", "c", "d", "e"] | map("svg .\(.) { fill: var(--\(.)); } "
  + "svg .interval.\(.), svg .path.\(.) { stroke: var(--\(.)); } "
  + "svg .path.\(.) { fill: none; }") | join("\n"))
+ "
svg .dot.again { fill: var(--bg); stroke: var(--a); stroke-width: 1.5; }
svg .path.again { stroke-dasharray: 4 3; }";

# A is grey, A' too; B has the strongest colour, others what is left.
def class_of($plan; $key):
  if $key == "A" then "a" elif $key == "A2" then "a again"
  elif $key == "B" then "b"
  else ($plan.arms | map(.key) | index($key)) as $i
    | ["c", "d", "e"][($i - 3) % 3] end;

def row_of($plan; $result; $key; $estimate):
  {name: "\($key | arm_name)/A", class: class_of($plan; $key),
   estimate: $estimate,
   points: [$result.pairs[] | select(.A and .[$key] and .A > 0)
     | {block, ratio: (.[$key] / .A)}]};

def pairs_figure($plan; $r):
  [row_of($plan; $r; "B"; $r.effect), row_of($plan; $r; "A2"; $r.noise)]
  + [$r.others[] | row_of($plan; $r; .arm; .)]
  | map(select(.points != [])) as $rows
  | if $rows == [] then empty else
      "<figure>", pairs_picture($rows; $r.noise.bound; $plan.threshold;
        label_of($plan; "A")),
      "<figcaption>\($plan.primary.name | @html), \($plan.primary.better) is "
      + "better. Every pair is drawn; the band is this machine's noise "
      + "(A'/A, \($r.noise.bound | percent)); n = \($r.effect.n), "
      + "seed \($plan.seed).</figcaption></figure>"
    end;

# The figures that a reader looks for first.
def key($plan; $r):
  def fact($name; $value): "<div><dt>\($name | @html)</dt>"
    + "<dd>\($value | @html)</dd></div>";
  "<dl class=\"key\">",
  fact("B/A, typical change"; $r.effect.ratio | change),
  fact("95 % interval"; $r.effect | interval),
  fact("noise (A'/A), 95 %"; $r.noise | interval),
  fact("pairs"; $r.effect.n),
  fact("Wilcoxon p"; $r.effect.p | p_value | sub("^= "; "")),
  (if $r.coverage_percent then
     fact("mallocs ours"; "\($r.coverage_percent | digits(1)) %")
   else empty end),
  "</dl>";

def legend: "\(.key | arm_name) \(.["label"])";

def runs_figure($plan; $runs):
  ($plan.threads // [null] | last) as $threads
  | [$plan.arms[] | . as $arm
     | {name: legend, class: class_of($plan; .key),
        points: [$runs[]
          | select(.kept and .arm == $arm.key and .threads == $threads)
          | {x: .block, y: .primary, faint: .noise.noisy}]}
     | select(.points != [])] as $series
  | if $series == [] then empty else
      "<figure>", lines_picture($series; [range(1; $plan.pairs + 1)]; "block";
        $plan.primary.name),
      "<figcaption>Every kept run in its block; pale: the host was "
      + "noisy.</figcaption></figure>"
    end;

def scaling_figure($plan; $r):
  if $r.scaling then
    [$plan.arms[] | .key as $k
     | {name: legend, class: class_of($plan; $k),
        points: [$r.scaling[] | . as $e | $e.summary[]
          | select(.name == $plan.primary.name).median[$k]
          | select(. != null) | {x: $e.threads, y: ., faint: false}]}] as $s
    | "<h2>Scaling</h2><figure>",
      lines_picture($s; $plan.threads; "threads"; $plan.primary.name),
      "<figcaption>Medians at each number of threads.</figcaption></figure>"
  else empty end;

def table($plan; $r):
  "<div class=\"scroll\"><table><thead><tr><th></th>",
  ($plan.arms[]
   | "<th>\(.key | arm_name | @html) \(.["label"] | @html)</th>"),
  "<th>B/A</th><th>95 % interval</th></tr></thead><tbody>",
  (rows($plan; $r)[] as $row
   | "<tr\(if $row.name == $plan.primary.name then " class=\"primary\""
       else "" end)><td>\($row.name | shown_name | @html)</td>",
     ($plan.arms[].key as $k
      | "<td>\($row.median[$k] | shown_value($row.name) | number)</td>"),
     "<td>\($row.b_to_a.ratio | change)</td><td>"
     + (if $row.b_to_a.ratio then $row.b_to_a | interval else "" end)
     + "</td></tr>"),
  "</tbody></table></div>";

def grid($head; rows):
  "<div class=\"scroll\"><table><thead><tr>",
  ($head[] | "<th>\(@html)</th>"), "</tr></thead><tbody>",
  (rows | "<tr>" + (map("<td>\(@html)</td>") | join("")) + "</tr>"),
  "</tbody></table></div>";

def explained:
  .explain // empty
  | "<h2>Inside</h2>", grid(clock_head; clock_rows(.)),
    "<p class=\"facts\">One call in about 500, timed in runs of their own; "
    + "blocked: the thread gave up its CPU inside.</p>",
    grid(futex_head; futex_rows(.));

def facts($plan; $r):
  "<p class=\"facts\">\($r.runs) runs, \($r.repeated) repeated because the "
  + "host was noisy, \($r.noisy_kept) noisy ones kept"
  + (if $r.coverage_percent then
      "; \($r.coverage_percent | digits(1)) % of mallocs ours" else "" end)
  + (if $plan.side_by_side then "; servers side by side, \($plan.windows) "
       + "windows in each block" else "" end) + ".<br>"
  + ([$r | end_rows | "how it ended: \(@html)<br>"] | join(""))
  + ([.host.cpu, "\(.host.cpus) CPUs", .host.kernel, .host.libc, .host.os,
      .tool, .created] | map(@html) | join("; ")) + ".</p>",
  "<p class=\"facts\">program <code>\($plan.command | join(" ") | @html)"
  + "</code>"
  + (if $plan.load then "<br>load <code>\($plan.load | @html)</code>"
     else "" end) + "</p>";

def html:
  .plan as $plan | .result as $r
  | [ "<!DOCTYPE html>", "<html lang=\"en\"><head><meta charset=\"utf-8\">",
      "<meta name=\"viewport\" content=\"width=device-width\">",
      "<title>skab: \($plan.command[0] | split("/") | last | @html)</title>",
      "<style>\(style)</style></head><body>",
      "<h1>\($plan.command[0] | split("/") | last | @html) on "
      + "\(label_of($plan; "B") | @html) against "
      + "\(label_of($plan; "A") | @html)</h1>",
      "<p class=\"verdict \($r.verdict)\">\($r | verdict_words($plan)
        | @html)</p>", key($plan; $r),
      pairs_figure($plan; $r), "<h2>Medians</h2>", table($plan; $r),
      scaling_figure($plan; $r), explained,
      "<h2>Runs</h2>", runs_figure($plan; .runs),
      facts($plan; $r), "</body></html>" ]
  | join("\n");
