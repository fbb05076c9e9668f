#!/usr/bin/env bats
# Does a program that is confined, privileged, or one of a whole system run as
# if the shim were not there?

load helpers
load shim

@test "no descriptor is left open" {
  same_on_both ls /proc/self/fd
  assert_success
  same_on_both sh -c 'exec 5</dev/null; exec ls -l /proc/self/fd | wc -l'
  assert_success
  assert_served ls
}

@test "a filter without madvise harms nothing" {
  on_shim "$PROGS/filtered" madvise
  [ "$status" -ne 77 ] || skip "needs seccomp"
  assert_success
  assert_output ok
}

@test "a filter that kills on anything but memory, futex, write harms nothing" {
  on_glibc "$PROGS/filtered" all kill
  [ "$status" -ne 77 ] || skip "needs seccomp"
  assert_success
  on_shim "$PROGS/filtered" all kill
  assert_success
  assert_output ok
}

@test "a filter that kills on sched_yield harms no crowd of threads" {
  on_glibc "$PROGS/filtered" yield kill
  [ "$status" -ne 77 ] || skip "needs seccomp"
  assert_success
  for _ in 1 2 3 4 5; do
    on_shim "$PROGS/filtered" yield kill
    assert_success
    assert_output ok
  done
}

# calls FILE: the names of system calls that strace saw, once each.
calls() {
  sed -n 's/^\([0-9]* *\)\?\([a-z0-9_]*\)(.*/\2/p' "$1" | sort -u
}

@test "the start makes no rare system calls, and no rseq of its own" {
  requires strace
  local dir=$BATS_TEST_TMPDIR extra
  run strace -o "$dir/glibc" "$PROGS/first_malloc"
  [ "$status" -eq 0 ] || skip "needs the right to ptrace"
  run strace -o "$dir/shim" -E LD_PRELOAD="$LIB" "$PROGS/first_malloc"
  assert_success
  extra=$(comm -13 <(calls "$dir/glibc") <(calls "$dir/shim"))
  echo "calls that glibc does not make: $extra"
  run grep -vxE 'madvise|prctl|fstat|newfstatat|getpid|futex|prlimit64' \
    <<<"$extra"
  assert_output ""
  assert_equal "$(grep -c '^rseq' "$dir/shim")" \
    "$(grep -c '^rseq' "$dir/glibc")"
}

# refused CALL ERROR WHEN PROGRAM...: on the shim, the WHENth CALL on are refused.
refused() {
  on_glibc strace -f --seccomp-bpf -qqq -o "$BATS_TEST_TMPDIR/refused" \
    -e trace="$1" -e inject="$1:error=$2:when=$3" -E LD_PRELOAD="$LIB" "${@:4}"
}

@test "memory that is refused from any moment on is libc's to find" {
  requires strace
  local calls=$BATS_TEST_TMPDIR/calls loader n
  run strace -e trace=mprotect -o "$calls" -E LD_PRELOAD="$LIB" \
    "$PROGS/first_malloc"
  [ "$status" -eq 0 ] || skip "needs the right to ptrace"
  # The loader takes rights away, the heaps alone give some.
  loader=$(grep -c 'PROT_\(NONE\|READ\))' "$calls")
  for n in {1..6}; do
    refused mprotect ENOMEM "$((loader + n))+" "$PROGS/realloc_matrix"
    assert_success
    assert_output ok
    [ "$n" -gt 3 ] || grep -q INJECTED "$BATS_TEST_TMPDIR/refused"
    refused mprotect EACCES "$((loader + n))+2" "$PROGS/grown" matrix
    assert_success
  done
}

@test "the region has a name in /proc/PID/maps where the kernel has names" {
  [ -e /proc/config.gz ] && ! zgrep -q 'CONFIG_ANON_VMA_NAME=y' \
    /proc/config.gz && skip "needs a kernel with CONFIG_ANON_VMA_NAME"
  on_shim "$PROGS/region"
  assert_success
  assert_line --regexp "^name \[anon:skpreload.*\]$"
}

@test "the huge-page setting of the process is left alone" {
  # It would be inherited by every child.
  same_on_both grep THP_enabled /proc/self/status
  assert_success
  assert_served grep
}

@test "small blocks lie in small pages, or huge ones if asked for" {
  local enabled=/sys/kernel/mm/transparent_hugepage/enabled
  [ -e "$enabled" ] || skip "needs a kernel with transparent huge pages"
  on_shim "$PROGS/huge"
  assert_output "nh small"
  on_shim SKPRELOAD_CONF=huge_pages:off "$PROGS/huge"
  assert_output "nh small"
  on_shim SKPRELOAD_CONF=huge_pages:system "$PROGS/huge"
  assert_output --partial "system "
  on_shim SKPRELOAD_CONF=huge_pages:on "$PROGS/huge"
  if grep -qF '[never]' "$enabled"; then
    assert_output "hg small"
  else
    assert_output "hg huge"
  fi
  assert_served huge
}

