// SPDX-License-Identifier: Dual MIT/GPL
/*
 * Where the time of each request goes, by any ublk server that lives in an io_uring loop.
 *
 * One clock reading and one program a batch, as far as the kernel has batches: only the block
 * layer's completion is a program an I/O. Which SQE of a server belongs to which request nobody but
 * the server knows; but a server handles what one io_uring_enter() brought before it calls the next.
 * So the turns of its loop say when it had seen a request, when it had submitted what the request
 * needs, and after which turn it committed.
 */
#include <linux/ptrace.h>

#include "compat.bpf.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "bench/base/log_linear.h"
#include "entries.bpf.h"
#include "latency.h"
#include "server_turns.bpf.h"
#include "subject.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct latency_io {
	__u64 request; /* 0: nothing known to be in flight with this tag */
	__u64 queued_ns;
	__u64 dispatched_ns; /* 0: not yet, as the others */
	__u64 seen_ns;
	__u64 sent_ns;
	__u64 done_ns;
	__u64 committed_ns;
	__u32 turn;
	__u16 server;
	__u8 op;
	__u8 size;
};

/* Of each device its tags lie side by side, queue by queue. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536); /* --max-tags */
	__type(key, __u32);
	__type(value, struct latency_io);
} ios SEC(".maps");

struct latency_device {
	__u64 ub; /* struct ublk_device: another one with the same number has other tags */
	__u32 number;
	__u32 first_io;
	__u32 queues;
	__u32 depth;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WANTED_DEVICES);
	__type(key, __u32);
	__type(value, struct latency_device);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LATENCY_OPS * LATENCY_STAGES);
	__type(key, __u32);
	__type(value, struct latency_histogram);
} histograms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LATENCY_OPS * LATENCY_SIZES);
	__type(key, __u32);
	__type(value, struct latency_sum);
} sums SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LATENCY_QUEUES);
	__type(key, __u32);
	__type(value, struct latency_sum);
} queue_sums SEC(".maps");

const volatile __u32 max_tags = 65536;
struct latency_totals totals;
__u32 used_tags;

/*
 * The devices that were seen last, by the number of their request queue: an address may be compared,
 * but the verifier lets nobody calculate with it.
 */
#define KNOWN_DEVICES 16
struct {
	__u64 ub; /* struct ublk_device */
	__u32 number;
} known[KNOWN_DEVICES];

static __always_inline struct latency_io *io_of(const struct latency_device *device, __u32 queue,
						__u32 tag)
{
	__u32 index;

	if (queue >= device->queues || tag >= device->depth)
		return NULL;
	index = device->first_io + queue * device->depth + tag;
	return bpf_map_lookup_elem(&ios, &index);
}

static __always_inline struct latency_device *device_numbered(__u32 number)
{
	return bpf_map_lookup_elem(&devices, &number);
}

/* Makes room for the tags of a device that was not seen before. */
static __noinline int learn(struct latency_device *device, __u64 ub)
{
	struct ublksrv_ctrl_dev_info info;
	__u32 tags;

	if (!device ||
	    bpf_core_read(&info, sizeof(info), &((struct ublk_device *)ub)->dev_info))
		return 0;
	tags = (__u32)info.nr_hw_queues * info.queue_depth;
	device->number = info.dev_id;
	device->queues = 0;
	device->first_io = __sync_fetch_and_add(&used_tags, tags);
	if (device->first_io + tags <= max_tags) {
		device->depth = info.queue_depth;
		device->queues = info.nr_hw_queues;
	}
	device->ub = ub;
	return 0;
}

#define LEARNING 1 /* no address of a struct ublk_device */

/* False if another CPU is just at it. */
static __always_inline bool learn_once(struct latency_device *device, __u64 ub)
{
	const __u64 before = device->ub;

	if (before == LEARNING ||
	    __sync_val_compare_and_swap(&device->ub, before, LEARNING) != before)
		return false;
	learn(device, ub);
	return true;
}

