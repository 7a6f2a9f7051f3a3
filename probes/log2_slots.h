/* SPDX-License-Identifier: Dual MIT/GPL */
/* Histograms of powers of two, for both sides: slot 0 counts 0, slot n what is from 2^(n-1) to
 * below 2^n. */
#pragma once

#include "bench/base/log_linear.h"

#define LOG2_SLOTS 64 /* the last counts all from 2^62 on, too */

static inline log_linear_u32 log2_slot(log_linear_u64 value) {
  const log_linear_u32 slot = value ? log_linear_top_bit(value) + 1 : 0;
  return slot < LOG2_SLOTS ? slot : LOG2_SLOTS - 1;
}

/* The lowest value that `slot` counts. */
static inline log_linear_u64 log2_lowest(log_linear_u32 slot) {
  return slot ? (log_linear_u64)1 << (slot - 1) : 0;
}

