# Lines of rows.jq to a picture: a row for each workload, a mark for
# each allocator at its ratio to glibc, on a logarithmic axis; time at the
# left, peak RSS at the right.  Left of the line is better than glibc.
BEGIN {
  FS = "\t"
  row = 24; top = 118; label = 150; panel = 400; gap = 34
  least = 0.125; most = 8
}

$1 == "names" {
  for (i = 3; i <= NF; i++) name[++names] = $i
  next
}

$1 == "note" { note[++notes] = $3; next }

$2 == "threaded" { next }

!($2 in line_of) { line_of[$2] = lines++; title[lines - 1] = $2 }

{
  for (i = 1; i <= names; i++)
    if ($(3 + i) != "-") ratio[$1, line_of[$2], i] = $(3 + i)
}

END {
  width = label + 2 * panel + gap + 24
  height = top + lines * row + 30 + 16 * notes
  head()
  legend()
  axis(label, "Time")
  axis(label + panel + gap, "Peak RSS")
  for (l = 0; l < lines; l++) {
    y = top + l * row + row / 2
    printf "<text class=\"%s\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">" \
      "%s</text>\n", title[l] == "geomean" ? "strong" : "t", label - 12, \
      y + 4, title[l]
    marks("time", l, label, y)
    marks("rss", l, label + panel + gap, y)
  }
  for (i = 1; i <= notes; i++)
    printf "<text class=\"dim\" x=\"16\" y=\"%d\">%s</text>\n", \
      top + lines * row + 24 + 16 * i - 8, escaped(note[i])
  print "</svg>"
}

function head() {
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" " \
    "width=\"%d\" height=\"%d\" role=\"img\" " \
    "font-family=\"system-ui,sans-serif\" font-size=\"12\">\n", \
    width, height, width, height
  print "<title>Time and peak RSS of allocators, relative to glibc</title>"
  print "<style>"
  print ".bg{fill:#fff}.t{fill:#222}.strong{fill:#000;font-weight:700}"
  print ".dim{fill:#666}.grid{stroke:#ddd}.one{stroke:#555;stroke-width:1.5}"
  print ".band{fill:#f5f5f5}.ring{stroke:#fff}"
  colours("#c2185b", "#1f6fb4", "#2b8a3e", "#b36b00", "#7a4fb5", "#5c6770")
  print "@media(prefers-color-scheme:dark){"
  print ".bg{fill:#16181c}.t{fill:#ddd}.strong{fill:#fff}.dim{fill:#999}"
  print ".grid{stroke:#333}.one{stroke:#aaa}.band{fill:#1e2126}"
  print ".ring{stroke:#16181c}"
  colours("#ff6fa8", "#6bb3f0", "#7bd389", "#f0b04d", "#c3a2f5", "#aab4bd")
  print "}</style>"
  printf "<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", width, height
  printf "<text class=\"strong\" x=\"16\" y=\"28\" font-size=\"17\">" \
    "Allocators on the workloads of tests/bench</text>\n"
  printf "<text class=\"dim\" x=\"16\" y=\"48\">Relative to glibc, " \
    "logarithmic; further left is better. A triangle lies off the " \
    "scale.</text>\n"
}

function colours(shim, a, b, c, d, e) {
  printf ".c2{fill:%s}.c3{fill:%s}.c4{fill:%s}.c5{fill:%s}", shim, a, b, c
  printf ".c6{fill:%s}.c7,.c8,.c9,.c10{fill:%s}\n", d, e
}

function legend(   i, x) {
  x = 16
  for (i = 2; i <= names; i++) {
    mark(i, x + 6, 70)
    printf "<text class=\"%s\" x=\"%d\" y=\"74\">%s</text>\n", \
      i == 2 ? "strong" : "t", x + 17, escaped(name[i])
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
  printf "<text class=\"strong\" x=\"%d\" y=\"94\">%s</text>\n", left, what
  for (v = least; v <= most; v *= 2) {
    x = x_of(left, v)
    printf "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" " \
      "y2=\"%d\"/>\n", v == 1 ? "one" : "grid", x, x, top, top + lines * row
    printf "<text class=\"dim\" x=\"%.1f\" y=\"%d\" " \
      "text-anchor=\"middle\">%g</text>\n", x, top - 6, v
  }
}

# The shim last, so that nothing covers it.
function marks(kind, l, left, y,   i) {
  for (i = names; i >= 2; i--)
    if ((kind, l, i) in ratio) value_mark(i, left, ratio[kind, l, i], y)
}

function value_mark(i, left, value, y) {
  if (value >= least && value <= most) {
    mark(i, x_of(left, value), y)
    return
  }
  if (value > most)
    printf "<path class=\"c%d ring\" d=\"M%d %.1f l0 12 l9 -6 z\"/>\n", \
      i, left + panel - 4, y - 6
  else
    printf "<path class=\"c%d ring\" d=\"M%d %.1f l0 12 l-9 -6 z\"/>\n", \
      i, left + 4, y - 6
}

# A shape for each, for those who cannot tell the colours.
function mark(i, x, y) {
  if (i == 2)
    printf "<circle class=\"c2 ring\" cx=\"%.1f\" cy=\"%.1f\" r=\"6.5\"/>\n", \
      x, y
  else if (i % 3 == 0)
    printf "<rect class=\"c%d ring\" x=\"%.1f\" y=\"%.1f\" width=\"9\" " \
      "height=\"9\"/>\n", i, x - 4.5, y - 4.5
  else if (i % 3 == 1)
    printf "<path class=\"c%d ring\" d=\"M%.1f %.1f l6 6 l-6 6 l-6 -6 z\"/>\n", \
      i, x, y - 6
  else
    printf "<circle class=\"c%d ring\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"/>\n", \
      i, x, y
}

function escaped(text) {
  gsub(/&/, "\\&amp;", text)
  gsub(/</, "\\&lt;", text)
  return text
}
