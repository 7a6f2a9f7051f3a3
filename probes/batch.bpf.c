// SPDX-License-Identifier: Dual MIT/GPL
/*
 * How many io commands are fetched and committed at once, by any ublk server.
 *
 * Nothing here runs once per I/O where the kernel has something that runs once per batch: lists of
 * requests and the submission queue are walked instead, a few instructions an entry. Only what the
 * kernel hands over one by one (depth 1, an I/O scheduler) costs a program each.
 *
 * What must not miss an event is a kprobe.multi program: those run with preemption off. An fentry
 * or tp_btf program can be preempted, and does not run for another task of that CPU meanwhile
 * (bpf_prog_get_recursion_context(): one counter a program and CPU), and a CONFIG_PREEMPT_LAZY
 * kernel preempts at a tick.
 */
#include <linux/ptrace.h>

#include "probes/bpf/compat.bpf.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "probes/bpf/batch_turns.bpf.h"
#include "probes/bpf/entries.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* The number of the ublk device that the request belongs to; the caller knows that it is one. */
static __always_inline int device_of(struct request *rq)
{
	return device_number(rq->q->disk->private_data);
}

/* A write with UBLK_F_NEED_GET_DATA is delivered only by its UBLK_U_IO_NEED_GET_DATA. */
static __always_inline bool waits_for_buffer(struct request *rq)
{
	return (rq->cmd_flags & REQ_OP_MASK) == REQ_OP_WRITE && rq->__data_len;
}

static __always_inline bool needs_get_data(__u64 kiocb)
{
	struct ublk_queue *ubq;

	if (!may_need_get_data)
		return false;
	ubq = (void *)u64_at((__u64)&pdu_of(kiocb)->ubq);
	return u64_at((__u64)&ubq->flags) & UBLK_F_NEED_GET_DATA;
}

static __always_inline struct request *request_of_pdu(__u64 kiocb)
{
	const __u64 address = u64_at((__u64)&pdu_of(kiocb)->req);

	return address ? bpf_core_cast((void *)address, struct request) : NULL;
}

/* rq_next is in a union: each step is a cast. */
static __always_inline struct request *next_request(struct request *rq)
{
	return bpf_core_cast(rq->rq_next, struct request);
}

/* Eight steps a turn, because a turn costs half of a step. */
static __always_inline __u32 count_requests(struct request *rq)
{
	__u32 requests = unknown_zero();

	while (rq && can_go_on) {
		requests++;
#pragma unroll
		for (int step = 1; step < 8; step++) {
			rq = next_request(rq);
			if (!rq)
				return requests;
			requests++;
		}
		rq = next_request(rq);
	}
	return requests;
}

/* Without those that are delivered only by their NEED_GET_DATA. */
static __always_inline __u32 count_with_data(struct request *rq)
{
	__u32 requests = unknown_zero();

	for (; rq && can_go_on; rq = next_request(rq))
		if (!waits_for_buffer(rq))
			requests++;
	return requests;
}

/*
 * Fetch, per I/O, the cheap way: what the driver's task work dispatches, list by list. The first
 * argument is a struct io_tw_req by value, which holds one pointer.
 */
static __noinline int dispatch_list(__u64 kiocb)
{
	struct request *rq = request_of_pdu(kiocb);
	__u32 ios;

	if (!rq)
		return 0;
	if (needs_get_data(kiocb))
		ios = count_with_data(rq);
	else
		ios = count_requests(rq);
	fetched(device_of(rq), rq->mq_hctx->queue_num, ios);
	return 0;
}

static __noinline int dispatch_one(__u64 kiocb)
{
	struct request *rq = request_of_pdu(kiocb);

	if (rq && !(needs_get_data(kiocb) && waits_for_buffer(rq)))
		fetched(device_of(rq), rq->mq_hctx->queue_num, 1);
	return 0;
}

/*
 * Fetch, per I/O, on any kernel: the CQEs of FETCH_REQ, COMMIT_AND_FETCH_REQ and NEED_GET_DATA that
 * say UBLK_IO_RES_OK. One program an I/O.
 */
