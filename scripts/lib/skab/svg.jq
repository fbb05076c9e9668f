# svg: the pictures of the HTML report.  Colours come from its style sheet by
# class, so that they follow light and dark.
include "words";

def px: . * 10 | round / 10 | tostring;

def text($x; $y; $class; $anchor):
  "<text x=\"\($x | px)\" y=\"\($y | px)\" class=\"\($class)\" "
  + "text-anchor=\"\($anchor)\">\(@html)</text>";

def segment($x1; $y1; $x2; $y2; $class):
  "<line x1=\"\($x1 | px)\" y1=\"\($y1 | px)\" x2=\"\($x2 | px)\" "
  + "y2=\"\($y2 | px)\" class=\"\($class)\"/>";

# `title` is what a pointer over the dot is told.
def dot($x; $y; $class; $title):
  "<circle cx=\"\($x | px)\" cy=\"\($y | px)\" r=\"4.5\" class=\"\($class)\">"
  + "<title>\($title | @html)</title></circle>";

# About six round numbers from low to high.
def ticks($low; $high):
  (($high - $low) / 6) as $rough
  | (pow(10; $rough | log10 | floor)) as $unit
  | ([1, 2, 5, 10][] * $unit | select(. >= $rough)) as $step
  | [range($low / $step | ceil; ($high / $step | floor) + 1) | . * $step];

def first_of(f): [f][0];
def axis($low; $high): first_of(ticks($low; $high));

# The ratio of every pair, the estimate with its interval, the noise band.
# Rows: [{name, class, points: [{block, ratio}], estimate}], ratios on a
# linear axis in percent.
def pairs_picture($rows; $bound; $threshold; $base):
  720 as $w | 110 as $left | 700 as $right | 52 as $step
  | (40 + $step * ($rows | length)) as $bottom
  | ([$rows[] | (.points[].ratio), .estimate.low, .estimate.high
      | select(. != null)] + [1 - $threshold, 1 + $threshold]) as $all
  | ((($all | max) - ($all | min)) * 0.04) as $pad
  | (($all | min) - $pad) as $low | (($all | max) + $pad) as $high
  | def x: $left + (. - $low) / ($high - $low) * ($right - $left);
    def inside: [[., $low] | max, $high] | min;
    "<svg viewBox=\"0 0 \($w) \($bottom + 44)\" role=\"img\" "
    + "aria-label=\"ratio of every pair to \($base | @html)\">",
    (if $bound then
      "<rect x=\"\(1 - $bound | inside | x | px)\" y=\"20\" "
      + "width=\"\(((1 + $bound | inside | x) - (1 - $bound | inside | x))
          | px)\" height=\"\($bottom - 20 | px)\" class=\"band\"/>"
     else empty end),
    (axis($low - 1; $high - 1)[] + 1 | . as $t
     | segment(x; 20; x; $bottom; "grid"),
       (change | sub("^\\+0\\.0 %"; "0 %") | sub("\\.0 %"; " %")
        | text(($t | x); $bottom + 18; "tick"; "middle"))),
    segment(1 | x; 14; 1 | x; $bottom; "zero"),
    ($rows | to_entries[] | (46 + $step * .key) as $y | .value as $row
     | ($row.name | text($left - 12; $y + 5; "name"; "end")),
       # in three lines, so that equal ones do not hide each other
       ($row.points[] | dot(.ratio | x; $y - 10 + (.block % 3 - 1) * 6;
          "dot \($row.class)";
          "pair \(.block): \(.ratio | change)")),
       (if $row.estimate.low and $row.estimate.n >= 6 then
          segment($row.estimate.low | x; $y + 9; $row.estimate.high | x;
            $y + 9; "interval \($row.class)"),
          "<path d=\"M\($row.estimate.ratio | x | px) \($y + 2 | px)"
          + "l6 7l-6 7l-6 -7z\" class=\"estimate \($row.class)\"/>"
        else empty end)),
    ("change against \($base); dots: pairs, diamond: estimate, line: 95 %"
     | text(($left + $right) / 2; $bottom + 38; "tick"; "middle")),
    "</svg>";

# Values over x: lines with dots.  series: [{name, class, points:
# [{x, y, faint}]}]; xs: where the x axis is labelled.
def lines_picture($series; $xs; $x_name; $y_name):
  720 as $w | 70 as $left | 560 as $right | 20 as $top | 240 as $bottom
  | [$series[].points[]] as $all
  | ($all | map(.y) | max * 1.05) as $high
  | ($all | map(.x) | min) as $x0 | ($all | map(.x) | max) as $x1
  | def x: if $x1 == $x0 then ($left + $right) / 2
      else $left + 10 + (. - $x0) / ($x1 - $x0) * ($right - $left - 20) end;
    def y: $bottom - . / $high * ($bottom - $top);
    "<svg viewBox=\"0 0 \($w) \($bottom + 44)\" role=\"img\" "
    + "aria-label=\"\($y_name | @html) by \($x_name | @html)\">",
    (axis(0; $high)[] | . as $t
     | segment($left; y; $right; y; if . == 0 then "zero" else "grid" end),
       (number | text($left - 8; ($t | y) + 4; "tick"; "end"))),
    ($xs[] | . as $t | tostring
     | text(($t | x); $bottom + 18; "tick"; "middle")),
    ($series[] | . as $s
     | "<polyline points=\"\($s.points
         | map("\(.x | x | px),\(.y | y | px)") | join(" "))\" "
       + "class=\"path \($s.class)\"/>",
       ($s.points[] | dot(.x | x; .y | y;
          "dot \($s.class)\(if .faint then " faint" else "" end)";
          "\($s.name), \($x_name) \(.x): \(.y | number)"))),
    ($series | to_entries[] | .key as $i
     | dot($right + 14; $top + 12 + 22 * $i; "dot \(.value.class)";
         .value.name),
       (.value.name | (if length > 18 then .[0:17] + "\u2026" else . end)
        | text($right + 24; $top + 17 + 22 * $i; "legend"; "start"))),
    ("\($y_name), by \($x_name)"
     | text(($left + $right) / 2; $bottom + 38; "tick"; "middle")),
    "</svg>";
