/* SPDX-License-Identifier: Dual MIT/GPL */
/* What the probes that count calls of the driver's functions share with their BPF side. */
#pragma once

#include <linux/types.h>

#include "probes/log2_slots.h"

#define CALLS_COUNTERS 32

/* How a function's argument says which device it is about. */
enum calls_argument {
  CALLS_ANY_DEVICE, /* it does not: all devices are counted */
  CALLS_DEVICE,     /* struct ublk_device */
  CALLS_QUEUE,      /* struct ublk_queue */
  CALLS_REQUEST,    /* struct request */
  CALLS_RELEASE,    /* the same, whose buffer's last reference is gone */
  CALLS_FETCH,      /* struct ublk_queue, from which a fetch command is about to take */
  CALLS_REGISTER,   /* struct request, whose buffer goes into a ring if the function returns 0 */
  CALLS_COMMAND,    /* struct io_uring_cmd: counts REGISTER_IO_BUF, and UNREGISTER_IO_BUF apart */
  CALLS_MATCH,      /* struct ublk_device, whose shared memory has the data if it returns true */
};

/* The event of a function. */
#define CALLS_EVENT(counter, argument, position) \
  ((__u32)(counter) | (__u32)(argument) << 8 | (__u32)(position) << 16)

/* Counters that a program of its own has. */
enum calls_fixed {
  CALLS_FAILED = CALLS_COUNTERS - 7, /* block_rq_error */
  CALLS_REQUEUED,                    /* block_rq_requeue */
  CALLS_TAG_WAITS,                   /* block_rq_tag_wait */
  CALLS_RELEASED_OFF_TASK,           /* ublk_io_release() outside of the server */
  CALLS_SHMEM_HITS,                  /* ublk_try_buf_match() said yes */
  CALLS_NOT_REGISTERED,              /* io_buffer_register_request() failed */
  CALLS_UNREGISTER_COMMANDS,         /* found beside REGISTER_IO_BUF */
};

/* Tags whose buffers were registered: all devices, queues and tags together. */
#define CALLS_BUFFERS 32768
/* Tasks that are in the middle of a function whose return value counts. */
#define CALLS_PENDING 1024

struct calls_tag {
  __u32 device;
  __u16 queue;
  __u16 tag;
};

struct calls_buffer {
  __u64 held; /* how often it is registered now */
  __u64 since_ns;
  __u64 longest_ns; /* that it was held */
};

struct calls_counts {
  __u64 lost_events; /* no room for a tag or a task */

  __u64 calls[CALLS_COUNTERS];
  /* Occupancy of a batch queue, each time that its fifo is emptied. */
  __u64 fifo_tags[LOG2_SLOTS];
  __u64 fetch_commands[LOG2_SLOTS];
};
