# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# noise: what the rest of the host did while a run was measured.  Three
# witnesses: CPU time stolen by the hypervisor, CPU time used by processes
# that are not the run's, and the kernel's pressure figure for the pause
# before the run, when nothing of ours wants a CPU.

# noise_read: "steal busy total pressure_us" of now; - where there is none.
noise_read() {
  local _ user nice system idle iowait irq softirq steal some=-
  if ! read -r _ user nice system idle iowait irq softirq steal _ \
    2>/dev/null </proc/stat; then
    echo "- - - -"
    return
  fi
  [ -r /proc/pressure/cpu ] && read -r some </proc/pressure/cpu 2>/dev/null
  [[ $some == *total=* ]] && some=${some##*total=} || some=-
  echo "$steal $((user + nice + system))" \
    "$((user + nice + system + idle + iowait + irq + softirq + steal))" "$some"
}

# noise_begin INDEX, noise_end INDEX: around each window of a run of this arm;
# noise_sum[INDEX] is what the host did in all of them.
noise_sum=()
noise_begin() {
  noise_before=$(noise_read)
}

noise_end() {
  noise_sum[$1]=$(awk -v sum="${noise_sum[$1]}" -v b="$noise_before" \
    -v a="$(noise_read)" 'BEGIN {
      split(sum, s); split(b, x); split(a, y)
      if (x[1] == "-" || y[1] == "-" || s[1] == "-") print "- - -"
      else print s[1] + y[1] - x[1], s[2] + y[2] - x[2], s[3] + y[3] - x[3]
    }')
}

# quiet_host: looks for the length of `pause`, and once more when somebody
# else waits for a CPU; prints the pressure seen last, in percent, or null.
quiet_host() {
  local before after percent=null
  for _ in 1 2; do
    before="$(noise_read) ${EPOCHREALTIME/./}"
    sleep "$pause"
    after="$(noise_read) ${EPOCHREALTIME/./}"
    percent=$(awk -v b="$before" -v a="$after" 'BEGIN {
      split(b, x); split(a, y)
      if (x[4] == "-") print "null"
      else printf "%.0f\n", 100 * (y[4] - x[4]) / (y[5] - x[5]) }')
    [ "${percent/null/0}" -gt 5 ] || break
  done
  echo "$percent"
}

# noise_of BEFORE AFTER OWN_CPU_S PRESSURE: the JSON of a run's noise.
noise_of() {
  awk -v hz="$(getconf CLK_TCK)" -v own="$3" -v psi="$4" \
    -v before="$1" -v after="$2" 'BEGIN {
      n = split(before, b); split(after, a)
      total = a[3] - b[3]
      if (n < 4 || b[1] == "-" || a[1] == "-" || total <= 0)
        steal = foreign = "null"
      else {
        steal = 100 * (a[1] - b[1]) / total
        foreign = 100 * (a[2] - b[2] - own * hz) / total
        if (foreign < 0) foreign = 0
        noisy = steal > 2 || foreign > 8
      }
      noisy = noisy || (psi != "null" && psi > 20)
      fmt = "{\"steal_percent\":%s,\"foreign_cpu_percent\":%s,"
      fmt = fmt "\"psi_before_percent\":%s,\"noisy\":%s}\n"
      printf fmt, short(steal), short(foreign), psi, noisy ? "true" : "false"
    }
    function short(x) { return x == "null" ? x : sprintf("%.2f", x) }'
}
