# Samples of bench-memory to a picture (after svg.awk): RSS over time, a panel
# for each scenario, a line for each allocator.  Input: names and note as in
# rows.jq, and "at SCENARIO ALLOCATOR SECONDS MIB".
BEGIN {
  FS = "\t"
  columns = 2; panel = 420; tall = 170; left = 72; top = 104; panels = 0
  story["sleeper"] = "1 GiB of 64 B freed by a worker, its owner asleep"
  story["burst"] = "500 MiB freed by their owner, then idle"
  story["holes"] = "90 % freed at random, other sizes allocated"
  story["bleed"] = "4 producers, 1 thread frees, bounded live set"
  story["trim"] = "200 MiB freed, then malloc_trim(0)"
  story["night"] = "64 threads keep a quarter of their blocks"
}

$1 == "names" {
  for (i = 3; i <= NF; i++) { name[++names] = $i; number[$i] = names }
  next
}

$1 == "note" { note = $3; next }

!($2 in panel_of) { panel_of[$2] = panels; title[panels++] = $2 }

{
  p = panel_of[$2]; i = number[$3]
  if (!((p, i) in count)) count[p, i] = 0
  at[p, i, count[p, i]] = $4
  mib[p, i, count[p, i]++] = $5
  if ($4 > longest[p]) longest[p] = $4
  if ($5 > highest[p]) highest[p] = $5
}

END {
  rows = int((panels + columns - 1) / columns)
  svg_open(columns * (panel + left) + 30, top + rows * (tall + 62) + 20, \
    "Does memory come back?", \
    "RSS over time, 10 samples a second; lower is better.")
  legend()
  for (p = 0; p < panels; p++)
    draw(p, left + (p % columns) * (panel + left), \
      top + int(p / columns) * (tall + 62))
  text_at("dim", 16, top + rows * (tall + 62) + 8, note)
  print "</svg>"
}

function legend(   i, x) {
  x = 16
  for (i = 1; i <= names; i++) {
    printf "<path class=\"line%s s%d\"%s d=\"M%d 70 l22 0\"/>\n", \
      i == 2 ? " bold" : "", i, dashes(i), x
    text_at(i == 2 ? "strong" : "t", x + 28, 74, name[i])
    x += 48 + 8 * length(name[i])
  }
}

# Patterns beside colours, for those who cannot tell the colours.
function dashes(i) {
  if (i == 2 || i == 3) return ""
  return " stroke-dasharray=\"" (i == 1 ? "7 3" : i == 4 ? "2 2" : \
    i == 5 ? "9 3 2 3" : i == 6 ? "4 4" : "1 3") "\""
}

# 1, 2 or 5 times a power of ten, about a quarter of the whole.
function step_of(whole,   step) {
  step = exp(log(10) * int(log(whole / 4 + 1e-9) / log(10) - (whole < 4)))
  while (step * 5 < whole) step *= step_factor(step)
  return step
}

function step_factor(step,   lead) {
  lead = step / exp(log(10) * int(log(step) / log(10) + 1e-9))
  return lead > 1.5 && lead < 3 ? 2.5 : 2
}

function draw(p, x, y,   v, step, i, k) {
  if (!longest[p]) longest[p] = 1
  if (!highest[p]) highest[p] = 1
  text_at("strong", x, y + 14, title[p] (title[p] in story ? ": " : ""))
  text_at("t", x + 8 * length(title[p]) + 4, y + 14, story[title[p]])
  y += 24
  step = step_of(highest[p])
  for (v = 0; v <= highest[p] * 1.04; v += step) {
    line_at("grid", x, y_of(p, y, v), x + panel, y_of(p, y, v))
    text_anchored("dim", "end", x - 6, y_of(p, y, v) + 4, \
      v (v + step > highest[p] * 1.04 ? " MiB" : ""))
  }
  step = step_of(longest[p])
  for (v = 0; v <= longest[p]; v += step)
    text_anchored("dim", "middle", x + panel * v / longest[p], y + tall + 16, \
      v (v ? "" : " s"))
  for (i = names; i >= 1; i--)
    if (i != 2) line(p, x, y, i)
  line(p, x, y, 2)
}

function y_of(p, y, value) {
  return y + tall - tall * value / (highest[p] * 1.04)
}

function line(p, x, y, i,   k) {
  if (!count[p, i]) return
  printf "<path class=\"line%s s%d\"%s d=\"", i == 2 ? " bold" : "", i, \
    dashes(i)
  for (k = 0; k < count[p, i]; k++)
    printf "%s%.1f %.1f", k ? " L" : "M", x + panel * at[p, i, k] / longest[p], \
      y_of(p, y, mib[p, i, k])
  print "\"/>"
}
