# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# presets: server, load and pattern for programs that people have.  Nothing
# is installed: what is missing is named.

use_preset() {
  case $1 in
    skserver) preset_"$1" ;;
    *) usage_error "--preset: '$1' is none of skserver" ;;
  esac
}

# Hooks of the presets that need a place on disk.
preset_prepare() { :; }
preset_end() { :; }

# need PROGRAM PACKAGE: the path of a program, also from sbin.
need() {
  PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin type -P "$1" || fail \
    "$EX_UNAVAILABLE" "preset $preset needs $1 (Debian: apt-get install $2)"
}

# Producers and workers in one process; it prints its own figures.
preset_skserver() {
  local server=$SKAB_HOME/../build/skserver
  [ -x "$server" ] ||
    fail "$EX_UNAVAILABLE" "preset skserver needs build/skserver; type: make"
  # 33 runs of 2 s, and room for repeated ones: less than two minutes
  pairs_default=10 measure_default=2 repeats_default=5
  command=("$(readlink -f "$server")" --producers 4 --workers 4
    --seconds '{measure}' --json)
  primary='throughput:higher:"messages_per_s": *([0-9.]+)'
  metrics+=('p50_us:lower:"p50_us": *([0-9.]+)'
    'p99_us:lower:"p99_us": *([0-9.]+)')
}
