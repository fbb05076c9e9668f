# shellcheck shell=bash disable=SC2034,SC2154  # variables cross the parts
# arms: what the command line asks to be compared, and what of the environment
# would spoil it.

# The arms, in arrays with one index: key, library ('' for glibc), shim's
# options, words for people.
arm_key=() arm_lib=() arm_conf=() arm_label=()
add_arm() {
  arm_key+=("$1") arm_lib+=("$2") arm_conf+=("$3") arm_label+=("$4")
}

# Where an install put it, below the DESTDIR that we are in first; the built
# one; or where an install would put it.
find_shim() {
  local lib root=''
  [ -z "$shim" ] || { printf '%s\n' "$shim" && return; }
  [ "${SKAB_HOME%"$bindir"}" = "$SKAB_HOME" ] || root=${SKAB_HOME%"$bindir"}
  for lib in ${libdir:+"$root$libdir/libskpreload.so"} \
    ${libdir:+"$libdir/libskpreload.so"} \
    "$SKAB_HOME/../build/libskpreload.so" \
    "$SKAB_HOME"/../lib/libskpreload.so \
    "$SKAB_HOME"/../lib/*/libskpreload.so \
    "$SKAB_HOME"/../lib64/libskpreload.so; do
    [ -r "$lib" ] && readlink -f "$lib" && return
  done
}

# library_of NAME=LIB: the absolute path, or nothing for glibc itself.
library_of() {
  local lib=${1#*=}
  [ "$lib" != glibc ] || return 0
  [[ -f $lib && -r $lib ]] ||
    fail "$EX_UNAVAILABLE" "--alloc $1: cannot read '$lib'; name a library"
  readlink -f "$lib"
}

# the_shim: its absolute path, or skab's end.
the_shim() {
  local lib
  lib=$(find_shim)
  [[ -z $shim || -f $shim && -r $shim ]] || fail "$EX_UNAVAILABLE" \
    "--shim: cannot read '$shim'; name a libskpreload.so"
  [ -r "$lib" ] || fail "$EX_UNAVAILABLE" \
    "no libskpreload.so here; type: make, or name one with --shim"
  readlink -f "$lib"
}

plan_arms() {
  local spec name lib b_lib='' b_label=skpreload b_given=no
  [ ${#allocs[@]} -le 30 ] || usage_error "--alloc: at most 30"
  add_arm A '' '' "$base_label"
  add_arm A2 '' '' "$base_label again"
  for spec in "${allocs[@]}"; do
    [[ $spec =~ ^[A-Za-z][A-Za-z0-9_]*= ]] ||
      usage_error "--alloc: '$spec' is not NAME=LIB"
    [ "${spec%%=*}" = B ] || continue
    [ "$b_given" = no ] || usage_error "--alloc: the name 'B' is taken"
    b_given=yes b_label=$(basename "${spec#*=}")
    b_lib=$(library_of "$spec") || exit
  done
  [ "$b_given" = yes ] || b_lib=$(the_shim) || exit
  forget_own_environment
  [[ $b_given == yes && ${b_lib##*/} != *skpreload* ]] ||
    check_conf "$b_lib"
  [[ $b_given == no || ${b_lib##*/} == *skpreload* || ! $conf ]] ||
    usage_error "--conf: arm B is $b_label, which has none of these options"
  add_arm B "$b_lib" "$conf" "$b_label"
  if [ "$with_pass" = yes ]; then
    [ "$b_given" = no ] || b_lib=$(the_shim) || exit
    add_arm P "$b_lib" "${conf:+$conf,}mode:pass" mode:pass
  fi
  for spec in "${allocs[@]}"; do
    name=${spec%%=*}
    [ "$name" != B ] || continue
    [[ ! " ${arm_key[*]} " == *" $name "* ]] ||
      usage_error "--alloc: the name '$name' is taken"
    lib=$(library_of "$spec") || exit
    add_arm "$name" "$lib" '' "$(basename "${spec#*=}")"
  done
  refuse_preloaded_self
}

# check_conf SHIM: what the shim says to its options, where somebody hears it.
# Under a server it says so to a file, and serves with its defaults.
check_conf() {
  local line banner=no
  [[ $conf || " ${child_env[*]}" == *' SKPRELOAD_'* ]] || return 0
  while read -r line; do
    [[ $line =~ ^skpreload\[[0-9]+\]:\ (.*)$ ]] || continue
    line=${BASH_REMATCH[1]}
    case $line in
      version\ *) banner=yes ;;
      *option\ * | variable\ *)
        [[ $line == *'(SKPRELOAD_CONF,'* ]] && usage_error "--conf: $line"
        usage_error "--env: $line"
        ;;
    esac
  done < <(env "${child_env[@]}" LD_PRELOAD="$1" SKPRELOAD_CONF="$conf" \
    SKPRELOAD_VERBOSE=1 SKPRELOAD_STATS= "$(type -P true)" 2>&1)
  # off, it is mapped and says nothing
  [[ $banner == yes || $conf != *mode:off* &&
    " ${child_env[*]}" != *' SKPRELOAD_OFF='* ]] || fail "$EX_NO_EFFECT" \
    "arm B would be libc: the shim is switched off, by --conf or --env"
}

# The arms differ in nothing but what the command line says.
forget_own_environment() {
  local name m
  for name in "${!SKPRELOAD_@}"; do
    m=--env
    [ "$name" != SKPRELOAD_CONF ] || m=--conf
    warn "$name of the environment is not used; see $m"
    unset "$name"
  done
}

# Both arms would run on the shim, and A/B would be B/B.
refuse_preloaded_self() {
  local lib
  for lib in "${arm_lib[@]}"; do
    [[ -z $lib || $preloaded != *"${lib##*/}"* ]] || fail \
      "$EX_NO_EFFECT" "LD_PRELOAD already names ${lib##*/}: unset it for skab, \
and leave it out of --env"
  done
}
