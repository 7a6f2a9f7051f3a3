# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# One guest: the run folder, virtiofsd for its two shares, QEMU, and what to make of its end.

# $cache/run/PID-N belongs to this process; those of dead processes are swept up.
make_run_dir() {
  local dir pid
  mkdir -p "$cache/run"
  for dir in "$cache"/run/*-*; do
    pid=${dir##*/}
    pid=${pid%%-*}
    [[ -d $dir && ! -d /proc/$pid ]] && rm -rf "$dir"
  done
  run_dir=$(mktemp -d "$cache/run/$$-XXXXXX")
  mkdir "$run_dir/vm" "$run_dir/sock"
}

end_helpers() {
  local pid
  for pid in "${helpers[@]}"; do
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  helpers=()
}

end_run() {
  end_helpers
  if [[ -n ${run_dir:-} ]]; then
    rm -rf "$run_dir"
  fi
}

# True if path $1 is $2 or inside it.
inside() { [[ $1 == "$2" || $1 == "${2%/}"/* ]]; }

# The folders that the guest shares read-write, each at its own path.  The caller's folder comes along unless it
# is in the clone or is the system's.
set_shares() {
  shares=("$clone")
  case $PWD in
  / | /usr | /usr/* | /etc | /etc/* | /bin | /sbin | /lib* | /dev | /dev/* | /proc | /proc/* | /sys | /sys/* | /run | /var) ;;
  *) inside "$PWD" "$clone" || shares=("$PWD" "$clone") ;;
  esac
}

# What the guest's init and vm-pipe read, as a small archive appended to the initramfs.
write_guest_files() {
  local i
  printf '%s\0' "$@" >"$run_dir/vm/argv"
  printf '%s\0' "${guest_env[@]}" >"$run_dir/vm/env"
  printf '%s\0' "$PWD" >"$run_dir/vm/cwd"
  printf '%s\0' "${#disks[@]}" >"$run_dir/vm/disks"
  for i in "${!shares[@]}"; do
    printf '%s\0' "$i" "${shares[i]}"
  done >"$run_dir/vm/shares"
  [[ $interactive == no ]] || : >"$run_dir/vm/pty"
  [[ $icount == no ]] || : >"$run_dir/vm/settle"
  {
    cat "$initramfs"
    "${sandbox[@]}" --ro-bind "$run_dir/vm" /srv/vm --chdir /srv sh -c 'find vm | cpio -o -H newc --quiet'
  } >"$run_dir/initrd"
}

# Environment of the command: a plain one, the caller's UBLKBENCH_* and --env names, and facts about the machine.
set_guest_env() {
  local name
  guest_env=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root USER=root LOGNAME=root LANG=C.UTF-8
    SHELL=/bin/bash "TERM=${TERM:-dumb}")
  for name in $(compgen -e); do
    case " NO_COLOR ${forwarded[*]} " in
    *" $name "*) guest_env+=("$name=${!name}") ;;
    *) if [[ $name == UBLKBENCH_* && $name != UBLKBENCH_CACHE ]]; then guest_env+=("$name=${!name}"); fi ;;
    esac
  done
  guest_env+=(UBLKBENCH_VM=1 "UBLKBENCH_ACCEL=$accel" "UBLKBENCH_QEMU_VERSION=$(qemu_version)"
    "UBLKBENCH_QEMU_CPU=$cpu" "UBLKBENCH_HOST_CPU=$(sed -n 's/^model name[^:]*: //p;T;q' /proc/cpuinfo)")
  if [[ $icount == yes ]]; then
    guest_env+=("UBLKBENCH_ICOUNT_SHIFT=$icount_shift")
  fi
  if [[ -t 2 ]]; then
    guest_env+=(UBLKBENCH_STDERR_TTY=1 "COLUMNS=$(stty size <&2 | cut -d ' ' -f 2)")
  fi
}

qemu_version() {
  sed -n '/^Package: qemu-system-x86$/,/^$/s/^Version: //p' "$root/var/lib/dpkg/status"
}

start_virtiofsd() {
  local name=$1 options=$2
  shift 2
  # shellcheck disable=SC2086 # several options
  "${sandbox[@]}" --bind "$run_dir/sock" /run/sock "$@" \
    /usr/libexec/virtiofsd --socket-path "/run/sock/$name" --shared-dir /srv --sandbox none \
    $options --xattr --log-level error --rlimit-nofile 0 >>"$run_dir/virtiofsd.log" 2>&1 </dev/null &
  helpers+=($!)
}

start_shares() {
  local i tries=0
  local -a binds=()
  # Submounts of the root share are not announced: overlayfs takes no automount point as its lower layer.
  start_virtiofsd root "--cache always --no-announce-submounts" --ro-bind "${guest_root:-$root}" /srv/root --ro-bind "$kernel" /srv/kernel
  for i in "${!shares[@]}"; do
    binds+=(--bind "${shares[i]}" "/srv/$i")
  done
  start_virtiofsd work "--cache $work_cache" "${binds[@]}"
  while [[ ! -S $run_dir/sock/root || ! -S $run_dir/sock/work ]]; do
    sleep 0.01
    tries=$((tries + 1))
    ((tries < 1000)) || die "$exit_environment" "virtiofsd does not start: $(tail -n 3 "$run_dir/virtiofsd.log")"
  done
}

set_machine() {
  local i
  # shellcheck disable=SC2054 # the commas are QEMU's
  machine=(qemu-system-x86_64 -nodefaults -no-user-config -display none -monitor none -nic none -no-reboot
    -machine q35,memory-backend=mem -object "memory-backend-memfd,id=mem,size=$memory,share=on" -m "$memory"
    -kernel /srv/vmlinuz -initrd /run/vm/initrd -cpu "$cpu"
    -chardev file,id=console,path=/run/vm/console -serial chardev:console
    -chardev socket,id=root,path=/run/vm/sock/root -device vhost-user-fs-pci,chardev=root,tag=root
    -chardev socket,id=work,path=/run/vm/sock/work -device vhost-user-fs-pci,chardev=work,tag=work
    -device virtio-serial-pci -chardev socket,id=pipe,fd=3 -device virtserialport,nr=1,chardev=pipe,name=vm-pipe)
  local arguments="console=ttyS0 panic=-1 oops=panic quiet mitigations=off"
  case $icount in
  yes)
    machine+=(-accel "tcg,thread=single" -smp 1 -icount "shift=$icount_shift,sleep=off" -rtc clock=vm)
    arguments+=" nokaslr norandmaps randomize_kstack_offset=off"
    ;;
  no)
    case $accel in
    kvm) machine+=(-accel kvm) ;;
    tcg) machine+=(-accel "tcg,thread=multi") ;;
    esac
    machine+=(-smp "$cpus")
    ;;
  esac
  for i in "${!disks[@]}"; do
    truncate -s "${disks[i]}" "$run_dir/scratch$i"
    machine+=(-drive "if=none,id=scratch$i,file=/run/vm/scratch$i,format=raw,cache=unsafe,discard=unmap"
      -device "nvme,drive=scratch$i,serial=scratch$i")
  done
  add_vmcore_devices
  machine+=(-append "$arguments${append:+ $append}")
}

# Boots once.  Sets $verdict (vm-pipe's word), $verdict_code, $phase (booting or started) and notes the times.
boot_once() {
  local start_s=$SECONDS booted_s
  local -a options=(-r "$run_dir/result" -l "$run_dir/qemu.log" -b "$boot_seconds") kvm=()
  helpers=()
  rm -f "$run_dir"/sock/* "$run_dir/result"
  : >"$run_dir/console"
  start_shares
  set_machine
  # With --vmcore our own timer comes first.
  [[ $timeout == 0 ]] || options+=(-t "$((timeout + (${#vmcore} > 0 ? 600 : 0)))")
  [[ $interactive == no ]] || options+=(-i)
  [[ $accel == tcg ]] || kvm=(--dev-bind /dev/kvm /dev/kvm)
  if [[ $verbose == yes ]]; then
    tail -n +1 -f --pid=$$ "$run_dir/console" >&2 </dev/null &
    helpers+=($!)
  fi
  "$vm_pipe" host "${options[@]}" -- "${sandbox[@]}" "${kvm[@]}" --ro-bind "$kernel" /srv --bind "$run_dir" /run/vm \
    "${machine[@]}" <&0 &
  pipe_pid=$!
  start_vmcore_timer
  # A signal that the traps below pass on interrupts wait; vm-pipe then ends by itself.
  while kill -0 $pipe_pid 2>/dev/null; do wait $pipe_pid || true; done
  pipe_pid=
  end_helpers
  read -r verdict verdict_code phase booted_s <"$run_dir/result" ||
    die "$exit_environment" "the host side of the guest's pipe failed"
  steps+=("boot $booted_s s" "run $((SECONDS - start_s - booted_s)) s")
}

console_tail() {
  {
    echo "vm: the last lines of the guest's console:"
    tr -d '\r' <"$run_dir/console" | sed '/^\[[ .0-9]*\]  *? /d; s/^/vm| /' | tail -n 40
    if [[ -s $run_dir/qemu.log ]]; then sed 's/^/vm: qemu: /' "$run_dir/qemu.log"; fi
    if [[ -s $run_dir/virtiofsd.log ]]; then sed 's/^/vm: virtiofsd: /' "$run_dir/virtiofsd.log"; fi
  } >&2
}

# What a guest died of, in one sentence.
cause_of_death() {
  if grep -q 'Oops: int3' "$run_dir/console"; then
    echo "the emulator broke it (Oops: int3 in code that the kernel patches), neither the command nor ublk did"
  elif grep -q 'Kernel panic' "$run_dir/console"; then
    echo "kernel panic: $(sed -n 's/.*Kernel panic - not syncing: //p' "$run_dir/console" | tr -d '\r' | head -n 1)"
  else
    echo "it ended without an exit code (power-off, reboot, or QEMU died)"
  fi
}

# run_guest COMMAND...: boots, runs, returns the command's exit code.
run_guest() {
  local attempt command_text="$*"
  # shellcheck disable=SC2016 # expanded in the guest
  [[ -z $vmcore ]] || set -- sh -c 'modprobe -q qemu_fw_cfg; exec "$@"' sh "$@"
  for ((attempt = 1; attempt <= boot_attempts; attempt++)); do
    set_guest_env
    write_guest_files "$@"
    boot_once
    if keep_vmcore; then
      say "ended after --timeout $timeout s; the guest's memory is in $vmcore"
      return "$exit_timeout"
    fi
    boot_seconds=$((boot_seconds * 2)) # a machine with much to do, or a hang: only time tells
    case $verdict in
    exit) return "$verdict_code" ;;
    signal) return $((128 + verdict_code)) ;;
    timeout)
      console_tail
      say "ended after --timeout $timeout s, waiting for: ${command_text:0:200}"
      return "$exit_timeout"
      ;;
    esac
    if [[ $phase == started ]]; then
      console_tail
      say "the guest died while it ran the command: $(cause_of_death)"
      return "$exit_guest_died"
    fi
    ((attempt < boot_attempts)) || break
    tr -d '\r' <"$run_dir/console" | tail -n 5 | sed 's/^/vm| /' >&2
    if [[ $verdict == boot-timeout ]]; then
      say "the guest did not boot within $((boot_seconds / 2)) s; trying again ($attempt of $((boot_attempts - 1)))"
    else
      say "the guest died before the command was started: $(cause_of_death); trying again ($attempt of $((boot_attempts - 1)))"
    fi
  done
  console_tail
  say "the guest does not boot"
  return "$exit_guest_died"
}
