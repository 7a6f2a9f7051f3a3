# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# The Debian package, and a machine that has Debian and this package only.

# What a user's Debian has besides the package and what it depends on and recommends.
fresh_packages=(systemd-sysv dbus udev kmod man-db bash-completion procps util-linux e2fsprogs
  python3-drgn python3-jinja2 python3-matplotlib python3-numpy python3-jsonschema)

package_here() {
  run_build_step "$1" sh -c "
    cmake -B build/vm-$preset >/dev/null && rm -rf build/packages &&
    cpack --config build/vm-$preset/CPackConfig.cmake && rm -rf build/packages/_CPack_Packages" ||
    die 1 "cpack failed"
}

# make_fresh_root TARGET DEB: apt installs the file as it would on a user's machine.
make_fresh_root() {
  local target=$1 deb=$2 mode=root log=$cache/root.log mirror
  need_host_packages
  is_root || mode=unshare
  mirror=$(own_mirror)
  rm -rf "$target"
  mkdir -p "$target"
  mmdebstrap --mode=$mode --variant=minbase --format=tar --hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount \
    --include="$deb" --include="$(IFS=,; echo "${fresh_packages[*]}")" --setup-hook="$root_setup" --dpkgopt=force-unsafe-io \
    "$root_suite" - ${mirror:+"$mirror"} 2>"$log" | tar -x -C "$target" --exclude='./dev/*' || {
    tail -n 15 "$log" >&2
    rm -rf "$target"
    die "$exit_environment" "apt does not install $deb; its log is $log"
  }
  chmod 755 "$target"
}

# A guest whose root is the fresh one runs the tests of what is installed.
check_package() {
  guest_root=$cache/fresh-root
  step "a fresh root" run_locked root make_fresh_root "$guest_root" "$1"
  [[ ${#disks[@]} -gt 0 ]] || disks=(2G)
  verb_run python3 "$clone/tests/package/installed_test.py"
}

# verb_package [--check]
verb_package() {
  [[ $# -eq 0 || $* == --check ]] || usage_error "package takes only --check, not '$*'"
  verb_build bench/tools/{ublkbench,ublk-server,ublk-load,ublk-probe} manual
  local file log=$clone/build/vm-package.log
  step package package_here "$log"
  rm -f "$log"
  file=$(ls "$clone"/build/packages/*.deb)
  say "made ${file#"$clone"/}"
  verb_root lintian --fail-on error "$file" || die 1 "lintian finds errors in $file"
  [[ $# -eq 0 ]] || check_package "$file"
}
