# Do the programs every machine has run on the shim as they do on glibc?
# The servers and the large packages are in programs-heavy.bats.

bats_load_library bats-file
load helpers
load programs

setup() {
  two_arms
}

teardown() {
  stop_servers
}

@test "bash runs a script of arrays, subshells and pipes" {
  in_both script <<'SCRIPT'
declare -A seen
for i in {1..20000}; do
  key=k$((i * 7919 % 5000))
  seen[$key]+=x
  list[i]=${key/k/K}
done
echo ${#seen[@]} ${#list[@]} "${list[*]:100:5}"
for i in {1..50}; do (echo "sub $i" | tr a-z A-Z; :) ; done
printf '%s\n' "${!seen[@]}" | sort | tail -n 3
text=$(printf 'line %d\n' {1..5000})
while read -r a b; do sum=$((sum + b)); done <<<"$text"
echo $sum
SCRIPT
  same 60 bash script
  assert_all_served bash tr sort
}

@test "sort puts a million lines in the same order" {
  awk 'BEGIN { for (x = 1; n++ < 1e6; x = x * 16807 % 2147483647)
    print x, n }' | in_both lines
  same 60 sort --parallel=4 -S 24M -T . -o sorted lines
  same_files sorted
  assert_all_served sort
}

@test "coreutils, find, sed, awk, tar and gzip agree on a tree of files" {
  in_both script <<'SCRIPT'
mkdir tree && cd tree
seq 1 2000 | split -l 10 - part-
for f in part-*; do cp "$f" "copy-$f"; done
find . -type f | sort | xargs sha256sum | tee ../sums | wc -l
cat copy-* | sed 's/\([0-9]\)/<\1>/g' | cut -d'>' -f2- | uniq -c | tail -n 3
awk '{ n[$1 % 97]++ } END { for (i = 0; i < 97; i++) print i, n[i] }' part-*
cd .. && tar --sort=name --mtime=@0 --owner=0 --group=0 -cf - tree |
  gzip -n | tee tree.tgz | gzip -d | tar -tf - | sort | md5sum
join <(seq 1 100 | sort) <(seq 50 150 | sort) | paste -sd,
SCRIPT
  same 60 bash script
  same_files sums tree.tgz
  assert_all_served find sort xargs sed awk tar join
}

@test "make -j and gcc build this project to the same bytes" {
  in_both script <<SCRIPT
make -j2 -C '$TOP' B="\$PWD/build" all >log 2>&1 || { cat log; exit 1; }
SCRIPT
  # A make that runs these tests must not hand its jobs down to ours.
  same 150 env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL bash script
  same_files build/libskpreload.so build/skserver
  assert_all_served make cc1 as ld
}

@test "g++ compiles templates to the same object" {
  in_both many.cc <<'SOURCE'
#include <algorithm>
#include <map>
#include <regex>
#include <string>
#include <vector>
template <int N> struct Row : Row<N - 1> { std::vector<Row<N - 1>> v; };
template <> struct Row<0> { int x; };
int f(const std::string &s) {
  std::map<std::string, std::vector<Row<60>>> m;
  m[s].resize(3);
  std::regex r("(a|b)*c+[0-9]{2,}");
  return std::regex_match(s, r) + int(m.size());
}
SOURCE
  same 90 g++ -std=c++17 -O1 -c many.cc -o many.o
  same_files many.o
  assert_all_served g++ cc1plus as
}

@test "git commits, packs, clones and checks to the same hashes" {
  in_both script <<'SCRIPT'
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q -b main repo && cd repo
for i in {1..40}; do
  export GIT_AUTHOR_DATE="@$((1000000000 + i)) +0000"
  export GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
  seq $i $((i + 400)) >"file-$((i % 7))"
  git add . && git commit -q -m "commit $i"
done
git gc -q && git fsck --full 2>&1
cd .. && git clone -q repo clone 2>&1 && cd clone && git log --stat
git grep -c 33 && git blame file-3 | md5sum
SCRIPT
  same 90 bash script
  assert_all_served git
}

