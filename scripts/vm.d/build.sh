# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# Builds the clone inside the root, at the path that the clone has outside.

set_build_sandbox() {
  local common
  build_sandbox=("${sandbox[@]}" --bind "$clone" "$clone" --bind "$cache/ccache" /srv
    --setenv CCACHE_DIR /srv --setenv CCACHE_BASEDIR "$clone" --setenv CCACHE_NOHASHDIR 1 --setenv HOME /tmp
    --ro-bind "$root/var/lib/dpkg" /var/lib/dpkg --setenv PATH /usr/bin:/usr/sbin --setenv LANG C.UTF-8 --setenv UBLKBENCH_ROOT 1
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

# build_state LOG SECONDS: "building 37/120, about 60 s left", from the last line of ninja's output and the time that it
# has had.  The first few objects say nothing about the others.
build_state() {
  local status finished all
  status=$(tail -c 8192 "$1" 2>/dev/null | grep -oE '^\[[0-9]+/[0-9]+\]' | tail -n 1) || true
  IFS='[/]' read -r _ finished all _ <<<"$status"
  if [[ ${finished:-0} -lt 5 ]]; then
    echo "building${finished:+ $finished/$all}"
  else
    echo "building $finished/$all, about $(($2 * (all - finished) / finished)) s left"
  fi
}

# The small root has nothing for tests and probes; when they are wanted, the folder is configured again.
configure_here() {
  local folder=$1 log=$2 parts=$3
  start_progress say_at "configuring $preset"
  run_build_step "$log" cmake --preset "$preset" -G Ninja -B "$folder" \
    -DUBLKBENCH_TESTS="$parts" -DUBLKBENCH_PROBES="$parts" \
    -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache ||
    { rm -f "$folder/build.ninja" && die 1 "cmake failed"; }
  stop_progress
}

# compile_here FOLDER LOG [TARGET...]: everything, or the targets.
compile_here() {
  local folder=$1 log=$2
  shift 2
  : >"$log"
  start_progress build_state "$log"
  run_build_step "$log" env "NINJA_STATUS=[%f/%t] " ninja -C "$folder" "$@" || die 1 "the build failed"
  stop_progress
}

build_here() {
  local folder=$clone/build/vm-$preset log=$clone/build/vm-$preset.log parts=ON
  [[ $root_is_small == no ]] || parts=OFF
  if [[ ! -e $folder/build.ninja ]] || ! grep -qs "^UBLKBENCH_TESTS:BOOL=$parts" "$folder/CMakeCache.txt"; then
    step configure configure_here "$folder" "$log" $parts
  fi
  step build compile_here "$folder" "$log" "$@"
  rm -f "$log"
}

# verb_build [TARGET...]: names as ninja has them; none: everything.
verb_build() {
  [[ -e $clone/CMakeLists.txt ]] || die "$exit_environment" "nothing to build: there is no CMakeLists.txt in $clone"
  [[ $root_is_small == yes ]] || prepare_root
  mkdir -p "$cache/ccache" "$clone/build"
  set_build_sandbox
  local lock
  exec {lock}>"$clone/build/vm-$preset.lock"
  if ! flock -n "$lock"; then
    start_progress say_at "waiting for another build of this clone"
    flock "$lock"
    stop_progress
  fi
  build_here "$@"
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
