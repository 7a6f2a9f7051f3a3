/* SPDX-License-Identifier: Dual MIT/GPL */
/* What the batch probe's BPF side and its reader share. */
#pragma once

#include <linux/types.h>

/* Exact sizes up to the deepest queue (UBLK_MAX_QUEUE_DEPTH); larger ones share the last slot. */
#define BATCH_LARGEST 4096
#define BATCH_HISTOGRAMS 192

enum batch_kind {
  BATCH_FETCH,       /* io commands delivered */
  BATCH_COMMIT,      /* results handed to the driver */
  BATCH_SERVER_SQES, /* SQEs per io_uring_enter() of a server task */
  BATCH_SERVER_CQES, /* CQEs posted between two of them */
  BATCH_CLIENT_SQES,
  BATCH_CLIENT_CQES,
  BATCH_QUEUED, /* requests handed to the driver at once */
  BATCH_KINDS,
};

/* What a function of the kernel tells by being called. */
enum batch_event {
  BATCH_ON_ENTERED,
  BATCH_ON_DISPATCH_LIST,
  BATCH_ON_DISPATCH_ONE,
  BATCH_ON_FETCH_POSTED,
  BATCH_ON_FETCH_NOT_POSTED,
  BATCH_ON_BATCH_COMMIT,
  BATCH_ON_QUEUE_COUNTED,
  BATCH_ON_QUEUE_LIST,
  BATCH_ON_QUEUE_RQ,
  BATCH_ON_BATCH_QUEUE_RQ,
  BATCH_ON_COMMIT_RQS,
};

struct batch_key {
  __u32 kind;
  __u32 tid;   /* 0: not told apart by task */
  __u16 dev;   /* number of the ublk device */
  __u16 queue; /* BATCH_ANY_QUEUE: of several queues */
  char comm[16];
};

#define BATCH_ANY_QUEUE 0xffff

struct batch_histogram {
  __u64 events[BATCH_LARGEST + 1];
};

struct batch_totals {
  __u64 fetched_ios;
  __u64 committed_ios;
  __u64 lost_events;      /* the table of histograms was full */
  __u64 sqpoll_ios;       /* delivered to SQPOLL threads, which never call io_uring_enter() */
  __u64 aborted_ios;      /* task work found its task exiting: the driver gave them back */
  __u64 resubmitted_sqes; /* counted again: the kernel had not consumed them the first time */
  __u64 unread_sqes;      /* of tasks that also serve devices that nobody asked for */
  __u64 requeued_ios;     /* given back by the driver while they were dispatched */
};
