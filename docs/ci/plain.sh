#!/bin/bash
# Gates a ublk server on the length of its I/O path; for any CI that runs a script. UBLKBENCH is a checkout of ublkbench.
# Expects ci/measure.sh and ci/path-length.json as docs/ci/github-actions.yml does.
set -euo pipefail
: "${UBLKBENCH:?a checkout of ublkbench}"

"$UBLKBENCH/scripts/gate" self-test

code=0
"$UBLKBENCH/scripts/gate" --measure ci/measure.sh --baseline ci/path-length.json || code=$?
case $code in
  0) echo "the path is not longer" ;;
  1) echo "the path is longer; if that is meant, accept a new baseline or add a waiver" ;;
  3) echo "no verdict; a dead control, missing cells or failed samples are no pass" ;;
  4) echo "the environment is another than the baseline's; accept a new one" ;;
esac
exit "$code"
