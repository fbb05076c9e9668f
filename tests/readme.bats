#!/usr/bin/env bats
# Is README true?  What it names is there, what is there is named, and its
# example runs.  Literals of the sources are found by what is fixed in them.

setup() {
  load helpers
  requires perl jq
  README=$TOP/README.md
  cd "$TOP" || return
}

# README as one line: what it quotes may be broken across two.
flat() {
  tr '\n' ' ' <"$README" | tr -s ' '
}

# The code spans and the lines of code blocks of README, one a line.
quoted() {
  tr '\n' ' ' <"$README" | tr -s ' ' | grep -o '`[^`]*`' | tr -d '`'
  grep '^    ' "$README"
}

# section TITLE: what stands under a heading, up to the next one.
section() {
  awk -v title="$1" '/^#+ / { inside = substr($0, index($0, " ") + 1) == title
    next } inside' "$README"
}

# missing_from_readme: of the lines FILE<tab>TEXT, those that README does not
# have.  \x01 in a text stands for what varies.
missing_from_readme() {
  perl -Mstrict -we '
    my $readme = shift;
    while (my $line = <STDIN>) {
      chomp $line;
      my ($file, $text) = split /\t/, $line, 2;
      $text =~ s/\s+/ /g;
      my $fixed = join "[^`]{1,80}?", map { quotemeta } split /\x01/, $text, -1;
      print "$file: README lacks: ", $text =~ s/\x01/.../gr, "\n"
        unless $readme =~ /$fixed/;
    }' "$(flat)"
}

# The texts of three words or more in C sources; reports have tests of their
# own.
c_messages() {
  perl -Mstrict -we '
    undef $/;
    for my $file (@ARGV) {
      open my $in, "<", $file or die;
      my $code = <$in>;
      $code =~ s{/\*.*?\*/}{}gs;
      $code =~ s/_Static_assert\s*\(.*?\);//gs;
      while ($code =~ /((?:"(?:[^"\\\n]|\\.)*"\s*)+)/g) {
        my $text = join "", $1 =~ /"((?:[^"\\]|\\.)*)"/g;
        $text =~ s/\\"/"/g;
        $text =~ s/%[a-z]/\x01/g;
        print "$file\t$text\n" if $text =~ /[a-z].* .*[a-z]/;
      }
    }' "$@"
}

# What skrun says: the words of die, wrong_usage, and of a row that is no ok.
skrun_messages() {
  perl -Mstrict -we '
    undef $/;
    my $code = <>;
    $code =~ s/\\\n//g;
    my $text = qr/"[^"]*"|\x27[^\x27]*\x27/;
    while ($code =~ /(?:\bdie\ \d+|\bwrong_usage|\brow\ (?:no|note)\ \w+)\s+
                     ($text)(?:\s+($text))?|remedy=($text)|
                     echo\ ($text)\s*$/gmx) {
      my @said = grep { defined } $1, $2, $3, $4;
      for my $said (@said) {
        next if $said =~ /^"\$\w+"$/ or $said =~ /\$\*/;
        $said =~ s/^.|.$//g;
        $said =~ s/\$\{[^}]*\}|\$\(.*?\)|\$\w+/\x01/g;
        print "scripts/skrun\t$said\n" if $said =~ /[a-z].*[a-z]/;
      }
    }' scripts/skrun
}

# What is below build/ need not be made yet, but something must speak of it.
is_there() {
  case $1 in
    build/*) grep -rqF "${1##*/}" Makefile scripts ;;
    *) [ -e "$1" ] ;;
  esac
}

@test "every make target that README names is one" {
  local target targets
  targets=$(quoted | grep -oE '(^ *|/)make [a-z][a-z-]*|^make [a-z-]+' |
    grep -oE '[a-z-]+$' | sort -u)
  assert [ "$(wc -l <<<"$targets")" -ge 10 ]
  for target in $targets; do
    grep -q "^$target:" Makefile || fail "README names 'make $target'"
  done
}

@test "every target of make help is in README" {
  local target
  for target in $(make -s help | awk '{ print $1 }'); do
    grep -Fq "\`make $target\`" README.md || fail "README lacks make $target"
  done
}

@test "every file that README names is there, or made by make" {
  local file files
  files=$(grep -oE '(scripts|tests|core|preload|man|build)/[A-Za-z0-9_./-]+' \
    README.md | sed 's,[./]*$,,' | sort -u)
  assert [ "$(wc -l <<<"$files")" -ge 10 ]
  for file in $files; do
    is_there "$file" || fail "README names $file"
  done
}

@test "every link of README leads to a file" {
  local file
  for file in $(grep -oE '\]\([^)]*\)' README.md | tr -d '])('); do
    [ -e "${file%%#*}" ] || fail "README links to $file"
  done
}

@test "README and the manual page have the options that the shim has" {
  local file
  mkdir -p "$BATS_TEST_TMPDIR/man"
  for file in README.md man/libskpreload.7; do
    cp "$file" "$BATS_TEST_TMPDIR/$file"
    scripts/options-table --write "$BATS_TEST_TMPDIR/$file"
    diff -u "$file" "$BATS_TEST_TMPDIR/$file" ||
      fail "$file is old: scripts/options-table --write $file"
  done
}

