# Does skrun start any program on the shim and stay out of its way, and does
# `skrun --check` know beforehand where the shim will have no effect?  What
# the check says of a program that can be run is held against what its own
# report says afterwards.

bats_load_library bats-file
load helpers

setup() {
  SKRUN=$TOP/scripts/skrun
  cd "$BATS_TEST_TMPDIR" || return 1
}

# build NAME FLAG...: compiles standard input.
build() {
  local name=$1
  shift
  gcc -x c -o "$name" - "$@"
}

hello() {
  echo '#include <stdlib.h>
    int main(void) { free(malloc(99)); return 0; }'
}

# was_served PROG: does a run of it on the shim report mode on?
was_served() {
  rm -f report.*
  "$SKRUN" --stats report.%p -- "$@" >/dev/null 2>&1 || true
  cat report.* 2>/dev/null | jq -e -s 'any(.mode == "on"
      and ([.heaps[].allocations] | add) > 0)' >/dev/null
}

# says_yes PROG: and that is true.
says_yes() {
  run "$SKRUN" --check "$1"
  assert_success
  refute_line --regexp '^no '
  assert_line "skrun: the shim will be effective in $1"
  was_served "$1" || fail "said yes, yet $1 was not served"
}

# says_no PROG TOPIC REASON: one line of no with that reason, the next one
# with a remedy; and that is true.
says_no() {
  run "$SKRUN" --check "$1"
  assert_failure 1
  assert_line --regexp "^no    $2 +.*$3"
  assert_line --regexp '^ +remedy: .'
  assert_line "skrun: the shim will not be effective in $1"
  ! was_served "$1" || fail "said no, yet $1 was served"
}

# --- running ------------------------------------------------------------------

@test "a command runs with the shim of this checkout in LD_PRELOAD" {
  run "$SKRUN" -- printenv LD_PRELOAD
  assert_success
  assert_output "$LIB"
  was_served ls
}

@test "an LD_PRELOAD that is set already stays, behind ours" {
  local other
  other=$(gcc -print-file-name=libm.so.6)
  run env LD_PRELOAD="$other" "$SKRUN" printenv LD_PRELOAD
  assert_output "$LIB:$other"
}

@test "skrun under skrun names the shim once" {
  run "$SKRUN" "$SKRUN" printenv LD_PRELOAD
  assert_output "$LIB"
}

@test "neither skrun nor env runs on the shim, only the command does" {
  run "$SKRUN" --verbose true
  assert_success
  assert_equal "$(grep -c 'mode on' <<<"$output")" 1
  assert_equal "${#lines[@]}" 1
}

@test "the command has skrun's process id, exit status and signals" {
  # shellcheck disable=SC2016  # for that shell to expand
  run bash -c 'echo $$; exec "$0" -- sh -c "echo \$\$; exit 7"' "$SKRUN"
  assert_failure 7
  assert_equal "${lines[0]}" "${lines[1]}"
  # shellcheck disable=SC2016
  run "$SKRUN" sh -c 'kill -TERM $$'
  assert_failure 143
}

@test "options of the command are the command's" {
  run "$SKRUN" echo --stats x --check -- y
  assert_success
  assert_output '--stats x --check -- y'
}

@test "--conf comes after SKPRELOAD_CONF, so the command line wins" {
  run env SKPRELOAD_CONF=verbose:1,max_small:1K "$SKRUN" \
    --conf max_small:2K --conf=reserve:1G true
  assert_success
  assert_output --partial 'max_small 2K'
  assert_output --partial 'reserve 1G'
}

@test "--stats is taken from where skrun started, wherever the command goes" {
  run "$SKRUN" --stats=here-%e -- python3 -c 'import os; os.chdir("/")'
  assert_success
  run jq -r .mode here-python*
  assert_output on
}

@test "--off leaves the program to libc" {
  run "$SKRUN" --off --verbose --stats none -- ls -d /
  assert_success
  assert_output /
  assert_file_not_exists none
}

@test "--lib preloads that file" {
  cp "$LIB" other.so
  run "$SKRUN" --lib other.so printenv LD_PRELOAD
  assert_output "$BATS_TEST_TMPDIR/other.so"
}

