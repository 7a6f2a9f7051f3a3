# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# Kernels: Debian's packages or a developer's own, unpacked to $cache/kernels/NAME/{vmlinuz,lib/modules/RELEASE,...}.

# apt with the root's sources and keys, but with lists of its own: the machine's apt is neither used nor changed.
guest_apt() {
  local program=$1 state=$cache/apt proxies
  shift
  mkdir -p "$state/lists/partial" "$state/archives/partial"
  mapfile -t proxies < <(apt-config dump 2>/dev/null | sed -n 's/^\(Acquire::[a-z:]*::Proxy\) "\(.*\)";$/-o\n\1=\2/p')
  "${sandbox[@]}" --ro-bind "$root/var/lib/dpkg" /var/lib/dpkg --bind "$state" /srv --chdir /srv/archives "$program" \
    -o Dir::State=/srv -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache=/srv -o Dir::Log=/srv \
    -o "Dir::Etc::SourceList=${apt_sources:-/etc/apt/sources.list}" -o Dir::Etc::SourceParts=/dev/null \
    -o APT::Sandbox::User=root "${proxies[@]}" "$@"
}

update_lists() {
  say "reading the package lists for kernels"
  start_progress say_at "reading the package lists"
  guest_apt apt-get -q update >"$cache/apt.log" 2>&1 ||
    die "$exit_environment" "apt-get update failed: $(tail -n 3 "$cache/apt.log")"
  stop_progress
}

# download_packages NAME...: into $cache/apt/archives.
download_packages() {
  start_progress say_at "downloading $*"
  guest_apt apt-get -q download "$@" >"$cache/apt.log" 2>&1 ||
    die "$exit_environment" "download of $* failed: $(tail -n 3 "$cache/apt.log")"
  stop_progress
}

