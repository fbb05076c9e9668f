# Do servers under load, and the large run-times, run on the shim as they do
# on glibc?  `make check-programs` installs and runs these; each server has
# its own data folder and port, and is on the loopback alone.

bats_load_library bats-file
load helpers
load programs

setup() {
  two_arms
}

teardown() {
  stop_servers
}

# both_arms FUNCTION: calls FUNCTION FOLDER for both; what it prints must be
# the same.
both_arms() {
  "$1" "$PLAIN" >"$PLAIN.said"
  "$1" "$SHIM" >"$SHIM.said"
  [ -s "$PLAIN.said" ] || fail "$1 said nothing on plain glibc"
  diff -a "$PLAIN.said" "$SHIM.said" || fail "$1: plain and shim differ"
}

# client SECONDS CMD...: a load tool or client, never on the shim.
client() {
  timeout -k 5 "$@" 3>&-
}

redis_session() {
  local port
  port=$(free_port)
  start_server "$1" redis-server --port "$port" --bind 127.0.0.1 --save '' \
    --enable-debug-command yes --dir .
  ready 10 redis-cli -p "$port" ping
  [ "$1" = "$PLAIN" ] || assert_mapped "$SERVER"
  awk 'BEGIN { for (i = 0; i < 60000; i++) {
    print "SET str:" i, "v" i * 7; print "HSET h:" i % 500, "f" i, i
    print "LPUSH l:" i % 50, i; print "ZADD z", i * 7919 % 10007, i % 2000
    if (i % 3 == 0) print "DEL str:" i / 3 } }' |
    client 60 redis-cli -p "$port" --pipe | tail -n 1
  client 10 redis-cli -p "$port" debug digest
  # The save forks while clients write.
  client 10 redis-cli -p "$port" bgsave
  client 60 redis-benchmark -p "$port" -n 20000 -c 50 -d 200 -P 4 -q \
    -t set,get,incr,lpush,lpop,sadd,hset,zadd,lrange_100,mset >"$1.bench"
  grep -c 'requests per second' "$1.bench"
  ready 20 bash -c "redis-cli -p $port info persistence |
    grep -q 'rdb_bgsave_in_progress:0'"
  client 10 redis-cli -p "$port" info persistence |
    grep rdb_last_bgsave_status
  client 10 redis-cli -p "$port" flushall
  client 10 redis-cli -p "$port" shutdown nosave
  stop "$SERVER"
}

@test "redis-server under redis-benchmark, with a save in between" {
  requires redis-server redis-benchmark
  both_arms redis_session
  assert_equal "$(head -n 1 "$SHIM.said")" 'errors: 0, replies: 260000'
  assert grep -q 'rdb_last_bgsave_status:ok' "$SHIM.said"
  assert_all_served redis-server
}

