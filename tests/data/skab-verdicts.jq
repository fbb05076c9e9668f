# Counts the verdicts of the experiments of skab-simulate.awk.
include "stats";

reduce inputs as $e ({};
  ($e | map(.[2] - .[0]) | paired_interval) as $effect
  | ($e | map(.[1] - .[0]) | paired_interval) as $noise
  | verdict($effect; $noise; "higher"; 0.01; 0.10).value as $v
  | .[$v] += 1)
