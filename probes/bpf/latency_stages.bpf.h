/* SPDX-License-Identifier: Dual MIT/GPL */
/* From the turns of the server's loop to the stages of a request, and those to the histograms. */
#pragma once

#include "bench/base/log_linear.h"
#include "probes/bpf/latency_ios.bpf.h"
#include "probes/bpf/server_turns.bpf.h"

/*
 * All CPUs count in these: few are followed, and a device's completions come from few CPUs. Their
 * reader maps them.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LATENCY_OPS *LATENCY_SIZES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct latency_stages);
} by_size SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LATENCY_QUEUES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct latency_stages);
} by_queue SEC(".maps");

/* What a commit needs to know of the turn in which it is submitted. */
struct commit_view {
	__u64 now;
	__u64 done_ns; /* when the last io_uring_enter() returned */
	__u32 turn;
	__u32 server;
};

static __always_inline void view_from(struct commit_view *view, const struct server_task *task)
{
	view->now = bpf_ktime_get_ns();
	view->done_ns = task->left_ns;
	view->turn = task->turn;
	view->server = task->server;
}

#define UNSEEN_RETURN 1 /* no time */

/* A followed request is committed: what lies between its dispatch and now. */
static __noinline int split(struct latency_io *io, const struct commit_view *view)
{
	const struct server_turn *turn, *next;

	if (!io || !view)
		return 0;
	turn = turn_of(io->server, io->turn);
	next = turn_of(io->server, io->turn + 1);
	io->committed_ns = view->now;
	io->seen_ns = io->dispatched_ns;
	if (turn && !turn->left_ns) {
		io->seen_ns = UNSEEN_RETURN;
		return 0;
	}
	if (turn && turn->left_ns > io->seen_ns)
		io->seen_ns = turn->left_ns;
	if (turn && io->server == view->server && io->turn + 1 == view->turn) {
		/* Committed in the very next turn: nothing was waited for. */
		io->sent_ns = io->done_ns = view->now;
		return 0;
	}
	if (turn && next) {
		io->sent_ns = next->entered_ns;
	} else {
		/* The turns are overwritten or never had a place, or another task was first. */
		__sync_fetch_and_add(&totals.unsplit_ios, 1);
		io->seen_ns = io->sent_ns = io->dispatched_ns;
	}
	if (io->sent_ns < io->seen_ns)
		io->sent_ns = io->seen_ns;
	io->done_ns = view->done_ns > io->sent_ns ? view->done_ns : io->sent_ns;
	if (io->done_ns > view->now)
		io->sent_ns = io->done_ns = view->now;
	return 0;
}

static __always_inline void committed(struct tag_range tags, __u32 tag,
				      const struct commit_view *view)
{
	struct latency_io *io = io_of(tags, tag);

	if (io && io->request && io->dispatched_ns && !io->committed_ns)
		split(io, view);
}

/* A new lowest or highest value: seldom, so that others seldom come between. */
static __noinline int widen(struct latency_histogram *histogram, __u64 ns)
{
	__u64 old;

	if (!histogram)
		return 0;
	while (can_go_on) {
		old = *(volatile __u64 *)&histogram->max_ns;
		if (ns <= old || __sync_val_compare_and_swap(&histogram->max_ns, old, ns) == old)
			break;
	}
	while (can_go_on) {
		old = *(volatile __u64 *)&histogram->min_ns;
		if ((old && ns + 1 >= old) ||
		    __sync_val_compare_and_swap(&histogram->min_ns, old, ns + 1) == old)
			break;
	}
	return 0;
}

static __always_inline void count(struct latency_histogram *histogram, __u32 slot, __u64 ns)
{
	__sync_fetch_and_add(&histogram->sum_ns, ns);
	__sync_fetch_and_add(&histogram->slots[slot], 1);
	if (ns > histogram->max_ns || ns + 1 < histogram->min_ns || !histogram->min_ns)
		widen(histogram, ns);
}

/* A followed request is completed, now. */
static __noinline int finish(struct latency_io *io, __u32 queue, __u64 now)
{
	struct latency_stages *of_size, *of_queue;
	__u64 stage_ns[LATENCY_STAGES];
	__u32 index;

	if (!io)
		return 0;
	stage_ns[LATENCY_DISPATCH] = io->dispatched_ns - io->queued_ns;
	stage_ns[LATENCY_WAKE] = io->seen_ns - io->dispatched_ns;
	stage_ns[LATENCY_SERVER] = io->sent_ns - io->seen_ns;
	stage_ns[LATENCY_TARGET] = io->done_ns - io->sent_ns;
	stage_ns[LATENCY_COMMIT] = io->committed_ns - io->done_ns;
	stage_ns[LATENCY_COMPLETE] = now - io->committed_ns;
	stage_ns[LATENCY_TOTAL] = now - io->queued_ns;
	index = io->op * LATENCY_SIZES + io->size;
	of_size = bpf_map_lookup_elem(&by_size, &index);
	if (queue >= LATENCY_QUEUES)
		queue = LATENCY_QUEUES - 1;
	of_queue = bpf_map_lookup_elem(&by_queue, &queue);
	if (!of_size || !of_queue)
		return 0;
#pragma unroll
	for (int stage = 0; stage < LATENCY_STAGES; stage++) {
		const __u64 ns = stage_ns[stage];
		__u32 slot = log_linear_slot(ns);

		/* Keeps the compiler from checking one register and using another. */
		asm volatile("" : "+r"(slot));
		if (slot >= LATENCY_SLOTS)
			return 0;
		count(&of_size->stages[stage], slot, ns);
		count(&of_queue->stages[stage], slot, ns);
	}
	__sync_fetch_and_add(&totals.finished_ios, 1);
	return 0;
}

static __noinline int complete(__u64 request, __u32 error, __u32 bytes)
{
	struct request *rq = bpf_core_cast((void *)request, struct request);
	const __u64 now = bpf_ktime_get_ns();
	struct latency_io *io = followed(request);

	if (!io || bytes < rq->__data_len)
		return 0;
	/* An earlier one with this tag was followed, and its completion missed: this one is not. */
	if (rq->start_time_ns > io->queued_ns)
		__sync_fetch_and_add(&totals.lost_ios, 1);
	else if (io->dispatched_ns && io->committed_ns && io->seen_ns == UNSEEN_RETURN)
		__sync_fetch_and_add(&totals.unseen_return_ios, 1);
	else if (io->dispatched_ns && io->committed_ns)
		finish(io, rq->mq_hctx->queue_num, now);
	else if (error)
		__sync_fetch_and_add(&totals.uncommitted_ios, 1);
	else
		__sync_fetch_and_add(&totals.lost_ios, 1);
	forget(io);
	return 0;
}
