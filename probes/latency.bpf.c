// SPDX-License-Identifier: Dual MIT/GPL
/*
 * Where the time of each request goes, by any ublk server that lives in an io_uring loop.
 *
 * Which SQE of a server belongs to which request nobody but the server knows; but a server handles
 * what one io_uring_enter() brought before it calls the next. So the turns of its loop say when it
 * had seen a request, when it had submitted what the request needs, and after which turn it
 * committed.
 *
 * One clock reading and one program a batch, as far as the kernel has batches: only the block
 * layer's completion is a program an I/O. It is an fentry program, which costs half of a
 * kprobe.multi's. The driver completes with bottom halves off (__ublk_complete_rq,
 * ublk_end_request), so that no ublk completion is skipped for another; but while the program runs
 * for another driver's it may be preempted, and the kernel skips ublk's on that CPU (missed_runs).
 * It may skip a return of io_uring_enter(), too; what depends on that is known and left out.
 *
 * Every `sample`th request of a CPU is followed. What that costs the others: a step in the list of
 * those that are handed over together, a look at `marks` when they are dispatched and completed,
 * and one at their entry when they are committed.
 */
#include <linux/ptrace.h>

#include "probes/bpf/compat.bpf.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "probes/bpf/entries.bpf.h"
#include "probes/bpf/latency_stages.bpf.h"
#include "probes/bpf/sqes.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define TAGS_AT_ONCE 128 /* of a FETCH_IO_CMDS completion: MAX_NR_TAG (ublk_drv.c) */
#define ELEMENT_BYTES 24 /* the largest of COMMIT_IO_CMDS */

/* Elements of a COMMIT_IO_CMDS, copied from the server's memory. */
struct commit_elements {
	__u8 bytes[TAGS_AT_ONCE * ELEMENT_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct commit_elements);
} elements SEC(".maps");

static __always_inline __u8 op_of(struct request *rq)
{
	const __u32 op = rq->cmd_flags & REQ_OP_MASK;

	return op == REQ_OP_READ    ? LATENCY_READ
	       : op == REQ_OP_WRITE ? LATENCY_WRITE
				    : LATENCY_OTHER;
}

static __always_inline __u8 size_of(struct request *rq)
{
	const __u32 bytes = rq->__data_len;
	__u8 size = 0;

#pragma unroll
	for (int class = 0; class < LATENCY_SIZES - 1; class ++)
		size += bytes > (__u32)LATENCY_SMALLEST_BYTES << class;
	return size;
}

static __noinline int begin(const struct latency_device *device, __u64 address, __u64 now)
{
	struct request *rq = bpf_core_cast((void *)address, struct request);
	struct latency_io *io;
	struct tag_range tags;

	if (!device)
		return 0;
	tags = tags_of(device, rq->mq_hctx->queue_num);
	io = io_of(tags, rq->tag);
	if (!io) {
		__sync_fetch_and_add(&totals.untracked_ios, 1);
		return 0;
	}
	if (io->request) {
		__sync_fetch_and_add(&totals.lost_ios, 1);
		forget(io);
	}
	io->queued_ns = now;
	io->dispatched_ns = 0;
	io->committed_ns = 0;
	io->op = op_of(rq);
	io->size = size_of(rq);
	follow(io, tags.first + rq->tag, address);
	__sync_fetch_and_add(&totals.begun_ios, 1);
	return 0;
}

static __always_inline __u64 next_request(__u64 address)
{
	return PEEK(__u64, address + bpf_core_field_offset(struct request, rq_next));
}

/* The driver is given a list of requests, or one. */
static __noinline int begin_requests(__u64 address, bool list)
{
	const __u32 index = 0;
	const __u64 now = bpf_ktime_get_ns();
	struct latency_handed *here;
	struct latency_device *device;
	__u32 requests = unknown_zero();
	__u64 until;
	struct request *rq;
	__u64 ub;
	int number;

	if (!address)
		return 0;
	number = number_of_request(address, &ub);
	here = bpf_map_lookup_elem(&handed, &index);
	if (!wanted(number) || number < 0 || !here)
		return 0;
	rq = bpf_core_cast((void *)address, struct request);
	device = device_with_room(rq, number, ub);
	until = here->until_sample;
	while (address && can_go_on) {
		requests++;
		if (until-- <= 1) {
			until = sample;
			begin(device, address, now);
		}
		address = list ? next_request(address) : 0;
	}
	/* Each CPU has its own, and this runs with preemption off. */
	here->until_sample = until;
	here->requests += requests;
	if (!device)
		__sync_fetch_and_add(&totals.untracked_ios, requests);
	return 0;
}

