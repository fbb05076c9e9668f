#!/usr/bin/env bats
# shellcheck disable=SC2016  # the dollars in the programs are jq's
# Are skab's statistics right?  Vectors computed by R (data/skab-stats.R), and
# a thousand experiments whose truth is known.

load helpers

DATA=$BATS_TEST_DIRNAME/data
PARTS=$TOP/scripts/lib/skab

# Prints a line for each figure that differs from R's.
differences() {
  jq -r -L "$PARTS" 'include "stats";
    def near($b): (. - $b | fabs) <= 1e-9 * ([$b | fabs, 1e-3] | max);
    '"$1" "$DATA/skab-stats.json"
}

# simulate SEED EFFECT: the verdicts of 1000 experiments of 12 pairs, 2 % noise
simulate() {
  awk -f "$DATA/skab-simulate.awk" -v seed="$1" -v effect="$2" \
    -v experiments=1000 -v pairs=12 -v noise=0.02 |
    jq -nc -L "$PARTS" -f "$DATA/skab-verdicts.jq"
}

# verdict EFFECT NOISE BETTER: of two estimates, 1 % threshold, 10 % noise
verdict_of() {
  jq -nr -L "$PARTS" --argjson effect "$1" --argjson noise "$2" \
    --arg better "$3" 'include "stats";
      verdict($effect; $noise; $better; 0.01; 0.1)
      | "\(.value) \(.pairs_needed)"'
}

QUIET='{"n": 12, "estimate": 0.001, "low": -0.002, "high": 0.004}'

@test "estimate, interval, level and p agree with R's wilcox.test" {
  run differences '.untied[] | (.x | paired_estimate) as $ours | . as $r
    | ["estimate", "low", "high", "p", "level"][] as $key
    | select($ours[$key] | near($r[$key]) | not)
    | "n \($r.x | length) \($key): ours \($ours[$key]), R \($r[$key])"'
  assert_success
  assert_output ""
}

@test "p with ties and zeros agrees with R's exactRankTests" {
  run differences '.tied[] | . as $r | (.x | wilcoxon_p) as $ours
    | select($ours | near($r.p) | not)
    | "\($r.x): ours \($ours), R \($r.p)"'
  assert_success
  assert_output ""
}

@test "there are vectors of 6 to 40 pairs to agree with" {
  run jq -c '[.untied[].x | length] | [min, max, length]' \
    "$DATA/skab-stats.json"
  assert_output "[6,40,17]"
}

@test "of 1000 experiments of glibc against glibc at most 5 % find a change" {
  run simulate 20260101 0
  assert_success
  run jq '(.better // 0) + (.worse // 0) <= 50 and (add == 1000)' <<<"$output"
  assert_output true
}

@test "of 1000 experiments a true +5 % is found in at least 95 %" {
  run simulate 20260102 0.05
  assert_success
  run jq '(.better // 0) >= 950 and (.worse // 0) == 0' <<<"$output"
  assert_output true
}

@test "of 1000 experiments a true -5 % is found in at least 95 %" {
  run simulate 20260103 -0.05
  assert_success
  run jq '(.worse // 0) >= 950 and (.better // 0) == 0' <<<"$output"
  assert_output true
}

@test "a clear gain is better, and worse where less is wanted" {
  local gain='{"n": 12, "estimate": 0.06, "low": 0.05, "high": 0.07}'
  run verdict_of "$gain" "$QUIET" higher
  assert_output "better null"
  run verdict_of "$gain" "$QUIET" lower
  assert_output "worse null"
}

@test "an effect below the threshold is never better, however certain" {
  run verdict_of '{"n": 12, "estimate": 0.005, "low": 0.004, "high": 0.006}' \
    "$QUIET" higher
  assert_output "no_difference null"
}

@test "an effect that A against A reaches too is inconclusive" {
  run verdict_of '{"n": 12, "estimate": 0.03, "low": 0.02, "high": 0.04}' \
    '{"n": 12, "estimate": 0.005, "low": -0.03, "high": 0.04}' higher
  # half width 0.035 must fall to 0.03 - 0.005: 12 * 1.4^2
  assert_output "inconclusive 24"
}

@test "a wide interval around nothing is inconclusive and says how many pairs" {
  run verdict_of '{"n": 12, "estimate": 0, "low": -0.0199, "high": 0.0199}' \
    "$QUIET" higher
  # log(1.01) is half of 0.0199: four times as many
  assert_output "inconclusive 48"
}

@test "with noise above --max-noise there is no verdict" {
  run verdict_of '{"n": 12, "estimate": 0.03, "low": -0.02, "high": 0.08}' \
    '{"n": 12, "estimate": 0.05, "low": -0.03, "high": 0.12}' higher
  assert_output "noise_too_high null"
}

@test "no pair at all is too few, and no error" {
  run jq -nc -L "$PARTS" 'include "stats";
    [] | paired_estimate as $none | verdict($none; $none; "lower"; 0.01; 0.1)'
  assert_output '{"value":"too_few_pairs","pairs_needed":6}'
}

@test "five pairs are too few, whatever they say" {
  run verdict_of '{"n": 5, "estimate": 0.5, "low": 0.4, "high": 0.6}' \
    "$QUIET" higher
  assert_output "too_few_pairs 6"
}
