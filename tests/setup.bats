# Does scripts/setup install what is missing, and otherwise keep out of the
# way?  apt-get, sudo and id are fakes in a PATH that holds nothing else but
# the few tools the script itself runs on; SETUP_ROOT moves its look at files.

load helpers

setup() {
  BIN=$BATS_TEST_TMPDIR/bin
  LOG=$BATS_TEST_TMPDIR/log
  mkdir -p "$BIN"
  : >"$LOG"
  local tool
  for tool in bash env cat mktemp rm tail touch true; do
    ln -s "$(type -P $tool)" "$BIN/$tool"
  done
  user_id 1000
}

# fake NAME [LINE...]: a program that does LINEs and logs how it was called.
fake() {
  local name=$1
  shift
  printf '%s\n' '#!/bin/sh' "echo $name \"\$@\" >>'$LOG'" "$@" >"$BIN/$name"
  chmod +x "$BIN/$name"
}

# user_id N: who we are, with a sudo that would ask for a password.
user_id() {
  fake id "echo $1"
  fake sudo 'exit 1'
}

# An apt-get that "installs" each package it is given under its own name.
working_apt() {
  fake apt-get "for p in \"\$@\"; do" \
    "  case \$p in -*|install|*=*) ;; *) touch '$BIN'/\$p;" \
    "  '$(type -P chmod)' +x '$BIN'/\$p ;; esac" \
    'done'
}

in_fake_world() {
  env -i PATH="$BIN" SETUP_ROOT="$BATS_TEST_TMPDIR/root" "$@"
}

# everything_for_ab_but PACKAGE...: a world in which only PACKAGEs are absent.
everything_for_ab_but() {
  local prog
  mkdir -p "$BATS_TEST_TMPDIR/root/usr/include"
  touch "$BATS_TEST_TMPDIR/root/usr/include/stdio.h"
  for prog in gcc make jq; do
    [[ " $* " == *" $prog "* ]] || fake "$prog"
  done
}

setup_sh() {
  run in_fake_world bash "$TOP/scripts/setup" "$@"
}

@test "it says nothing and starts nothing when all is there" {
  everything_for_ab_but
  fake apt-get
  : >"$LOG"
  setup_sh ab
  assert_success
  assert_output ''
  run cat "$LOG"
  assert_output ''
}

@test "on this machine, where all is there, check asks no program" {
  run "$TOP/scripts/setup" check --print
  assert_success
  assert_output ''
  run strace -f -qq -e trace=execve,clone,clone3,fork,vfork \
    "$TOP/scripts/setup" check
  assert_success
  # env and bash, which are the script, and cat, which has the list
  run grep -c 'execve(.* = 0$' <<<"$output"
  assert_output 3
}

@test "as root it installs exactly what is missing, without questions" {
  user_id 0
  everything_for_ab_but make
  working_apt
  setup_sh ab
  assert_success
  assert_output 'setup: installing make'
  run grep -c '^apt-get' "$LOG"
  assert_output 1
  run grep '^apt-get' "$LOG"
  assert_output --regexp ' install -y .*--no-install-recommends make$'
}

@test "a user whose sudo asks no password has it install, too" {
  everything_for_ab_but make
  working_apt
  fake sudo "[ \"\$1\" = -n ] || exit 9" 'shift' "exec \"\$@\""
  setup_sh ab
  assert_success
  run cat "$LOG"
  assert_line --regexp '^sudo -n env .* apt-get .* make$'
  assert_line --regexp '^apt-get .* make$'
}

@test "a user without rights is told the one command, and nothing is run" {
  everything_for_ab_but make gcc
  working_apt
  setup_sh ab
  assert_failure 1
  assert_line --index 0 "setup: 'ab' needs packages that are not there; type"
  assert_line --index 1 \
    '  sudo apt-get install -y --no-install-recommends gcc make'
  run grep apt-get "$LOG"
  assert_failure
}

@test "where there is no sudo the command comes without it" {
  everything_for_ab_but make
  working_apt
  rm "$BIN/sudo"
  setup_sh ab
  assert_failure 1
  assert_line --index 1 \
    '  apt-get install -y --no-install-recommends make'
}

@test "--print lists the missing packages, one a line, and installs nothing" {
  user_id 0
  everything_for_ab_but make gcc
  working_apt
  setup_sh ab --print
  assert_success
  assert_output "gcc
make"
  run grep apt-get "$LOG"
  assert_failure
}

@test "a first failure makes it fetch the package lists and try again" {
  user_id 0
  everything_for_ab_but make
  fake apt-get "case \"\$*\" in" \
    "  update*) touch '$BIN/lists' ;;" \
    "  *) [ -e '$BIN/lists' ] || { echo 'E: no such package'; exit 100; }" \
    "     touch '$BIN/make'; '$(type -P chmod)' +x '$BIN/make' ;;" \
    'esac'
  setup_sh ab
  assert_success
  run grep -c '^apt-get' "$LOG"
  assert_output 3
}

@test "when apt-get fails for good its words are shown and the end is 1" {
  user_id 0
  everything_for_ab_but make
  fake apt-get 'echo "E: disk full"' 'exit 100'
  setup_sh ab
  assert_failure 1
  assert_output --partial 'E: disk full'
  assert_output --partial 'apt-get could not install them'
}

@test "an apt-get that claims success without any effect is not believed" {
  user_id 0
  everything_for_ab_but make
  fake apt-get
  setup_sh ab
  assert_failure 1
  assert_output --partial 'yet these are not usable: make'
}

@test "without apt-get the packages are named and the end is 1" {
  everything_for_ab_but make
  setup_sh ab
  assert_failure 1
  assert_output --partial 'no apt-get here'
  assert_output --partial 'make'
}

@test "ab asks for a compiler, make, the C headers and jq, no more" {
  setup_sh ab --print
  assert_output "gcc
make
libc6-dev
jq"
}

@test "all names each package of every purpose once" {
  setup_sh all --print
  assert_success
  local all=$output purpose one
  run bash -c 'sort <<<"$1" | uniq -d' - "$all"
  assert_output ''
  for purpose in ab check bench-peers programs; do
    setup_sh $purpose --print
    for one in $output; do
      grep -qxF "$one" <<<"$all" || fail "'all' lacks $one of $purpose"
    done
  done
}

@test "a server in sbin counts, whatever the user's PATH" {
  mkdir -p "$BATS_TEST_TMPDIR/root/usr/sbin"
  fake nginx
  mv "$BIN/nginx" "$BATS_TEST_TMPDIR/root/usr/sbin"
  setup_sh programs --print
  refute_line nginx
  assert_line memcached
}

@test "a word it does not know ends with 64 and the list of those it does" {
  setup_sh chekc
  assert_failure 64
  assert_line "setup: 'chekc' is none of my words"
  assert_output --partial 'bench-peers'
}

@test "of packages that go by several names, the one that there is comes" {
  user_id 0
  everything_for_ab_but
  fake apt-get "case \"\$*\" in *libmimalloc2.0*) exit 100 ;; esac"
  setup_sh bench-peers
  run grep '^apt-get.* install' "$LOG"
  assert_line --regexp ' libmimalloc3 '
  run grep -v -- --simulate <<<"$output"
  refute_output --partial 'libmimalloc2.0'
}
