# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# The Debian 13 root: compiler, tools, QEMU and virtiofsd.  Made once, never changed, shared by all guests.

readonly root_suite=trixie
root_packages=(
  # build
  g++ cmake ninja-build make ccache pkg-config git ca-certificates
  liburing-dev libbpf-dev libelf-dev zlib1g-dev linux-libc-dev clang llvm clang-format clang-tidy
  libgtest-dev libgmock-dev libbenchmark-dev libcli11-dev nlohmann-json3-dev libsimdjson-dev libsqlite3-dev
  # look into the kernel
  bpftool bpftrace python3-drgn linux-perf strace
  # tests and tools in the guest
  python3 python3-pytest python3-jsonschema fio kmod udev procps iproute2 util-linux fdisk e2fsprogs xfsprogs
  file rsync less
  # NBD servers, and a file system that appends to zones
  nbdkit qemu-utils btrfs-progs
  # reports, and the oracle of the statistics' tests
  python3-numpy python3-matplotlib python3-jinja2 python3-scipy
  # the machine itself
  qemu-system-x86 virtiofsd busybox-static cpio xz-utils zstd
)

# These run in mmdebstrap's hooks with the new root as $1.  Whatever mirror mmdebstrap uses serves all three
# suites.  What the kernel's source package makes comes from backports: the header then has the newest driver.
root_setup=$(
  cat <<'END'
set -e
mirror=$(sed -n 's/^deb \([^ ]*\) .*/\1/p;T;q' "$1/etc/apt/sources.list")
for suite in SUITE SUITE-updates SUITE-backports; do
  echo "deb $mirror $suite main"
done >"$1/etc/apt/sources.list"
printf 'Package: %s\nPin: release n=SUITE-backports\nPin-Priority: 990\n' src:linux >"$1/etc/apt/preferences.d/ublkbench"
END
)
root_setup=${root_setup//SUITE/$root_suite}
# shellcheck disable=SC2016 # expanded in the hook
root_customize='rm -f "$1/etc/resolv.conf" && : >"$1/etc/resolv.conf"
  ln -sf /proc/self/mounts "$1/etc/mtab"
  printf "127.0.0.1 localhost ublkbench-vm\n::1 localhost\n" >"$1/etc/hosts"'

root_recipe() {
  printf '%s\n' "format 1" "${root_packages[*]}" "$root_setup" "$root_customize"
}

# Names the Debian mirror of the machine's own apt configuration; nothing if there is none.
own_mirror() {
  command -v apt-get >/dev/null || return 0
  # shellcheck disable=SC2016 # the dollars are apt's
  apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }' || true
}

make_root() {
  local target=$1 temporary mirror log=$cache/root.log mode=root
  [[ -d $target ]] && return
  need_host_packages
  is_root || mode=unshare
  mirror=$(own_mirror)
  rm -rf "$cache"/root.?????? # of a run that was killed here
  temporary=$(mktemp -d "$cache/root.XXXXXX")
  say "making the Debian $root_suite root $target (once; about a minute, 1.3 GB)"
  mmdebstrap --mode=$mode --variant=minbase --format=tar --include="$(IFS=, && echo "${root_packages[*]}")" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --setup-hook="$root_setup" --customize-hook="$root_customize" \
    $root_suite - ${mirror:+"$mirror"} 2>"$log" |
    tar -x -C "$temporary" --exclude='./dev/*' || {
    tail -n 15 "$log" >&2
    rm -rf "$temporary"
    die "$exit_environment" "mmdebstrap failed; its log is $log"
  }
  chmod 755 "$temporary"
  mv "$temporary" "$target"
}

# Makes the root if it is not there.  Sets $root and $sandbox.
prepare_root() {
  root=$cache/root-$(root_recipe | sha256sum | cut -c 1-12)
  [[ -d $root ]] || run_locked root make_root "$root"
  set_sandbox "$root"
}

# The static helper that runs on the host and as the guest's first process.  Sets $vm_pipe.
prepare_pipe() {
  local key
  key=$(cat "$vm_dir"/pipe/* | sha256sum | cut -c 1-12)
  vm_pipe=$cache/tools/vm-pipe-$key
  [[ -x $vm_pipe ]] && return
  say "compiling the guest's init"
  mkdir -p "$cache/tools"
  "${sandbox[@]}" --ro-bind "$vm_dir/pipe" /srv --chdir /srv \
    sh -c 'g++ -std=c++20 -O2 -static -s -o /tmp/vm-pipe *.cpp && cat /tmp/vm-pipe' >"$vm_pipe.$$" ||
    die 1 "the guest's init does not compile"
  chmod 755 "$vm_pipe.$$"
  mv "$vm_pipe.$$" "$vm_pipe"
}