@test "a link to skrun finds the shim, and so does an installed one" {
  ln -s "$SKRUN" link
  run ./link printenv LD_PRELOAD
  assert_output "$LIB"
  local dir
  for dir in lib lib/x86_64-linux-gnu lib64; do
    mkdir -p "usr-$dir/bin" "usr-$dir/$dir"
    cp "$SKRUN" "usr-$dir/bin"
    cp "$LIB" "usr-$dir/$dir"
    run "usr-$dir/bin/skrun" printenv LD_PRELOAD
    assert_output "$BATS_TEST_TMPDIR/usr-$dir/$dir/libskpreload.so"
  done
}

@test "an absent command ends with 127, one without permission with 126" {
  # A PATH with a folder one may not search would turn 127 into 126.
  run -127 env PATH=/usr/bin:/bin "$SKRUN" -- nosuchprogram
  assert_output --partial nosuchprogram
  echo >plain
  run -126 "$SKRUN" ./plain
  assert_output --partial plain
}

@test "a script without #! is run by a shell, as env does" {
  echo 'echo from a script' >script
  chmod +x script
  run "$SKRUN" ./script
  assert_output 'from a script'
}

@test "without the shim nothing is run, and the end is 125" {
  cp "$SKRUN" alone
  run -125 ./alone touch was-run
  assert_output --partial 'libskpreload.so is not there'
  run -125 "$SKRUN" --lib /nonexistent/lib.so touch was-run
  assert_output "skrun: '/nonexistent/lib.so' cannot be read"
  assert_file_not_exists was-run
}

@test "a shim whose path LD_PRELOAD cannot carry is refused, not half used" {
  mkdir 'my project'
  cp "$LIB" 'my project'
  run -125 "$SKRUN" --lib 'my project/libskpreload.so' touch was-run
  assert_output --partial 'blank, colon or dollar'
  assert_file_not_exists was-run
  run -1 "$SKRUN" --lib 'my project/libskpreload.so' --check ls
  assert_line --regexp '^no    library +ld.so would split'
}

@test "wrong usage ends with 64 and the usage" {
  local words
  for words in '' '--nonsense ls' '--conf' '--check' '--' '--stats= ls' \
    '--lib= ls'; do
    # shellcheck disable=SC2086  # several words, or none
    run -64 "$SKRUN" $words
    assert_line --partial 'usage: skrun'
  done
}

@test "--help lists every option, on stdout" {
  run --separate-stderr "$SKRUN" --help
  assert_success
  local option
  for option in --conf --stats --verbose --off --lib --check; do
    assert_line --regexp "^  $option "
  done
}

# --- checking -----------------------------------------------------------------

@test "an ordinary program: seven times ok, and it is served" {
  says_yes ls
  assert_equal "$(grep -c '^ok ' <<<"$output")" 7
}

@test "a static program, plain or position independent, is told from dynamic" {
  hello | build static -static
  says_no ./static linking 'static: no ld.so runs'
  hello | build static-pie -static-pie
  says_no ./static-pie linking 'static: no ld.so runs'
}

@test "a program for musl is told from one for glibc" {
  hello | build musl -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1
  says_no ./musl linking 'for musl'
}

@test "a program with a malloc of its own is found out, exported or not" {
  {
    hello
    echo 'static char pool[4096]; static unsigned used;
      void *malloc(size_t n) { used += n + 15 & ~15u; return pool + used - n; }
      void free(void *p) { (void)p; }'
  } >own.c
  build own -rdynamic <own.c
  says_no ./own malloc 'brings its own malloc'
  build hidden -fvisibility=hidden <own.c
  run "$SKRUN" --check ./hidden
  assert_failure 1
  assert_line --regexp '^no    malloc .*brings its own malloc'
}

@test "a program under a sanitizer is found out" {
  local kind
  for kind in address thread; do
    hello | build san-$kind -fsanitize=$kind
    says_no ./san-$kind sanitizer 'a sanitizer owns malloc'
  done
}

@test "one under the undefined behaviour sanitizer alone is served" {
  hello | build ubsan -fsanitize=undefined
  says_yes ./ubsan
}