@test "python3 without its own allocator: threads, json and children" {
  in_both script.py <<'SCRIPT'
import json, multiprocessing, queue, re, subprocess, threading

def work(n):
    return sum(len(json.dumps({"k%d" % i: [i] * 5})) for i in range(n))

def pump(q, out):
    while (item := q.get()) is not None:
        out.append(len(re.sub("a+", "b", item)))

if __name__ == "__main__":
    q, out = queue.Queue(), []
    threads = [threading.Thread(target=pump, args=(q, out)) for _ in range(4)]
    [t.start() for t in threads]
    for i in range(20000):
        q.put("xa" * (i % 40))
    [q.put(None) for _ in threads]
    [t.join() for t in threads]
    print(len(out), sum(out))
    big = json.loads(json.dumps([{"i": i, "s": "x" * (i % 99)}
                                 for i in range(50000)]))
    print(len(big), big[777])
    for i in range(50):
        subprocess.run(["true"], check=True)
    print(subprocess.check_output(["echo", "from a child"]))
    for way in "fork", "spawn", "forkserver":
        with multiprocessing.get_context(way).Pool(3) as pool:
            print(way, pool.map(work, [500, 1000, 1500]))
SCRIPT
  # What is called python3 may be a script that looks for one.
  local python
  python=$(python3 -c 'import sys; print(sys.executable)')
  same 90 env PYTHONMALLOC=malloc "$python" script.py
  assert_all_served "${python##*/}"
}

@test "perl: hashes, regular expressions, threads and fork" {
  in_both script.pl <<'SCRIPT'
use strict; use threads; use Thread::Queue;
my (%h, $q, $got); $q = Thread::Queue->new;
$h{$_ * 7919 % 10007} .= "v$_" for 1 .. 100000;
print join(",", scalar(keys %h), (sort { $a <=> $b } keys %h)[0 .. 4]), "\n";
my @t = map { threads->create(sub { my $n = 0;
  while (defined(my $i = $q->dequeue)) { $n += length($i) } $n }) } 1 .. 3;
$q->enqueue("m" x ($_ % 50)) for 1 .. 5000; $q->end;
$got += $_->join for @t; print "$got\n";
my $text = join " ", map { "word$_" } 1 .. 20000;
my $n = () = $text =~ /\bword\d*7\b/g; print "$n\n";
for (1 .. 20) { my $pid = fork // die; exit 0 unless $pid; waitpid $pid, 0 }
print "children $?\n";
SCRIPT
  same 60 perl script.pl
  assert_all_served perl
}

@test "sqlite3 fills, indexes and sums a million rows" {
  in_both script.sql <<'SCRIPT'
PRAGMA journal_mode = OFF;
CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, s TEXT);
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL
  SELECT i + 1 FROM n WHERE i < 1000000)
  INSERT INTO t SELECT i, i * 7919 % 100003, 'text ' || (i % 1000) FROM n;
CREATE INDEX tk ON t (k);
SELECT count(*), sum(k), max(s) FROM t;
SELECT k, count(*), group_concat(id) FROM t WHERE k < 3 GROUP BY k;
PRAGMA integrity_check;
SCRIPT
  same 90 sqlite3 test.db '.read script.sql'
  same_files test.db
  assert_all_served sqlite3
}

@test "openssl makes the same digests, ciphers and certificates" {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -keyout "$PLAIN/key" -out "$PLAIN/cert" -days 3 -subj /CN=test 2>&1
  cp "$PLAIN/key" "$PLAIN/cert" "$SHIM"
  seq 1 300000 | in_both text
  in_both script <<'SCRIPT'
openssl dgst -sha256 text && openssl dgst -sha3-512 text
openssl enc -aes-256-cbc -pbkdf2 -nosalt -k word -in text -out text.enc
openssl enc -d -aes-256-cbc -pbkdf2 -k word -nosalt -in text.enc | cmp - text
openssl x509 -in cert -noout -text && openssl verify -CAfile cert cert
openssl dgst -sha256 -sign key -out sig text
openssl dgst -sha256 -verify <(openssl x509 -in cert -pubkey -noout) \
  -signature sig text
openssl prime -generate -bits 256 >/dev/null && openssl list -commands
SCRIPT
  same 60 bash script
  same_files text.enc
  assert_all_served openssl
}

