#!/bin/bash
# shellcheck disable=SC2016 # what stands in single quotes is expanded in the guest
# Tests of scripts/vm, on the host: test_vm.sh [NAME...] runs those whose names contain one of the words.
set -uo pipefail

clone=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
vm=$clone/scripts/vm
cache=${UBLKBENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ublkbench}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export UBLKBENCH_VM_TEST=$$ # marks the processes and guests of this test

problem() {
  echo "    $*" >&2
  return 1
}

# expect_code CODE COMMAND...: leaves the command's output in $scratch/out and $scratch/err.
expect_code() {
  local wanted=$1 code=0
  shift
  "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || code=$?
  [[ $code -eq $wanted ]] || problem "exit code $code instead of $wanted: $* ($(tail -n 2 "$scratch/err"))"
}

expect_text() {
  [[ $(<"$scratch/$1") == *"$2"* ]] || problem "no '$2' in $1: $(tail -n 3 "$scratch/$1")"
}

expect_equal() { [[ $1 == "$2" ]] || problem "'$1' is not '$2'"; }

# The processes that a run of this script's vm process $1 has left behind, by its run folder's name.
left_behind() {
  local pid=$1 tries
  for tries in {1..50}; do
    if ! pgrep -f "$cache/run/$pid-" >/dev/null && [[ -z $(find "$cache/run" -name "$pid-*") || ${2:-} == folder ]]; then
      return 0
    fi
    sleep 0.1
  done
  problem "left behind after $tries tries: $(pgrep -af "$cache/run/$pid-" | cut -c 1-100) $(ls "$cache/run")"
}

# Waits until the command of a guest has written $scratch/out.
wait_for_output() {
  local tries
  for tries in {1..900}; do
    [[ ! -s $scratch/out ]] || return 0
    sleep 0.1
  done
  problem "no output within $((tries / 10)) s: $(tail -n 3 "$scratch/err")"
}

# As an interactive shell starts a job: with a process group of its own, and not deaf to Ctrl-C.
start_in_background() {
  rm -f "$scratch/out" "$scratch/err"
  setsid env --default-signal=INT "$vm" run "$@" >"$scratch/out" 2>"$scratch/err" &
  background=$!
}

test_usage() {
  expect_code 2 "$vm" && expect_code 2 "$vm" --no-such run true && expect_code 2 "$vm" dance &&
    expect_code 2 "$vm" --cpus none run true && expect_code 0 "$vm" --help && expect_text out "exit codes"
}

test_exit_code_and_streams() {
  expect_code 3 "$vm" run -- sh -c 'echo one; echo two >&2; exit 3' &&
    expect_equal "$(<"$scratch/out")" one && expect_equal "$(<"$scratch/err")" two
}

test_killed_command() { expect_code 143 "$vm" run -- sh -c 'kill $$'; }

test_missing_command() { expect_code 127 "$vm" run -- no-such-command && expect_text err "no-such-command"; }

test_arguments_are_exact() {
  local -a odd=('a b' '' $'new\nline' '"quoted"' "it's" '$HOME' '*' $'tab\t' $'back\\slash' 'é')
  expect_code 0 "$vm" run -- printf '[%s]' "${odd[@]}" && expect_equal "$(<"$scratch/out")" "$(printf '[%s]' "${odd[@]}")"
}

test_binary_output_survives() {
  local all_bytes
  all_bytes=$(printf '\\x%02x' {0..255})
  expect_code 0 "$vm" run -- bash -c \
    'printf "$1"; head -c 20000000 /dev/urandom | tee >(sha256sum >&2)' bash "$all_bytes" || return
  expect_equal "$(tail -c 20000000 "$scratch/out" | sha256sum)" "$(<"$scratch/err")" &&
    expect_equal "$(head -c 256 "$scratch/out" | sha256sum)" \
      "$(printf '%b' "$all_bytes" | sha256sum)"
}