@test "the unused end of the region is kept out of core dumps" {
  on_shim bash -c 'cat /proc/self/smaps; :' # bash stays, and reads its own
  assert_success
  # Mappings of more than 1 GiB: none that a dump would walk.
  run awk '/^[0-9a-f]+-[0-9a-f]+ / { map = $0 }
    /^Size:/ { size = $2 }
    /^VmFlags:/ && size > 1048576 { n++; if (!/ dd/) print map }
    END { print n + 0 " large" }' <<<"$output"
  assert_output --regexp "^[1-9] large$"
}

# As in a setuid program: linked with the shim, because the loader ignores a
# preload there; owned by root, run by nobody.
secure_program() {
  [ "$(id -u)" -eq 0 ] || skip "needs root, to make a setuid program"
  requires setpriv
  dir=$(mktemp -d)
  chmod 755 "$dir"
  cp "$LIB" "$dir"
  cc -o "$dir/secure" "$TOP/tests/progs/first_malloc.c" -L"$dir" \
    -Wl,--no-as-needed -lskpreload -Wl,-rpath,"$dir"
  chmod 4755 "$dir/secure"
  mkdir "$dir/open"
  chmod 777 "$dir/open"
}

# secure VAR=VALUE...: that program's output, run by nobody.
secure() {
  echo "\$ $* secure"
  run bounded env "$@" setpriv --reuid=65534 --regid=65534 --clear-groups \
    "$dir/secure"
}

teardown() {
  [ -z "${dir-}" ] || rm -rf "$dir"
}

@test "a setuid program obeys mode:off and no other option" {
  secure_program
  # The same, not setuid, so that the silence below means something.
  chmod 755 "$dir/secure"
  secure SKPRELOAD_CONF=verbose:1 SKPRELOAD_STATS="$dir/open/report"
  assert_line --partial "version "
  assert_line "32 992"
  [ -e "$dir/open/report" ]
  rm "$dir/open/report"
  chmod 4755 "$dir/secure"
  secure SKPRELOAD_CONF=verbose:1,strict:1,nonsense:1,max_small:16 \
    SKPRELOAD_VERBOSE=1 SKPRELOAD_STATS="$dir/open/report" SKPRELOAD_X=1
  assert_success
  assert_output "32 992"
  secure SKPRELOAD_CONF=stats:"$dir/open/report",verbose:1
  assert_output "32 992"
  assert_equal "$(ls "$dir/open")" ""
  secure SKPRELOAD_CONF=mode:off
  assert_output "24 1000"
  secure SKPRELOAD_OFF=1
  assert_output "24 1000"
}

@test "a preload that a setuid program ignores is ignored" {
  secure_program
  cc -o "$dir/secure" "$TOP/tests/progs/first_malloc.c"
  chmod 4755 "$dir/secure"
  secure LD_PRELOAD="$dir/libskpreload.so"
  assert_success
  assert_line "24 1000"
}

@test "a whole system runs on the shim by ld.so.preload, limits included" {
  [ "$(id -u)" -eq 0 ] || skip "needs root, for a mount of its own"
  unshare -m true || skip "needs the right to unshare mounts"
  dir=$(mktemp -d)
  mkdir "$dir/new" "$dir/work" "$dir/tmp"
  cat >"$dir/inside" <<'EOS'
set -e
mount -t tmpfs none "$1/tmp"
mkdir "$1/tmp/new" "$1/tmp/work"
echo "$2" >"$1/tmp/new/ld.so.preload"
mount -t overlay none \
  -o "lowerdir=/etc,upperdir=$1/tmp/new,workdir=$1/tmp/work" /etc ||
  exit 77
grep -q libskpreload /proc/$(sh -c 'echo $PPID')/maps && exit 1
bash -c 'grep -c "libskpreload.*r-xp\|r-xp.*libskpreload" /proc/self/maps'
for limit in 8M 32M 128M 512M 4G; do
  prlimit --as="$(numfmt --from=iec $limit)" ls / >/dev/null
  prlimit --data="$(numfmt --from=iec $limit)" ls / >/dev/null
done
setpriv --reuid=65534 --regid=65534 --clear-groups id -u
find /usr/share -name 'a*' 2>/dev/null | sort | tail -n 1 | wc -l
env -i /bin/sh -c 'echo "$((6 * 7))"'
EOS
  BOUND=60 run bounded unshare -m bash "$dir/inside" "$dir" "$LIB"
  [ "$status" -ne 77 ] || skip "needs overlay mounts"
  assert_success
  assert_output "1
65534
1
42"
}

@test "a missing shim is one line of ld.so's, and the program runs" {
  run --separate-stderr bounded env LD_PRELOAD=/nowhere/libskpreload.so \
    "$PROGS/first_malloc"
  assert_success
  assert_output "24 1000"
  assert_equal "$(grep -c . <<<"$stderr")" 1
}

@test "a program of musl's refuses the shim before its main" {
  requires musl-gcc
  local prog=$BATS_TEST_TMPDIR/musl
  echo '#include <stdio.h>
    int main(void) { puts("main"); return 0; }' >"$prog.c"
  musl-gcc -o "$prog" "$prog.c"
  run bounded "$prog"
  assert_output main
  # Its loader says which symbols of glibc's it misses; no crash in the middle.
  run -127 bounded env LD_PRELOAD="$LIB" "$prog"
  assert_output --partial "Error relocating $LIB"
}
