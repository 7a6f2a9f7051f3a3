# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# Messages, the cache folder, host packages, and the sandbox that enters the Debian root.

readonly exit_usage=2 exit_environment=5 exit_timeout=124 exit_guest_died=125

say() {
  [[ -z ${progress_pid:-} ]] || clear_progress_line
  printf 'vm: %s\n' "$*" >&2
}

die() {
  local code=$1
  shift
  say "$*"
  exit "$code"
}

cache=${UBLKBENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ublkbench}

is_root() { [[ $EUID -eq 0 ]]; }

need_host_packages() {
  local missing=()
  command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
  command -v bwrap >/dev/null || missing+=(bubblewrap)
  command -v flock >/dev/null || missing+=(util-linux)
  [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || missing+=(debian-archive-keyring)
  is_root || command -v newuidmap >/dev/null || missing+=(uidmap)
  [[ ${#missing[@]} -eq 0 ]] && return
  local install="apt-get install -y --no-install-recommends ${missing[*]}"
  is_root || die "$exit_environment" "missing on this machine; as root: apt-get update && $install"
  say "installing ${missing[*]} (apt-get)"
  local log
  start_progress say_at "installing ${missing[*]}"
  log=$({ apt-get update && DEBIAN_FRONTEND=noninteractive $install; } 2>&1) ||
    die "$exit_environment" "'apt-get update && $install' failed: $(tail -n 3 <<<"$log")"
  stop_progress
}

# run_locked NAME COMMAND...: one process at a time makes a part of the cache; the others wait for it.
run_locked() {
  local lock="$cache/$1.lock"
  shift
  mkdir -p "$cache"
  local fd
  exec {fd}>"$lock"
  if ! flock -n "$fd"; then
    say "waiting for another scripts/vm that is preparing the same thing ($lock)"
    start_progress say_at "waiting for another scripts/vm"
    flock "$fd"
    stop_progress
  fi
  "$@"
  exec {fd}>&-
}

# The options for bwrap that make the Debian root the file system, read-only, as an array named sandbox.
# Without root, the caller becomes uid 0 of a user namespace: files that it owns belong to root there.
set_sandbox() {
  local root=$1
  sandbox=(bwrap --die-with-parent --tmpfs / --dev /dev --proc /proc
    --dir /tmp --dir /run --dir /var/tmp --dir /root
    --ro-bind "$root/usr" /usr --ro-bind "$root/etc" /etc
    --symlink usr/bin /bin --symlink usr/sbin /sbin --symlink usr/lib /lib --symlink usr/lib64 /lib64)
  if [[ -e /etc/resolv.conf ]]; then
    sandbox+=(--ro-bind /etc/resolv.conf /etc/resolv.conf)
  fi
  is_root || sandbox+=(--unshare-user --uid 0 --gid 0 --cap-add ALL)
}
