# What the pictures share: frame, colours for light and dark, text.  The
# caller sets `names` and name[1 .. names] (1 is glibc, 2 the shim).

function svg_open(width, height, title, subtitle) {
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" " \
    "width=\"%d\" height=\"%d\" role=\"img\" " \
    "font-family=\"system-ui,sans-serif\" font-size=\"12\">\n", \
    width, height, width, height
  printf "<title>%s</title>\n", escaped(title)
  print "<style>"
  print ".bg{fill:#fff}.t{fill:#222}.strong{fill:#000;font-weight:700}"
  print ".dim{fill:#666}.grid{stroke:#ddd}.one{stroke:#555;stroke-width:1.5}"
  print ".band{fill:#f5f5f5}.ring{stroke:#fff}"
  print ".line{fill:none;stroke-width:1.6}.line.bold{stroke-width:3}"
  colours("#444", "#c2185b", "#1f6fb4", "#2b8a3e", "#b36b00", "#7a4fb5", \
    "#5c6770")
  print "@media(prefers-color-scheme:dark){"
  print ".bg{fill:#16181c}.t{fill:#ddd}.strong{fill:#fff}.dim{fill:#999}"
  print ".grid{stroke:#333}.one{stroke:#aaa}.band{fill:#1e2126}"
  print ".ring{stroke:#16181c}"
  colours("#ddd", "#ff6fa8", "#6bb3f0", "#7bd389", "#f0b04d", "#c3a2f5", \
    "#aab4bd")
  print "}</style>"
  printf "<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", width, height
  text_at("strong\" font-size=\"17", 16, 28, title)
  text_at("dim", 16, 48, subtitle)
}

# Marks are filled with colour i (c), lines drawn with it (s).
function colours(a, b, c, d, e, f, rest,   i, all, colour) {
  split(a " " b " " c " " d " " e " " f, all, " ")
  for (i = 1; i <= names; i++) {
    colour = (i > 6) ? rest : all[i]
    printf ".c%d{fill:%s}.s%d{stroke:%s}", i, colour, i, colour
  }
  print ""
}

function text_at(class, x, y, text) {
  printf "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", \
    class, x, y, escaped(text)
}

function text_anchored(class, anchor, x, y, text) {
  printf "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">" \
    "%s</text>\n", class, x, y, anchor, escaped(text)
}

function line_at(class, x1, y1, x2, y2) {
  printf "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" " \
    "y2=\"%.1f\"/>\n", class, x1, y1, x2, y2
}

function escaped(text) {
  gsub(/&/, "\\&amp;", text)
  gsub(/</, "\\&lt;", text)
  return text
}
