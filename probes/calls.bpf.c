// SPDX-License-Identifier: Dual MIT/GPL
/*
 * Counts calls of the driver's functions: what the probes tags, zc and errors are made of. Which
 * function counts where is their table's business; the function's event says it.
 */
#include <linux/ptrace.h>

#include "probes/bpf/compat.bpf.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "calls.h"
#include "probes/bpf/entries.bpf.h"
#include "probes/bpf/subject.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct calls_counts counts;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CALLS_BUFFERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct calls_tag);
	__type(value, struct calls_buffer);
} buffers SEC(".maps");

/* By tid: what its function is about. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CALLS_PENDING);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} pending SEC(".maps");

const struct calls_buffer not_held;

/* A mask, because the compiler may check one register and use another. */
static __always_inline void count(__u32 counter)
{
	__sync_fetch_and_add(&counts.calls[counter & (CALLS_COUNTERS - 1)], 1);
}

static __always_inline int device_of_argument(__u32 kind, void *address)
{
	switch (kind) {
	case CALLS_DEVICE:
		return device_number(address);
	case CALLS_QUEUE: {
		struct ublk_queue *ubq = address;

		return device_number(BPF_CORE_READ(ubq, dev));
	}
	case CALLS_REQUEST: {
		struct request *rq = address;

		return device_of_queue(BPF_CORE_READ(rq, q));
	}
	default:
		return 0;
	}
}

static __always_inline void command(struct io_uring_cmd *cmd, __u32 counter)
{
	const __u32 op = BPF_CORE_READ(cmd, cmd_op);
	int device;

	if (op != UBLK_U_IO_REGISTER_IO_BUF && op != UBLK_U_IO_UNREGISTER_IO_BUF)
		return;
	device = device_of_rdev(BPF_CORE_READ(cmd, file, f_inode, i_rdev));
	if (device >= 0 && wanted(device))
		count(op == UBLK_U_IO_REGISTER_IO_BUF ? counter : CALLS_UNREGISTER_COMMANDS);
}

static __always_inline void remember(void *argument)
{
	const __u32 tid = bpf_get_current_task_btf()->pid;
	__u64 value = (__u64)argument;

	if (bpf_map_update_elem(&pending, &tid, &value, BPF_ANY))
		__sync_fetch_and_add(&counts.lost_events, 1);
}

/* 0 if the call was not of a device that is looked at. */
static __always_inline __u64 remembered(void)
{
	const __u32 tid = bpf_get_current_task_btf()->pid;
	const __u64 *found = bpf_map_lookup_elem(&pending, &tid);
	const __u64 value = found ? *found : 0;

	if (found)
		bpf_map_delete_elem(&pending, &tid);
	return value;
}

static __always_inline struct calls_buffer *buffer_of(struct request *rq, bool create)
{
	struct calls_tag key = {
		.device = device_of_queue(BPF_CORE_READ(rq, q)),
		.queue = BPF_CORE_READ(rq, mq_hctx, queue_num),
		.tag = BPF_CORE_READ(rq, tag),
	};
	struct calls_buffer *buffer = bpf_map_lookup_elem(&buffers, &key);

	if (buffer || !create)
		return buffer;
	bpf_map_update_elem(&buffers, &key, (const void *)&not_held, BPF_NOEXIST);
	buffer = bpf_map_lookup_elem(&buffers, &key);
	if (!buffer)
		__sync_fetch_and_add(&counts.lost_events, 1);
	return buffer;
}

static __noinline int registered(long ret, __u32 counter)
{
	struct request *rq = (void *)remembered();
	struct calls_buffer *buffer;

	if (!rq)
		return 0;
	if (ret) {
		count(CALLS_NOT_REGISTERED);
		return 0;
	}
	count(counter);
	buffer = buffer_of(rq, true);
	if (buffer && !__sync_fetch_and_add(&buffer->held, 1))
		buffer->since_ns = bpf_ktime_get_ns();
	return 0;
}

static __noinline int matched(bool hit)
{
	if (remembered() && hit)
		count(CALLS_SHMEM_HITS);
	return 0;
}