# another_allocator: a libjemalloc.so that is complete, and calls libc's.
another_allocator() {
  build libjemalloc.so -shared -fPIC -fno-builtin <<'SOURCE'
#include <stddef.h>
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
void __libc_free(void *);
void *malloc(size_t n) { return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { return __libc_memalign(a, n); }
void free(void *p) { __libc_free(p); }
void sdallocx(void *p, size_t n, int f) { (void)n; (void)f; __libc_free(p); }
SOURCE
}

@test "a program linked with another allocator is served in front of it" {
  another_allocator
  hello | build linked -L. -ljemalloc -Wl,-rpath,"$PWD" -Wl,--no-as-needed
  says_yes ./linked
  assert_line --regexp '^note  malloc .*large requests go on to libjemalloc.so'
}

@test "a program that calls another allocator by name is left to it" {
  another_allocator
  build caller -L. -ljemalloc -Wl,-rpath,"$PWD" <<'SOURCE'
#include <stdlib.h>
void sdallocx(void *, size_t, int);
int main(void) { sdallocx(malloc(32), 32, 0); return 0; }
SOURCE
  says_no ./caller malloc 'calls sdallocx'
}

@test "a 32-bit program is told from a 64-bit shim" {
  printf '.globl _start\n_start: ret\n' | as --32 -o small.o -
  ld -m elf_i386 -pie -dynamic-linker /lib/ld-linux.so.2 -o small small.o
  says_no ./small library 'program is 32-bit x86, the shim 64-bit x86-64'
}

@test "a script is followed to the program that runs it, through env, too" {
  printf '%s\n' '#!/bin/sh' 'ls -d /' >direct
  printf '%s\n' '#!/usr/bin/env -S A=1 perl -w' 'print 1' >by-env
  printf '%s\n' "#!$PWD/direct" >twice
  chmod +x direct by-env twice
  says_yes ./direct
  assert_line --regexp '^note  script +./direct is run by /bin/sh$'
  says_yes ./by-env
  assert_line --regexp '^note  script .*/perl$'
  run "$SKRUN" --check ./twice
  assert_success
  assert_equal "$(grep -c '^note  script' <<<"$output")" 2
}

@test "a file that no kernel would run is told from a program" {
  echo 'just text' >text
  chmod +x text
  run -1 "$SKRUN" --check ./text
  assert_line --regexp '^no    program +.*neither an ELF file nor a script'
  hello | build object.o -c
  chmod +x object.o
  run -1 "$SKRUN" --check ./object.o
  assert_line --regexp '^no    linking +no program'
}

@test "an absent program is 127, a folder and a file without permission 126" {
  run -127 "$SKRUN" --check nosuchprogram
  run -126 "$SKRUN" --check /usr
  echo >plain
  run -126 "$SKRUN" --check ./plain
}

@test "an absent shim is said, with how to get it" {
  cp "$SKRUN" alone
  run -1 ./alone --check ls
  assert_line --regexp '^no    library +libskpreload.so is not there'
  assert_line --regexp '^ +remedy: build it with make'
  echo 'no library' >lib.so
  run -1 "$SKRUN" --lib lib.so --check ls
  assert_line --regexp '^no    library .*is no shared object'
}

@test "what switches the shim off is said" {
  run -1 "$SKRUN" --off --check ls
  assert_line --regexp '^no    switches +SKPRELOAD_OFF'
  run -1 env SKPRELOAD_CONF=mode:pass "$SKRUN" --check ls
  assert_line --regexp '^no    switches .*mode:pass'
  run env SKPRELOAD_CONF=mode:pass "$SKRUN" --conf mode:on --check ls
  assert_success
}

@test "a switch is off by the values that the shim knows, and by no others" {
  local word
  for word in 1 on yes true; do
    run -1 env SKPRELOAD_OFF=$word "$SKRUN" --check ls
    assert_line --regexp '^no    switches +SKPRELOAD_OFF'
    run env SKPRELOAD_OFF=$word "$SKRUN" --verbose true
    refute_output --partial 'mode on'
  done
  for word in 0 off no false ''; do
    run -0 env SKPRELOAD_OFF=$word "$SKRUN" --check ls
    run env SKPRELOAD_OFF=$word "$SKRUN" --verbose true
    assert_output --partial 'mode on'
  done
  run -1 "$SKRUN" --conf reserve:1G,reserve:0 --check ls
  assert_line --regexp '^no    switches +the options say reserve:0'
  run -0 "$SKRUN" --conf reserve:0,reserve:1G --check ls
}

@test "options that leave the heaps nothing are switches, too" {
  local option
  for option in limit:0 max_small:0 reserve:0k; do
    run -1 "$SKRUN" --conf "$option" --check ls
    assert_line --regexp "^no    switches +the options say ${option%k}\$"
  done
  run -0 "$SKRUN" --conf limit:0,limit:1G --check ls
}

@test "the check says what the shim would say to its options" {
  run -0 "$SKRUN" --conf max_smal:1K --check ls
  assert_line "note  options     option 'max_smal' unknown, did you mean \
'max_small'? (SKPRELOAD_CONF, char 1)"
  run -0 env SKPRELOAD_STAT=x "$SKRUN" --check ls
  assert_line --regexp "^note  options +variable 'SKPRELOAD_STAT' unknown"
  run -1 "$SKRUN" --conf strict:1,max_smal:1K,foo:2 --check ls
  assert_line 'no    options     strict:1 ends it over 2 options'
  run -1 "$SKRUN" --conf reserve:512K --check ls
  assert_line --regexp '^no    options +the shim stands down: no address space'
}

@test "without readelf the check goes on and says what it could not see" {
  local tool
  mkdir bin
  for tool in bash awk dirname env getcap grep head ls od paste readlink \
    realpath sed sort tail tr; do
    ln -s "$(PATH=$PATH:/usr/sbin type -P $tool)" bin
  done
  run env PATH="$PWD/bin" "$SKRUN" --check ls
  assert_success
  assert_line --regexp '^note  symbols +not looked at: no readelf'
  assert_line --regexp '^ok    linking '
}

# unprivileged CMD...: by a user without rights, with a skrun and a shim that
# such a user can reach.
unprivileged() {
  local as=()
  mkdir -p usr/bin usr/lib
  cp "$SKRUN" usr/bin
  cp "$LIB" usr/lib
  if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    chmod o+x "$BATS_RUN_TMPDIR" "${BATS_TEST_TMPDIR%/*}" .
  fi
  "${as[@]}" usr/bin/skrun "$@"
}

@test "a program that is setuid to somebody else is found out" {
  run -1 unprivileged --check /usr/bin/passwd
  assert_line --regexp '^no    privileges +setuid: ld.so ignores LD_PRELOAD'
  assert_line --regexp 'remedy: .*AmbientCapabilities'
}

@test "a program with file capabilities is found out" {
  [ "$(id -u)" = 0 ] || skip 'only root can give a file capabilities'
  cp "$(type -P ls)" capable
  chmod 755 capable
  PATH=$PATH:/usr/sbin setcap cap_net_raw=ep capable ||
    skip 'no file capabilities in this file system'
  run -1 unprivileged --check ./capable
  assert_line --regexp '^no    privileges +with cap_net_raw=ep: ld.so ignores'
  # To root they give nothing, and ld.so does not mind.
  says_yes ./capable
}

@test "a program or a shim this user cannot read is said" {
  [ "$(id -u)" = 0 ] || skip 'needs root and somebody else'
  cp "$(type -P ls)" secret
  chmod 711 secret
  run -1 unprivileged --check ./secret
  assert_line --regexp '^no    program .*cannot be read by this user'
  cp "$LIB" secret.so
  chmod 700 secret.so
  run -1 unprivileged --lib "$PWD/secret.so" --check ls
  assert_line --regexp '^no    library .*cannot be read'
}

@test "each name in the manual page is one that skrun knows, and the reverse" {
  local option
  for option in $("$SKRUN" --help | grep -oE '^  --[a-z]+'); do
    grep -q -- "Fl -${option#--}" "$TOP/man/skrun.1" ||
      fail "$option is not in skrun(1)"
  done
  while read -r option; do
    "$SKRUN" --help | grep -q -- "^  $option " || fail "no $option in skrun"
  done < <(sed -n 's/^\.It Fl -\([a-z]*\).*/--\1/p' "$TOP/man/skrun.1")
  # Which other manuals this machine has is not our page's fault.
  run bash -c 'mandoc -T lint "$1" 2>&1 |
    grep -vE "mandoc.db|referenced manual not found"' - "$TOP/man/skrun.1"
  assert_output ''
}
