# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# A kernel developer's own kernel: a bzImage, or a build tree with one.

# Prints the release that a bzImage has in its header.
image_release() {
  "${sandbox[@]}" file -bL - <"$1" | sed -n 's/.*, version \([^ ]*\).*/\1/p'
}

# Finds the image and the build tree of --kernel PATH.  Sets $image and $tree (empty: none).
find_image() {
  local path
  path=$(realpath -e "$1" 2>/dev/null) || die "$exit_environment" "--kernel $1: there is no such file or folder"
  image=$path tree=''
  if [[ -d $path ]]; then
    tree=$path image=$path/arch/x86/boot/bzImage
    [[ -e $image ]] || die "$exit_environment" "--kernel $1: no arch/x86/boot/bzImage in it; build the kernel first"
  elif [[ $path == */arch/x86/boot/bzImage ]]; then
    tree=${path%/arch/x86/boot/bzImage}
  fi
  [[ -z $tree || -e $tree/modules.order ]] || tree=''
}

# What must change for the modules to be copied again: one line per module, with size and time.
module_state() {
  if [[ -n $modules_wanted ]]; then
    find "$modules_wanted" -name '*.ko*' -printf '%p %s %T@\n'
  elif [[ -n $tree ]]; then
    # modules.order names *.o since Linux 6.4 and *.ko before.
    (cd "$tree" && sed 's/\.o$/.ko/' modules.order | xargs -r stat -c '%n %s %Y')
  fi
}

# modules_install without make and its dependencies: the build tree may come from another machine.
copy_modules() {
  local target=$1 release=$2 from
  mkdir -p "$target"
  if [[ -n $modules_wanted ]]; then
    for from in "$modules_wanted/lib/modules/$release" "$modules_wanted/$release" "$modules_wanted"; do
      [[ -e $from/modules.order || -e $from/kernel ]] && break
    done
    [[ -d $from/kernel ]] || die "$exit_environment" "--modules $modules_wanted: no lib/modules/$release in it"
    cp -rL "$from/." "$target/" 2>/dev/null || true # build and source may be dangling links
    rm -rf "$target/build" "$target/source"
  elif [[ -n $tree ]]; then
    mkdir -p "$target/kernel"
    (cd "$tree" && sed 's/\.o$/.ko/' modules.order | xargs -r cp --parents -t "$target/kernel")
    cp "$tree/modules.order" "$tree"/modules.builtin* "$target/"
  fi
}

make_own_kernel() {
  local target=$1 release=$2 temporary
  [[ -d $target ]] && return
  temporary=$(mktemp -d "$cache/kernels/new.XXXXXX")
  cp "$image" "$temporary/vmlinuz"
  [[ -z $tree || ! -e $tree/.config ]] || cp "$tree/.config" "$temporary/config"
  [[ -z $tree || ! -e $tree/System.map ]] || cp "$tree/System.map" "$temporary/System.map"
  copy_modules "$temporary/lib/modules/$release" "$release"
  finish_kernel "$temporary" "$release"
  mv "$temporary" "$target"
  # A developer makes many: keep a few.
  find "$cache/kernels" -maxdepth 1 -name 'own-*' -mtime +7 -exec rm -rf {} +
}

# Copies the kernel into the cache if it or a module has changed.  Sets $kernel.
prepare_own_kernel() {
  local image tree release key
  find_image "$1"
  release=$(image_release "$image")
  [[ -n $release ]] || die "$exit_environment" "--kernel $1: $image is no x86 kernel image (bzImage)"
  if [[ -z $tree && -z $modules_wanted && -d /lib/modules/$release ]]; then
    modules_wanted=/lib/modules/$release
  fi
  key=$({ stat -c '%n %s %Y' "$image" && module_state; } | sha256sum | cut -c 1-12)
  kernel=$cache/kernels/own-$release-$key
  mkdir -p "$cache/kernels"
  [[ -d $kernel ]] || run_locked kernels make_own_kernel "$kernel" "$release"
  has_driver "$kernel" ublk_drv || say "the kernel $release has no ublk_drv, neither as a module nor built in"
}
