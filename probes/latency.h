/* SPDX-License-Identifier: Dual MIT/GPL */
/* What the latency probe's BPF side and its reader share. */
#pragma once

#include <linux/types.h>

/* Where a request's time goes, in the order in which it passes. They add up to the total. */
enum latency_stage {
  LATENCY_DISPATCH, /* queue_rq -> the driver's task work ran in the server's task */
  LATENCY_WAKE,     /* -> that io_uring_enter() returned to the server */
  LATENCY_SERVER,   /* -> the server's next io_uring_enter(), with the target's I/O or the commit */
  LATENCY_TARGET,   /* -> the last io_uring_enter() before the commit returned; 0: none between */
  LATENCY_COMMIT,   /* -> the commit was submitted */
  LATENCY_COMPLETE, /* -> the block layer completed the request */
  LATENCY_TOTAL,
  LATENCY_STAGES,
};

enum latency_event {
  LATENCY_ON_ENTERED,
  LATENCY_ON_SUBMITTING,
  LATENCY_ON_QUEUE_LIST,
  LATENCY_ON_QUEUE_RQ,
  LATENCY_ON_DISPATCH_LIST,
  LATENCY_ON_DISPATCH_ONE,
  LATENCY_ON_FETCH_POSTED,
  LATENCY_ON_BATCH_COMMIT,
};

enum latency_op { LATENCY_READ, LATENCY_WRITE, LATENCY_OTHER, LATENCY_OPS };

/* Up to 4 KiB, 8 KiB and so on up to 1 MiB; the last is all above. */
#define LATENCY_SIZES 10
#define LATENCY_SMALLEST_BYTES 4096

#define LATENCY_QUEUES 64  /* the last is that of all above it, too */
#define LATENCY_SERVERS 64 /* tasks */
#define LATENCY_TURNS 4096 /* of each that are remembered */
#define LATENCY_SLOTS 3776 /* LOG_LINEAR_SLOTS */

struct latency_histogram {
  __u64 sum_ns;
  __u64 min_ns; /* +1, so that 0 is none */
  __u64 max_ns;
  __u64 slots[LATENCY_SLOTS];
};

struct latency_stages {
  struct latency_histogram stages[LATENCY_STAGES];
};

struct latency_mark {
  __u32 followed; /* requests at addresses like this one */
  __u32 index;    /* in the table of requests, of the last one */
};

/* What a CPU handed to the driver. */
struct latency_handed {
  __u64 requests;
  __u64 until_sample; /* so many more until one is followed */
};

struct latency_totals {
  __u64 begun_ios;         /* handed to the driver, of those that are followed */
  __u64 finished_ios;      /* in the histograms */
  __u64 lost_ios;          /* an event of theirs was missed */
  __u64 uncommitted_ios;   /* ended by the driver: their server is gone */
  __u64 requeued_ios;      /* given back to the block layer; they begin anew */
  __u64 unseen_return_ios; /* when the server saw them is not known */
  __u64 untracked_ios;     /* no room for their tag */
  __u64 unsplit_ios;       /* between dispatch and commit all is counted as target */
  __u64 unread_sqes;       /* commits of SQPOLL rings, or of a task that serves several devices */
};
