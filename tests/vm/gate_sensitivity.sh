#!/bin/bash
# What scripts/gate finds, by trial: an unchanged server, and one whose path is 1 % and 2 % longer, many times each.
#   tests/vm/gate_sensitivity.sh [--no-build] [GATES]   20 by default; a gate is three boots, and a boot measures all arms
# The planted instructions are that percentage of the shortest server path of the suite, so that no cell gets more.
# That is a path at depth 128; at depth 1, where it is five times as long, they are a fifth of it and decide nothing, so
# the planted arms measure depth 128 only, which saves time. What is missing can only cost them a finding.
# Records and verdicts stay in build/sensitivity; a run that was ended goes on where it was.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
build=yes
[[ ${1:-} != --no-build ]] || { build=no && shift; }
gates=${1:-20}
out=$PWD/build/sensitivity
release=$PWD/build/vm-release/bench/tools/ublkbench planted=$PWD/build/vm-planted/bench/tools/ublkbench

mkdir -p "$out"
if [[ $build == yes ]]; then
  nice -n 5 scripts/vm build
  nice -n 5 scripts/vm --preset planted build
fi

# boot NAME SEED ARM...: one guest; every arm measures its suite once.
boot() {
  local name=$1 seed=$2
  shift 2
  [[ ! -e $out/$name.done ]] || return 0
  nice -n 5 scripts/vm --icount --timeout 1800 run -- bash -c "$(for arm in "$@"; do
    case $arm in
      same) echo "export UBLKBENCH_PROGRAM=$release; depths=all" ;;
      *) echo "export UBLKBENCH_PROGRAM=$planted UBLKBENCH_PLANTED_INSTRUCTIONS=${extra[$arm]}; depths=deep" ;;
    esac
    echo "UBLKBENCH_SEED=$seed UBLKBENCH_RECORD=$out/$name-$arm.json scripts/gate_suite.sh \$depths >/dev/null 2>&1;"
  done)"
  local arm
  for arm in "$@"; do [[ -s $out/$name-$arm.json ]]; done
  touch "$out/$name.done"
}

declare -A extra=()
for number in 1 2 3; do boot "base$number" "$number" same; done
nice -n 5 scripts/vm root -- "$release" baseline accept "$out/baseline.json" "$out"/base{1,2,3}-same*.json --reason sensitivity
shortest=$(python3 -c '
import json, statistics, sys
cells = json.load(open(sys.argv[1]))["cells"]
print(min(statistics.median(c["samples"]["server_instructions"]) for c in cells if "server_instructions" in c["samples"]))
' "$out/baseline.json")
for percent in 1 2; do extra[plus$percent]=$(python3 -c "print(2 * round($shortest * $percent / 200))"); done
echo "shortest server path: $shortest instructions; planted: ${extra[plus1]} and ${extra[plus2]} an I/O"

declare -A codes=()
for ((gate = 1; gate <= gates; gate++)); do
  for number in 1 2 3; do boot "gate$gate-$number" "$((100 * gate + number))" same plus1 plus2; done
  for arm in same plus1 plus2; do
    code=0
    nice -n 5 scripts/vm root -- "$release" gate --baseline "$out/baseline.json" "$out/gate$gate"-{1,2,3}-"$arm"*.json \
      >"$out/gate$gate-$arm.txt" || code=$?
    codes[$arm]+=" $code"
  done
  echo "after $gate gates, exit codes: same${codes[same]} | +1 %${codes[plus1]} | +2 %${codes[plus2]}"
done

# 0 for every unchanged one, 1 for every +2 %, and 1 for 9 of 10 of +1 %.
count() { grep -o "\b$2\b" <<<"${codes[$1]}" | wc -l; }
[[ $(count same 0) == "$gates" && $(count plus2 1) == "$gates" && $(($(count plus1 1) * 10)) -ge $((gates * 9)) ]]