static __always_inline int io_command_done(void *address, __s32 result)
{
	struct io_kiocb *req;
	struct io_uring_cmd *cmd;
	int dev;

	if (!address || result != UBLK_IO_RES_OK)
		return 0;
	req = bpf_core_cast(address, struct io_kiocb);
	if (req->opcode != IORING_OP_URING_CMD)
		return 0;
	cmd = bpf_core_cast(address, struct io_uring_cmd);
	switch (cmd->cmd_op) {
	case UBLK_U_IO_FETCH_REQ:
	case UBLK_U_IO_COMMIT_AND_FETCH_REQ:
	case UBLK_U_IO_NEED_GET_DATA:
	case UBLK_IO_FETCH_REQ:
	case UBLK_IO_COMMIT_AND_FETCH_REQ:
	case UBLK_IO_NEED_GET_DATA:
		break;
	default:
		return 0;
	}
	dev = device_of_file(req->file);
	if (dev >= 0)
		fetched(dev, BATCH_ANY_QUEUE, 1);
	return 0;
}

SEC("tp_btf/io_uring_complete")
int BPF_PROG(completed_cqe, struct io_ring_ctx *ring, void *address, struct io_uring_cqe *cqe)
{
	return io_command_done(address, cqe->res);
}

/* Linux 6.12 */
SEC("tp_btf/io_uring_complete")
int BPF_PROG(completed_values, void *ring, void *address, __u64 user_data, int result)
{
	return io_command_done(address, result);
}

/* Fetch with UBLK_F_BATCH_IO: a CQE of FETCH_IO_CMDS carries bytes of 16-bit tags. */
static __noinline int fetch_posted(void *command, void *selected)
{
	const struct io_uring_cmd *cmd = bpf_core_cast(command, struct io_uring_cmd);
	const long bytes = bpf_core_cast(selected, struct io_br_sel)->val;
	struct batch_task *task = this_task(false);
	int dev;

	/* What fetch_not_posted() takes back is this one, also if it brings no tags or is another's. */
	if (task)
		task->posting = 0;
	if (bytes <= 0)
		return 0;
	dev = device_of_file(cmd->file);
	if (dev < 0 || !wanted(dev))
		return 0;
	if (!task)
		task = this_task(true);
	if (!task)
		return 0;
	task->server = true;
	task->dev = dev;
	task->posting = (__u64)bytes / 2;
	record(task, BATCH_FETCH, dev, BATCH_ANY_QUEUE, task->posting);
	__sync_fetch_and_add(&totals.fetched_ios, task->posting);
	return 0;
}

/* There was no room for the CQE after all: the tags went back to the queue's fifo. */
static __noinline int fetch_not_posted(void)
{
	struct batch_task *task = this_task(false);

	if (!task || !task->posting)
		return 0;
	add_to(task->known_index[BATCH_FETCH], task->posting, -1);
	__sync_fetch_and_add(&totals.fetched_ios, -(__u64)task->posting);
	task->posting = 0;
	return 0;
}

static __noinline int batch_commit(struct ublk_batch_io_data *data)
{
	const __u32 ios = (__u16)u32_at((__u64)&data->header.nr_elem);
	const int dev = device_number((void *)u64_at((__u64)&data->ub));
	struct batch_task *task;

	if (!wanted(dev))
		return 0;
	task = this_task(true);
	if (!task)
		return 0;
	task->server = true;
	task->dev = dev;
	record(task, BATCH_COMMIT, dev, u32_at((__u64)&data->header.q_id), ios);
	__sync_fetch_and_add(&totals.committed_ios, ios);
	return 0;
}

static __always_inline __u16 queue_of(void *hctx)
{
	return bpf_core_cast(hctx, struct blk_mq_hw_ctx)->queue_num;
}