/* The device of a request that the driver was given. */
static __always_inline struct latency_device *device_of_request(struct request *rq)
{
	const __u32 place = rq->q->id & (KNOWN_DEVICES - 1);
	struct latency_device *device;
	__u64 ub = 0;
	int number;

	bpf_core_read(&ub, sizeof(ub), &rq->q->disk->private_data);
	number = device_number((void *)ub);

	if (!wanted(number) || number < 0)
		return NULL;
	device = device_numbered(number);
	if (!device) {
		__sync_fetch_and_add(&totals.untracked_ios, 1);
		return NULL;
	}
	if (device->ub != ub && !learn_once(device, ub)) {
		__sync_fetch_and_add(&totals.untracked_ios, 1);
		return NULL;
	}
	known[place].ub = ub;
	known[place].number = number;
	return device;
}

static __always_inline __u8 op_of(struct request *rq)
{
	const __u32 op = rq->cmd_flags & REQ_OP_MASK;

	return op == REQ_OP_READ ? LATENCY_READ : op == REQ_OP_WRITE ? LATENCY_WRITE : LATENCY_OTHER;
}

static __always_inline __u8 size_of(struct request *rq)
{
	const __u32 bytes = rq->__data_len;

	return (bytes > 4096) + (bytes > 16384) + (bytes > 65536) + (bytes > 262144);
}

static __always_inline void begin(const struct latency_device *device, struct request *rq,
				  __u64 now)
{
	struct latency_io *io = io_of(device, rq->mq_hctx->queue_num, rq->tag);

	if (!io) {
		__sync_fetch_and_add(&totals.untracked_ios, 1);
		return;
	}
	if (io->request)
		__sync_fetch_and_add(&totals.lost_ios, 1);
	io->request = (__u64)rq;
	io->queued_ns = now;
	io->dispatched_ns = 0;
	io->committed_ns = 0;
	io->op = op_of(rq);
	io->size = size_of(rq);
	__sync_fetch_and_add(&totals.begun_ios, 1);
}

static __noinline int begin_list(void *list)
{
	struct request *rq = bpf_core_cast(list, struct rq_list)->head;
	struct latency_device *device;
	const __u64 now = bpf_ktime_get_ns();
	int i;

	if (!rq)
		return 0;
	device = device_of_request(rq);
	if (!device)
		return 0;
	bpf_for(i, 0, UBLK_MAX_QUEUE_DEPTH) {
		if (!rq)
			break;
		begin(device, rq, now);
		rq = bpf_core_cast(rq->rq_next, struct request);
	}
	return 0;
}

static __noinline int begin_one(void *address)
{
	struct request *rq = bpf_core_cast(address, struct blk_mq_queue_data)->rq;
	struct latency_device *device = device_of_request(rq);

	if (device)
		begin(device, rq, bpf_ktime_get_ns());
	return 0;
}