test_reader_that_leaves() {
  local code
  "$vm" run -- yes 2>"$scratch/err" | head -n 1 >"$scratch/out"
  code=${PIPESTATUS[0]}
  expect_equal "$code" 141 && expect_equal "$(<"$scratch/out")" y
}

test_files_of_the_clone_are_shared() {
  local file=$clone/build/vm-test-$$
  mkdir -p "$clone/build"
  echo from-host >"$file"
  (cd "$clone/build" && expect_code 0 "$vm" run -- sh -c 'pwd; cat "$1"; echo from-guest >"$1"' sh "$file") || return
  expect_equal "$(<"$scratch/out")" "$clone/build"$'\n'"from-host" && expect_equal "$(<"$file")" from-guest && rm "$file"
}

test_folder_of_the_caller_is_shared() {
  (cd "$scratch" && expect_code 0 "$vm" run -- sh -c 'pwd; echo here >result') &&
    expect_equal "$(<"$scratch/out")" "$scratch" && expect_equal "$(<"$scratch/result")" here
}

test_environment() {
  OTHER=1 NAMED=2 UBLKBENCH_MINE=3 expect_code 0 "$vm" --env NAMED run env || return
  expect_text out NAMED=2 && expect_text out UBLKBENCH_MINE=3 && expect_text out UBLKBENCH_VM=1 &&
    expect_text out UBLKBENCH_QEMU_VERSION= && { ! grep -q OTHER "$scratch/out" || problem "OTHER was forwarded"; }
}

test_guest_is_complete() {
  expect_code 0 "$vm" run --disk 1G --disk 300M -- bash -euc '
    test -c /dev/ublk-control
    test "$(blockdev --getsize64 /dev/disk/by-ublkbench/scratch0)" = $((1 << 30))
    test "$(blockdev --getsize64 /dev/disk/by-ublkbench/scratch1)" = $((300 << 20))
    for name in /sys/kernel/debug/block /sys/kernel/tracing/events /dev/shm /dev/pts/ptmx; do test -e $name; done
    test "$(ulimit -l)" = unlimited
    ping -c 1 127.0.0.1 >/dev/null 2>&1 || ip -o addr show lo | grep -q 127.0.0.1
    modprobe null_blk nr_devices=1
    dd if=/dev/nullb0 of=/dev/null bs=1M count=8 status=none
    cat <(echo substitution)
    bpftrace -e "BEGIN { exit(); }" >/dev/null'
}

test_timeout() {
  expect_code 124 "$vm" run --timeout 30 -- sh -c 'echo started; sleep 1000' &&
    expect_text out started && expect_text err "waiting for: sh"
}

# The memory of a guest that hangs says the same as ublk-dump did in it.
test_vmcore() {
  local server=$clone/build/vm-release/tests/hanglab/bad_server
  # In the clone, which 'scripts/vm root' sees.
  local core=$clone/build/test_vm.vmcore
  [[ -x $server ]] || { problem "build first: scripts/vm build" && return 1; }
  expect_code 2 "$vm" run --timeout 0 --vmcore "$core" -- true && expect_text err "needs a --timeout" || return 1
  expect_code 124 "$vm" run --mem 1G --timeout 240 --vmcore "$core" -- bash -c "
    modprobe ublk_drv; $server serve --hold -1 --id 3 >/tmp/ready &
    until grep -q ready /tmp/ready; do sleep 0.2; done
    dd if=/dev/ublkb3 of=/dev/null bs=4k count=1 iflag=direct & sleep 4
    python3 $clone/drgn/ublk-dump --dev 3; sleep 1000" &&
    expect_text out SERVER_HOLDS_IO && expect_text err "memory is in $core" || return 1
  expect_code 1 "$vm" root -- python3 drgn/ublk-dump --vmcore "$core" &&
    expect_text out "vmcore, types from BTF" && expect_text out SERVER_HOLDS_IO || return 1
  # Cut off, it is one line or a partial dump.
  local bytes code
  for bytes in $(($(stat -c %s "$core") / 2)) 4096 100; do
    code=0
    truncate -s "$bytes" "$core"
    "$vm" root -- python3 drgn/ublk-dump --vmcore "$core" >"$scratch/out" 2>"$scratch/err" || code=$?
    echo "    $bytes bytes: $code $(<"$scratch/err")"
    [[ $code == [134] && $(wc -l <"$scratch/err") -le 1 ]] || problem "$bytes bytes of it: exit code $code" || return 1
  done
  rm "$core"
}

