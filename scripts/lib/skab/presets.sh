# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# presets: server, load and patterns for programs that people have.  Nothing
# is installed: what is missing is named.  A preset sets what the command line
# has not set, wherever it stands there; prepare_NAME fills a database once, on
# glibc, each arm gets a copy of it, and every run starts a fresh server on
# that.
#
# What decides is the server's CPU time per request, not requests per second:
# on the same host glibc came within 2 % of itself where its throughput was
# 12 % off, for throughput is also the load's, the scheduler's and the
# neighbours'.  It is in the table all the same.

preset_names=(redis nginx memcached postgresql mariadb skserver)

use_preset() {
  [[ " ${preset_names[*]} " == *" $1 "* ]] ||
    usage_error "--preset: '$1' is none of ${preset_names[*]}"
  [ ${#command[@]} -eq 0 ] || usage_error "--preset has its own command"
  PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
  warmup_default=2 measure_default=5 default_threads=4
  preset_"$1"
}

# of_preset VARIABLE VALUE: unless the command line has set it.
of_preset() {
  [ -n "${!1}" ] || printf -v "$1" %s "$2"
}

# load_of_preset READY LOAD N|REGEX: how many requests the preset's own load
# makes says nothing about another load: then check_metrics asks for them.
load_of_preset() {
  [ -n "$load" ] || of_preset requests "$3"
  of_preset ready "$1"
  of_preset load "$2"
  of_preset primary cpu_us_per_request
}

# metrics_of_preset SPEC...: but those whose names the command line has used.
metrics_of_preset() {
  local spec m
  for spec in "$@"; do
    for m in "$primary" "${metrics[@]}"; do
      [ "${m%%:*}" != "${spec%%:*}" ] || continue 2
    done
    metrics+=("$spec")
  done
}

# need PROGRAM PACKAGE
need() {
  type -P "$1" >/dev/null || fail "$EX_UNAVAILABLE" \
    "preset $preset needs $1 (Debian: apt-get install $2)"
}

# Servers that refuse to be root get another user; both must reach the data.
own_user() {
  user_prefix=() server_user=''
  [ "$(id -u)" = 0 ] || return 0
  local user=nobody
  ! id -u "$1" >/dev/null 2>&1 || user=$1
  need setpriv util-linux
  user_prefix=(setpriv "--reuid=$user" "--regid=$(id -gn "$user")"
    --clear-groups)
  server_user=$user
}

prepare_preset() {
  declare -F "prepare_$preset" >/dev/null || return 0
  say "prepare the data of $preset"
  prepare_"$preset"
}

# copy_places: what the first arm's directory holds, for all arms.
copy_places() {
  local i
  for i in "${!arm_key[@]}"; do
    [ "$i" = 0 ] || cp -a "$work/data.0/." "$work/data.$i/" ||
      fail "$EX_IO" "cannot copy the data of $preset in $work"
  done
}

# with_server COMMAND...: runs it beside the first arm's server, on glibc.
with_server() {
  local words
  fill_command "$measure" 0 0
  start_minder server.0 "$work/server.0.log" -- "${words[@]}"
  wait_ready 0 || finish_interrupted
  prepared_by "$@"
  tell server.0 "stop $stop_signal 20"
  await server.0
}

# prepared_by COMMAND...: below a minder, as everything that is started.
prepared_by() {
  start_minder load "$work/load.log" -w -t "$load_timeout" -- "$@"
  await load
  [ "$interrupted" = no ] || finish_interrupted
  end_of load
  [ "$ended" = 0 ] || {
    quote_tail "$work/load.log"
    fail "$EX_UNAVAILABLE" "could not prepare the data of $preset: $*"
  }
}

# Producers and workers in one process; it prints its own figures.
preset_skserver() {
  local server
  for server in "$SKAB_HOME/../build/skserver" "$SKAB_PARTS/skserver"; do
    [ ! -x "$server" ] || break
  done
  [ -x "$server" ] ||
    fail "$EX_UNAVAILABLE" "preset skserver: skserver is not built; type: make"
  # 33 runs of 2 s, and room for repeated ones: less than two minutes
  pairs_default=10 measure_default=2 repeats_default=5
  command=("$(readlink -f "$server")" --producers '{threads}'
    --workers '{threads}' --seconds '{measure}' --json)
  of_preset primary 'throughput:higher:"messages_per_s": *([0-9.]+)'
  metrics_of_preset 'p50_us:lower:"p50_us": *([0-9.]+)' \
    'p99_us:lower:"p99_us": *([0-9.]+)'
}

# Debian's redis is linked with jemalloc, so arm A is not glibc there.
preset_redis() {
  need redis-server redis-server
  need redis-benchmark redis-tools
  local own
  own=$(redis-server --version | sed -n 's/.* malloc=\([^ ]*\).*/\1/p')
  [[ -z $own || $own == libc ]] || base_label=$own
  command=(redis-server --port '{port}' --bind 127.0.0.1 --save ''
    --appendonly no --dir '{data}')
  local n='"[0-9.]+",' count=200000
  [[ ! $requests =~ ^[0-9]+$ ]] || count=$requests
  load_of_preset 'tcp:{port}' "redis-benchmark -p {port} -t set --csv -c 50 \
-P 16 -d 512 -r 200000 -n $count" "$count"
  metrics_of_preset 'set_per_s:higher:"SET","([0-9.]+)"' \
    "p99_ms:lower:\"SET\",$n$n$n$n$n\"([0-9.]+)\""
}

# A page that is compressed for each request: nginx without gzip hardly
# allocates at all.
preset_nginx() {
  need nginx nginx
  need wrk wrk
  default_threads=2
  command=(nginx -p '{data}' -c '{data}/nginx.conf' -e stderr
    -g 'worker_processes {threads};')
  load_of_preset 'tcp:{port}' "wrk -t1 -c32 -d{measure}s --latency \
-H 'Accept-Encoding: gzip' http://127.0.0.1:{port}/page.txt" \
    '([0-9]+) requests in'
  metrics_of_preset 'requests_per_s:higher:Requests/sec: *([0-9.]+)' \
    'p99_ms:lower: 99% +([0-9.]+)(us|ms|s)'
}

# Port and paths stand in the file, so every arm has its own.
prepare_nginx() {
  local i dir
  for i in "${!arm_key[@]}"; do
    dir=$work/data.$i
    mkdir -p "$dir/logs" "$dir/temp"
    seq 1 4000 >"$dir/page.txt"
    nginx_conf "$dir" "${arm_port[i]}" >"$dir/nginx.conf"
    chmod -R a+rX "$dir"
  done
}

nginx_conf() {
  cat <<CONF
daemon off;
error_log stderr error;
pid $1/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  gzip on;
  gzip_types text/plain;
  default_type text/plain;
  client_body_temp_path $1/temp;
  proxy_temp_path $1/temp;
  fastcgi_temp_path $1/temp;
  uwsgi_temp_path $1/temp;
  scgi_temp_path $1/temp;
  server { listen 127.0.0.1:$2; root $1; }
}
CONF
}

preset_memcached() {
  need memcached memcached
  need memcslap libmemcached-tools
  local user=() count=48000
  [[ ! $requests =~ ^[0-9]+$ ]] || count=$requests
  [ "$(id -u)" != 0 ] || user=(-u nobody)
  command=(memcached -l 127.0.0.1 -p '{port}' -m 256 -t '{threads}'
    "${user[@]}")
  load_of_preset 'tcp:{port}' "memcslap --servers=127.0.0.1:{port} \
--concurrency=8 --execute-number=$((count / 8)) --test=set" "$count"
  metrics_of_preset 'set_time_s:lower:Time to set .*: +([0-9.]+) seconds'
}

preset_postgresql() {
  PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
  need initdb postgresql
  need postgres postgresql
  need pgbench postgresql
  own_user postgres
  command=("${user_prefix[@]}" "$(type -P postgres)" -D '{data}/db'
    -p '{port}' -c listen_addresses=127.0.0.1 -c unix_socket_directories=
    -c fsync=off -c shared_buffers=64MB -c autovacuum=off)
  of_preset stop_signal INT
  load_of_preset "pg_isready -q -h 127.0.0.1 -p {port} -U bench -d postgres" \
    "pgbench -h 127.0.0.1 -p {port} -U bench -n -S -c {threads} -j 2 \
-T {measure} postgres" 'transactions actually processed: ([0-9]+)'
  metrics_of_preset 'tps:higher:tps = ([0-9.]+)' \
    'latency_ms:lower:latency average = ([0-9.]+) (us|ms|s)'
}

prepare_postgresql() {
  local dir=$work/data.0
  [ -z "$server_user" ] || chown "$server_user" "$dir"
  prepared_by env -C "$dir" "${user_prefix[@]}" "$(type -P initdb)" \
    -D "$dir/db" -U bench -A trust --no-sync
  with_server pgbench -h 127.0.0.1 -p "${arm_port[0]}" -U bench -i -q -s 5 \
    postgres
  copy_places
}

preset_mariadb() {
  need mariadbd mariadb-server-core
  need mariadb-install-db mariadb-server-core
  need sysbench sysbench
  mariadb_user=$(id -un)
  command=(mariadbd --no-defaults '--datadir={data}/db' '--port={port}'
    --bind-address=127.0.0.1 '--socket={data}/socket'
    "--user=$mariadb_user" --skip-grant-tables --skip-name-resolve
    --skip-log-bin --innodb-flush-log-at-trx-commit=0
    '--pid-file={data}/mariadb.pid' --innodb-buffer-pool-size=128M)
  sysbench_words="sysbench oltp_read_only --mysql-host=127.0.0.1 \
--mysql-port={port} --mysql-user=root --mysql-db=mysql --tables=2 \
--table-size=20000 --percentile=99"
  load_of_preset 'tcp:{port}' \
    "$sysbench_words --threads={threads} --time={measure} run" \
    'transactions: +([0-9]+)'
  local rate='transactions: .*[(]([0-9.]+) per sec'
  metrics_of_preset "transactions_per_s:higher:$rate" \
    'p99_ms:lower:99th percentile: +([0-9.]+)'
}

prepare_mariadb() {
  prepared_by mariadb-install-db --no-defaults "--datadir=$work/data.0/db" \
    "--user=$mariadb_user" --skip-test-db \
    --auth-root-authentication-method=normal
  with_server bash -c "${sysbench_words//'{port}'/${arm_port[0]}} prepare"
  copy_places
}