nginx_session() {
  local port
  port=$(free_port)
  mkdir -p "$1/logs" "$1/www"
  seq 1 20000 >"$1/www/page.txt"
  cat >"$1/nginx.conf" <<CONF
daemon off; pid nginx.pid; worker_processes 2; error_log logs/error.log;
$([ "$(id -u)" != 0 ] || echo 'user root;')
events { worker_connections 256; }
http {
  access_log logs/access.log; gzip on; gzip_types text/plain;
  client_body_temp_path tmp-body; proxy_temp_path tmp-proxy;
  fastcgi_temp_path tmp-fcgi; uwsgi_temp_path tmp-uwsgi;
  scgi_temp_path tmp-scgi;
  server { listen 127.0.0.1:$port; root www;
    location /again/ { proxy_pass http://127.0.0.1:$port/; } }
}
CONF
  start_server "$1" nginx -p "$1/" -c nginx.conf -e logs/error.log
  ready 10 listens "$port"
  local url=http://127.0.0.1:$port worker
  if [ "$1" = "$SHIM" ]; then
    for worker in "$SERVER" $(pgrep -P "$SERVER"); do
      assert_mapped "$worker"
    done
  fi
  client 10 curl -sS "$url/page.txt" | md5sum
  client 10 curl -sS --compressed "$url/again/page.txt" | md5sum
  client 10 curl -sS "$url/absent"
  client 20 wrk -t2 -c64 -d4s -H 'Accept-Encoding: gzip' \
    "$url/again/page.txt" >"$1.bench"
  grep -q 'Requests/sec' "$1.bench"
  # Requests cut off by wrk's end are no error; a wrong status is.
  ! grep 'Non-2xx' "$1.bench" || fail "$(cat "$1.bench")"
  # New workers take over while the old ones drain.
  kill -HUP "$SERVER"
  client 10 curl -sS --retry 5 --retry-connrefused "$url/page.txt" | md5sum
  stop "$SERVER" QUIT
  grep -cE 'alert|emerg|crit' "$1/logs/error.log" || true
}

@test "nginx under wrk, through its own proxy, with a reload" {
  requires nginx wrk curl
  both_arms nginx_session
  assert_all_served nginx
  # The master, too, though it has written its title over its name.
  assert_file_exists "$REPORTS/nginx.$SERVER.json"
}

# memcached_talk PORT NAME: stores 5000 values, deletes some, reads some back
# and prints a digest of the answers.
memcached_talk() {
  awk -v name="$2" 'BEGIN {
    for (i = 0; i < 5000; i++) {
      size = i % 700 + 1
      printf "set %s:%d 0 0 %d noreply\r\n%*d\r\n", name, i, size, size, 7
      if (i % 5 == 0) printf "delete %s:%d noreply\r\n", name, i
    }
    for (i = 0; i < 5000; i += 7) printf "get %s:%d\r\n", name, i
    printf "quit\r\n"
  }' >"$BATS_TEST_TMPDIR/talk-$2"
  exec 9<>"/dev/tcp/127.0.0.1/$1"
  cat "$BATS_TEST_TMPDIR/talk-$2" >&9
  timeout 30 cat <&9 >"$BATS_TEST_TMPDIR/answer-$2"
  md5sum <"$BATS_TEST_TMPDIR/answer-$2"
  grep -ac ^VALUE "$BATS_TEST_TMPDIR/answer-$2"
}

memcached_session() {
  local port client user pids=()
  port=$(free_port)
  user=$(id -un)
  start_server "$1" memcached -u "$user" -l 127.0.0.1 -p "$port" -U 0 -t 4 \
    -m 64
  ready 10 listens "$port"
  [ "$1" = "$PLAIN" ] || assert_mapped "$SERVER"
  for client in a b c d; do
    memcached_talk "$port" $client >"$1.$client" &
    pids+=($!)
  done
  wait "${pids[@]}"
  cat "$1".[abcd]
  stop "$SERVER"
}

@test "memcached with four threads and four clients" {
  requires memcached
  both_arms memcached_session
  # Of the 715 asked for, every fifth had been deleted.
  assert_equal "$(grep -cx 572 "$SHIM.said")" 4
  assert_all_served memcached
}

sql_says() {
  client 60 psql -X -q -A -t -h 127.0.0.1 -p "$1" -U tester -d postgres \
    -v ON_ERROR_STOP=1 -c "$2"
}

postgres_session() {
  local port bin
  port=$(free_port)
  bin=$(compgen -G '/usr/lib/postgresql/*/bin' | tail -n 1)
  run_arm "$1" 90 "$bin/initdb" -D data -U tester -A trust -E UTF8 \
    --no-sync || fail "initdb: $(tail -n 20 "$1.err")"
  start_server "$1" "$bin/postgres" -D data -k "$1" -p "$port" \
    -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=32MB \
    -c max_parallel_workers_per_gather=2 -c min_parallel_table_scan_size=0 \
    -c parallel_setup_cost=0 -c autovacuum_naptime=1s
  ready 30 "$bin/pg_isready" -h 127.0.0.1 -p "$port"
  [ "$1" = "$PLAIN" ] || assert_mapped "$SERVER"
  local bench=("$bin/pgbench" -h 127.0.0.1 -p "$port" -U tester postgres)
  client 60 "${bench[@]}" -i -s 4 -q 2>"$1.bench"
  client 120 "${bench[@]}" -c 8 -j 2 -t 250 -n >>"$1.bench" 2>&1 ||
    fail "pgbench: $(cat "$1.bench")"
  sql_says "$port" "
    SELECT count(*) FROM pgbench_history;
    SELECT (SELECT sum(delta) FROM pgbench_history)
      = ALL (ARRAY[(SELECT sum(abalance) FROM pgbench_accounts),
                   (SELECT sum(tbalance) FROM pgbench_tellers),
                   (SELECT sum(bbalance) FROM pgbench_branches)]);
    SELECT md5(string_agg(aid || filler, ',' ORDER BY aid))
      FROM pgbench_accounts;
    SELECT json_agg(r) FROM (SELECT bid, count(*), max(aid)
      FROM pgbench_accounts GROUP BY bid ORDER BY bid) r;
    DO \$\$ BEGIN FOR i IN 1..2000 LOOP
      PERFORM regexp_replace(repeat('ab' || i, 50), 'b+', 'c', 'g');
    END LOOP; END \$\$;"
  stop "$SERVER" INT
}

@test "postgresql under pgbench keeps its books balanced" {
  requires psql
  as_nobody
  both_arms postgres_session
  assert_equal "$(head -n 2 "$SHIM.said")" "2000
t"
  assert_all_served postgres
}

mariadb_session() {
  local port sql bench i
  port=$(free_port)
  run_arm "$1" 120 mariadb-install-db --no-defaults --datadir="$1/data" \
    --auth-root-authentication-method=normal --skip-test-db ||
    fail "mariadb-install-db: $(tail -n 20 "$1.out" "$1.err")"
  # A socket's path has 107 letters at most; the test's folder may have more.
  start_server "$1" mariadbd --no-defaults --datadir="$1/data" --port="$port" \
    --bind-address=127.0.0.1 --socket=s --skip-log-bin --pid-file="$1/pid" \
    --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 \
    --thread-handling=one-thread-per-connection --max-connections=64
  sql=(mariadb --no-defaults -h 127.0.0.1 -P "$port" -u root -N -B)
  ready 60 "${sql[@]}" -e 'SELECT 1'
  [ "$1" = "$PLAIN" ] || assert_mapped "$SERVER"
  "${sql[@]}" -e 'CREATE DATABASE sbtest'
  bench=(sysbench oltp_read_write --db-driver=mysql --tables=4
    --mysql-host=127.0.0.1 --mysql-port="$port" --mysql-user=root
    --table-size=4000)
  client 60 "${bench[@]}" prepare >"$1.bench"
  client 120 "${bench[@]}" --threads=16 --events=3000 --time=0 run \
    >"$1.bench" || fail "sysbench: $(cat "$1.bench")"
  grep -o 'total number of events: *[0-9]*' "$1.bench"
  # CHECK warns of deleted rows that are not purged yet, on any allocator.
  client 60 "${sql[@]}" -e 'SET GLOBAL innodb_max_purge_lag_wait = 0'
  for i in 1 2 3 4; do
    "${sql[@]}" -e "CHECK TABLE sbtest.sbtest$i EXTENDED;
      SELECT COUNT(*) FROM sbtest.sbtest$i"
  done
  # What sysbench writes differs from run to run; this does not.
  client 60 "${sql[@]}" sbtest -e "
    CREATE TABLE t (PRIMARY KEY (seq), KEY (k)) AS
      SELECT seq, seq * 7919 % 1009 k, MD5(seq) s FROM seq_1_to_50000;
    CHECKSUM TABLE t;
    SELECT k, COUNT(*), GROUP_CONCAT(s ORDER BY s LIMIT 2), JSON_ARRAYAGG(seq)
      FROM t WHERE s LIKE '%99%' GROUP BY k ORDER BY 2 DESC, 1 LIMIT 9;
    SELECT COUNT(*) FROM t a JOIN t b ON a.k = b.seq WHERE a.s < b.s"
  stop "$SERVER"
}

@test "mariadb under sysbench with 16 threads, every table sound after it" {
  requires mariadbd mariadb sysbench
  as_nobody
  both_arms mariadb_session
  refute grep -iE 'corrupt|error' "$SHIM.said"
  assert_all_served mariadbd
}

@test "php-cli loads its extensions and computes the same without its arena" {
  requires php
  in_both script.php <<'SCRIPT'
<?php
function words() {
  for ($i = 0; $i < 60000; $i++) yield "w" . $i * 7919 % 9973;
}
$count = [];
foreach (words() as $w) $count[$w] = ($count[$w] ?? 0) + 1;
ksort($count);
echo count($count), " ", md5(json_encode($count)), "\n";
$text = implode(" ", array_keys($count));
echo preg_match_all('/w(\d)\d*\1\b/', $text, $m), " ", md5(serialize($m)), "\n";
$tree = null;
for ($i = 0; $i < 50000; $i++)
  $tree = (object)["next" => $i % 100 ? $tree : null,
                   "s" => str_repeat("x", $i % 90)];
echo strlen(gzencode($text, 9)) > 0 ? md5(gzdecode(gzencode($text))) : "", "\n";
echo hash("sha3-256", $text), " ", (new DateTime("@86400"))->format("c"), "\n";
for ($i = 0; $i < 200; $i++) { $a = new ArrayObject(); $a["self"] = $a; }
echo gc_collect_cycles() > 0 ? "cycles collected" : "no cycles", "\n";
SCRIPT
  in_both script <<'SCRIPT'
php -m
php script.php
USE_ZEND_ALLOC=0 php script.php
php -r 'foreach (get_loaded_extensions() as $e)
  echo $e, " ", count(get_extension_funcs($e) ?: []), "\n";'
SCRIPT
  same 60 bash script
  assert_all_served php
}

@test "node runs worker threads that pass messages and share memory" {
  requires node
  in_both script.js <<'SCRIPT'
const { Worker, isMainThread, parentPort, workerData } =
  require('worker_threads');
const zlib = require('zlib'), crypto = require('crypto');
if (!isMainThread) {
  const seen = new Map(), shared = new Int32Array(workerData.shared);
  for (let i = 0; i < 40000; i++) {
    seen.set('k' + i * 7919 % 5003, { i, s: 'x'.repeat(i % 50) });
    Atomics.add(shared, i % 8, 1);
  }
  const buffers = [];
  for (let i = 0; i < 2000; i++) buffers.push(Buffer.alloc(i, i & 255));
  const all = zlib.deflateSync(Buffer.concat(buffers));
  parentPort.postMessage({ id: workerData.id, size: seen.size,
    sum: crypto.createHash('sha256').update(zlib.inflateSync(all))
      .digest('hex') });
} else {
  const shared = new SharedArrayBuffer(32), lines = [];
  const one = id => new Promise((done, failed) => {
    const w = new Worker(__filename, { workerData: { id, shared } });
    w.on('message', m => lines.push(JSON.stringify(m)));
    w.on('error', failed).on('exit', done);
  });
  (async () => {
    for (let round = 0; round < 5; round++)
      await Promise.all([0, 1, 2, 3].map(i => one(round * 4 + i)));
    console.log(lines.sort().join('\n'));
    console.log([...new Int32Array(shared)].join());
    console.log(require('child_process').execFileSync('echo', ['child']) + '');
  })();
}
SCRIPT
  same 90 node script.js
  assert_all_served node
}

@test "java tells its version, compiles, and runs threads and collections" {
  requires java javac
  in_both Hello.java <<'SOURCE'
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import java.util.zip.*;

public class Hello {
  static long work(int n) throws Exception {
    Map<String, List<Integer>> m = new TreeMap<>();
    for (int i = 0; i < 20000; i++)
      m.computeIfAbsent("k" + i * n % 997, k -> new ArrayList<>()).add(i);
    // Deflater's state lives in malloc'ed memory, outside the Java heap.
    byte[] in = m.toString().getBytes(), out = new byte[in.length + 64];
    Deflater d = new Deflater(9);
    d.setInput(in);
    d.finish();
    int len = d.deflate(out);
    d.end();
    CRC32 crc = new CRC32();
    crc.update(out, 0, len);
    return crc.getValue();
  }
  public static void main(String[] args) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8);
    List<Future<Long>> results = new ArrayList<>();
    for (int i = 1; i <= 64; i++) {
      int n = i;
      results.add(pool.submit(() -> work(n)));
    }
    for (Future<Long> r : results) System.out.println(r.get());
    pool.shutdown();
    for (int i = 0; i < 300; i++) {
      Thread t = new Thread(() -> { });
      t.start();
      t.join();
    }
    System.gc();
    System.out.println("hello " + IntStream.range(0, 99).boxed()
        .collect(Collectors.groupingBy(x -> x % 7)));
  }
}
SOURCE
  in_both script <<'SCRIPT'