static __always_inline int begin_list(__u64 list)
{
	return begin_requests(PEEK(__u64, list + bpf_core_field_offset(struct rq_list, head)),
			      true);
}

static __always_inline int begin_one(__u64 data)
{
	return begin_requests(
		PEEK(__u64, data + bpf_core_field_offset(struct blk_mq_queue_data, rq)), false);
}

static __always_inline void dispatched(struct latency_io *io, const struct server_task *task,
				       __u64 now)
{
	io->dispatched_ns = now;
	io->turn = task->turn;
	io->server = task->server;
}

/* The task that work of the device is dispatched to; NULL if the driver will take it back. */
static __always_inline struct server_task *dispatched_to(__u32 number)
{
	struct server_task *task;

	if (bpf_get_current_task_btf()->flags & (PF_EXITING | PF_KTHREAD))
		return NULL;
	task = server_task(true);
	if (!task)
		return NULL;
	if (task->devices && task->device != number)
		task->devices = 2;
	else
		task->devices |= 1;
	task->device = number;
	return task;
}

static __noinline int dispatch_requests(__u64 kiocb, bool list)
{
	__u64 address = PEEK(__u64, (__u64)pdu_of(kiocb) +
					    bpf_core_field_offset(struct ublk_uring_cmd_pdu, req));
	const __u64 now = bpf_ktime_get_ns();
	struct server_task *task;
	struct latency_io *io;
	__u64 ub;
	int number;

	if (!address)
		return 0;
	number = number_of_request(address, &ub);
	if (number < 0)
		return 0;
	/* Also of a device that nobody asked for: the task's commits may be of either then. */
	task = dispatched_to(number);
	if (!task || !wanted(number))
		return 0;
	take_place(task);
	while (address && can_go_on) {
		io = followed(address);
		if (io)
			dispatched(io, task, now);
		address = list ? next_request(address) : 0;
	}
	return 0;
}

/*
 * UBLK_F_BATCH_IO: the tags that a FETCH_IO_CMDS completion carries were just taken from the
 * queue's fifo; they are still in its memory.
 */
static __noinline int fetch_posted(__u64 command, void *selected)
{
	const long bytes = bpf_core_cast(selected, struct io_br_sel)->val;
	__u32 count = (__u64)bytes / 2, i = unknown_zero();
	struct latency_device *device;
	struct ublk_queue *ubq = NULL;
	struct server_task *task;
	struct latency_io *io;
	struct __kfifo fifo;
	__u64 ub, data, now;
	struct tag_range tags;
	int number;

	if (bytes <= 0 ||
	    device_of_file(bpf_core_cast((void *)command, struct io_uring_cmd)->file) < 0)
		return 0;
	bpf_core_read(&ubq, sizeof(ubq), &pdu_of(command)->ubq);
	ub = (__u64)BPF_CORE_READ(ubq, dev);
	number = device_number((void *)ub);
	if (!wanted(number) || number < 0)
		return 0;
	task = dispatched_to(number);
	device = device_numbered(number);
	if (!task || !device || device->ub != ub ||
	    bpf_core_read(&fifo, sizeof(fifo), &ubq->evts_fifo.kfifo))
		return 0;
	take_place(task);
	tags = tags_of(device, BPF_CORE_READ(ubq, q_id));
	data = (__u64)fifo.data;
	now = bpf_ktime_get_ns();
	if (count > TAGS_AT_ONCE)
		count = TAGS_AT_ONCE;
	for (; i < count && can_go_on; i++) {
		const __u32 at = (fifo.out - count + i) & fifo.mask;

		io = io_of(tags, PEEK(__u16, data + (__u64)at * 2));
		if (io && io->request)
			dispatched(io, task, now);
	}
	return 0;
}

