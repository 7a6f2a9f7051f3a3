# shellcheck shell=bash disable=SC2034,SC2154 # scripts/vm and its parts share their variables
# --vmcore FILE: at --timeout, the memory of a guest that hangs is kept for 'ublk-dump --vmcore FILE'.

check_vmcore() {
  [[ -z $vmcore ]] && return
  [[ $timeout != 0 ]] || usage_error "--vmcore needs a --timeout: that is when memory is written"
  [[ -d $(dirname "$vmcore") ]] || usage_error "--vmcore: there is no folder $(dirname "$vmcore")"
  vmcore=$(realpath "$vmcore")
}

# What QEMU needs for it; the dump carries VMCOREINFO only if the guest has told QEMU where it is (qemu_fw_cfg).
add_vmcore_devices() {
  [[ -z $vmcore ]] || machine+=(-device vmcoreinfo -qmp "unix:/run/vm/sock/qmp,server=on,wait=off")
}

# In the background, for one boot.
start_vmcore_timer() {
  [[ -n $vmcore ]] || return 0
  {
    sleep "$timeout"
    if "${sandbox[@]}" --bind "$run_dir" /run/vm python3 - <"$vm_dir/dump_memory.py" 2>"$run_dir/dump.log"; then
      touch "$run_dir/dumped"
    fi
  } >/dev/null </dev/null &
  helpers+=($!)
}

# After the guest's end: true if its memory was kept.
keep_vmcore() {
  [[ -n $vmcore && -s $run_dir/vmcore ]] || return 1
  cp --sparse=always "$run_dir/vmcore" "$vmcore" && rm -f "$run_dir/vmcore"
}
