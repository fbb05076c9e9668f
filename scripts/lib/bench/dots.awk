# Lines of rows.jq to a picture (after svg.awk): a row for each workload, a
# mark for each allocator at its ratio to glibc, on a logarithmic axis; time
# at the left, peak RSS at the right.
BEGIN {
  FS = "\t"
  row = 24; top = 118; label = 150; panel = 400; gap = 34
  least = 0.125; most = 8; lines = 0
}

$1 == "names" {
  for (i = 3; i <= NF; i++) name[++names] = $i
  next
}

$1 == "note" { note[++notes] = $3; next }

$2 == "threaded" { next }

!($2 in line_of) { line_of[$2] = lines; title[lines++] = $2 }

{
  for (i = 1; i <= names; i++)
    if ($(3 + i) != "-") ratio[$1, line_of[$2], i] = $(3 + i)
}

END {
  width = label + 2 * panel + gap + 24
  height = top + lines * row + 30 + 16 * notes
  svg_open(width, height, "Allocators on the workloads of tests/bench", \
    "Relative to glibc, logarithmic; further left is better. " \
    "A triangle lies off the scale.")
  legend()
  axis(label, "Time")
  axis(label + panel + gap, "Peak RSS")
  for (l = 0; l < lines; l++) {
    y = top + l * row + row / 2
    text_anchored(title[l] == "geomean" ? "strong" : "t", "end", \
      label - 12, y + 4, title[l])
    marks("time", l, label, y)
    marks("rss", l, label + panel + gap, y)
  }
  for (i = 1; i <= notes; i++)
    text_at("dim", 16, top + lines * row + 16 + 16 * i, note[i])
  print "</svg>"
}

function legend(   i, x) {
  x = 16
  for (i = 2; i <= names; i++) {
    mark(i, x + 6, 70)
    text_at(i == 2 ? "strong" : "t", x + 17, 74, name[i])
    x += 36 + 8 * length(name[i])
  }
}

function x_of(left, value) {
  return left + panel * log(value / least) / log(most / least)
}

function axis(left, what,   v, x, l) {
  for (l = 0; l < lines; l += 2)
    printf "<rect class=\"band\" x=\"%d\" y=\"%d\" width=\"%d\" " \
      "height=\"%d\"/>\n", left, top + l * row, panel, row
  text_at("strong", left, 94, what)
  for (v = least; v <= most; v *= 2) {
    x = x_of(left, v)
    line_at(v == 1 ? "one" : "grid", x, top, x, top + lines * row)
    text_anchored("dim", "middle", x, top - 6, v)
  }
}

# The shim last, so that nothing covers it.
function marks(kind, l, left, y,   i) {
  for (i = names; i >= 2; i--)
    if ((kind, l, i) in ratio) value_mark(i, left, ratio[kind, l, i], y)
}

function value_mark(i, left, value, y) {
  if (value >= least && value <= most)
    mark(i, x_of(left, value), y)
  else if (value > most)
    path(i, "M%.1f %.1f l0 12 l9 -6 z", left + panel - 4, y - 6)
  else
    path(i, "M%.1f %.1f l0 12 l-9 -6 z", left + 4, y - 6)
}

# A shape for each, for those who cannot tell the colours.
function mark(i, x, y) {
  if (i % 3 == 2)
    printf "<circle class=\"c%d ring\" cx=\"%.1f\" cy=\"%.1f\" r=\"%g\"/>\n", \
      i, x, y, i == 2 ? 6.5 : 4.5
  else if (i % 3 == 0)
    path(i, "M%.1f %.1f l9 0 l0 9 l-9 0 z", x - 4.5, y - 4.5)
  else
    path(i, "M%.1f %.1f l6 6 l-6 6 l-6 -6 z", x, y - 6)
}

function path(i, shape, x, y) {
  printf "<path class=\"c%d ring\" d=\"" shape "\"/>\n", i, x, y
}
