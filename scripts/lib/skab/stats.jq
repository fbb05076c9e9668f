# stats: the median of paired differences and what is certain about it.
# Differences are logarithms of ratios; nothing here knows that.
#
# The interval is Hodges and Lehmann's with the exact distribution of
# Wilcoxon's signed-rank statistic: no assumption but symmetry, and right for
# six pairs as for sixty.

def median:
  sort | length as $n
  | if $n == 0 then null
    elif $n % 2 == 1 then .[($n - 1) / 2]
    else (.[$n / 2 - 1] + .[$n / 2]) / 2 end;

# The means of all pairs, each value with itself too: n(n+1)/2, sorted.
def walsh_averages:
  . as $x | length as $n
  | [range(0; $n) as $i | range($i; $n) as $j | ($x[$i] + $x[$j]) / 2] | sort;

# Of the 2^n ways to give signs to these whole weights, how many reach each
# sum: element i of the result counts sum i.
def sign_counts:
  reduce .[] as $w ([1];
    . as $c | length as $n
    | [range(0; $n + $w) as $i
       | (if $i < $n then $c[$i] else 0 end)
         + (if $i >= $w then $c[$i - $w] else 0 end)]);

# P(V <= v) and P(V >= v) for such counts.
def share_upto($v): (add) as $all | (.[0:$v + 1] | add // 0) / $all;
def share_from($v): (add) as $all | (.[$v:] | add // 0) / $all;

# Smallest v with P(V <= v) >= p.
def quantile($p):
  (add) as $all | . as $c
  | {v: 0, sum: $c[0]}
  | until(.sum / $all >= $p * (1 - 1e-14); .v += 1 | .sum += $c[.v])
  | .v;

# Ranks of the absolute values, doubled so that a tie's half ranks stay whole.
def doubled_ranks:
  map(fabs) as $a
  | [$a[] as $x | ([$a[] | select(. < $x)] | length) as $below
     | ([$a[] | select(. == $x)] | length) as $same
     | 2 * $below + $same + 1];

# Two-sided p of "the differences lie around 0"; zeros are left out, ties
# share their ranks, and the distribution is the exact one given the ties.
def wilcoxon_p:
  map(select(. != 0))
  | if length == 0 then 1 else
      . as $x | doubled_ranks as $r
      | ([$x, $r] | transpose | map(select(.[0] > 0)[1]) | add // 0) as $v
      | ($r | sign_counts) as $c
      | 2 * ([$c | share_upto($v), share_from($v)] | min)
      | if . > 1 then 1 else . end
    end;

# {n, estimate, low, high, level}; level is what the interval truly covers, at
# least 0.95 from six pairs on.
def paired_interval:
  length as $n
  | if $n == 0 then {n: 0, estimate: null, low: null, high: null, level: null}
    else
      walsh_averages as $w
      | ([range(1; $n + 1)] | sign_counts) as $c
      | ([($c | quantile(0.025)), 1] | max) as $k
      | {n: $n, estimate: ($w | median), low: $w[$k - 1],
         high: $w[($w | length) - $k],
         level: (1 - 2 * ($c | share_upto($k - 1)))}
    end;

def paired_estimate:
  paired_interval + {p: (if length == 0 then null else wilcoxon_p end)};

# The three-valued verdict.  `effect` and `noise` are paired estimates of
# log ratios, `better` is "higher" or "lower", the rest are fractions.
#
#   better, worse    the interval excludes 0, and the effect is larger than
#                    the threshold and than A'/A's interval reaches
#   no_difference    the interval lies within the threshold
#   inconclusive     all else; noise_too_high when A'/A says why
def noise_bound:
  if .low == null then null else [.low, .high] | map(fabs) | max end;

# How many pairs would decide: the half width of an interval falls with the
# root of their number.  It must fall until the effect's interval leaves 0, or
# fits into the threshold; or, for an effect within the noise, until the
# interval of A'/A no longer reaches it.  null: more than 1000, or never.
def half: (.high - .low) / 2;

def pairs_for($n; $half; $room):
  if $room <= 0 then null
  else ($n * pow($half / $room; 2) | ceil)
    | [., $n + 1] | max | if . > 1000 then null else . end
  end;

def pairs_needed($effect; $noise; $threshold; $below_noise):
  ($effect.estimate | fabs) as $size
  | if $below_noise then
      pairs_for($noise.n; $noise | half; $size - ($noise.estimate | fabs))
    elif $size > $threshold then pairs_for($effect.n; $effect | half; $size)
    else pairs_for($effect.n; $effect | half; $threshold - $size) end;

def verdict($effect; $noise; $better; $threshold; $max_noise):
  ((1 + $threshold) | log) as $limit
  | ($noise | noise_bound) as $bound
  | ($effect.estimate | if . then fabs else null end) as $size
  | if $effect.n < 6 then {value: "too_few_pairs", pairs_needed: 6}
    elif ($effect.low > 0 or $effect.high < 0) and $size > $limit
      and $size > $bound then
      {value: (if ($effect.estimate > 0) == ($better == "higher")
        then "better" else "worse" end)}
    elif $bound > ((1 + $max_noise) | log) then {value: "noise_too_high"}
    elif $effect.low >= -$limit and $effect.high <= $limit then
      {value: "no_difference"}
    else
      (($effect.low > 0 or $effect.high < 0) and $size > $limit) as $below
      | {value: "inconclusive", below_noise: $below,
         pairs_needed: pairs_needed($effect; $noise; $limit; $below)}
    end
  | .pairs_needed //= null;