static __always_inline void dispatched(struct latency_io *io, const struct server_task *task,
				       __u64 now)
{
	if (!io || !io->request)
		return;
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

static __noinline int dispatch_requests(__u64 kiocb, int most)
{
	struct request *rq = NULL;
	const __u64 now = bpf_ktime_get_ns();
	struct latency_device *device;
	struct server_task *task;
	void *address = NULL;
	int i;

	bpf_core_read(&address, sizeof(address), &pdu_of(kiocb)->req);
	if (!address)
		return 0;
	rq = bpf_core_cast(address, struct request);
	device = device_of_request(rq);
	if (!device)
		return 0;
	task = dispatched_to(device->number);
	if (!task)
		return 0;
	bpf_for(i, 0, most) {
		if (!rq)
			break;
		dispatched(io_of(device, rq->mq_hctx->queue_num, rq->tag), task, now);
		rq = bpf_core_cast(rq->rq_next, struct request);
	}
	return 0;
}

#define TAGS_AT_ONCE 128 /* of a FETCH_IO_CMDS completion: MAX_NR_TAG (ublk_drv.c) */

struct tag_buffer {
	__u16 tags[TAGS_AT_ONCE];
};

/*
 * UBLK_F_BATCH_IO: the tags that a FETCH_IO_CMDS completion carries were just taken from the queue's
 * fifo; they are still in its memory.
 */
static __noinline int fetch_posted(void *command, void *selected)
{
	const long bytes = bpf_core_cast(selected, struct io_br_sel)->val;
	const __u64 now = bpf_ktime_get_ns();
	struct latency_device *device;
	struct ublk_queue *ubq = NULL;
	struct server_task *task;
	struct __kfifo fifo;
	int i, number, queue = 0;
	__u32 count = (__u64)bytes / 2;

	if (bytes <= 0 || device_of_file(bpf_core_cast(command, struct io_uring_cmd)->file) < 0)
		return 0;
	bpf_core_read(&ubq, sizeof(ubq), &pdu_of((__u64)command)->ubq);
	number = device_number(BPF_CORE_READ(ubq, dev));
	if (!wanted(number) || number < 0)
		return 0;
	device = device_numbered(number);
	if (!device || device->ub != (__u64)BPF_CORE_READ(ubq, dev) ||
	    bpf_core_read(&fifo, sizeof(fifo), &ubq->evts_fifo.kfifo))
		return 0;
	task = dispatched_to(number);
	if (!task)
		return 0;
	queue = BPF_CORE_READ(ubq, q_id);
	if (count > TAGS_AT_ONCE)
		count = TAGS_AT_ONCE;
	bpf_for(i, 0, (int)count) {
		const __u32 at = (fifo.out - count + i) & fifo.mask;
		__u16 tag = 0xffff;

		bpf_probe_read_kernel(&tag, sizeof(tag), (__u16 *)fifo.data + at);
		dispatched(io_of(device, queue, tag), task, now);
	}
	return 0;
}

/* What a commit needs to know of the turn in which it is submitted. */
struct commit_view {
	__u64 now;
	__u64 done_ns; /* when the last io_uring_enter() returned */
	__u32 number;
	__u32 turn;
	__u32 server;
};

/* A global function: verified once, not in each turn of the loops that call it. */
__noinline int committed(struct commit_view *view __arg_nonnull, __u32 queue, __u32 tag)
{
	struct latency_device *device = device_numbered(view->number);
	struct latency_io *io = device ? io_of(device, queue, tag) : NULL;
	const struct server_turn *turn, *next;

	if (!io || !io->request || !io->dispatched_ns || io->committed_ns)
		return 0;
	io->committed_ns = view->now;
	io->seen_ns = io->dispatched_ns;
	if (io->server == view->server && io->turn + 1 == view->turn) {
		/* Committed in the very next turn: nothing was waited for. */
		turn = turn_of(io->server, io->turn);
		if (turn && turn->left_ns > io->seen_ns)
			io->seen_ns = turn->left_ns;
		io->sent_ns = io->done_ns = view->now;
		return 0;
	}
	turn = turn_of(io->server, io->turn);
	next = turn_of(io->server, io->turn + 1);
	if (turn && next) {
		if (turn->left_ns > io->seen_ns)
			io->seen_ns = turn->left_ns;
		io->sent_ns = next->entered_ns;
	} else {
		__sync_fetch_and_add(&totals.unsplit_ios, 1);
		io->sent_ns = io->seen_ns;
	}
	if (io->sent_ns < io->seen_ns)
		io->sent_ns = io->seen_ns;
	io->done_ns = view->done_ns > io->sent_ns ? view->done_ns : io->sent_ns;
	if (io->done_ns > view->now)
		io->sent_ns = io->done_ns = view->now;
	return 0;
}

static __always_inline void view_from(struct commit_view *view, const struct server_task *task)
{
	view->now = bpf_ktime_get_ns();
	view->done_ns = task->left_ns;
	view->number = task->device;
	view->turn = task->turn;
	view->server = task->server;
}

/*
 * The SQE at `at` if it commits an I/O, as queue << 16 | tag; all ones if not. (No queue has tag
 * 0xffff: UBLK_MAX_QUEUE_DEPTH.)
 */
__noinline __u32 commit_of_sqe(__u64 base, __u64 array, __u32 at, __u32 mask, __u32 shift)
{
	const struct io_uring_sqe *sqe;

	if (array) {
		bpf_probe_read_kernel(&at, sizeof(at), (void *)(array + (__u64)at * 4));
		at &= mask;
	}
	sqe = bpf_core_cast((void *)(base + ((__u64)at << (shift & 7))), struct io_uring_sqe);
	if (sqe->opcode != IORING_OP_URING_CMD || (sqe->cmd_op != UBLK_U_IO_COMMIT_AND_FETCH_REQ &&
						   sqe->cmd_op != UBLK_IO_COMMIT_AND_FETCH_REQ))
		return 0xffffffff;
	return (__u32)sqe->q_id << 16 | sqe->tag;
}

static __noinline int submitting(void *address, __u32 most)
{
	struct server_task *task = server_task(false);
	const struct io_ring_ctx *ring;
	__u64 base = 0, array = 0;
	__u32 head, sqes, mask, shift;
	struct commit_view view;
	int i;

	if (!task || !task->devices)
		return 0;
	ring = bpf_core_cast(address, struct io_ring_ctx);
	head = ring->flags & IORING_SETUP_SQ_REWIND ? 0 : ring->cached_sq_head;
	sqes = ring->flags & IORING_SETUP_SQ_REWIND ? ring->sq_entries : ring->rings->sq.tail - head;
	if (sqes > most)
		sqes = most;
	if (!sqes)
		return 0;
	if (task->devices > 1 || ring->flags & IORING_SETUP_SQPOLL) {
		__sync_fetch_and_add(&totals.unread_sqes, sqes);
		return 0;
	}
	view_from(&view, task);
	bpf_core_read(&base, sizeof(base), &ring->sq_sqes);
	if (!(ring->flags & IORING_SETUP_NO_SQARRAY))
		bpf_core_read(&array, sizeof(array), &ring->sq_array);
	mask = ring->sq_entries - 1;
	shift = ring->flags & IORING_SETUP_SQE128 ? 7 : 6;
	bpf_for(i, 0, (int)sqes) {
		const __u32 commit = commit_of_sqe(base, array, (head + i) & mask, mask, shift);

		if (commit != 0xffffffff)
			committed(&view, commit >> 16, commit & 0xffff);
	}
	return 0;
}

/* The elements of a COMMIT_IO_CMDS begin with the tag (struct ublk_elem_header). */
static __noinline int batch_commit(struct ublk_batch_io_data *data)
{
	struct server_task *task = server_task(false);
	struct ublk_batch_io header;
	struct commit_view view;
	__u64 elements;
	int i, number;

	if (!task)
		return 0;
	number = BPF_CORE_READ(data, ub, ub_number);
	if (!wanted(number) || number < 0)
		return 0;
	bpf_core_read(&header, sizeof(header), &data->header);
	elements = BPF_CORE_READ(data, cmd, sqe, addr);
	view_from(&view, task);
	view.number = number;
	bpf_for(i, 0, header.nr_elem) {
		__u16 tag = 0xffff;

		if (bpf_probe_read_user(&tag, sizeof(tag), (void *)(elements + (__u64)i * header.elem_bytes)))
			break;
		committed(&view, header.q_id, tag);
	}
	return 0;
}

static __always_inline void count(__u32 op, __u32 stage, __u64 ns)
{
	const __u32 index = op * LATENCY_STAGES + stage;
	struct latency_histogram *histogram = bpf_map_lookup_elem(&histograms, &index);
	const __u32 slot = log_linear_slot(ns);

	/* Each CPU has its own, and this runs in one program only, which never runs within itself. */
	if (!histogram || slot >= LATENCY_SLOTS)
		return;
	histogram->sum_ns += ns;
	if (ns > histogram->max_ns)
		histogram->max_ns = ns;
	if (ns + 1 < histogram->min_ns || !histogram->min_ns)
		histogram->min_ns = ns + 1;
	histogram->slots[slot]++;
}

/* What is known of the request; NULL if it is no request of ublk, or its begin was not seen. */
static __always_inline struct latency_io *io_of_known(struct request *rq)
{
	const __u32 place = rq->q->id & (KNOWN_DEVICES - 1);
	struct latency_device *device;
	struct latency_io *io;
	int number;

	/* Another driver's private data has no number, but whatever it has is no known device's. */
	number = known[place].ub == (__u64)rq->q->disk->private_data ?
			 (int)known[place].number :
			 device_number(rq->q->disk->private_data);
	if (number < 0)
		return NULL;
	device = device_numbered(number);
	if (!device || device->ub != (__u64)rq->q->disk->private_data)
		return NULL;
	io = io_of(device, rq->mq_hctx->queue_num, rq->tag);
	return io && io->request == (__u64)rq ? io : NULL;
}

static __noinline int complete(struct request *rq, __u32 error, __u32 bytes)
{
	const __u64 now = bpf_ktime_get_ns();
	struct latency_io *io = io_of_known(rq);
	struct latency_sum *sum, *queue_sum;
	__u64 stage_ns[LATENCY_STAGES];
	__u32 index, queue;

	if (!io || bytes < rq->__data_len)
		return 0;
	io->request = 0;
	if (!io->dispatched_ns || !io->committed_ns) {
		if (error)
			__sync_fetch_and_add(&totals.uncommitted_ios, 1);
		else
			__sync_fetch_and_add(&totals.lost_ios, 1);
		return 0;
	}
	stage_ns[LATENCY_DISPATCH] = io->dispatched_ns - io->queued_ns;
	stage_ns[LATENCY_WAKE] = io->seen_ns - io->dispatched_ns;
	stage_ns[LATENCY_SERVER] = io->sent_ns - io->seen_ns;
	stage_ns[LATENCY_TARGET] = io->done_ns - io->sent_ns;
	stage_ns[LATENCY_COMMIT] = io->committed_ns - io->done_ns;
	stage_ns[LATENCY_COMPLETE] = now - io->committed_ns;
	stage_ns[LATENCY_TOTAL] = now - io->queued_ns;
	index = io->op * LATENCY_SIZES + io->size;
	sum = bpf_map_lookup_elem(&sums, &index);
	queue = rq->mq_hctx->queue_num;
	if (queue >= LATENCY_QUEUES)
		queue = LATENCY_QUEUES - 1;
	queue_sum = bpf_map_lookup_elem(&queue_sums, &queue);
	if (!sum || !queue_sum)
		return 0;
	sum->ios++;
	queue_sum->ios++;
#pragma unroll
	for (int stage = 0; stage < LATENCY_STAGES; stage++) {
		count(io->op, stage, stage_ns[stage]);
		sum->stage_ns[stage] += stage_ns[stage];
		queue_sum->stage_ns[stage] += stage_ns[stage];
	}
	__sync_fetch_and_add(&totals.finished_ios, 1);
	return 0;
}

SEC("kprobe.multi")
int entry(struct pt_regs *ctx)
{
	const __u64 first = PT_REGS_PARM1(ctx), second = PT_REGS_PARM2(ctx);

	switch (bpf_get_attach_cookie(ctx)) {
	ON(LATENCY_ON_ENTERED, turn_begins());
	ON(LATENCY_ON_SUBMITTING, submitting((void *)first, second));
	ON(LATENCY_ON_QUEUE_LIST, begin_list((void *)first));
	ON(LATENCY_ON_QUEUE_RQ, begin_one((void *)second));
	ON(LATENCY_ON_DISPATCH_LIST, dispatch_requests(first, UBLK_MAX_QUEUE_DEPTH));
	ON(LATENCY_ON_DISPATCH_ONE, dispatch_requests(first, 1));
	ON(LATENCY_ON_FETCH_POSTED, fetch_posted((void *)first, (void *)second));
	ON(LATENCY_ON_BATCH_COMMIT, batch_commit((void *)first));
	ON(LATENCY_ON_COMPLETE,
	   complete(bpf_core_cast((void *)first, struct request), second, PT_REGS_PARM3(ctx)));
	}
	return 0;
}

/* The return of io_uring_enter(). */
SEC("kretprobe.multi")
int leave(struct pt_regs *ctx)
{
	return turn_ends();
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(completed, struct request *rq, int error, unsigned int bytes)
{
	return complete(rq, error, bytes);
}

SEC("tp_btf/block_rq_requeue")
int BPF_PROG(requeued, struct request *rq)
{
	struct latency_io *io = io_of_known(rq);

	if (!io)
		return 0;
	io->request = 0;
	__sync_fetch_and_add(&totals.requeued_ios, 1);
	return 0;
}
