#!/usr/bin/env bats
# Do skab's reports say what was measured, to people and to programs?  All of
# them are made from one comparison with known values (data/skab-sample.jq).

load helpers

SKAB=$TOP/scripts/skab
DATA=$BATS_TEST_DIRNAME/data

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  jq -n --argjson threads null -f "$DATA/skab-sample.jq" >in.json
}

replay() {
  run "$SKAB" --replay in.json "$@"
}

count() {
  grep -o "$1" "$2" | wc -l
}

@test "the terminal shows medians, ratio, interval, p, noise and verdict" {
  replay
  assert_success
  assert_line --regexp \
    '^  rps +1 035 +1 036 +1 100 +\+6\.2 % +\[\+6\.0 %, \+6\.5 %\]$'
  assert_line --regexp '^  p99 +1\.932 '
  assert_line --regexp '^  peak RSS MiB +20\.00 +20\.00 +20\.00 +\+0\.0 %'
  assert_line --regexp \
    '^  B/A +\+6\.2 % +95 % \[\+6\.0 %, \+6\.5 %\] +Wilcoxon p = 0\.0078$'
  assert_line --regexp "^  A'/A noise +.0\.0 % +95 % \[-0\.2 %, \+0\.2 %\]"
  assert_line "  coverage    93.4 % of mallocs ours"
  assert_line "VERDICT  skpreload is better: rps 6.2 % higher, clearly above\
 this machine's noise (0.2 %)."
}

@test "the strip plot draws every pair, with dots where Unicode can be shown" {
  run env TERM=xterm "$SKAB" --replay in.json
  assert_line --regexp '^  B/A   [│·]+●.*$'
  run env TERM=dumb "$SKAB" --replay in.json
  assert_line --regexp '^  B/A   [|.]+o[.o]*$'
  assert_line --regexp "^  A'/A  [x.|]+$"
  run grep -P '[^\x00-\x7F]' <<<"$output"
  assert_failure
}

@test "colour is for terminals, and not where NO_COLOR is set" {
  requires script
  run env -u NO_COLOR TERM=xterm script -qec "$SKAB --replay in.json" /dev/null
  assert_output --partial $'\e[32mVERDICT'
  run env NO_COLOR=1 TERM=xterm script -qec "$SKAB --replay in.json" /dev/null
  refute_output --partial $'\e['
  run env TERM=xterm "$SKAB" --replay in.json
  refute_output --partial $'\e['
}

@test "a loss is worse with exit 1, and less time is better" {
  jq '.plan.primary.better = "lower"' in.json >worse.json
  run "$SKAB" --replay worse.json
  assert_failure 1
  assert_line --partial "VERDICT  skpreload is worse: rps 6.2 % higher"
  jq '.plan.primary.better = "lower"
    | (.runs[] | select(.arm == "B").primary) |= . * 0.8' in.json >less.json
  run "$SKAB" --replay less.json
  assert_success
  assert_line --partial "VERDICT  skpreload is better: rps 15 % lower"
}

@test "where there is nothing to gain it says so, exit 2" {
  jq '(.runs[] | select(.arm == "B").primary) |= . / 1.0625' in.json >same.json
  run "$SKAB" --replay same.json
  assert_failure 2
  assert_line "VERDICT  no difference larger than 1.0 %: nothing to gain here."
}

@test "where glibc differs from itself there is no verdict, exit 3" {
  jq '(.runs[] | select(.arm == "A2" and .block < 6).primary) |= . * 1.3
    | (.runs[] | select(.arm == "B" and .block > 4).primary) |= . * 0.7' \
    in.json >noisy.json
  run "$SKAB" --replay noisy.json
  assert_failure 3
  assert_line --regexp '^VERDICT  none: glibc differs from itself by up to'
}

