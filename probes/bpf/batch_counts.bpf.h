/* SPDX-License-Identifier: Dual MIT/GPL */
/* The batch probe's histograms, and what it remembers of each task. */
#pragma once

#include "batch.h"

#define BATCH_NO_DEVICE ~0u

/* A ring that a task submits to. Nobody says when it is closed: its memory may be reused. */
struct batch_ring {
	__u64 address; /* 0: none */
	__u32 cq_tail;
	__u32 sq_head; /* that it has once its last submission is through */
	__u32 sqes;    /* of that submission */
};

/* What a task did since its last io_uring_enter(). */
struct batch_task {
	__u32 tid;
	bool server;
	bool others; /* it also serves devices that nobody asked for, without UBLK_F_BATCH_IO */
	__u16 queue; /* of the fetches that are not recorded yet */
	__u32 dev;   /* of those that were asked for; BATCH_NO_DEVICE: none */
	__u32 fetched;
	__u32 queued;
	struct batch_ring rings[2]; /* the one that it submitted to last is the first */
	__u32 posting; /* io commands of the FETCH_IO_CMDS completion that was posted last */
	char comm[16];
	/* The histogram that each kind used last. */
	__u32 known_place[BATCH_KINDS];
	__u32 known_index[BATCH_KINDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct batch_task);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BATCH_HISTOGRAMS * 2);
	__type(key, struct batch_key);
	__type(value, __u32);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BATCH_HISTOGRAMS);
	__type(key, __u32);
	__type(value, struct batch_histogram);
} histograms SEC(".maps");

struct batch_totals totals;
__u32 used_histograms;

static __always_inline struct batch_task *this_task(bool create)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct batch_task *state;

	state = bpf_task_storage_get(&tasks, task, NULL, 0);
	if (state || !create)
		return state;
	state = bpf_task_storage_get(&tasks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!state) {
		__sync_fetch_and_add(&totals.lost_events, 1);
		return NULL;
	}
	state->tid = task->pid;
	state->queue = BATCH_ANY_QUEUE;
	state->dev = BATCH_NO_DEVICE;
	bpf_get_current_comm(state->comm, sizeof(state->comm));
	return state;
}

/* The index of the key's histogram, made if it is new; BATCH_HISTOGRAMS when there is no more room.
 */
static __noinline __u32 histogram_index(struct batch_key *key)
{
	__u32 *found, fresh;

	if (!key)
		return BATCH_HISTOGRAMS;
	found = bpf_map_lookup_elem(&places, key);
	if (found)
		return *found;
	fresh = __sync_fetch_and_add(&used_histograms, 1);
	if (fresh >= BATCH_HISTOGRAMS)
		return BATCH_HISTOGRAMS;
	bpf_map_update_elem(&places, key, &fresh, BPF_NOEXIST);
	/* Another CPU may have been first; its index counts then. */
	found = bpf_map_lookup_elem(&places, key);
	return found ? *found : BATCH_HISTOGRAMS;
}

static __always_inline void count(__u32 index, __u32 size)
{
	struct batch_histogram *histogram = bpf_map_lookup_elem(&histograms, &index);

	if (!histogram) {
		__sync_fetch_and_add(&totals.lost_events, 1);
		return;
	}
	/* Keeps the compiler from checking one register and using another. */
	asm volatile("" : "+r"(size));
	if (size > BATCH_LARGEST)
		size = BATCH_LARGEST;
	__sync_fetch_and_add(&histogram->events[size], 1);
}

static __always_inline void record(struct batch_task *task, enum batch_kind kind, __u16 dev,
				   __u16 queue, __u32 size)
{
	/* Never 0, which is what known_place is at first. */
	const __u32 place = (1u << 31 | (__u32)dev << 16 | queue);

	if (task->known_place[kind] != place) {
		struct batch_key key = {.kind = kind, .tid = task->tid, .dev = dev, .queue = queue};

		__builtin_memcpy(key.comm, task->comm, sizeof(key.comm));
		task->known_index[kind] = histogram_index(&key);
		task->known_place[kind] = place;
	}
	count(task->known_index[kind], size);
}

static __always_inline void add_to(__u32 index, __u32 size, __s64 events)
{
	struct batch_histogram *histogram = bpf_map_lookup_elem(&histograms, &index);

	if (histogram && size <= BATCH_LARGEST)
		__sync_fetch_and_add(&histogram->events[size], events);
}
