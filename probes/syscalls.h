/* SPDX-License-Identifier: Dual MIT/GPL */
/* What the syscalls probe's BPF side and its reader share. */
#pragma once

#include <linux/types.h>

#include "probes/log2_slots.h"

#define SYSCALLS_SERVERS 64 /* processes that are known at the start */
#define SYSCALLS_TASKS 1024

enum syscalls_event {
  SYSCALLS_ON_ENTERED,        /* io_uring_enter() */
  SYSCALLS_ON_COMMAND,        /* io_uring_cmd(), of a struct io_kiocb */
  SYSCALLS_ON_DRIVER_COMMAND, /* the driver's part of it, of a struct io_uring_cmd */
  SYSCALLS_ON_SECURITY,       /* security_uring_cmd(), of a struct io_uring_cmd */
  SYSCALLS_ON_QUEUE_LIST,
  SYSCALLS_ON_QUEUE_RQ,
};

struct syscalls_task {
  char comm[16];
  __u32 tgid;
  __u8 server; /* it sent io commands, or its process serves a device */
  __u8 client; /* it handed requests to the driver */
  __u64 enters;
  __u64 commands;
  __u64 command_ns;
  __u64 security_calls;
  __u64 security_ns;
  /* What it is in the middle of; 0: nothing. */
  __u64 command_since_ns;
  __u64 security_since_ns;
};

struct syscalls_totals {
  __u64 lost_events; /* no room for the task */
  __u64 command_ns_events[LOG2_SLOTS];
};
