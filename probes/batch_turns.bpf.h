/* SPDX-License-Identifier: Dual MIT/GPL */
/* What a task does between one io_uring_enter() and the next: fetches, submissions, completions. */
#pragma once

#include "batch_counts.bpf.h"
#include "sqes.bpf.h"
#include "subject.bpf.h"

const volatile bool may_need_get_data = false;
/* Where no device has two, all commits are of queue 0. */
const volatile bool several_queues = true;
/* NEED_GET_DATA commands are delivered by their CQE; io_command_done() sees those by itself. */
const volatile bool late_fetch_by_sqe = true;

static __always_inline void fetched(int dev, __u16 queue, __u32 ios)
{
	struct batch_task *task;

	if (!wanted(dev))
		return;
	if (bpf_get_current_task_btf()->flags & (PF_EXITING | PF_KTHREAD)) {
		__sync_fetch_and_add(&totals.aborted_ios, ios);
		return;
	}
	task = this_task(true);
	if (!task)
		return;
	task->server = true;
	if (!ios) {
		/* Only writes that wait for NEED_GET_DATA: their SQEs must be read. */
		task->dev = dev;
		return;
	}
	task->queue = !task->fetched || (task->queue == queue && task->dev == dev)
			      ? queue
			      : BATCH_ANY_QUEUE;
	task->dev = dev;
	task->fetched += ios;
	__sync_fetch_and_add(&totals.fetched_ios, ios);
}

/* The SQEs that io_submit_sqes() is about to consume, and what of them are per-I/O commits. */
static __always_inline void read_sqes(struct batch_task *task, const struct submission *sqes)
{
	__u32 commits = unknown_zero(), late_fetches = unknown_zero(), i = unknown_zero();
	__u32 any_bits = unknown_zero(), all_bits = ~unknown_zero();

	for (; i < sqes->count && can_go_on; i++) {
		const struct io_uring_sqe *sqe = submitted_sqe(sqes, i);
		const __u32 op = sqe->cmd_op;

		if (is_commit(op) && sqe->opcode == IORING_OP_URING_CMD) {
			commits++;
			if (several_queues) {
				any_bits |= sqe->q_id;
				all_bits &= sqe->q_id;
			}
		} else if (may_need_get_data && is_late_fetch(op) &&
			   sqe->opcode == IORING_OP_URING_CMD) {
			late_fetches++;
		}
	}
	if (commits) {
		__u16 queue = 0;

		if (several_queues)
			queue = any_bits == all_bits ? (__u16)any_bits : BATCH_ANY_QUEUE;
		record(task, BATCH_COMMIT, task->dev, queue, commits);
		__sync_fetch_and_add(&totals.committed_ios, commits);
	}
	if (late_fetches && late_fetch_by_sqe)
		fetched(task->dev, BATCH_ANY_QUEUE, late_fetches);
}

static __noinline int submitting(void *address, __u32 most)
{
	struct batch_task *task = this_task(false);
	struct submission sqes;

	if (!task || !find_submission(&sqes, address, most))
		return 0;
	if (sqes.flags & IORING_SETUP_SQPOLL) {
		__sync_fetch_and_add(&totals.unread_sqes, sqes.count);
		return 0;
	}
	if (task->ring != (__u64)address) {
		task->ring = (__u64)address;
		task->cq_tail = bpf_core_cast(address, struct io_ring_ctx)->cached_cq_tail;
	} else if ((int)(task->sq_head - sqes.head) > 0 && !(sqes.flags & IORING_SETUP_SQ_REWIND)) {
		__sync_fetch_and_add(&totals.resubmitted_sqes, task->sq_head - sqes.head);
	}
	task->sq_head = sqes.head + sqes.count;
	if (task->server) {
		record(task, BATCH_SERVER_SQES, task->dev, BATCH_ANY_QUEUE, sqes.count);
		locate_sqes(&sqes, address);
		read_sqes(task, &sqes);
	} else {
		record(task, BATCH_CLIENT_SQES, task->dev, BATCH_ANY_QUEUE, sqes.count);
	}
	return 0;
}

/* What was posted since the last call is what the task has seen in between. */
static __noinline int entered(void)
{
	struct batch_task *task = this_task(false);

	if (!task)
		return 0;
	if (task->fetched) {
		record(task, BATCH_FETCH, task->dev, task->queue, task->fetched);
		task->fetched = 0;
	}
	if (task->ring) {
		const struct io_ring_ctx *ring =
			bpf_core_cast((void *)task->ring, struct io_ring_ctx);
		const __u32 tail = ring->cached_cq_tail;

		if (tail != task->cq_tail)
			record(task, task->server ? BATCH_SERVER_CQES : BATCH_CLIENT_CQES,
			       task->dev, BATCH_ANY_QUEUE, tail - task->cq_tail);
		task->cq_tail = tail;
	}
	return 0;
}
