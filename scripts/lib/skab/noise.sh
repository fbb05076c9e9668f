# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# noise: what the rest of the host did while a run was measured.  Three
# witnesses: CPU time stolen by the hypervisor, CPU time used by processes
# that are not the run's, and the kernel's pressure figure for the pause
# before the run, when nothing of ours wants a CPU.

# noise_read: "steal busy total pressure_us" of now, - where there is none,
# into noise_now; no process is started for it.
noise_now='' noise_before='' noise_sum=()
noise_read() {
  local _ user nice system idle iowait irq softirq steal some=-
  noise_now='- - - -'
  read -r _ user nice system idle iowait irq softirq steal _ \
    2>/dev/null </proc/stat || return 0
  [ -r /proc/pressure/cpu ] && read -r some 2>/dev/null </proc/pressure/cpu
  [[ $some == *total=* ]] && some=${some##*total=} || some=-
  noise_now="$steal $((user + nice + system)) $((user + nice + system + idle +
    iowait + irq + softirq + steal)) $some"
}

# noise_begin, noise_end INDEX: around each window of a run of this arm;
# noise_sum[INDEX] is what the host did in all of them.
noise_begin() {
  noise_read
  noise_before=$noise_now
}

noise_end() {
  local sum before after
  noise_read
  read -ra sum <<<"${noise_sum[$1]}"
  read -ra before <<<"$noise_before"
  read -ra after <<<"$noise_now"
  if [[ "$noise_before $noise_now ${noise_sum[$1]}" == *'- - '* ]]; then
    noise_sum[$1]='- - -'
  else
    noise_sum[$1]="$((sum[0] + after[0] - before[0])) \
$((sum[1] + after[1] - before[1])) $((sum[2] + after[2] - before[2]))"
  fi
}

# quiet_host: looks for the length of `pause`, and once more when somebody
# else waits for a CPU; the pressure seen last, in percent or null, goes into
# `pressure`.
quiet_host() {
  local before after began_us
  for _ in 1 2; do
    noise_read
    before=${noise_now##* } began_us=${EPOCHREALTIME/./}
    sleep "$pause"
    noise_read
    after=${noise_now##* }
    pressure=null
    [[ $before != - && $after != - ]] || break
    pressure=$((100 * (after - before) / (${EPOCHREALTIME/./} - began_us)))
    [ "$pressure" -gt 5 ] || break
  done
}

clock_ticks=''
# noise_of BEFORE AFTER OWN_CPU_S PRESSURE: the JSON of a run's noise.
noise_of() {
  [ -n "$clock_ticks" ] || clock_ticks=$(getconf CLK_TCK)
  awk -v hz="$clock_ticks" -v own="$3" -v psi="$4" \
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
