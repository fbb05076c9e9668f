#!/usr/bin/env bats
# Does every option do what it says, and every mistake get its one message?

load helpers
load shim

TRUTHS='on, off, yes, no, true, false, 1, 0'

# options [-127] VAR=VALUE...: runs a program whose only word is which heap
# served it ($output: "32 992" ours, "24 1000" libc's); $said is what the shim
# said, without the process id.
options() {
  local -a wanted=()
  if [ "${1-}" = -127 ]; then
    wanted=("$1")
    shift
  fi
  echo "\$ LD_PRELOAD=$LIB $*"
  run "${wanted[@]}" --separate-stderr bounded env LD_PRELOAD="$LIB" "$@" \
    "$PROGS/first_malloc"
  # The process id is the program's, on every line.
  said=$(sed -E 's/^skpreload\[[0-9]+\]: //' <<<"$stderr")
  echo "$stderr"
  if [ -n "$stderr" ] && grep -Evq '^skpreload\[[0-9]+\]: ' <<<"$stderr"; then
    fail "a line on stderr is not of the form skpreload[PID]: TEXT"
  fi
}

assert_regex() {
  [[ $1 =~ $2 ]] || fail "'$1' does not match $2"
}

# complains TEXT...: those lines, and the one that counts them.
complains() {
  local plural=
  [ $# -eq 1 ] || plural=s
  assert_equal "$said" "$(printf '%s\n' "$@" \
    "$# option$plural ignored, running with defaults; \
strict:1 would stop here")"
}

@test "without an option the shim serves, and says nothing" {
  options
  assert_success
  assert_output "32 992"
  assert_equal "$said" ""
}

@test "mode:pass and mode:off leave everything to libc" {
  options SKPRELOAD_CONF=mode:pass
  assert_output "24 1000"
  options SKPRELOAD_CONF=mode:off
  assert_output "24 1000"
  options SKPRELOAD_CONF=mode:on
  assert_output "32 992"
  assert_equal "$said" ""
}

@test "SKPRELOAD_OFF=1 switches off, SKPRELOAD_OFF=0 does not" {
  options SKPRELOAD_OFF=1 SKPRELOAD_VERBOSE=1
  assert_output "24 1000"
  assert_equal "$said" ""
  options SKPRELOAD_OFF=0
  assert_output "32 992"
  options SKPRELOAD_OFF=yes
  assert_output "24 1000"
}

@test "a variable of one option wins over the list, whatever stands first" {
  options SKPRELOAD_OFF=1 SKPRELOAD_CONF=mode:on,verbose:1
  assert_output "24 1000"
  options SKPRELOAD_CONF=mode:on,verbose:1 SKPRELOAD_OFF=1
  assert_output "24 1000"
  options SKPRELOAD_VERBOSE=1 SKPRELOAD_CONF=verbose:0
  assert_regex "$said" '^version '
  # a switch that is not set switches nothing on
  options SKPRELOAD_OFF=0 SKPRELOAD_CONF=mode:off
  assert_output "24 1000"
}

@test "an empty variable is one that is not set" {
  options SKPRELOAD_CONF= SKPRELOAD_OFF= SKPRELOAD_VERBOSE= SKPRELOAD_STATS=
  assert_output "32 992"
  assert_equal "$said" ""
  options SKPRELOAD_VERBOSE= SKPRELOAD_STATS= \
    SKPRELOAD_CONF="verbose:1,stats:$BATS_TEST_TMPDIR/x.json"
  assert_regex "$said" ", stats '$BATS_TEST_TMPDIR/x.json'\$"
}

@test "max_small is the largest size that the heaps serve" {
  options SKPRELOAD_CONF=max_small:16
  assert_output "24 1000"
  options SKPRELOAD_CONF=max_small:17
  assert_output "32 1000"
  options SKPRELOAD_CONF=max_small:990
  assert_output "32 992"
  options SKPRELOAD_CONF=max_small:989
  assert_output "32 1000"
  options SKPRELOAD_CONF=max_small:0
  assert_output "24 1000"
  # Aligned ones, too.
  on_shim SKPRELOAD_CONF=max_small:64 "$PROGS/aligned"
  assert_success
  assert_served aligned
  report_has aligned '[.heaps[] | select(.unit_bytes > 64) | .allocations] |
    add == null or add == 0'
}

@test "a size may be written with K, M or G" {
  options SKPRELOAD_CONF=max_small:1K,reserve:2G,verbose:1
  assert_equal "$said" "version $(cat "$TOP/VERSION"), region 2G, mode on, \
max_small 1K, max_grown 1M, reserve 2G, limit 1T, purge_delay 500, \
huge_pages off, verbose on, strict off, stats ''"
  options SKPRELOAD_CONF=reserve:65536K,verbose:1
  assert_regex "$said" ', region 64M, '
}

@test "verbose is one line with the version and the effective options" {
  local line
  line="version $(cat "$TOP/VERSION"), region 256G, mode on, max_small 32K, \
max_grown 1M, reserve 256G, limit 1T, purge_delay 500, huge_pages off, \
verbose on, strict off, stats ''"
  options SKPRELOAD_VERBOSE=1
  assert_equal "$said" "$line"
  options SKPRELOAD_CONF=verbose:yes
  assert_equal "$said" "$line"
  options SKPRELOAD_VERBOSE=0
  assert_equal "$said" ""
}

@test "reserve:0 reserves nothing, and the reason is in verbose only" {
  options SKPRELOAD_CONF=reserve:0
  assert_output "24 1000"
  assert_equal "$said" ""
  options SKPRELOAD_CONF=reserve:0,verbose:1
  assert_regex "$said" ', region 0, mode pass, '
  assert_regex "$said" 'mode pass: reserve is 0$'
}

@test "limit is the most that the heaps hold; the rest is libc's" {
  options SKPRELOAD_CONF=limit:0
  assert_success
  assert_output "24 1000"
  assert_equal "$said" ""
  options SKPRELOAD_CONF=limit:64K
  assert_output "32 1000"
  options SKPRELOAD_CONF=limit:128K
  assert_output "32 992"
}

@test "purge_delay is a number of milliseconds, up to an hour" {
  local value
  options SKPRELOAD_CONF=purge_delay:0
  assert_output "32 992"
  assert_equal "$said" ""
  options SKPRELOAD_CONF=purge_delay:2000,verbose:1
  assert_regex "$said" ", purge_delay 2000, "
  for value in 3600001 -1 1s; do
    options SKPRELOAD_CONF=purge_delay:$value
    assert_output "32 992"
    complains "option 'purge_delay': value '$value' is not within \
0..3600000, using 500 (SKPRELOAD_CONF, char 1)"
  done
}

@test "an unknown option is named, with the nearest one and its place" {
  options SKPRELOAD_CONF=mod:on
  assert_success
  assert_output "32 992"
  complains \
    "option 'mod' unknown, did you mean 'mode'? (SKPRELOAD_CONF, char 1)"
  options SKPRELOAD_CONF=reserv:1,max_smal:2,strct:1,stat:x
  assert_output "32 992"
  complains \
    "option 'reserv' unknown, did you mean 'reserve'? \
(SKPRELOAD_CONF, char 1)" \
    "option 'max_smal' unknown, did you mean 'max_small'? \
(SKPRELOAD_CONF, char 10)" \
    "option 'strct' unknown, did you mean 'strict'? (SKPRELOAD_CONF, char 21)" \
    "option 'stat' unknown, did you mean 'stats'? (SKPRELOAD_CONF, char 29)"
}

@test "an unknown variable is named, with the nearest one" {
  options SKPRELOAD_STAT=x
  assert_success
  complains "variable 'SKPRELOAD_STAT' unknown, did you mean 'SKPRELOAD_STATS'?"
  options SKPRELOAD_VERBOS=1
  complains \
    "variable 'SKPRELOAD_VERBOS' unknown, did you mean 'SKPRELOAD_VERBOSE'?"
  options SKPRELOADER=1 MY_SKPRELOAD_CONF=x
  assert_equal "$said" ""
}

@test "a value out of bounds is named, with the bounds, and not used" {
  local value
  for value in 32769 99999999 -1 1x x 18446744073709551617 1KK; do
    options SKPRELOAD_CONF=max_small:$value
    assert_success
    assert_output "32 992"
    complains "option 'max_small': value '$value' is not within 0..32K, \
using 32K (SKPRELOAD_CONF, char 1)"
  done
  options SKPRELOAD_CONF=reserve:2000G
  complains "option 'reserve': value '2000G' is not within 0..1T, \
using 256G (SKPRELOAD_CONF, char 1)"
}

@test "a word that is not one of an option's is named, with those there are" {
  options SKPRELOAD_CONF=mode:maybe
  complains "option 'mode': value 'maybe' is not one of on, pass, off \
(SKPRELOAD_CONF, char 1)"
  options SKPRELOAD_CONF=huge_pages:yes
  complains "option 'huge_pages': value 'yes' is not one of off, on, system \
(SKPRELOAD_CONF, char 1)"
  options SKPRELOAD_CONF=verbose:maybe
  complains "option 'verbose': value 'maybe' is not one of $TRUTHS \
(SKPRELOAD_CONF, char 1)"
  options SKPRELOAD_VERBOSE=2
  complains "option 'verbose': value '2' is not one of $TRUTHS \
(SKPRELOAD_VERBOSE, char 1)"
  options SKPRELOAD_OFF=of
  assert_output "32 992"
  complains "variable 'SKPRELOAD_OFF': value 'of' is not one of $TRUTHS \
(SKPRELOAD_OFF, char 1)"
}

@test "an option without a value is named, empty places are not" {
  options SKPRELOAD_CONF=mode
  complains "option 'mode' has no value, write 'mode:VALUE' \
(SKPRELOAD_CONF, char 1)"
  options SKPRELOAD_CONF=mode:on,:off
  complains "an option has no name, write 'NAME:VALUE' (SKPRELOAD_CONF, char 9)"
  options SKPRELOAD_CONF=
  assert_equal "$said" ""
  options SKPRELOAD_CONF=,mode:pass,,
  assert_output "24 1000"
  assert_equal "$said" ""
}

@test "the rest of the options is obeyed when one is wrong" {
  options SKPRELOAD_CONF=nonsense:1,max_small:16,mode:never
  assert_success
  assert_output "24 1000"
  assert_regex "$said" '2 options ignored'
}

@test "strict:1 stops the program with status 127, wherever it stands" {
  local conf
  for conf in strict:1,mod:on mod:on,strict:1; do
    options -127 SKPRELOAD_CONF=$conf
    assert_output ""
    assert_regex "$said" "option 'mod' unknown"
    assert_regex "$said" \
      '1 option ignored, running with defaults; strict:1 stops here$'
  done
  options -127 SKPRELOAD_CONF=strict:1 SKPRELOAD_STAT=x
  options SKPRELOAD_CONF=strict:1,max_small:64
  assert_success
  assert_output "32 1000"
  assert_equal "$said" ""
}

@test "a file name that is too long is refused, not cut" {
  local name
  name=$(printf '%05000d' 0)
  options SKPRELOAD_CONF=stats:"$name"
  assert_success
  complains "option 'stats': a name of 5000 bytes is too long, at most 4095 \
(SKPRELOAD_CONF, char 1)"
}

@test "very long and very many options harm nothing" {
  local many
  printf -v many 'x%.0s' {1..100000}
  options SKPRELOAD_CONF="$many:1"
  assert_success
  assert_output "32 992"
  assert_regex "$said" "option 'x+' unknown"
  printf -v many 'mode:on,%.0s' {1..10000}
  options SKPRELOAD_CONF="$many"
  assert_success
  assert_equal "$said" ""
}

@test "options are read without getenv, which may be interposed" {
  echo "\$ with libinterpose.so in front"
  run --separate-stderr bounded env \
    LD_PRELOAD="$PROGS/libinterpose.so:$LIB" SKPRELOAD_CONF=max_small:16 \
    "$PROGS/first_malloc"
  assert_success
  assert_output "24 1000"
}

@test "sk_version says the version, and without the shim there is none" {
  on_shim "$PROGS/version"
  assert_output "$(cat "$TOP/VERSION")"
  on_glibc "$PROGS/version"
  assert_output "no shim"
}

@test "a static program is not served, and so has no banner" {
  echo 'int main(void) { return 0; }' >"$BATS_TEST_TMPDIR/static.c"
  cc -static -o "$BATS_TEST_TMPDIR/static" "$BATS_TEST_TMPDIR/static.c" \
    2>/dev/null || skip "needs a static libc"
  on_shim SKPRELOAD_VERBOSE=1 "$BATS_TEST_TMPDIR/static"
  assert_success
  assert_output ""
  # The same source, dynamic, has one: the silence above means something.
  cc -o "$BATS_TEST_TMPDIR/dynamic" "$BATS_TEST_TMPDIR/static.c"
  on_shim SKPRELOAD_VERBOSE=1 "$BATS_TEST_TMPDIR/dynamic"
  assert_output --regexp 'skpreload\[[0-9]+\]: version '
}

@test "the bare name of the library is enough where ld.so finds it" {
  run --separate-stderr bounded env LD_LIBRARY_PATH="$(dirname "$LIB")" \
    LD_PRELOAD="$(basename "$LIB")" "$PROGS/first_malloc"
  assert_success
  assert_output "32 992"
}
