# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# report: ab.json out of the plan and the runs, and every view out of that.

skab_version() {
  local file
  for file in "$SKAB_HOME/../VERSION" "$SKAB_PARTS/VERSION"; do
    [ -r "$file" ] && echo "skab $(<"$file")" && return
  done
  echo "skab (version unknown)"
}

# is_as_it_is FILE: a fifo or a device, or one of our own descriptors, as
# /dev/stdout is: a file put in its place would take it from the whole machine.
is_as_it_is() {
  [ -e "$1" ] && [[ ! -f $1 || $1 == /dev/fd/* || $1 == /proc/* ||
    -L $1 && $(readlink -- "$1") == /proc/* ]]
}

# probe_outputs: nine minutes are too long to find that there is no room.
probe_outputs() {
  local option
  for option in json md html hyperfine; do
    [ -z "${!option}" ] || probe_output "$option" "${!option}"
  done
}

# probe_output OPTION FILE: the file that put makes first is made, for root may
# write everywhere, says test -w.
probe_output() {
  local why='no such folder, or no permission'
  if [ -d "$2" ]; then
    why='it is a folder'
  elif is_as_it_is "$2"; then
    [ ! -w "$2" ] || return 0
  elif { : >"$2.part.$$"; } 2>/dev/null; then
    rm -f -- "$2.part.$$"
    return 0
  fi
  fail "$EX_IO" "--$1: cannot write $2: $why; name another file"
}

# spec_json NAME:BETTER:REGEX
spec_json() {
  local rest=${1#*:}
  jq -cn --arg name "${1%%:*}" --arg better "${rest%%:*}" \
    --arg pattern "${rest#*:}" '{name: $name, better: $better,
      pattern: (if $pattern == "" then null else $pattern end)}'
}

host_json() {
  jq -cn --arg kernel "$(uname -sr)" --arg machine "$(uname -m)" \
    --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
    --argjson cpus "$(getconf _NPROCESSORS_ONLN)" \
    --arg libc "$(getconf GNU_LIBC_VERSION 2>/dev/null)" \
    --arg os "$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)" \
    --arg mem "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)" \
    '{kernel: $kernel, machine: $machine, cpu: $cpu, cpus: $cpus,
      libc: $libc, os: $os, memory_kb: ($mem | tonumber? // null)}'
}

arms_json() {
  local i sum
  for i in "${!arm_key[@]}"; do
    sum=''
    [ -z "${arm_lib[i]}" ] || sum=$(sha256sum <"${arm_lib[i]}")
    jq -cn --arg key "${arm_key[i]}" --arg words "${arm_label[i]}" \
      --arg lib "${arm_lib[i]}" --arg conf "${arm_conf[i]}" \
      --arg sum "${sum%% *}" 'def known: if . == "" then null else . end;
      {key: $key, "label": $words, library: ($lib | known),
       sha256: ($sum | known), conf: ($conf | known)}'
  done | jq -cs .
}

plan_json() {
  local m
  jq -cn --arg mode "$mode" --arg preset "$preset" \
    --arg ready "$ready" --arg load "$load" --arg warmup "$warmup" \
    --argjson measure "$measure" --argjson pairs "$pairs" \
    --argjson windows "$windows" --arg requests "$requests" \
    --arg pin "${pin_server:+$pin_server/$pin_load}" \
    --argjson side_by_side "$(side_by_side && echo true || echo false)" \
    --argjson seed "$seed" --argjson threshold "$threshold" \
    --argjson max_noise "$max_noise" --argjson arms "$(arms_json)" \
    --argjson primary "$(spec_json "$primary")" \
    --argjson metrics "$(for m in "${metrics[@]}"; do spec_json "$m"; done |
      jq -cs .)" --arg threads "$threads" \
    '$ARGS.positional as $command
    | def known: if . == "" then null else . end;
    {mode: $mode, preset: ($preset | known), command: $command,
     ready: ($ready | known), load: ($load | known),
     warmup: ($warmup | tonumber), measure_s: $measure,
     windows: (if $mode == "server" then $windows else null end),
     side_by_side: $side_by_side, requests: ($requests | known),
     pin: ($pin | known), pairs: $pairs,
     seed: $seed, threshold: ($threshold / 100),
     max_noise: ($max_noise / 100), primary: $primary, metrics: $metrics,
     arms: $arms, threads: (if $threads == "0" then null
       else $threads | split(",") | map(tonumber) end)}' \
    --args -- "${command[@]}"
}

# assemble FILE: the whole document.
assemble() {
  jq -n -L "$SKAB_PARTS" --arg version "$(skab_version)" \
    --arg created "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    --argjson host "$(host_json)" --argjson plan "$(plan_json)" \
    --arg interrupted "$interrupted" --arg failed "$failed_with" \
    --slurpfile runs "$work/runs.jsonl" \
    --slurpfile explain <(cat "$work/explain.json" 2>/dev/null) \
    'include "analyse";
    {schema: "skab/1", tool: $version, created: $created,
     complete: ($interrupted == "no" and $failed == ""),
     stopped_by: (if $interrupted != "no" then "interrupt"
       elif $failed != "" then $failed else null end),
     host: $host, plan: $plan, runs: $runs,
     explain: ($explain[0] // null)} | analyse' >"$1"
}

# put FILE MADE: FILE becomes the file MADE, whole, or stays as it was.
put() {
  local part=$1.part.$$
  if is_as_it_is "$1"; then
    cat "$2" >>"$1" && return
  elif cat "$2" >"$part" && mv -- "$part" "$1"; then
    return 0
  fi
  rm -f -- "$part"
  warn "cannot write $1: no space left, or no permission"
  return 1
}

# put_view FILE VIEW DOCUMENT
put_view() {
  [ -n "$1" ] || return 0
  render "$2" "$3" >"$3.$2" || {
    warn "cannot make the view $2 of the result"
    return 1
  }
  put "$1" "$3.$2"
}

render() {
  jq -r -L "$SKAB_PARTS" "${@:3}" "include \"$1\"; $1" "$2"
}

terminal() {
  local ascii=false color=false
  [[ ${TERM:-dumb} != dumb && ${SKAB_ASCII:-no} = no ]] || ascii=true
  [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "$ascii" = false ] && color=true
  render terminal "$1" --argjson ascii "$ascii" --argjson color "$color"
}

# write_reports FILE: every report that was asked for, from one document.
write_reports() {
  local failed=no
  [ -z "$json" ] || put "$json" "$1" || failed=yes
  put_view "$md" markdown "$1" || failed=yes
  put_view "$html" html "$1" || failed=yes
  put_view "$hyperfine" hyperfine "$1" || failed=yes
  [ "$failed" = no ]
}

finish() {
  assemble "$work/ab.json" || fail "$EX_IO" "cannot make the result in $work"
  deliver "$work/ab.json"
}

# deliver FILE: the result to everybody who asked, and skab's end.
deliver() {
  local code told=yes
  terminal "$1" 2>/dev/null || told=no
  write_reports "$1" || leave "$EX_IO"
  [ $told = yes ] || {
    warn "cannot write the result to standard output; it is in ${json:-no file}"
    leave "$EX_IO"
  }
  [ -z "$json" ] || say "report  $json"
  code=$(jq .result.exit "$1")
  [[ $code =~ ^[0-4]$ ]] || fail "$EX_SOFTWARE" "the result has no verdict"
  leave "$code"
}

finish_interrupted() {
  end_progress
  warn "interrupted after $runs_done runs of $runs_planned"
  keep_what_is_there
  leave "$EX_INTERRUPTED"
}

# keep_what_is_there: reports of a comparison that did not come to its end.
keep_what_is_there() {
  trap '' INT TERM HUP
  [ -n "$work" ] && [ -s "$work/runs.jsonl" ] || return 0
  end_minders KILL
  assemble "$work/ab.json" || return 0
  terminal "$work/ab.json"
  write_reports "$work/ab.json" && [ -n "$json" ] &&
    say "report  $json holds what there is"
}

replay_report() {
  [ "$(jq -r '.schema' "$1" 2>/dev/null)" = skab/1 ] ||
    usage_error "--replay: '$1' is no report of skab (schema skab/1)"
  work_begin
  probe_outputs
  jq -L "$SKAB_PARTS" 'include "analyse"; analyse' "$1" >"$work/ab.json" ||
    usage_error "--replay: '$1' cannot be read"
  deliver "$work/ab.json"
}
