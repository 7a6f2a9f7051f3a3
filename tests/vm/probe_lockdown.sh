#!/bin/bash
# ublk-probe on a kernel that is locked down, in guests: probe_lockdown.sh. Integrity lets BPF read the kernel. What
# confidentiality forbids is bpf_probe_read_kernel(): batch does without (probes/peek.bpf.h, from Linux 6.17 on) and
# works; every other probe says so in one line, exits with 5, and leaves nothing attached.
set -uo pipefail

clone=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
scratch=$(mktemp -d "$clone/build/lockdown.XXXXXX") # the guest sees the clone
trap 'rm -rf "$scratch"' EXIT
failures=0

problem() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}

cat >"$scratch/guest.sh" <<'GUEST'
cd "$1" || exit 1
tools=$2
mount -t securityfs none /sys/kernel/security 2>/dev/null
cat /sys/kernel/security/lockdown >level
modprobe ublk_drv && "$tools/ublk-server" add -m copy -t null -n 0 >/dev/null || exit 1
bpftool -j link show | md5sum >before
"$tools/ublk-probe" --list | while read -r probe _; do
  "$tools/ublk-probe" --dev 0 --probe "$probe" --duration 100ms >"$probe.out" 2>"$probe.err"
  echo "$?" >"$probe.exit"
done
sleep 2 # the kernel frees links after a grace period
bpftool -j link show | md5sum >after
"$tools/ublk-server" del -n 0
GUEST

for level in integrity confidentiality; do
  rm -f "$scratch"/*.exit
  "$clone/scripts/vm" --append "lockdown=$level" run -- bash "$scratch/guest.sh" "$scratch" \
    "$clone/build/vm-release/bench/tools" || problem "$level: the guest's script failed"
  grep -q "\[$level\]" "$scratch/level" || problem "the kernel is not locked down: $(cat "$scratch/level")"
  cmp -s "$scratch/before" "$scratch/after" || problem "$level: something is left attached"
  probes=0
  for file in "$scratch"/*.exit; do
    probe=$(basename "$file" .exit)
    probes=$((probes + 1))
    code=$(<"$file")
    echo "$level: $probe: exit $code: $(head -n 1 "$scratch/$probe.err")"
    if [[ $level == integrity || $probe == batch ]]; then
      [[ $code -eq 0 && -s $scratch/$probe.out ]] || problem "$level: $probe: exit $code"
    else
      [[ $code -eq 5 && ! -s $scratch/$probe.out && $(wc -l <"$scratch/$probe.err") -eq 1 ]] ||
        problem "$level: $probe: exit $code"
      grep -q "locked down (confidentiality)" "$scratch/$probe.err" || problem "$level: $probe does not say why"
    fi
  done
  [[ $probes -ge 6 ]] || problem "$level: $probes probes ran"
done
[[ $failures -eq 0 ]] && echo "passed"
exit $((failures != 0))
