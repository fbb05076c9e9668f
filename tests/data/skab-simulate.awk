# Experiments for the verdict: lines of JSON, each an array of pairs [A, A', B]
# of logarithms.  Run with -v seed=, experiments=, pairs=, noise= (of one
# value, a fraction) and effect= (of B, a fraction).
function normal() {
  return sqrt(-2 * log(1 - rand())) * cos(6.283185307179586 * rand())
}

BEGIN {
  srand(seed)
  for (e = 0; e < experiments; e++) {
    line = ""
    for (p = 0; p < pairs; p++)
      line = line (p ? "," : "") sprintf("[%.9f,%.9f,%.9f]",
        noise * normal(), noise * normal(),
        log(1 + effect) + noise * normal())
    print "[" line "]"
  }
}