test_panic() {
  expect_code 125 "$vm" run -- sh -c 'echo c >/proc/sysrq-trigger' && expect_text err "sysrq triggered crash" || return 1
  expect_code 125 "$vm" run -- sh -c 'echo o >/proc/sysrq-trigger; sleep 100' && expect_text err "without an exit code"
}

test_two_at_once() {
  local first=0 second=0
  "$vm" run -- sh -c 'sleep 2; hostname; exit 4' >"$scratch/first" &
  local pid=$!
  "$vm" run -- sh -c 'sleep 1; uname; exit 5' >"$scratch/second" || second=$?
  wait $pid || first=$?
  expect_equal "$first $second $(cat "$scratch/first" "$scratch/second" | tr '\n' ' ')" "4 5 ublkbench-vm Linux "
}

test_interrupt_reaches_the_command() {
  start_in_background -- sh -c 'trap "echo caught; exit 9" INT; echo ready; while :; do sleep 1; done'
  wait_for_output || return
  kill -INT $background
  local code=0
  wait $background || code=$?
  expect_equal $code 130 && expect_text out caught && left_behind $background
}

test_terminate() {
  start_in_background -- sh -c 'echo ready; sleep 1000'
  wait_for_output || return
  kill -TERM $background
  local code=0
  wait $background || code=$?
  expect_equal $code 143 && left_behind $background
}

test_kill_leaves_no_process() {
  start_in_background -- sh -c 'echo ready; sleep 1000'
  wait_for_output || return
  kill -KILL $background
  wait $background 2>/dev/null
  left_behind $background folder || return
  expect_code 0 "$vm" run true && left_behind $background
}

test_older_kernel() { expect_code 0 "$vm" --kernel 6.12 run -- uname -r && expect_text out 6.12.; }

# Instructions between two reads of the clock in a loop of a fixed length.
test_icount_is_deterministic() {
  local -a durations=()
  cat >"$scratch/loop.c" <<'END'
#include <stdio.h>
#include <x86intrin.h>
int main(void) {
  for (volatile int i = 0; i < 100000000; i++) {
  }
  unsigned long long start = __rdtsc();
  for (volatile int i = 0; i < 20000000; i++) {
  }
  printf("%llu\n", (unsigned long long)(__rdtsc() - start));
}
END
  cp "$scratch/loop.c" "$clone/build/vm-loop.c"
  "$vm" root -- gcc -O1 -static -o build/vm-loop build/vm-loop.c || return
  for _ in first second; do
    expect_code 0 "$vm" --icount run -- "$clone/build/vm-loop" || return
    durations+=("$(<"$scratch/out")")
  done
  rm -f "$clone/build/vm-loop" "$clone/build/vm-loop.c"
  echo "    ${durations[*]}"
  # Timer interrupts fall where they fall: less than a thousandth.
  local difference=$((durations[0] - durations[1]))
  ((${difference#-} * 500 < durations[0])) || problem "${durations[*]} differ"
}

run_tests() {
  local name word passed=0 failed=0 start
  for name in $(compgen -A function test_); do
    for word in "${@:-}"; do
      [[ $name == *"$word"* ]] || continue
      start=$SECONDS
      if "$name"; then
        passed=$((passed + 1))
        echo "ok   ${name#test_} ($((SECONDS - start)) s)"
      else
        failed=$((failed + 1))
        echo "FAIL ${name#test_} ($((SECONDS - start)) s)"
      fi
      break
    done
  done
  echo "$passed passed, $failed failed"
  ((failed == 0 && passed > 0))
}

run_tests "$@"
