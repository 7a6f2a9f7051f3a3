# shellcheck shell=bash disable=SC2030,SC2031,SC2034,SC2154 # scripts/vm and its parts share their variables
# KVM or the emulator.

# A node /dev/kvm proves nothing: there are machines on which every kernel dies under it.  So a trial guest must
# boot.  The answer holds until this machine boots again, for this user.
kvm_works() {
  local answer
  grep -qE '^flags.*\b(vmx|svm)\b' /proc/cpuinfo && [[ -r /dev/kvm && -w /dev/kvm ]] || return 1
  answer=$cache/kvm-$EUID-$(</proc/sys/kernel/random/boot_id)
  if [[ ! -e $answer ]]; then
    say "trying a guest with KVM"
    if trial_guest >/dev/null 2>&1; then echo yes >"$answer"; else echo no >"$answer"; fi
    say "KVM works: $(<"$answer")"
  fi
  [[ $(<"$answer") == yes ]]
}

# In a subshell: its variables and its run folder are its own.
trial_guest() (
  accel=kvm cpu=host icount=no timeout=60 boot_seconds=30 boot_attempts=1 interactive=no verbose=no disks=() run_dir=''
  trap end_run EXIT
  make_run_dir
  set_shares
  run_guest true
)

# Sets $accel and $cpu.
choose_accel() {
  if [[ $accel == auto ]]; then
    if kvm_works; then accel=kvm; else accel=tcg; fi
  fi
  if [[ $accel == kvm ]]; then
    [[ -r /dev/kvm && -w /dev/kvm ]] || die "$exit_environment" "--accel kvm: /dev/kvm is not there, or not for this user"
    cpu=${cpu:-host}
  elif [[ $icount == yes ]]; then
    cpu=${cpu:-max,-erms,-fsrm,-rdrand,-rdseed}
  else
    cpu=${cpu:-max}
  fi
}
