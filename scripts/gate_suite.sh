#!/bin/sh
# What scripts/gate measures in each guest: two depths of four modes that compose both deliveries and both kinds of
# buffers, and the control.  Any program that does the same as this one is for 'scripts/gate --measure'.
#   gate_suite.sh [all|deep]      records go to $UBLKBENCH_RECORD, and beside it with -NAME before .json
set -eu

suite() {
  "$UBLKBENCH_PROGRAM" run --mode copy --mode auto_zc --mode batch --mode batch,auto_zc "$@" --repeat 1 \
    --control null_blk --verify off --seed "$UBLKBENCH_SEED" --format csv
}

# Two sides that take turns do the same in each I/O, so few are enough: boots differ by 0.1 %.  With many in flight it
# is chance how many a turn has, and boots differ by up to 1 %.
[ "${1:-all}" = deep ] || suite --qd 1 --ios 3k --json "${UBLKBENCH_RECORD%.json}-shallow.json"
suite --qd 128 --ios 20k --json "$UBLKBENCH_RECORD"
