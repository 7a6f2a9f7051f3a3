# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# The Debian 13 root: compiler, tools, QEMU and virtiofsd.  Made once, never changed, shared by all guests.
# 'bench' alone needs less than half of it, and takes a small root as long as nothing else asked for the whole one.

readonly root_suite=trixie
root='' root_is_small=no
root_packages=(
  # build
  g++ cmake ninja-build make ccache pkg-config git ca-certificates
  liburing-dev libbpf-dev libelf-dev zlib1g-dev linux-libc-dev clang llvm clang-format clang-tidy
  libgtest-dev libgmock-dev libbenchmark-dev libcli11-dev nlohmann-json3-dev libsimdjson-dev
  # look into the kernel
  bpftool bpftrace python3-drgn linux-perf strace
  # tests and tools in the guest
  python3 python3-pytest python3-jsonschema fio kmod udev procps iproute2 util-linux fdisk e2fsprogs xfsprogs
  file rsync less
  # NBD servers, and a file system that appends to zones
  nbdkit qemu-utils btrfs-progs
  # reports, and the oracle of the statistics' tests
  python3-numpy python3-matplotlib python3-jinja2 python3-scipy
  # readers of man pages and completions, for their tests
  mandoc zsh fish
  # linters; Debian 13 has no ruff
  mypy shellcheck ruff/testing
  # the Debian package
  dpkg-dev lintian
  # the machine itself
  qemu-system-x86 virtiofsd busybox-static cpio xz-utils zstd
)

# What a measurement needs: to compile ublkbench without its probes, to boot, and to say why a device hangs (drgn).
bench_packages=(
  g++ cmake ninja-build ccache pkg-config git ca-certificates
  liburing-dev linux-libc-dev libcli11-dev nlohmann-json3-dev libsimdjson-dev
  python3 python3-drgn kmod udev procps iproute2 util-linux file
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

# NAMES are of testing, and need nothing that is newer than what SUITE has. They are no part of what must be there: a root
# without them builds and measures, so that a mirror without testing costs a test and not the root.
# shellcheck disable=SC2016 # expanded in the hook
root_add_testing='
  sed "s/^deb \([^ ]*\) .*/deb [check-valid-until=no] \1 testing main/;q" "$1/etc/apt/sources.list" \
    >"$1/etc/apt/sources.list.d/testing.list"
  export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
  if ! { apt-get -q update && apt-get -q -y -t SUITE -o DPkg::Chroot-Directory="$1" install NAMES; } >&2; then
    echo "W: the root is without NAMES" >&2
  fi
  rm "$1/etc/apt/sources.list.d/testing.list"'
root_add_testing=${root_add_testing//SUITE/$root_suite}

# root_customization PACKAGE...: the last hook of a root with these packages.
root_customization() {
  local package names=()
  for package in "$@"; do [[ $package != */testing ]] || names+=("${package%/testing}"); done
  printf '%s' "$root_customize"
  [[ ${#names[@]} -eq 0 ]] || printf '%s' "${root_add_testing//NAMES/${names[*]}}"
}

# root_folder PACKAGE...: where the root with these packages is, by its recipe.
root_folder() {
  printf '%s/root-%s' "$cache" \
    "$(printf '%s\n' "format 1" "$*" "$root_setup" "$(root_customization "$@")" | sha256sum | cut -c 1-12)"
}

# Names the Debian mirror of the machine's own apt configuration; nothing if there is none.
own_mirror() {
  command -v apt-get >/dev/null || return 0
  # shellcheck disable=SC2016 # the dollars are apt's
  apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }' || true
}

# What mmdebstrap is at, from the output of apt and dpkg in its log. It installs twice: the essential packages, then the
# rest.
root_state() {
  local log=$1 all unpacked set_up
  all=$(sed -n 's/^[0-9]* upgraded, \([0-9]*\) newly installed,.*/\1/p' "$log" | paste -sd +)
  unpacked=$(grep -c '^Unpacking ' "$log")
  set_up=$(grep -c '^Setting up ' "$log")
  if grep -q '^I: cleaning' "$log"; then
    echo "making the root: copying it into the cache"
  elif [[ $unpacked == 0 || ($unpacked == "$set_up" && $(grep -c '^Get:' "$log") -gt $unpacked) ]]; then
    echo "making the root: downloading packages"
  else
    echo "making the root: $unpacked of $((all)) packages unpacked, $set_up set up"
  fi
}

# make_root TARGET WORDS PACKAGE...: WORDS say what it is.
make_root() {
  local target=$1 words=$2 temporary mirror log=$cache/root.log mode=root
  shift 2
  [[ -d $target ]] && return
  first_run=yes
  need_host_packages
  is_root || mode=unshare
  mirror=$(own_mirror)
  rm -rf "$cache"/root.?????? # of a run that was killed here
  temporary=$(mktemp -d "$cache/root.XXXXXX")
  say "making $words $target (once)"
  : >"$log"
  start_progress root_state "$log"
  mmdebstrap --verbose --mode=$mode --variant=minbase --format=tar \
    --include="$(printf '%s\n' "$@" | grep -v '/testing$' | paste -sd ,)" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io \
    --setup-hook="$root_setup" --customize-hook="$(root_customization "$@")" \
    $root_suite - ${mirror:+"$mirror"} 2>"$log" |
    tar -x -C "$temporary" --exclude='./dev/*' || {
    tail -n 15 "$log" >&2
    rm -rf "$temporary"
    die "$exit_environment" "mmdebstrap failed; its log is $log"
  }
  stop_progress
  chmod 755 "$temporary"
  mv "$temporary" "$target"
}

# Makes the root if it is not there.  Sets $root and $sandbox.
prepare_root() {
  root=$(root_folder "${root_packages[@]}")
  [[ -d $root ]] ||
    step root run_locked root make_root "$root" "the Debian $root_suite root, 1.9 GB," "${root_packages[@]}"
  set_sandbox "$root"
}

# The small root, unless the whole one is there.  Sets $root, $sandbox and $root_is_small.
prepare_bench_root() {
  root=$(root_folder "${root_packages[@]}")
  if [[ ! -d $root ]]; then
    root=$(root_folder "${bench_packages[@]}")
    root_is_small=yes
    [[ -d $root ]] ||
      step root run_locked root make_root "$root" "a small Debian $root_suite root" "${bench_packages[@]}"
  fi
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
