/* SPDX-License-Identifier: MIT */
/*
 * The one histogram definition of the project, shared by C++, BPF and (restated) Python: log-linear
 * with 64 sub-buckets per power of two. Values below 128 have a slot of their own; above, a slot is
 * at most 1/64 of its lowest value wide, so that its midpoint is within 1/128 (0.8 %) of every
 * value in it. Owns slot arithmetic only; counting and memory belong to the user.
 *
 * Plain C11 without loops, divisions or library calls, so that the BPF verifier accepts it as it
 * is. BPF programs include vmlinux.h (or linux/types.h) before this file.
 */
#ifndef UBLKBENCH_BASE_LOG_LINEAR_H
#define UBLKBENCH_BASE_LOG_LINEAR_H

#ifdef __bpf__
typedef __u64 log_linear_u64;
typedef __u32 log_linear_u32;
#else
#include <stdint.h>
typedef uint64_t log_linear_u64;
typedef uint32_t log_linear_u32;
#endif

#define LOG_LINEAR_SUB_BITS 6
#define LOG_LINEAR_SUB_BUCKETS (1u << LOG_LINEAR_SUB_BITS)
/* Two blocks of 64 for values below 128, then one block for each of the other 57 powers of two. */
#define LOG_LINEAR_SLOTS ((64u - LOG_LINEAR_SUB_BITS + 1u) * LOG_LINEAR_SUB_BUCKETS)

/* Index of the highest bit that is set; `value` must not be 0. */
static inline log_linear_u32 log_linear_top_bit(log_linear_u64 value) {
#ifdef __bpf__
  /* BPF has no count-leading-zeros instruction; this is six compares, no table, no branch needed.
   */
  log_linear_u32 bit = 0;
  log_linear_u32 step;
  step = (log_linear_u32)(value > 0xffffffffULL) << 5, value >>= step, bit |= step;
  step = (log_linear_u32)(value > 0xffffULL) << 4, value >>= step, bit |= step;
  step = (log_linear_u32)(value > 0xffULL) << 3, value >>= step, bit |= step;
  step = (log_linear_u32)(value > 0xfULL) << 2, value >>= step, bit |= step;
  step = (log_linear_u32)(value > 0x3ULL) << 1, value >>= step, bit |= step;
  return bit | (log_linear_u32)(value >> 1);
#else
  return 63u - (log_linear_u32)__builtin_clzll(value);
#endif
}

/* The slot that counts `value`: 0 .. LOG_LINEAR_SLOTS - 1, rising with the value. */
static inline log_linear_u32 log_linear_slot(log_linear_u64 value) {
  const log_linear_u32 shift =
      log_linear_top_bit(value | LOG_LINEAR_SUB_BUCKETS) - LOG_LINEAR_SUB_BITS;
  return (shift << LOG_LINEAR_SUB_BITS) + (log_linear_u32)(value >> shift);
}

/* log2 of the number of values that share `slot`. */
static inline log_linear_u32 log_linear_shift(log_linear_u32 slot) {
  return slot < 2 * LOG_LINEAR_SUB_BUCKETS ? 0 : (slot >> LOG_LINEAR_SUB_BITS) - 1;
}

/* The lowest value that `slot` counts. */
static inline log_linear_u64 log_linear_lowest(log_linear_u32 slot) {
  const log_linear_u32 shift = log_linear_shift(slot);
  return (log_linear_u64)(slot - (shift << LOG_LINEAR_SUB_BITS)) << shift;
}

/* The highest value that `slot` counts. */
static inline log_linear_u64 log_linear_highest(log_linear_u32 slot) {
  return log_linear_lowest(slot) + (((log_linear_u64)1 << log_linear_shift(slot)) - 1);
}

/* The value that stands for all in `slot`; exact below 128. */
static inline log_linear_u64 log_linear_midpoint(log_linear_u32 slot) {
  return log_linear_lowest(slot) + (((log_linear_u64)1 << log_linear_shift(slot)) >> 1);
}

#endif