/* A task that hands requests to the driver, and may be a kernel thread. */
static __always_inline struct batch_task *client(int dev)
{
	struct batch_task *task = this_task(true);

	if (!task)
		return NULL;
	if (!task->server)
		task->dev = dev;
	return task;
}

static __always_inline int queued(int dev, struct request *rq, __u32 count)
{
	struct batch_task *task;

	if (!wanted(dev))
		return 0;
	task = client(dev);
	if (task)
		record(task, BATCH_QUEUED, dev, rq->mq_hctx->queue_num, count);
	return 0;
}

/* blk_mq_dispatch_queue_requests(list, count), of any driver: all of one request queue. */
static __noinline int queue_counted(void *list, __u32 count)
{
	struct request *rq = bpf_core_cast(list, struct rq_list)->head;
	const int dev = device_of_queue(rq->q);

	return dev < 0 ? 0 : queued(dev, rq, count);
}

static __noinline int queue_list(void *list)
{
	struct request *rq = bpf_core_cast(list, struct rq_list)->head;

	return rq ? queued(device_of(rq), rq, count_requests(rq)) : 0;
}

static __noinline int queue_rq(void *hctx, void *bd)
{
	const int dev = device_of(bpf_core_cast(bd, struct blk_mq_queue_data)->rq);
	struct batch_task *task;

	if (!wanted(dev))
		return 0;
	task = client(dev);
	if (task)
		record(task, BATCH_QUEUED, dev, queue_of(hctx), 1);
	return 0;
}

/* Until 'last' or commit_rqs the driver only collects. */
static __noinline int batch_queue_rq(void *hctx, void *address)
{
	const struct blk_mq_queue_data *bd = bpf_core_cast(address, struct blk_mq_queue_data);
	const int dev = device_of(bd->rq);
	struct batch_task *task;

	if (!wanted(dev))
		return 0;
	task = client(dev);
	if (!task)
		return 0;
	task->queued++;
	if (bd->last) {
		record(task, BATCH_QUEUED, dev, queue_of(hctx), task->queued);
		task->queued = 0;
	}
	return 0;
}

static __noinline int commit_rqs(void *hctx)
{
	struct batch_task *task = this_task(false);

	if (!task || !task->queued)
		return 0;
	record(task, BATCH_QUEUED, task->dev, queue_of(hctx), task->queued);
	task->queued = 0;
	return 0;
}

/*
 * One program for all of these, because one link patches the kernel once for all of its functions:
 * each link more takes as long again.
 */
SEC("kprobe.multi")
int entry(struct pt_regs *ctx)
{
	const __u64 first = PT_REGS_PARM1(ctx), second = PT_REGS_PARM2(ctx);

	switch (bpf_get_attach_cookie(ctx)) {
		ON(BATCH_ON_ENTERED, entered((struct pt_regs *)first));
		ON(BATCH_ON_DISPATCH_LIST, dispatch_list(first));
		ON(BATCH_ON_DISPATCH_ONE, dispatch_one(first));
		ON(BATCH_ON_FETCH_POSTED, fetch_posted((void *)first, (void *)second));
		ON(BATCH_ON_FETCH_NOT_POSTED, fetch_not_posted());
		ON(BATCH_ON_BATCH_COMMIT, batch_commit((void *)first));
		ON(BATCH_ON_QUEUE_COUNTED, queue_counted((void *)first, second));
		ON(BATCH_ON_QUEUE_LIST, queue_list((void *)first));
		ON(BATCH_ON_QUEUE_RQ, queue_rq((void *)first, (void *)second));
		ON(BATCH_ON_BATCH_QUEUE_RQ, batch_queue_rq((void *)first, (void *)second));
		ON(BATCH_ON_COMMIT_RQS, commit_rqs((void *)first));
	}
	return 0;
}

SEC("tp_btf/block_rq_requeue")
int BPF_PROG(requeued, struct request *rq)
{
	struct batch_task *task = this_task(false);

	if (task && task->server)
		__sync_fetch_and_add(&totals.requeued_ios, 1);
	return 0;
}
