# hyperfine: the kept runs in the layout of hyperfine's --export-json, for the
# scripts that read it.  Times are those of the load in server mode.
include "stats";

def mean: add / length;
def deviation:
  mean as $m | length as $n
  | if $n < 2 then null else (map(. - $m | . * .) | add / ($n - 1)) | sqrt end;

def hyperfine:
  . as $ab
  | {results: [$ab.plan.arms[] as $arm
      | [$ab.runs[] | select(.kept and .arm == $arm.key)] as $runs
      | select($runs != [])
      | ($runs | map(.wall_s)) as $t
      | {command: (($ab.plan.command | join(" "))
           + " (\($arm["label"]))"),
         mean: ($t | mean), stddev: ($t | deviation), median: ($t | median),
         user: ($runs | map(.usage.user_s // 0) | mean),
         system: ($runs | map(.usage.system_s // 0) | mean),
         min: ($t | min), max: ($t | max), times: $t,
         exit_codes: ($t | map(0)),
         parameters: {arm: $arm.key}}]};
