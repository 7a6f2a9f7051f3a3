// SPDX-License-Identifier: Dual MIT/GPL
/*
 * How many io commands are fetched and committed at once, by any ublk server.
 *
 * Nothing here runs once per I/O where the kernel has something that runs once per batch: lists of
 * requests and the submission queue are walked instead, a few instructions an entry. Only what the
 * kernel hands over one by one (depth 1, an I/O scheduler) costs a program each.
 *
 * What must not miss an event is a kprobe.multi program: those run with preemption off. An fentry or
 * tp_btf program can be preempted, and does not run for another task of that CPU meanwhile
 * (bpf_prog_get_recursion_context(): one counter a program and CPU), and a CONFIG_PREEMPT_LAZY kernel
 * preempts at a tick.
 */
#include <linux/ptrace.h>

#include "compat.bpf.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "batch.h"
#include "entries.bpf.h"
#include "subject.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile bool may_need_get_data = false;
/* NEED_GET_DATA commands are delivered by their CQE; io_command_done() sees those by itself. */
const volatile bool late_fetch_by_sqe = true;

/* What a task did since its last io_uring_enter(). */
struct batch_task {
	__u32 tid;
	bool server;
	bool client;
	__u16 dev;
	__u16 queue;         /* of the fetches that are not recorded yet */
	__u32 fetched;
	__u32 queued;
	__u64 ring;
	__u32 cq_tail;
	__u32 sq_head;       /* that the ring has once its last submission is through */
	__u32 posting;       /* io commands of the FETCH_IO_CMDS completion that was posted last */
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
__u32 nothing; /* always 0, which the verifier does not know */

/*
 * Where a counter in a loop starts: from a known 0 the verifier would follow each value as a state
 * of its own. The barrier keeps the compiler from counting beside it from 0 again.
 */
static __always_inline __u32 unknown_zero(void)
{
	__u32 zero = *(volatile __u32 *)&nothing;

	asm volatile("" : "+r"(zero));
	return zero;
}

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
	bpf_get_current_comm(state->comm, sizeof(state->comm));
	return state;
}

/* The index of the key's histogram, made if it is new; BATCH_HISTOGRAMS when there is no more room. */
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
		struct batch_key key = { .kind = kind, .tid = task->tid, .dev = dev, .queue = queue };

		__builtin_memcpy(key.comm, task->comm, sizeof(key.comm));
		task->known_index[kind] = histogram_index(&key);
		task->known_place[kind] = place;
	}
	count(task->known_index[kind], size);
}

/* The number of the ublk device that the request belongs to; the caller knows that it is one. */
static __always_inline int device_of(struct request *rq)
{
	return device_number(rq->q->disk->private_data);
}

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
	task->queue = !task->fetched || (task->queue == queue && task->dev == dev) ? queue
										   : BATCH_ANY_QUEUE;
	task->dev = dev;
	task->fetched += ios;
	__sync_fetch_and_add(&totals.fetched_ios, ios);
}

/* A write with UBLK_F_NEED_GET_DATA is delivered only by its UBLK_U_IO_NEED_GET_DATA. */
static __always_inline bool waits_for_buffer(struct request *rq)
{
	return (rq->cmd_flags & REQ_OP_MASK) == REQ_OP_WRITE && rq->__data_len;
}

static __always_inline bool needs_get_data(struct ublk_queue *ubq)
{
	unsigned long flags = 0;

	if (!may_need_get_data)
		return false;
	bpf_core_read(&flags, sizeof(flags), &ubq->flags);
	return flags & UBLK_F_NEED_GET_DATA;
}

/*
 * Fetch, per I/O, the cheap way: what the driver's task work dispatches, list by list. The first
 * argument is a struct io_tw_req by value, which holds one pointer.
 */
static __noinline int dispatch_list(__u64 kiocb)
{
	struct ublk_uring_cmd_pdu *pdu = pdu_of(kiocb);
	struct request *rq = NULL, *next;
	struct ublk_queue *ubq = NULL;
	__u32 ios = unknown_zero();
	bool get_data;
	int i, dev;
	__u16 queue;

	bpf_core_read(&next, sizeof(next), &pdu->req);
	bpf_core_read(&ubq, sizeof(ubq), &pdu->ubq);
	if (!next)
		return 0;
	rq = bpf_core_cast(next, struct request);
	dev = device_of(rq);
	queue = rq->mq_hctx->queue_num;
	get_data = needs_get_data(ubq);
	bpf_for(i, 0, BATCH_LARGEST) {
		if (!rq)
			break;
		if (!get_data || !waits_for_buffer(rq))
			ios++;
		rq = bpf_core_cast(rq->rq_next, struct request);
	}
	fetched(dev, queue, ios);
	return 0;
}