java -version 2>&1
javac -J-Xmx256m Hello.java && java -Xmx128m -cp . Hello
SCRIPT
  same 120 bash script
  same_files Hello.class
  assert_all_served java javac
}

@test "git makes 1000 commits, collects, clones and checks them" {
  requires git
  in_both script <<'SCRIPT'
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q -b main repo && cd repo
for i in {1..1000}; do
  export GIT_AUTHOR_DATE="@$((1000000000 + i)) +0000"
  export GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
  seq $i $((i + i % 300)) >"file-$((i % 37))"
  git add . && git commit -q -m "commit $i"
done
git gc -q --aggressive --prune=now && git fsck --full 2>&1
git repack -q -a -d -f --threads=4 && git verify-pack .git/objects/pack/*.idx
cd .. && git clone -q --no-local repo clone 2>&1 && cd clone
git log --format='%H %T' | md5sum && git diff HEAD~500 --stat
git blame file-3 | md5sum && git log -p -S777 | md5sum
SCRIPT
  same 240 bash script
  assert_all_served git
}

@test "g++ compiles a large C++ file with its optimiser" {
  requires g++
  awk 'BEGIN {
    print "#include <functional>\n#include <map>\n#include <regex>"
    print "#include <string>\n#include <unordered_map>\n#include <vector>"
    for (i = 0; i < 30; i++) {
      print "struct S" i " { int k[" i + 1 "]; std::string s; };"
      print "int f" i "(const std::string &a) {"
      print "  std::map<std::string, S" i "> m; std::vector<S" i "> v(3);"
      print "  std::unordered_map<int, std::vector<S" i ">> u;"
      print "  std::function<int(int)> g = [&](int x) { u[x] = v;"
      print "    return int(u.size()); };"
      print "  m[a].s = a; return g(" i ") + int(m.count(a)); }"
    }
    print "bool r(const std::string &s) { return std::regex_match(s,"
    print "  std::regex(\"(a|b)*c+[0-9]{2,}\")); }"
  }' | in_both large.cc
  same 200 g++ -std=c++17 -O2 -c large.cc -o large.o
  same_files large.o
  assert_all_served cc1plus as
}
