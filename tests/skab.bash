# shellcheck shell=bash disable=SC2034  # variables for those who load it
# What the tests of skab's runs share.  Load it after helpers.

SKAB=$TOP/scripts/skab
DATA=$BATS_TEST_DIRNAME/data

# own_shim: a copy, so that a build beside the tests is no change in the
# middle.  For setup_file.
own_shim() {
  export SHIM=$BATS_FILE_TMPDIR/libskpreload.so
  cp "$LIB" "$SHIM"
}

own_folder() {
  cd "$BATS_TEST_TMPDIR" || return
  export TMPDIR=$BATS_TEST_TMPDIR/tmp WHOLE=$BATS_FILE_TMPDIR
  mkdir "$TMPDIR"
}

# skab OPTIONS: six pairs of one short arm each, no warm-up.
skab() {
  SKAB_TEST=$BATS_TEST_NAME "$SKAB" --shim "$SHIM" --warmup 0 --pairs 6 \
    --max-repeats 0 "$@"
}

# Something that lasts long enough to be looked at, and needs no CPU.
NAP=(sh -c 'sleep 0.06')

# built NAME FLAGS <<<SOURCE: a program of this test alone.
built() {
  local name=$1
  shift
  gcc -x c -O1 -o "$name" "$@" -
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# Every process of a test carries its directory in the environment (TMPDIR).
left_behind() {
  local file
  for file in /proc/[0-9]*/environ; do
    [[ $file != "/proc/$$/environ" && $file != "/proc/$BASHPID/environ" ]] ||
      continue
    if tr '\0' '\n' 2>/dev/null <"$file" | grep -qx "SKAB_TEST=$1"; then
      tr '\0' ' ' <"${file%environ}cmdline"
      echo
    fi
  done
  ls -A "$TMPDIR"
}

assert_nothing_left() {
  run left_behind "$BATS_TEST_NAME"
  assert_output ""
}

validated() {
  jq -r --slurpfile schema "$DATA/skab-1.schema.json" \
    -f "$DATA/skab-validate.jq" "$1"
}

# own_malloc: a program that brings its own, ./own, and lives for 60 ms, or
# until it is killed with the argument "stay".
own_malloc() {
  built own -rdynamic <<'C'
#include <stddef.h>
#include <unistd.h>
static char room[1 << 20];
static size_t used;
void *malloc(size_t n)
{
    used += (n + 15) & ~(size_t)15;
    return room + used - ((n + 15) & ~(size_t)15);
}
void free(void *p) { (void)p; }
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *p, size_t n) { (void)p; return malloc(n); }
int main(int argc, char **argv)
{
    (void)argv;
    return (argc > 1 ? pause() : usleep(60000)) || !malloc(10);
}
C
}

# begun: waits until skab is at its second run.
begun() {
  for _ in {1..400}; do
    [ -s "$(echo "$TMPDIR"/skab.*/runs.jsonl)" ] && return
    sleep 0.05
  done
  return 1
}

# wait_gone NAME: until the processes of a test have ended, and its files.
wait_gone() {
  for _ in {1..200}; do
    [ -n "$(left_behind "$1")" ] || return 0
    sleep 0.05
  done
}
