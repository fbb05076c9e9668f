# shellcheck shell=bash
# What scripts/bench, bench-memory and hotpath share: where things are, which
# allocators are compared, and how a program is run under one.  Sourced.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
BUILD=${BUILD:-$TOP/build}
SHIM=${SHIM:-$BUILD/libskpreload.so}

NAMES=()             # glibc, skpreload, then the peers
declare -A LIBRARY   # name -> path to preload; glibc has none

say() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
  say "$@"
  exit 1
}

usage_error() {
  say "$@"
  exit 64
}

# needs PROGRAM...: ends with the names of all that are missing.
needs() {
  local missing=() prog
  for prog in "$@"; do
    command -v "$prog" >/dev/null || missing+=("$prog")
  done
  [ ${#missing[@]} -eq 0 ] || die "needs ${missing[*]}; scripts/setup"
}

# arm NAME: the words of ARM put a command under the allocator called NAME,
# with nothing else preloaded.
arm() {
  ARM=(env -u LD_PRELOAD)
  [ -z "${LIBRARY[$1]}" ] || ARM=(env LD_PRELOAD="${LIBRARY[$1]}")
}

# under NAME CMD...
under() {
  arm "$1"
  "${ARM[@]}" "${@:2}"
}

# A missing or foreign library costs one line of ld.so's and measures glibc
# against glibc, so each is looked for in the maps of a process.
is_effective() {
  local real maps
  real=$(readlink -f "$1") || return 1
  maps=$(env LD_PRELOAD="$1" cat /proc/self/maps 2>/dev/null) || return 1
  [[ $maps == *"$real"* ]]
}

add_allocator() {
  LIBRARY[$1]=$2
  NAMES+=("$1")
}

# add_peer NAME SONAME...: the first that there is, where the distribution has
# put it.
add_peer() {
  local name=$1 soname dir
  shift
  for soname; do
    for dir in /usr/local/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib; do
      if [ -e "$dir/$soname" ] && is_effective "$dir/$soname"; then
        add_allocator "$name" "$dir/$soname"
        return
      fi
    done
  done
  say "no $1 here, so no $name in the comparison (make bench-peers)"
}

# find_allocators: fills NAMES and LIBRARY.  PEERS="name=/path.so ..." adds.
find_allocators() {
  local peer
  add_allocator glibc ""
  [ -e "$SHIM" ] || die "no $SHIM; type make first"
  is_effective "$SHIM" || die "$SHIM cannot be preloaded here"
  add_allocator skpreload "$SHIM"
  add_peer jemalloc libjemalloc.so.2
  add_peer mimalloc libmimalloc.so.2.0 libmimalloc.so.3
  add_peer tcmalloc libtcmalloc_minimal.so.4
  add_peer tbbmalloc libtbbmalloc_proxy.so.2
  for peer in ${PEERS:-}; do
    [[ $peer == ?*=/* ]] || usage_error "PEERS wants name=/path, not '$peer'"
    [[ ! -v LIBRARY[${peer%%=*}] ]] ||
      usage_error "PEERS names '${peer%%=*}', which is already there"
    is_effective "${peer#*=}" || die "PEERS: ${peer#*=} cannot be preloaded"
    add_allocator "${peer%%=*}" "${peer#*=}"
  done
}

# keep_allocators A,B: only these, in this order; empty keeps all.
keep_allocators() {
  local asked name
  [ -n "$1" ] || return 0
  IFS=, read -ra asked <<<"$1"
  for name in "${asked[@]}"; do
    [[ -v LIBRARY[$name] ]] ||
      usage_error "no allocator '$name' here; there are ${NAMES[*]}"
  done
  NAMES=("${asked[@]}")
}

# whole_number OPTION VALUE LEAST MOST
whole_number() {
  if [[ ! $2 =~ ^[0-9]{1,9}$ ]] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then
    usage_error "$1 wants a whole number from $3 to $4, not '$2'"
  fi
}

# host_json: the machine, as an object.
host_json() {
  jq -n --arg kernel "$(uname -sr)" \
    --arg cpu "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" \
    --arg libc "$(getconf GNU_LIBC_VERSION 2>/dev/null)" \
    --argjson cpus "$(nproc)" '$ARGS.named'
}

# allocators_json: [{name, path}] in the order of NAMES.
allocators_json() {
  local name
  for name in "${NAMES[@]}"; do
    jq -n --arg name "$name" --arg path "${LIBRARY[$name]}" '$ARGS.named'
  done | jq -s .
}
