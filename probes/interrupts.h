/* SPDX-License-Identifier: Dual MIT/GPL */
/* What the interrupts probe's BPF side and its reader share. */
#pragma once

#include <linux/types.h>

#define INTERRUPTS_VECTORS 512
#define INTERRUPTS_LARGEST 128 /* completions of one interrupt; more count as so many */

struct interrupts_vector {
  char name[24]; /* of its handler: "nvme0q1" */
  __u64 completions;
  __u64 events[INTERRUPTS_LARGEST + 1]; /* interrupts that brought so many */
};

/* What a CPU's interrupt handler has done so far. */
struct interrupts_cpu {
  __u32 running;
  __u32 completions;
};

struct interrupts_totals {
  __u64 elsewhere; /* completions in tasks, softirqs and calls from other CPUs */
  __u64 lost_events;
};