static __noinline int dispatch_one(__u64 kiocb)
{
	struct ublk_uring_cmd_pdu *pdu = pdu_of(kiocb);
	struct request *rq, *address = NULL;
	struct ublk_queue *ubq = NULL;

	bpf_core_read(&address, sizeof(address), &pdu->req);
	bpf_core_read(&ubq, sizeof(ubq), &pdu->ubq);
	if (!address)
		return 0;
	rq = bpf_core_cast(address, struct request);
	if (!needs_get_data(ubq) || !waits_for_buffer(rq))
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

static __always_inline void add_to(__u32 index, __u32 size, __s64 events)
{
	struct batch_histogram *histogram = bpf_map_lookup_elem(&histograms, &index);

	if (histogram && size <= BATCH_LARGEST)
		__sync_fetch_and_add(&histogram->events[size], events);
}

/* Fetch with UBLK_F_BATCH_IO: a CQE of FETCH_IO_CMDS carries bytes of 16-bit tags. */
static __noinline int fetch_posted(void *command, void *selected)
{
	const struct io_uring_cmd *cmd = bpf_core_cast(command, struct io_uring_cmd);
	const long bytes = bpf_core_cast(selected, struct io_br_sel)->val;
	struct batch_task *task;
	int dev;

	if (bytes <= 0)
		return 0;
	dev = device_of_file(cmd->file);
	if (dev < 0 || !wanted(dev))
		return 0;
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
	const __u32 ios = BPF_CORE_READ(data, header.nr_elem);
	const int dev = BPF_CORE_READ(data, ub, ub_number);
	struct batch_task *task;

	if (!wanted(dev))
		return 0;
	task = this_task(true);
	if (!task)
		return 0;
	task->server = true;
	task->dev = dev;
	record(task, BATCH_COMMIT, dev, BPF_CORE_READ(data, header.q_id), ios);
	__sync_fetch_and_add(&totals.committed_ios, ios);
	return 0;
}

#define SQE_COMMIT (1u << 16)
#define SQE_LATE_FETCH (1u << 17)

/*
 * What the submission queue's entry `at` is: SQE_COMMIT with the queue in the low bits,
 * SQE_LATE_FETCH, or 0. A global function, so that it is verified once and not in each turn of the
 * loop that calls it.
 */
__noinline __u32 read_sqe(__u64 base, __u64 array, __u32 at, __u32 mask, __u32 shift)
{
	const struct io_uring_sqe *sqe;
	__u32 op;

	if (array) {
		bpf_probe_read_kernel(&at, sizeof(at), (void *)(array + (__u64)at * 4));
		at &= mask;
	}
	sqe = bpf_core_cast((void *)(base + ((__u64)at << (shift & 7))), struct io_uring_sqe);
	if (sqe->opcode != IORING_OP_URING_CMD)
		return 0;
	op = sqe->cmd_op;
	if (op == UBLK_U_IO_COMMIT_AND_FETCH_REQ || op == UBLK_IO_COMMIT_AND_FETCH_REQ)
		return SQE_COMMIT | sqe->q_id;
	if (op == UBLK_U_IO_NEED_GET_DATA || op == UBLK_IO_NEED_GET_DATA)
		return SQE_LATE_FETCH;
	return 0;
}

/* The SQEs that io_submit_sqes() is about to consume, and what of them are per-I/O commits. */
static __always_inline void read_submission(struct batch_task *task, const struct io_ring_ctx *ring,
					    __u32 head, __u32 sqes)
{
	const __u32 flags = ring->flags;
	const __u32 mask = ring->sq_entries - 1;
	const __u32 shift = flags & IORING_SETUP_SQE128 ? 7 : 6;
	__u64 base = 0, array = 0;
	__u32 commits = unknown_zero(), late_fetches = unknown_zero();
	__u32 any_bits = unknown_zero(), all_bits = ~unknown_zero();
	int i;

	/* Copied, because a global function takes numbers but no such pointers. */
	bpf_core_read(&base, sizeof(base), &ring->sq_sqes);
	if (!(flags & IORING_SETUP_NO_SQARRAY))
		bpf_core_read(&array, sizeof(array), &ring->sq_array);
	/* Without a branch: the verifier has one path through a turn. */
	bpf_for(i, 0, (int)sqes) {
		const __u32 entry = read_sqe(base, array, (head + i) & mask, mask, shift);
		const __u32 is_commit = -(entry >> 16 & 1);

		commits -= is_commit;
		late_fetches += entry >> 17 & 1;
		any_bits |= entry & is_commit;
		all_bits &= entry | ~is_commit;
	}
	if (commits) {
		record(task, BATCH_COMMIT, task->dev,
		       any_bits == all_bits ? (__u16)any_bits : BATCH_ANY_QUEUE, commits);
		__sync_fetch_and_add(&totals.committed_ios, commits);
	}
	if (late_fetches && may_need_get_data && late_fetch_by_sqe)
		fetched(task->dev, BATCH_ANY_QUEUE, late_fetches);
}

static __noinline int submitting(void *address, __u32 most)
{
	struct batch_task *task = this_task(false);
	const struct io_ring_ctx *ring;
	__u32 head, sqes;

	if (!task)
		return 0;
	ring = bpf_core_cast(address, struct io_ring_ctx);
	head = ring->flags & IORING_SETUP_SQ_REWIND ? 0 : ring->cached_sq_head;
	sqes = ring->flags & IORING_SETUP_SQ_REWIND ? ring->sq_entries : ring->rings->sq.tail - head;
	if (sqes > most)
		sqes = most;
	if (!sqes)
		return 0;
	if (ring->flags & IORING_SETUP_SQPOLL) {
		__sync_fetch_and_add(&totals.unread_sqes, sqes);
		return 0;
	}
	if (task->ring != (__u64)address) {
		task->ring = (__u64)address;
		task->cq_tail = ring->cached_cq_tail;
	} else if ((int)(task->sq_head - head) > 0 && !(ring->flags & IORING_SETUP_SQ_REWIND)) {
		__sync_fetch_and_add(&totals.resubmitted_sqes, task->sq_head - head);
	}
	task->sq_head = head + sqes;
	if (task->server) {
		record(task, BATCH_SERVER_SQES, task->dev, BATCH_ANY_QUEUE, sqes);
		read_submission(task, ring, head, sqes);
	} else {
		record(task, BATCH_CLIENT_SQES, task->dev, BATCH_ANY_QUEUE, sqes);
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
			record(task, task->server ? BATCH_SERVER_CQES : BATCH_CLIENT_CQES, task->dev,
			       BATCH_ANY_QUEUE, tail - task->cq_tail);
		task->cq_tail = tail;
	}
	return 0;
}

static __always_inline __u16 queue_of(void *hctx)
{
	return bpf_core_cast(hctx, struct blk_mq_hw_ctx)->queue_num;
}

/* The task that hands requests to the driver is a client, unless it is a kernel thread. */
static __always_inline struct batch_task *client(int dev)
{
	struct batch_task *task = this_task(true);

	if (!task)
		return NULL;
	if (!task->server) {
		task->client = true;
		task->dev = dev;
	}
	return task;
}

static __noinline int queue_list(void *list)
{
	struct request *rq = bpf_core_cast(list, struct rq_list)->head; /* rq_next is in a union: each step is a cast */
	struct batch_task *task;
	__u32 requests = unknown_zero();
	__u16 queue;
	int i, dev;

	if (!rq)
		return 0;
	dev = device_of(rq);
	queue = rq->mq_hctx->queue_num;
	if (!wanted(dev))
		return 0;
	bpf_for(i, 0, BATCH_LARGEST) {
		if (!rq)
			break;
		requests++;
		rq = bpf_core_cast(rq->rq_next, struct request);
	}
	task = client(dev);
	if (task)
		record(task, BATCH_QUEUED, dev, queue, requests);
	return 0;
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
 * One program for all of these, because one link patches the kernel once for all of its functions: each
 * link more takes as long again.
 */
SEC("kprobe.multi")
int entry(struct pt_regs *ctx)
{
	const __u64 first = PT_REGS_PARM1(ctx), second = PT_REGS_PARM2(ctx);

	switch (bpf_get_attach_cookie(ctx)) {
	ON(BATCH_ON_ENTERED, entered());
	ON(BATCH_ON_SUBMITTING, submitting((void *)first, second));
	ON(BATCH_ON_DISPATCH_LIST, dispatch_list(first));
	ON(BATCH_ON_DISPATCH_ONE, dispatch_one(first));
	ON(BATCH_ON_FETCH_POSTED, fetch_posted((void *)first, (void *)second));
	ON(BATCH_ON_FETCH_NOT_POSTED, fetch_not_posted());
	ON(BATCH_ON_BATCH_COMMIT, batch_commit((void *)first));
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
