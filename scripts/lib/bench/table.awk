# Lines of rows.jq to a table for people: seconds or MiB of glibc, every
# allocator as a ratio to it, and the shim as a ratio to the best peer.
BEGIN { FS = "\t" }

$1 == "names" {
  for (i = 3; i <= NF; i++) name[++names] = $i
  next
}

$1 == "note" { notes = notes $3 "\n"; next }

$1 != kind {
  kind = $1
  printf "%s%-16s %8s", kind == "rss" ? "\n" : "", \
    kind == "rss" ? "peak RSS" : "time", kind == "rss" ? "MiB" : "s"
  for (i = 1; i <= names; i++) printf " %9.9s", name[i]
  printf "   %s\n", "skpreload / best peer"
}

$2 == "geomean" { print "" }

{
  printf "%-16s %8s", $2, $3
  for (i = 1; i <= names; i++) printf " %9s", number($(3 + i))
  printf "   %s\n", $(5 + names) == "-" ? "" : \
    number($(5 + names)) "  " $(4 + names)
}

END { printf "\n%s", notes }

function number(text) {
  return text == "-" ? "-" : sprintf("%.2f", text)
}
