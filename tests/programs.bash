# Real programs, each run on plain glibc and on the shim: did both say the
# same, and did the shim really serve the second?
#
#   setup()    { two_arms; }
#   teardown() { stop_servers; }
#   same 20 sort numbers      # 20 seconds at most in each arm
#   assert_all_served sort    # its reports count allocations of our heaps
#
# Each arm has a folder to run in, $PLAIN and $SHIM, so that relative paths
# make the same output.  A process that ends by itself leaves a report under
# $REPORTS; one that is killed cannot, and is asked for its maps while it
# lives.

load shim

# two_arms: the folders of this test.
two_arms() {
  PLAIN=$BATS_TEST_TMPDIR/plain
  SHIM=$BATS_TEST_TMPDIR/shim
  SERVERS=()
  AS=()
  may_say '^$'
  mkdir -p "$PLAIN" "$SHIM" "$REPORTS"
  # Programs that look there find nobody's settings.
  export HOME=$BATS_TEST_TMPDIR LC_ALL=C TZ=UTC
}

# as_nobody: from here on both arms run without rights, for programs that
# refuse root.  They get the folders, and a copy of the shim they can reach.
as_nobody() {
  [ "$(id -u)" = 0 ] || return 0
  AS=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
  cp "$LIB" "$BATS_TEST_TMPDIR/"
  LIB=$BATS_TEST_TMPDIR/libskpreload.so
  chown -R nobody: "$PLAIN" "$SHIM" "$REPORTS"
  chmod o+x "$BATS_RUN_TMPDIR" "${BATS_TEST_TMPDIR%/*}" "$BATS_TEST_TMPDIR"
}

# in_both NAME: standard input becomes the file NAME in both folders.
in_both() {
  tee "$PLAIN/$1" >"$SHIM/$1"
}

# arm FOLDER: SHIM_ENV becomes the words for env(1) that put a program on the
# shim, none for the plain arm.
arm() {
  SHIM_ENV=()
  [ "$1" != "$SHIM" ] ||
    SHIM_ENV=(LD_PRELOAD="$LIB" SKPRELOAD_STATS="$REPORTS/%e.%p.json")
}

# run_arm FOLDER SECONDS CMD...: output to FOLDER.out and FOLDER.err; the
# caller's fd 3 is bats' own and must not outlive the test in a child.
run_arm() {
  local folder=$1 limit=$2
  shift 2
  arm "$folder"
  (cd "$folder" &&
    exec timeout -k 5 "$limit" "${AS[@]}" env "${SHIM_ENV[@]}" "$@") \
    >"$folder.out" 2>"$folder.err" 3>&-
}

# what_happened STATUS_PLAIN STATUS_SHIM CMD...: for a red test.
what_happened() {
  echo "plain glibc ended with $1, the shim with $2"
  echo "command: ${*:3}"
  echo "--- stderr, plain"
  tail -n 20 "$PLAIN.err"
  echo "--- stderr, shim"
  tail -n 20 "$SHIM.err"
  echo "--- stdout, plain against shim"
  diff -a "$PLAIN.out" "$SHIM.out" | head -n 20
}

# may_say PATTERN: the one thing the shim may say on stderr in this test.
may_say() {
  OUR_WORDS=$1
}

# our_words FILE: what else it said there.
our_words() {
  grep '^skpreload\[' "$1" | grep -v "$OUR_WORDS"
}

# same SECONDS CMD...: succeeds in both arms with the same bytes on stdout,
# and without a word of ours on stderr but what it may_say.
same() {
  local limit=$1 plain=0 shim=0
  shift
  run_arm "$PLAIN" "$limit" "$@" || plain=$?
  run_arm "$SHIM" "$limit" "$@" || shim=$?
  if [ $plain -ne 0 ] || [ $shim -ne 0 ] ||
    ! cmp -s "$PLAIN.out" "$SHIM.out" || our_words "$SHIM.err" >/dev/null
  then
    what_happened $plain $shim "$@" | fail
  fi
}

# same_files NAME...: files the two arms wrote are equal, byte for byte.
same_files() {
  local name
  for name in "$@"; do
    [ -s "$PLAIN/$name" ] || fail "$name is empty or absent on plain glibc"
    cmp "$PLAIN/$name" "$SHIM/$name" || fail "$name differs"
  done
}

# assert_all_served PROGRAM...: every report of PROGRAM says that our heaps
# served it, not just one of them.
assert_all_served() {
  local prog found
  for prog in "$@"; do
    mapfile -t found < <(reports "$prog")
    [ ${#found[@]} -gt 0 ] ||
      fail "no report of $prog; there are: $(cd "$REPORTS" && echo ./*)"
    jq -e -s 'all(.schema == "skpreload-stats/1" and .mode == "on"
        and .coverage.calls_percent > 0
        and ([.heaps[].allocations] | add) > 0)' "${found[@]}" \
      >/dev/null || fail "not served by our heaps: $(cat "${found[0]}")"
  done
}

# assert_mapped PID: the shim is in that living process.
assert_mapped() {
  grep -q '/libskpreload\.so$' "/proc/$1/maps" ||
    fail "process $1 ($(cat "/proc/$1/comm")) runs without the shim"
}

# --- servers ---------------------------------------------------------------

# free_port: prints a TCP port of the loopback that nobody listens on.  The
# range lies below the kernel's ephemeral ports, so no client takes it.
free_port() {
  local port
  for _ in {1..50}; do
    port=$((10240 + RANDOM % 20000))
    if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo $port
      return
    fi
  done
  fail "no free port in 50 tries"
}

# start_server FOLDER CMD...: in the background, its pid in $SERVER; ended by
# stop_servers, and after 120 seconds in any case.  FOLDER says which arm.
start_server() {
  local folder=$1
  shift
  arm "$folder"
  # setsid: a server's children end with it, and only they.
  (cd "$folder" && exec setsid "${AS[@]}" env "${SHIM_ENV[@]}" "$@") \
    </dev/null >"$folder.server" 2>&1 3>&- &
  SERVER=$!
  SERVERS+=("$SERVER")
}

# ready SECONDS CMD...: tries CMD until it succeeds; a server that died or
# takes longer is a failure that shows what it said.
ready() {
  local limit=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $limit ] || ! kill -0 "$SERVER" 2>/dev/null; then
      tail -n 20 "$PLAIN.server" "$SHIM.server" 2>/dev/null || true
      fail "not ready: $*"
    fi
    sleep 0.1
  done
}

# listens PORT
listens() {
  (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# stop PID [SIGNAL]: asks it to end and waits, for 20 seconds at most; its
# status is the result.  What is left of its session is killed.
stop() {
  local pid=$1 limit=$((SECONDS + 20)) status=0
  kill "-${2:-TERM}" "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt $limit ]; do
    sleep 0.05
  done
  kill -KILL -- "-$pid" 2>/dev/null || true
  wait "$pid" || status=$?
  return $status
}

# stop_servers: for teardown, also after a failure.
stop_servers() {
  local pid
  for pid in "${SERVERS[@]}"; do
    stop "$pid" || true
  done
}
