#!/bin/bash
# 'git bisect run scripts/gate --bisect' finds the commit that made the path longer, by trial.
#   tests/vm/gate_bisect.sh [--no-build]
# A scratch repository of 16 commits of a small server variant: a script that says how our server is built and started.
# One of them plants 2 % of the server's path (preset planted); the others change words that cost nothing. About 15 guests.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
clone=$PWD planted=$PWD/build/vm-planted/bench/tools/ublkbench
readonly commits=16 guilty=11 path_instructions=8960 # of mode copy at depth 1; docs/compare-and-gate.md
if [[ ${1:-} != --no-build ]]; then
  scripts/vm build
  scripts/vm --preset planted build
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# variant NUMBER EXTRA: the server of that commit, as a program for 'scripts/gate --measure'.
variant() {
  cat >server.sh <<END
#!/bin/sh
# revision $1
extra=$2
[ \$extra = 0 ] || UBLKBENCH_PROGRAM=$planted
export UBLKBENCH_PLANTED_INSTRUCTIONS=\$extra
exec "\$UBLKBENCH_PROGRAM" run --mode copy --qd 1 --ios 3k --repeat 1 --control null_blk --verify off --format csv \\
  --seed "\$UBLKBENCH_SEED" --json "\$UBLKBENCH_RECORD"
END
  chmod +x server.sh
  git add server.sh
  git commit -q -m "server: revision $1"
}

git init -q .
git config user.name trial
git config user.email trial@localhost
for ((number = 1; number <= commits; number++)); do
  variant "$number" "$((number < guilty ? 0 : path_instructions / 50))"
done
gate=("$clone/scripts/gate" --no-build --baseline "$scratch/good.json" --measure ./server.sh)
first=$(git rev-list --max-parents=0 HEAD)
git checkout -q "$first"
"${gate[@]}" accept --reason "the first commit"
git checkout -q -

git bisect start HEAD "$first" >bisect.log
git bisect run "${gate[@]}" --bisect >>bisect.log 2>&1 || { cat bisect.log && exit 1; }
found=$(git log -1 --format=%s refs/bisect/bad)
cp bisect.log "$clone/build/gate_bisect.log"
echo "git bisect found '$found' after $(git bisect log | grep -c '^git bisect \(good\|bad\)') verdicts; $clone/build/gate_bisect.log"
[[ $found == "server: revision $guilty" ]]
