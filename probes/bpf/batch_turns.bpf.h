/* SPDX-License-Identifier: Dual MIT/GPL */
/* What a task does between one io_uring_enter() and the next: fetches, submissions, completions. */
#pragma once

#include "probes/bpf/batch_counts.bpf.h"
#include "probes/bpf/sqes.bpf.h"
#include "probes/bpf/subject.bpf.h"

const volatile bool may_need_get_data = false;
/* Where no device has two, all commits are of queue 0. */
const volatile bool several_queues = true;
/* NEED_GET_DATA commands are delivered by their CQE; io_command_done() sees those by itself. */
const volatile bool late_fetch_by_sqe = true;

/* The task's per-I/O commits do not say whose they are: the SQEs have a queue and a tag only. */
static __always_inline void serves_another(void)
{
	struct batch_task *task;

	if (bpf_get_current_task_btf()->flags & (PF_EXITING | PF_KTHREAD | PF_USER_WORKER))
		return;
	task = this_task(true);
	if (task)
		task->others = true;
}

static __always_inline void fetched(int dev, __u16 queue, __u32 ios)
{
	struct batch_task *task;
	__u32 flags;

	if (!wanted(dev)) {
		serves_another();
		return;
	}
	flags = bpf_get_current_task_btf()->flags;
	if (flags & (PF_EXITING | PF_KTHREAD)) {
		__sync_fetch_and_add(&totals.aborted_ios, ios);
		return;
	}
	if (flags & PF_USER_WORKER) {
		__sync_fetch_and_add(&totals.sqpoll_ios, ios);
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
	task->queue = !task->fetched || (task->queue == queue && (int)task->dev == dev)
			      ? queue
			      : BATCH_ANY_QUEUE;
	task->dev = dev;
	task->fetched += ios;
	__sync_fetch_and_add(&totals.fetched_ios, ios);
}

/* What a submission holds of per-I/O commands. */
struct submitted_commands {
	__u32 commits;
	__u32 late_fetches;
	__u32 any_bits; /* of the queues' numbers: both are alike if all are of one queue */
	__u32 all_bits;
};

/*
 * The command's number alone tells a commit: in other SQEs there are offsets of I/O, pointers or
 * counts in its place, none of which is this large and odd. The old commands have small numbers.
 */
static __always_inline void look_at(struct submitted_commands *found, __u64 entry,
				    bool with_queues, bool with_late_fetches)
{
	const struct io_uring_sqe *sqe = bpf_core_cast((void *)entry, struct io_uring_sqe);
	const __u32 op = sqe->cmd_op;

	if (op == UBLK_U_IO_COMMIT_AND_FETCH_REQ ||
	    (op == UBLK_IO_COMMIT_AND_FETCH_REQ && sqe->opcode == IORING_OP_URING_CMD)) {
		found->commits++;
		if (with_queues) {
			found->any_bits |= sqe->q_id;
			found->all_bits &= sqe->q_id;
		}
	} else if (with_late_fetches && is_late_fetch(op) && sqe->opcode == IORING_OP_URING_CMD) {
		found->late_fetches++;
	}
}

/* Eight a turn, because a turn costs half of an entry. */
static __always_inline void look_through(struct submitted_commands *found,
					 const struct submission *sqes, bool with_queues,
					 bool with_late_fetches)
{
	const __u64 step = 1ull << (sqes->shift & 7);
	__u32 i = unknown_zero(), left;
	__u64 entry;

	while (i < sqes->count && can_go_on) {
		left = adjacent_sqes(sqes, i, &entry);
		i += left;
		for (; left >= 8 && can_go_on; left -= 8) {
#pragma unroll
			for (int next = 0; next < 8; next++, entry += step)
				look_at(found, entry, with_queues, with_late_fetches);
		}
		for (; left && can_go_on; left--, entry += step)
			look_at(found, entry, with_queues, with_late_fetches);
	}
}

/* The SQEs that the kernel is about to consume, and what of them are per-I/O commits. */
static __always_inline void read_sqes(struct batch_task *task, const struct submission *sqes)
{
	struct submitted_commands found = {.commits = unknown_zero(),
					   .late_fetches = unknown_zero(),
					   .any_bits = unknown_zero(),
					   .all_bits = ~unknown_zero()};
	__u16 queue = 0;

	if (several_queues || may_need_get_data)
		look_through(&found, sqes, several_queues, may_need_get_data);
	else
		look_through(&found, sqes, false, false);
	if (found.commits) {
		if (several_queues)
			queue = found.any_bits == found.all_bits ? (__u16)found.any_bits
								 : BATCH_ANY_QUEUE;
		record(task, BATCH_COMMIT, task->dev, queue, found.commits);
		__sync_fetch_and_add(&totals.committed_ios, found.commits);
	}
	if (found.late_fetches && late_fetch_by_sqe)
		fetched(task->dev, BATCH_ANY_QUEUE, found.late_fetches);
}

/* What is known of the ring, which is the task's first from now on; another one is forgotten. */
static __always_inline struct batch_ring *ring_of(struct batch_task *task, __u64 address)
{
	struct batch_ring *ring = &task->rings[0];
	struct batch_ring other;

	if (ring->address == address)
		return ring;
	other = task->rings[1];
	task->rings[1] = *ring;
	*ring = other;
	if (ring->address != address) {
		ring->address = address;
		ring->cq_tail = bpf_core_cast((void *)address, struct io_ring_ctx)->cached_cq_tail;
		ring->sqes = 0;
	}
	return ring;
}

static __always_inline void submits(struct batch_task *task, __u64 address, __u32 most)
{
	struct batch_ring *ring;
	struct submission sqes;
	__u32 again;

	if (!find_submission(&sqes, (void *)address, most) || sqes.flags & IORING_SETUP_SQPOLL)
		return;
	ring = ring_of(task, address);
	again = ring->sq_head - sqes.head;
	/* More than it submitted last: another ring at the same address. */
	if (again && again <= ring->sqes && !(sqes.flags & IORING_SETUP_SQ_REWIND))
		__sync_fetch_and_add(&totals.resubmitted_sqes, again);
	ring->sq_head = sqes.head + sqes.count;
	ring->sqes = sqes.count;
	if (task->server) {
		record(task, BATCH_SERVER_SQES, task->dev, BATCH_ANY_QUEUE, sqes.count);
		if (task->others) {
			__sync_fetch_and_add(&totals.unread_sqes, sqes.count);
			return;
		}
		locate_sqes(&sqes, (void *)address);
		read_sqes(task, &sqes);
	} else {
		record(task, BATCH_CLIENT_SQES, task->dev, BATCH_ANY_QUEUE, sqes.count);
	}
}

static __always_inline __u32 new_cqes(struct batch_ring *known)
{
	const struct io_ring_ctx *ring;
	__u32 tail, step;

	if (!known->address)
		return 0;
	ring = bpf_core_cast((void *)known->address, struct io_ring_ctx);
	tail = ring->cached_cq_tail;
	step = tail - known->cq_tail;
	if (!step)
		return 0;
	known->cq_tail = tail;
	/* No ring posts so many in a turn: it is gone, and its memory is another's. */
	return step <= ring->cq_entries ? step : 0;
}

/* What was posted since the last call is what the task has seen in between. */
static __always_inline void saw_completions(struct batch_task *task)
{
	const __u32 cqes = new_cqes(&task->rings[0]) + new_cqes(&task->rings[1]);

	if (cqes)
		record(task, task->server ? BATCH_SERVER_CQES : BATCH_CLIENT_CQES, task->dev,
		       BATCH_ANY_QUEUE, cqes);
}

/*
 * io_uring_enter(fd, to_submit, min_complete, flags). The submission queue is read here, before
 * io_submit_sqes() consumes it: a program there would cost as much again.
 */
static __noinline int entered(struct pt_regs *user)
{
	struct batch_task *task = this_task(false);
	__u32 to_submit;
	__u64 ring;

	if (!task || task->dev == BATCH_NO_DEVICE)
		return 0;
	if (task->fetched) {
		record(task, BATCH_FETCH, task->dev, task->queue, task->fetched);
		task->fetched = 0;
	}
	saw_completions(task);
	to_submit = u32_at((__u64)&PT_REGS_PARM2(user));
	if (!to_submit)
		return 0;
	ring = entered_ring(u32_at((__u64)&PT_REGS_PARM1(user)),
			    u32_at((__u64)&PT_REGS_PARM4_SYSCALL(user)));
	if (ring)
		submits(task, ring, to_submit);
	return 0;
}
