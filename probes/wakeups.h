/* SPDX-License-Identifier: Dual MIT/GPL */
/* What the wakeups probe's BPF side and its reader share. */
#pragma once

#include <linux/types.h>

#include "probes/log2_slots.h"

#define WAKEUPS_SERVERS 8 /* processes */
#define WAKEUPS_TASKS 1024

struct wakeups_task {
  char comm[16];
  __u64 sleeps;      /* switched out because it waited: voluntary */
  __u64 preemptions; /* switched out while it could have gone on: involuntary */
  __u64 wakes;
  __u64 on_cpu_ns;
  __u64 delay_ns; /* from each wake until it ran; `delays` has how many such wakes */
  __u64 delays[LOG2_SLOTS];
  /* What it is in the middle of; 0: not known. */
  __u64 running_since_ns;
  __u64 woken_ns;
};

struct wakeups_waker {
  __u32 tid;     /* of the server's task */
  char comm[16]; /* of the task that ran when it was woken; "interrupt" where none did */
};

struct wakeups_totals {
  __u64 lost_events; /* no room for the task or its waker */
};
