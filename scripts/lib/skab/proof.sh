# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# proof: a run of an arm counts only when the arm's library was at work in it.
# A missing preload is silent: ld.so prints one line and the program runs on
# glibc, so an unchecked comparison is A against A.

checked=no

# prove INDEX: ends skab with 4 when the arm's last run has no proof.
prove() {
  local reason='' key=${arm_key[$1]} entry=${run_json[$1]}
  # a process less for each run that is as it should be
  if [[ $entry != *'"ok":true'* ]]; then
    reason=$(jq -r .effect.reason <<<"$entry")
  elif [[ $key == B && $entry == *'"passes":true'* ]]; then
    reason=$(jq -r '"the shim stood aside: " +
      (.coverage.reasons | join("; ") |
        if . == "" then "it reports mode pass" else . end)' <<<"$entry")
  fi
  [ -n "$reason" ] || reason=$(silent_shim "$1")
  if [ -z "$reason" ]; then
    [[ $key != B || $checked == yes || ! ${arm_lib[$1]} ]] ||
      say_checked "$entry"
    return 0
  fi
  end_progress
  # --quiet, too, wants to know why
  printf 'STOP    arm %s (%s): %s\n' "$key" "${arm_label[$1]}" "$reason" >&2
  grep -h 'LD_PRELOAD cannot be preloaded\|ld.so:\|^skpreload' \
    "$work/server.$1.log" "$work/load.$1.log" 2>/dev/null | sort -u | head -n 3 |
    sed 's/^/    | /' >&2
  explain_no_effect "$1"
  fail "$EX_NO_EFFECT" "preload not effective, so there is nothing to compare"
}

# silent_shim INDEX: a server that dies of a signal leaves no report, so the
# library is mapped and nobody says whether it stood aside.  Then skrun's look
# at the program must do.
silent_shim() {
  local skrun=$SKAB_HOME/skrun
  [ "${arm_key[$1]}" = B ] && [ -x "$skrun" ] &&
    [[ ${arm_lib[$1]} == *skpreload* ]] &&
    [[ ${run_json[$1]} == *'"coverage":null'* ]] || return 0
  "$skrun" --lib "${arm_lib[$1]}" --check "${command[0]}" 2>&1 |
    sed -n 's/^no  *[a-z]* *//p' | head -n 1
}

# What skrun's look at the program before the run says about it.
explain_no_effect() {
  local skrun=$SKAB_HOME/skrun
  [ -x "$skrun" ] && [[ ${arm_lib[$1]} == *skpreload* ]] || return 0
  "$skrun" --lib "${arm_lib[$1]}" --check "${command[0]}" 2>&1 |
    sed 's/^/    | /' >&2
}

# say_checked ENTRY
say_checked() {
  checked=yes
  say "$(jq -r '
    "check   preload mapped in " + (.effect.mapped_in |
      if length == 0 then "a process that wrote a report"
      elif length <= 2 then join(", ")
      else "\(.[0]) and \(length - 1) more" end)
    + (if .coverage.calls_percent then
        "; \(.coverage.calls_percent * 10 | round / 10) % of mallocs ours"
      else "" end) + "   ok"' <<<"$1")"
}

# Identity of the libraries: one that is rebuilt meanwhile is two shims.
library_marks() {
  [ ${#known_libs[@]} -eq 0 ] || stat -L -c '%n %i %Y %s' "${known_libs[@]}"
}

check_libraries() {
  [ "$(library_marks 2>&1)" = "$library_marks" ] || fail "$EX_UNAVAILABLE" \
    "a library of an arm was changed during the comparison; start again"
}