static __always_inline void no_longer_held(struct request *rq)
{
	struct calls_buffer *buffer = buffer_of(rq, false);
	__u64 held_ns;

	/* Of one that was registered before the probe was there nothing is known. */
	if (!buffer || !buffer->held || __sync_fetch_and_sub(&buffer->held, 1) != 1)
		return;
	held_ns = bpf_ktime_get_ns() - buffer->since_ns;
	if (held_ns > buffer->longest_ns)
		buffer->longest_ns = held_ns;
}

/* Here, or in another task or an interrupt. */
static __noinline void released(struct request *rq, __u32 counter)
{
	struct ublk_device *ub = BPF_CORE_READ(rq, q, disk, private_data);
	const int server = BPF_CORE_READ(ub, dev_info.ublksrv_pid);

	if (!wanted(device_number(ub)))
		return;
	count(counter);
	no_longer_held(rq);
	if (bpf_get_current_task_btf()->tgid != server)
		count(CALLS_RELEASED_OFF_TASK);
}

/* With UBLK_F_BATCH_IO, when a fetch command takes what has come in. */
static __noinline void batch_dispatch(struct ublk_queue *ubq)
{
	const struct list_head *head = &ubq->fcmd_head;
	const struct list_head *at;
	__u32 commands = 0;
	struct __kfifo fifo;
	struct ublk_device *ub = BPF_CORE_READ(ubq, dev);
	int i;

	if (!wanted(device_number(ub)) ||
	    bpf_core_read(&fifo, sizeof(fifo), &ubq->evts_fifo.kfifo))
		return;
	at = BPF_CORE_READ(head, next);
	for (i = 0; i < 16 && at && at != head; i++) {
		commands++;
		at = BPF_CORE_READ(at, next);
	}
	__sync_fetch_and_add(&counts.fifo_tags[log2_slot((__u32)(fifo.in - fifo.out))], 1);
	__sync_fetch_and_add(&counts.fetch_commands[log2_slot(commands)], 1);
}

SEC("kprobe.multi")
int entry(struct pt_regs *ctx)
{
	const __u32 event = bpf_get_attach_cookie(ctx), kind = event >> 8 & 0xff;
	__u64 first = PT_REGS_PARM1(ctx), second = PT_REGS_PARM2(ctx);
	void *argument;

	/* Both are read: the compiler must not choose an offset into ctx, which Linux 6.12 refuses. */
	asm volatile("" : "+r"(first), "+r"(second));
	argument = (void *)(event >> 16 ? second : first);

	if (kind == CALLS_RELEASE) {
		released(argument, event & 0xff);
	} else if (kind == CALLS_FETCH) {
		/* Dead code on a kernel that has no such queues. */
		if (heard_events[CALLS_FETCH])
			batch_dispatch(argument);
	} else if (kind == CALLS_REGISTER) {
		if (wanted(device_of_argument(CALLS_REQUEST, argument)))
			remember(argument);
	} else if (kind == CALLS_MATCH) {
		if (wanted(device_number(argument))) {
			count(event & 0xff);
			remember(argument);
		}
	} else if (kind == CALLS_COMMAND) {
		command(argument, event & 0xff);
	} else if (kind == CALLS_ANY_DEVICE) {
		count(event & 0xff);
	} else {
		const int device = device_of_argument(kind, argument);

		if (device >= 0 && wanted(device))
			count(event & 0xff);
	}
	return 0;
}

SEC("kprobe.multi")
int leave(struct pt_regs *ctx)
{
	const __u32 event = bpf_get_attach_cookie(ctx);
	const __u64 ret = PT_REGS_RC(ctx);

	if ((event >> 8 & 0xff) == CALLS_REGISTER)
		return registered((int)ret, event & 0xff);
	return matched(ret & 0xff);
}

SEC("tp_btf/block_rq_error")
int BPF_PROG(failed, struct request *rq)
{
	const int device = device_of_queue(rq->q);

	if (device >= 0 && wanted(device))
		count(CALLS_FAILED);
	return 0;
}

SEC("tp_btf/block_rq_requeue")
int BPF_PROG(requeued, struct request *rq)
{
	const int device = device_of_queue(rq->q);

	if (device >= 0 && wanted(device))
		count(CALLS_REQUEUED);
	return 0;
}

SEC("tp_btf/block_rq_tag_wait")
int BPF_PROG(tag_wait, struct request_queue *queue)
{
	const int device = device_of_queue(queue);

	if (device >= 0 && wanted(device))
		count(CALLS_TAG_WAITS);
	return 0;
}
