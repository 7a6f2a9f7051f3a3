# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# The kernel's own ublk selftests, from Debian's linux-source package: never part of this repository.

# Unpacks them to $1, for the kernel series $2 (7.3).
unpack_selftests() {
  local target=$1 series=$2 temporary
  [[ -d $target ]] && return
  update_lists
  say "fetching the source of Linux $series for its ublk selftests"
  download_packages "linux-source-$series"
  temporary=$(mktemp -d "$cache/tmp.XXXXXX")
  # The caller asks whether this worked, and then the shell does not end at what fails.
  # shellcheck disable=SC2016 # expanded inside the sandbox
  "${sandbox[@]}" --bind "$cache/apt/archives" /srv --bind "$temporary" /mnt --chdir /mnt bash -euo pipefail -c '
    dpkg-deb --fsys-tarfile "$(ls -t /srv/linux-source-"$1"_*.deb | head -n 1)" |
      tar -xO --wildcards "./usr/src/linux-source-*.tar.xz" |
      tar -xJ --strip-components=5 --wildcards "*/tools/testing/selftests/ublk/*"
    rm -f /srv/linux-source-"$1"_*.deb
    gcc -O2 -o metadata_size metadata_size.c' bash "$series" || {
    rm -rf "$temporary"
    die "$exit_environment" "linux-source-$series could not be unpacked, or its metadata_size does not compile"
  }
  chmod 755 "$temporary"
  mkdir -p "${target%/*}"
  mv "$temporary" "$target"
}

kernel_series() { sed -E 's/^([0-9]+\.[0-9]+).*/\1/' <<<"$1"; }

# Makes the selftests of the guest's kernel if they are not there.  Sets $selftests (a folder in the cache).
prepare_selftests() {
  local series
  series=$(kernel_series "$kernel_release")
  selftests=$cache/selftests/$series
  run_locked selftests unpack_selftests "$selftests" "$series"
}

# The kernel's own ublk server, from its selftests, with the flags of the kernel's own Makefile.  Outside the clone: it
# is not ours to distribute.
build_kublk() {
  local target=$1
  [[ -x $target ]] && return
  say "compiling the kernel's ublk server"
  mkdir -p "${target%/*}"
  # shellcheck disable=SC2016 # expanded inside the sandbox
  "${sandbox[@]}" --ro-bind "$selftests" /srv --chdir /srv sh -c '
    gcc -D_GNU_SOURCE -O3 -o /tmp/kublk kublk.c null.c file_backed.c common.c stripe.c fault_inject.c batch.c \
      -luring -lpthread && cat /tmp/kublk' >"$target.$$" || {
    rm -f "$target.$$"
    die "$exit_environment" "the kernel's ublk server does not compile"
  }
  chmod 755 "$target.$$"
  mv "$target.$$" "$target"
}

# Puts kublk of the guest's kernel where the guest sees it: the clone, not the cache.  Needs prepare_selftests.
share_kublk() {
  local kublk
  kublk=$cache/peers/kublk-$(kernel_series "$kernel_release")
  run_locked kublk build_kublk "$kublk"
  mkdir -p "$clone/build/peers"
  cp "$kublk" "$clone/build/peers/kublk"
}

# Puts the selftests where the guest sees them. A kernel without such a package has none, and its tests say so.
share_selftests() {
  local folder=$clone/build/kernel-selftests
  prepare_root
  prepare_kernel "$kernel_wanted"
  rm -rf "$folder"
  rm -f "$clone/build/peers/kublk"
  if (prepare_selftests); then
    selftests=$cache/selftests/$(kernel_series "$kernel_release")
    mkdir -p "${folder%/*}"
    cp -r "$selftests" "$folder"
    (share_kublk) || say "going on without the kernel's ublk server"
  else
    say "going on without the kernel's selftests"
  fi
}

# Each group in a guest of its own: an emulator that breaks one does not cost the others.
selftest_groups=(batch generic integrity loop null params part recover shmemzc stress_01_03 stress_04_05 stress_06_09 stripe)

test_selftests() {
  local group code=0 result
  for group in "${selftest_groups[@]}"; do
    say "kernel selftests: $group"
    result=0
    (verb_run ctest --test-dir "$clone/build/vm-$preset" --output-on-failure --no-tests=error -C Long \
      -R "^kernel-selftests\\.$group\$" "$@") || result=$?
    [[ $result -eq 0 ]] || code=$result
  done
  return $code
}