static __noinline int submitting(void *ring, __u32 most)
{
	struct server_task *task = server_task(false);
	const struct latency_device *device;
	__u32 i = unknown_zero();
	struct submission sqes;
	struct commit_view view;

	if (!task || !task->devices || !find_submission(&sqes, ring, most))
		return 0;
	if (task->devices == 1 && !wanted(task->device))
		return 0;
	if (task->devices > 1 || sqes.flags & IORING_SETUP_SQPOLL) {
		__sync_fetch_and_add(&totals.unread_sqes, sqes.count);
		return 0;
	}
	device = device_numbered(task->device);
	if (!device)
		return 0;
	view_from(&view, task);
	locate_sqes(&sqes, ring);
	for (; i < sqes.count && can_go_on; i++) {
		const struct io_uring_sqe *sqe = submitted_sqe(&sqes, i);

		if (is_commit(sqe->cmd_op) && sqe->opcode == IORING_OP_URING_CMD)
			committed(tags_of(device, sqe->q_id), sqe->tag, &view);
	}
	return 0;
}

/* The elements of a COMMIT_IO_CMDS begin with the tag (struct ublk_elem_header). */
static __noinline int batch_commit(struct ublk_batch_io_data *data)
{
	const __u32 index = 0;
	const struct latency_device *device;
	struct commit_elements *copy;
	struct server_task *task;
	__u32 done = unknown_zero(), bytes, at;
	struct ublk_batch_io header;
	struct commit_view view;
	struct tag_range tags;
	__u64 from;
	int number;

	number = BPF_CORE_READ(data, ub, ub_number);
	if (!wanted(number) || number < 0)
		return 0;
	device = device_numbered(number);
	copy = bpf_map_lookup_elem(&elements, &index);
	/* Any task may commit, also one that never fetched. */
	task = server_task(true);
	if (!device || !copy || !task)
		return 0;
	bpf_core_read(&header, sizeof(header), &data->header);
	from = BPF_CORE_READ(data, cmd, sqe, addr);
	tags = tags_of(device, header.q_id);
	view_from(&view, task);
	while (done < header.nr_elem && can_go_on) {
		__u32 count = header.nr_elem - done;

		if (count > TAGS_AT_ONCE)
			count = TAGS_AT_ONCE;
		bytes = count * header.elem_bytes;
		if (bytes > sizeof(copy->bytes) ||
		    bpf_probe_read_user(copy->bytes, bytes,
					(void *)(from + done * header.elem_bytes)))
			break;
		for (at = unknown_zero(); at < bytes && can_go_on; at += header.elem_bytes) {
			if (at > sizeof(copy->bytes) - sizeof(__u16))
				break;
			committed(tags, *(__u16 *)(copy->bytes + at), &view);
		}
		done += count;
	}
	return 0;
}

SEC("kprobe.multi")
int entry(struct pt_regs *ctx)
{
	const __u64 first = PT_REGS_PARM1(ctx), second = PT_REGS_PARM2(ctx);

	switch (bpf_get_attach_cookie(ctx)) {
		ON(LATENCY_ON_ENTERED, turn_begins());
		ON(LATENCY_ON_SUBMITTING, submitting((void *)first, second));
		ON(LATENCY_ON_QUEUE_LIST, begin_list(first));
		ON(LATENCY_ON_QUEUE_RQ, begin_one(second));
		ON(LATENCY_ON_DISPATCH_LIST, dispatch_requests(first, true));
		ON(LATENCY_ON_DISPATCH_ONE, dispatch_requests(first, false));
		ON(LATENCY_ON_FETCH_POSTED, fetch_posted(first, (void *)second));
		ON(LATENCY_ON_BATCH_COMMIT, batch_commit((void *)first));
	}
	return 0;
}

/* The return of io_uring_enter(). */
SEC("fexit")
int returned(void *ctx)
{
	return turn_ends();
}

/* blk_update_request() */
SEC("fentry")
int BPF_PROG(updated, struct request *rq, unsigned char error, unsigned int bytes)
{
	__u64 address;

	bpf_get_func_arg(ctx, 0, &address);
	return mark_of(address)->followed ? complete(address, error, bytes) : 0;
}

SEC("tp_btf/block_rq_requeue")
int BPF_PROG(requeued, struct request *rq)
{
	struct latency_io *io = io_of_known(rq);

	if (!io)
		return 0;
	forget(io);
	__sync_fetch_and_add(&totals.requeued_ios, 1);
	return 0;
}