# Prints the newest kernel image package whose version begins with $1, in flavour $2 (cloud-amd64 or amd64).
newest_image() {
  local prefix=$1 flavour=$2 package version
  guest_apt apt-cache --names-only search '^linux-image-[0-9]' | while read -r package _; do
    version=${package#linux-image-}
    [[ $version =~ ^[^-]*(-rc[0-9]+)?-"$flavour"$ ]] || continue
    [[ $version != "$prefix"[.+-]* ]] || echo "$package"
  done | sort -V | tail -n 1
}

# Prints the name of the package for a version prefix; the default is what backports' metapackage names.
resolve_image() {
  local prefix=$1 flavour=$2 package
  if [[ -z $prefix ]]; then
    guest_apt apt-cache show "linux-image-$flavour/$root_suite-backports" |
      sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p' | head -n 1
  elif [[ $prefix == *-amd64 ]]; then
    echo "linux-image-$prefix"
  else
    package=$(newest_image "$prefix" "$flavour")
    [[ -n $package ]] || package=$(newest_image "$prefix" amd64)
    echo "$package"
  fi
}

unpack_image() {
  local package=$1 target=$2 temporary release
  local -a parts
  mapfile -t parts < <(guest_apt apt-cache depends --recurse --important "$package" |
    grep -E '^linux-(image|binary|modules|base)-[0-9]')
  [[ ${#parts[@]} -gt 0 ]] || die "$exit_environment" "apt does not know $package"
  say "fetching ${package#linux-image-}"
  download_packages "${parts[@]}"
  rm -rf "$cache"/kernels/new.?????? # of a run that was killed here
  temporary=$(mktemp -d "$cache/kernels/new.XXXXXX")
  local part
  for part in "${parts[@]}"; do
    # shellcheck disable=SC2016 # expanded inside the sandbox
    "${sandbox[@]}" --bind "$cache/apt/archives" /srv --bind "$temporary" /mnt \
      sh -c 'dpkg-deb -x /srv/"$1"_*.deb /mnt && rm -f /srv/"$1"_*.deb' sh "$part" ||
      die "$exit_environment" "$part could not be unpacked"
  done
  release=${package#linux-image-}
  mkdir -p "$temporary/lib"
  if [[ -d $temporary/usr/lib/modules ]]; then
    mv "$temporary/usr/lib/modules" "$temporary/lib/"
  fi
  finish_kernel "$temporary" "$release"
  mv "$temporary" "$target"
}

# Brings both layouts of Debian's packages (/boot; /lib/modules/RELEASE since 7.x) into ours.
finish_kernel() {
  local dir=$1 release=$2 name modules
  modules=$dir/lib/modules/$release
  for name in vmlinuz config System.map; do
    if [[ -f $dir/boot/$name-$release ]]; then
      mv "$dir/boot/$name-$release" "$dir/$name"
    elif [[ -f $modules/$name ]]; then
      mv "$modules/$name" "$dir/$name"
    fi
  done
  rm -rf "${dir:?}/usr" "${dir:?}/boot"
  mkdir -p "$modules"
  "${sandbox[@]}" --bind "$dir" /srv depmod -b /srv "$release"
  echo "$release" >"$dir/release"
  chmod 755 "$dir"
}

has_driver() {
  local dir=$1 driver=$2 release
  release=$(<"$dir/release")
  grep -qsE "/${driver}\.ko" "$dir/lib/modules/$release/modules.dep" "$dir/lib/modules/$release/modules.builtin"
}

make_debian_kernel() {
  local prefix=$1 alias=$2 package flavour apt_sources=''
  mkdir -p "$cache/kernels/alias"
  [[ -e $alias ]] && return
  update_lists
  for flavour in cloud-amd64 amd64; do
    package=$(resolve_image "$prefix" $flavour)
    if [[ -z $package ]]; then
      say "no kernel $prefix in $root_suite and $root_suite-backports; looking in testing"
      # A mirror may be a snapshot, older than testing's signatures last.
      sed 's/^deb \([^ ]*\) .*/deb [check-valid-until=no] \1 testing main/;q' "$root/etc/apt/sources.list" \
        >"$cache/apt/testing.list"
      apt_sources=/srv/testing.list
      update_lists
      package=$(resolve_image "$prefix" $flavour)
    fi
    [[ -n $package ]] || die "$exit_environment" "no Debian kernel package begins with version $prefix"
    kernel=$cache/kernels/${package#linux-image-}
    [[ -d $kernel ]] || unpack_image "$package" "$kernel"
    if has_driver "$kernel" ublk_drv; then
      break
    fi
    say "$(<"$kernel/release") has no ublk_drv"
    [[ $prefix != *-amd64 ]] || break
  done
  echo "${kernel##*/}" >"$alias"
}

# Whether --kernel names one of Debian's, not a file of the caller's.
is_debian_kernel() { [[ -z $1 || $1 =~ ^[0-9]+\.[^/]*$ ]]; }

kernel_alias() { printf '%s' "$cache/kernels/alias/${1:-default}"; }

# Makes the kernel that --kernel names if it is not there.  Sets $kernel (a folder) and $kernel_release.
prepare_kernel() {
  local wanted=$1 alias
  if ! is_debian_kernel "$wanted"; then
    prepare_own_kernel "$wanted"
  else
    alias=$(kernel_alias "$wanted")
    [[ -e $alias ]] || run_locked kernels make_debian_kernel "$wanted" "$alias"
    kernel=$cache/kernels/$(<"$alias")
  fi
  kernel_release=$(<"$kernel/release")
}

# The initramfs for the kernel: our init, and what it needs of the modules.  Sets $initramfs.
prepare_initramfs() {
  initramfs=$kernel/initramfs-${vm_pipe##*-}
  [[ -e $initramfs ]] || make_initramfs "$initramfs"
}

make_initramfs() {
  local target=$1
  # shellcheck disable=SC2016 # expanded inside the sandbox
  "${sandbox[@]}" --ro-bind "$kernel" /srv --ro-bind "$vm_pipe" /run/init \
    bash -euo pipefail -c '
      mkdir -p /tmp/i/{modules,dev,proc,sys} && cd /tmp/i && cp /run/init init && : >modules/order
      for module in virtio_pci virtio_console virtiofs overlay nvme ublk_drv; do
        modprobe -d /srv -S "$1" --show-depends -q "$module" | sed -n "s/^insmod \([^ ]*\).*/\1/p" || true
      done | awk "!seen[\$0]++" | while read -r path; do
        name=${path##*/}
        case $name in
          *.xz) name=${name%.xz} && xz -dc "$path" >"modules/$name" ;;
          *.zst) name=${name%.zst} && zstd -qdc "$path" >"modules/$name" ;;
          *.gz) name=${name%.gz} && gzip -dc "$path" >"modules/$name" ;;
          *) cp "$path" modules/ ;;
        esac
        printf "%s\0" "$name" >>modules/order
      done
      find . | cpio -o -H newc --quiet' bash "$kernel_release" >"$target.$$"
  mv "$target.$$" "$target"
  # Runs of other clones, with another init, may be under way: remove only what is old.
  find "$kernel" -maxdepth 1 -name 'initramfs-*' -mtime +7 -delete
}
