# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# Builds the clone inside the root, at the path that the clone has outside.

set_build_sandbox() {
  local common
  build_sandbox=("${sandbox[@]}" --bind "$clone" "$clone" --bind "$cache/ccache" /srv
    --setenv CCACHE_DIR /srv --setenv CCACHE_BASEDIR "$clone" --setenv CCACHE_NOHASHDIR 1 --setenv HOME /tmp
    --setenv PATH /usr/bin:/usr/sbin --setenv LANG C.UTF-8
    --setenv GIT_CONFIG_COUNT 1 --setenv GIT_CONFIG_KEY_0 safe.directory --setenv GIT_CONFIG_VALUE_0 '*')
  # A git worktree's own data is elsewhere.
  common=$(git -C "$clone" rev-parse --path-format=absolute --git-common-dir 2>/dev/null) || common=
  if [[ -n $common ]] && ! inside "$common" "$clone"; then
    build_sandbox+=(--ro-bind "$common" "$common")
  fi
}

run_build_step() {
  local log=$1
  shift
  if [[ $verbose == yes ]]; then
    "${build_sandbox[@]}" --chdir "$clone" "$@" >&2
  elif ! "${build_sandbox[@]}" --chdir "$clone" "$@" >"$log" 2>&1; then
    cat "$log" >&2
    return 1
  fi
}

build_here() {
  local folder=$clone/build/vm-$preset log=$clone/build/vm-$preset.log
  if [[ ! -e $folder/build.ninja ]]; then
    run_build_step "$log" cmake --preset "$preset" -G Ninja -B "$folder" \
      -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache ||
      { rm -f "$folder/build.ninja" && die 1 "cmake failed"; }
  fi
  if [[ -t 2 ]]; then say "building $preset"; fi
  run_build_step "$log" ninja -C "$folder" || die 1 "the build failed"
  rm -f "$log"
}

verb_build() {
  [[ -e $clone/CMakeLists.txt ]] || die "$exit_environment" "nothing to build: there is no CMakeLists.txt in $clone"
  prepare_root
  mkdir -p "$cache/ccache" "$clone/build"
  set_build_sandbox
  local lock
  exec {lock}>"$clone/build/vm-$preset.lock"
  flock "$lock"
  build_here
  exec {lock}>&-
}

verb_root() {
  [[ $# -gt 0 ]] || usage_error "root needs a command"
  prepare_root
  mkdir -p "$cache/ccache"
  set_build_sandbox
  local folder=$clone
  if inside "$PWD" "$clone"; then folder=$PWD; fi
  "${build_sandbox[@]}" --chdir "$folder" "$@"
}

verb_clean() {
  local dir pid
  case ${1:-} in
    '' | --all) ;;
    *) usage_error "clean takes only --all, not '$1'" ;;
  esac
  rm -rf "$clone"/build/vm-*
  [[ ${1:-} == --all ]] || return 0
  for dir in "$cache"/run/*-*; do
    pid=${dir##*/}
    pid=${pid%%-*}
    [[ ! -d /proc/$pid ]] || die 1 "process $pid has a guest running from $cache; end it first"
  done
  rm -rf "$cache"
}