@test "xz packs with two threads to the same bytes and unpacks them" {
  seq 1 700000 | in_both text
  in_both script <<'SCRIPT'
xz -3 -T2 --block-size=1MiB -k text && xz -dc -T2 text.xz | cmp - text
SCRIPT
  same 60 bash script
  same_files text.xz
  assert_all_served xz
}

@test "curl and gdb, with all the libraries they load, say the same" {
  seq 1 100000 | in_both page
  in_both script <<'SCRIPT'
curl -sS "file://$PWD/page" | md5sum && curl --version
gdb -nx -batch -ex 'python print(sum(range(1000)))' -ex 'print 6 * 7'
SCRIPT
  same 60 bash script
  assert_all_served curl gdb
}

@test "a program has the same open descriptors as without the shim" {
  in_both script <<'SCRIPT'
ls /proc/self/fd | grep -c .
ls -l /proc/self/fd | sed -n 's/.* \([0-9]* ->\).*/\1/p'
bash -c 'for i in 1 2 3; do (ls /proc/$BASHPID/fd) | wc -l; done'
SCRIPT
  same 20 bash script
  assert_all_served ls
}

@test "address space limits from 24 MiB to 8 GiB stop no program" {
  seq 1 20000 | in_both lines
  in_both script <<'SCRIPT'
for mib in 24 32 64 128 256 512 2048 8192; do
  (ulimit -v $((mib << 10)) && echo $mib && ls -d / && sort -S 1M lines |
    md5sum) || echo "failed under $mib MiB"
done
SCRIPT
  same 60 bash script
  refute grep failed "$SHIM.out"
  assert_all_served sort ls
}

@test "data limits from 4 MiB to 256 MiB stop no program" {
  seq 1 20000 | in_both lines
  in_both script <<'SCRIPT'
for mib in 4 8 16 64 256; do
  (ulimit -d $((mib << 10)) && echo $mib && sort -S 1M lines | md5sum) ||
    echo "failed under $mib MiB"
done
SCRIPT
  same 60 bash script
  refute grep failed "$SHIM.out"
  assert_all_served sort
}

@test "with stderr closed a data file that becomes fd 2 gets no word of ours" {
  gcc -x c -o "$BATS_TEST_TMPDIR/second" - <<'SOURCE'
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) {
  int fd = open("data", O_CREAT | O_WRONLY, 0600);
  for (int i = 0; i < 100; i++) free(malloc(100));
  return printf("%d\n", fd) != 2 || write(fd, "only this\n", 10) != 10;
}
SOURCE
  in_both script <<'SCRIPT'
export SKPRELOAD_VERBOSE=1 SKPRELOAD_CONF=nonsense:1
exec ../second 2>&-
SCRIPT
  same 20 bash script
  assert_equal "$(cat "$SHIM.out")" 2
  assert_equal "$(cat "$SHIM/data")" 'only this'
  assert_all_served second
}

@test "with all three standard descriptors closed a program ends well" {
  in_both script <<'SCRIPT'
sort -o sorted lines <&- >&- 2>&-
SCRIPT
  seq 1 5000 | in_both lines
  same 20 bash script
  same_files sorted
  assert_all_served sort
}

@test "kill -9 leaves no half a report, and the next run is as any" {
  start_server "$SHIM" sleep 60
  ready 10 grep -q libskpreload "/proc/$SERVER/maps"
  assert_mapped "$SERVER"
  local status=0
  stop "$SERVER" KILL || status=$?
  assert_equal $status 137
  assert_dir_exists "$REPORTS"
  assert_equal "$(ls -A "$REPORTS")" ''
  same 20 ls -d /
  assert_all_served ls
}

@test "a program ended by TERM ends as on glibc: by the signal" {
  start_server "$SHIM" sleep 60
  ready 10 grep -q libskpreload "/proc/$SERVER/maps"
  local status=0
  stop "$SERVER" TERM || status=$?
  assert_equal $status 143
}