@test "runs that were repeated are left out of the figures, but stay" {
  jq '.runs += [.runs[0]
    | .kept = false | .primary = 5 | .noise.noisy = true]' in.json >more.json
  run "$SKAB" --replay more.json --json out.json
  assert_line --partial "1 repeated, 0 kept"
  run jq -c '[.result.effect.n, .result.repeated, (.runs | length)]' out.json
  assert_output '[8,1,25]'
}

@test "Markdown has the verdict, a table and how it was found" {
  replay --md ab.md
  run cat ab.md
  assert_line --index 0 --regexp '^\*\*skpreload is better: rps 6\.2 % higher'
  assert_line \
    '| **rps** | 1 035 | 1 036 | 1 100 | +6.2 % | [+6.0 %, +6.5 %] |'
  assert_line --partial "seed 7"
  assert_line --partial "glibc 2.36"
  assert_line "load: wrk -t1 http://127.0.0.1:8080/"
}

@test "the HTML page draws every pair of every arm and asks nobody for more" {
  replay --html ab.html
  # two rows of eight pairs; three arms of eight runs and their legend
  assert_equal "$(count '<circle ' ab.html)" $((2 * 8 + 3 * 8 + 3))
  assert_equal "$(count 'class="interval ' ab.html)" 2
  assert_equal "$(count 'class="band"' ab.html)" 1
  assert_equal "$(count 'prefers-color-scheme: dark' ab.html)" 1
  run grep -E '<script|<link|src=|@import|url\(' ab.html
  assert_failure
}

@test "the HTML page is well-formed and shows the command as text" {
  replay --html ab.html
  assert_equal "$(count '&lt;b&gt;&amp;' ab.html)" 1
  # as XML, once the two elements that HTML never closes are closed
  requires python3
  run python3 -c 'import re, sys, xml.dom.minidom as m
t = open("ab.html").read().replace("<!DOCTYPE html>", "")
m.parseString(re.sub(r"(<(meta|br)\b[^>]*)>", r"\1/>", t).encode())'
  assert_success
}

@test "hyperfine's scripts find their fields" {
  replay --hyperfine h.json
  run jq -c '.results | map([.mean, .stddev, .median, .min, .max,
    (.times | length)]), (.[2].command)' h.json
  assert_line --index 0 "[$(printf '[10.01,0,10.01,10.01,10.01,8],%.0s' 1 2)\
[10.01,0,10.01,10.01,10.01,8]]"
  assert_line --index 1 --partial "(skpreload)"
}

@test "with several numbers of threads each is compared and drawn" {
  jq -n --argjson threads '[1,2,4]' -f "$DATA/skab-sample.jq" >in.json
  replay --html ab.html --md ab.md --json out.json
  assert_success
  assert_line --regexp "^ +4 threads  A 4 140   A' 4 1[0-9]+   B 4 4[0-9]+ +B/A"
  run jq -c '[.result.scaling[] | [.threads, .effect.n, .verdict]]' out.json
  assert_output '[[1,8,"better"],[2,8,"better"],[4,8,"better"]]'
  assert_equal "$(count '<polyline ' ab.html)" 6
  run grep -c '^| [124] |' ab.md
  assert_output 3
}

@test "the sample is valid by the schema, and so is its replay" {
  replay --json out.json
  run jq -r --slurpfile schema "$DATA/skab-1.schema.json" \
    -f "$DATA/skab-validate.jq" out.json
  assert_output ""
}

@test "the schema's checker finds what is wrong" {
  replay --json out.json
  jq '.runs[0].wall_s = "x" | .extra = 1 | del(.host.cpu)
    | .result.verdict = "fine" | .schema = "skab/2"' out.json >bad.json
  run jq -r --slurpfile schema "$DATA/skab-1.schema.json" \
    -f "$DATA/skab-validate.jq" bad.json
  assert_line '.runs[0].wall_s: is string, not "number"'
  assert_line '.schema: is "skab/2"'
  assert_line '.host: has no cpu'
  assert_line ': unknown extra'
  assert_line --partial '.result.verdict: "fine" is none of'
}