@test "the table of options names every row, with its default" {
  local name
  run scripts/options-table
  assert_success
  while read -r name; do
    assert_output --regexp "\| \`$name\` +\| [^|]+ \| [^ |]+"
  done < <(sed -nE 's/^SK_OPTION\(([a-z_]+),.*/\1/p' core/sk_config.def)
  assert_line --regexp '`max_small` +\| 0 to 32K +\| 32K '
}

@test "a file without a place for the options is left as it is" {
  echo 'no place' >"$BATS_TEST_TMPDIR/file"
  run scripts/options-table --write "$BATS_TEST_TMPDIR/file"
  assert_failure 1
  assert_output --partial 'does not say where the options go'
  assert_equal "$(cat "$BATS_TEST_TMPDIR/file")" 'no place'
}

@test "README and the manual page have the variables that the shim reads" {
  local known name
  known=$(grep -oE '\{"SKPRELOAD_[A-Z]+"' core/sk_config.c | tr -d '{"')
  assert [ "$(wc -l <<<"$known")" -ge 4 ]
  for name in $known; do
    grep -Fq "\`$name\`" README.md || fail "README lacks $name"
    grep -Fq ".It Ev $name" man/libskpreload.7 || fail "the page lacks $name"
  done
  while read -r name; do
    grep -Fqx "$name" <<<"$known" || fail "README invents $name"
  done < <(grep -oE 'SKPRELOAD_[A-Z]+' README.md | sort -u)
}

@test "every message of the libraries is in README" {
  local files=() file messages
  for file in core/*.c preload/*.c; do
    case $file in
      core/sk_heap_report.c | core/sk_queue_life.c | core/sk_stats.c) ;;
      preload/inspect.c) ;;
      *) files+=("$file") ;;
    esac
  done
  messages=$(c_messages "${files[@]}")
  assert [ "$(wc -l <<<"$messages")" -ge 25 ]
  run missing_from_readme <<<"$messages"
  assert_output ''
}

@test "every message of skrun is in README" {
  local messages
  messages=$(skrun_messages)
  assert [ "$(wc -l <<<"$messages")" -ge 30 ]
  run missing_from_readme <<<"$messages"
  assert_output ''
}

@test "every exit status of skab is in README" {
  local status
  for status in $(sed -n 's/^readonly EX_/EX_/p' scripts/lib/skab/say.sh |
    grep -oE '=[0-9]+' | tr -d =); do
    section skab | grep -q "^| $status | " ||
      fail "README lacks status $status"
  done
}

@test "the banner that README shows is the banner" {
  local banner
  run --separate-stderr env LD_PRELOAD="$LIB" SKPRELOAD_VERBOSE=1 \
    "$(type -P true)"
  banner=$(sed -E 's/\[[0-9]+\]/[4121]/; s/region [0-9]+[MG]/region 256G/' \
    <<<"$stderr")
  assert [ -n "$banner" ]
  [[ $(flat) == *"\`$banner\`"* ]] || fail "README lacks: $banner"
}

@test "the fields of a report are those that README explains" {
  local report=$BATS_TEST_TMPDIR/report said
  env LD_PRELOAD="$LIB" SKPRELOAD_STATS="$report" "$PROGS/first_malloc"
  run jq -r '[paths(scalars) | map(if type == "number" then "[]" else . end)
    | join(".") | gsub("\\.\\[\\]"; "[]")] | unique[]' "$report"
  assert_success
  said=$(section 'The report' | sed -nE 's/^\| `([^`]+)` .*/\1/p' | sort)
  assert_equal "$(sort <<<"$output")" "$said"
  assert_equal "$(jq -r .schema "$report")" \
    "$(section 'The report' | grep -o 'skpreload-stats/[0-9]*' | head -n 1)"
}

@test "README's example compiles as README says, and prints what it says" {
  local dir=$BATS_TEST_TMPDIR/example command
  mkdir "$dir"
  ln -s "$TOP/core" "$TOP/build" "$dir"
  awk '/^```$/ { inside = 0 } inside; /^```c$/ { inside = 1 }' README.md \
    >"$dir/hello.c"
  command=$(section "The library" |
    sed -n "s/^    cc /cc -Wall -Wextra -Werror /p")
  assert [ -n "$command" ]
  cd "$dir" || return
  run bash -c "$command"
  assert_success
  assert_output ''
  run timeout 60 ./hello
  assert_success
  assert_output "$(cd "$TOP" && section 'The library' |
    sed -n '/It prints$/,$s/^    //p')"
  run timeout 60 env LD_PRELOAD="$LIB" ./hello
  assert_line 'still out: 0'
}

@test "the version that README and CHANGELOG speak of is the one built" {
  local version
  version=$(cat VERSION)
  grep -Fq "version $version," README.md || fail "README: not $version"
  run sed -n 's/^## //p' CHANGELOG.md
  assert_line --index 0 --regexp "^$version( |\$)"
}

@test "README's tables are no wider than 100 columns, its prose than 80" {
  run awk '/^\|/ { if (length > 100) print FNR ": " length; next }
    length > 80 { print FNR ": " length }' README.md
  assert_output ''
}
