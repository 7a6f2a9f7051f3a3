/* SPDX-License-Identifier: Dual MIT/GPL */
/* The entries of a submission queue that io_submit_sqes() is about to consume. */
#pragma once

#include "probes/bpf/loops.bpf.h"
#include "probes/bpf/peek.bpf.h"

struct submission {
	__u64 base;  /* of the entries */
	__u64 array; /* of their numbers, in the order of submission; 0: there is none */
	__u32 head;
	__u32 count;
	__u32 mask;
	__u32 shift;
	__u32 flags; /* of the ring */
};

extern const void io_uring_fops __ksym __weak;

/* The ring that io_uring_enter(fd, ..., flags) of this task is for; 0 if the kernel will refuse it. */
static __always_inline __u64 entered_ring(__u32 fd, __u32 flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct io_uring_task *context;
	struct fdtable *table;
	struct file *file;

	if (flags & IORING_ENTER_REGISTERED_RING) {
		context = (void *)u64_at((__u64)&task->io_uring);
		if (!context || fd >= IO_RINGFD_REG_MAX)
			return 0;
		file = (void *)u64_at((__u64)&context->registered_rings + (__u64)fd * 8);
	} else {
		table = (void *)u64_at((__u64)&task->files->fdt);
		if (fd >= u32_at((__u64)&table->max_fds))
			return 0;
		file = (void *)u64_at(u64_at((__u64)&table->fd) + (__u64)fd * 8);
	}
	if (!file || (bpf_ksym_exists(&io_uring_fops) &&
		      u64_at((__u64)&file->f_op) != (__u64)&io_uring_fops))
		return 0;
	return u64_at((__u64)&file->private_data);
}

/* What the call io_submit_sqes(ring, most) will find; false if that is nothing. */
static __always_inline bool find_submission(struct submission *found, void *address, __u32 most)
{
	const struct io_ring_ctx *ring = bpf_core_cast(address, struct io_ring_ctx);

	found->flags = ring->flags;
	if (found->flags & IORING_SETUP_SQ_REWIND) {
		found->head = 0;
		found->count = ring->sq_entries;
	} else {
		found->head = ring->cached_sq_head;
		found->count = ring->rings->sq.tail - found->head;
	}
	if (found->count > most)
		found->count = most;
	return found->count;
}

/* Where they are: what submitted_sqe() needs. */
static __always_inline void locate_sqes(struct submission *found, void *address)
{
	const struct io_ring_ctx *ring = bpf_core_cast(address, struct io_ring_ctx);

	found->mask = ring->sq_entries - 1;
	found->shift = found->flags & IORING_SETUP_SQE128 ? 7 : 6;
	found->base = u64_at((__u64)&ring->sq_sqes);
	found->array = found->flags & IORING_SETUP_NO_SQARRAY ? 0 : u64_at((__u64)&ring->sq_array);
}

/* How many entries from the given one on lie one behind the other, and where the first of them is. */
static __always_inline __u32 adjacent_sqes(const struct submission *from, __u32 number, __u64 *entry)
{
	__u32 at = (from->head + number) & from->mask, many = from->mask + 1 - at;

	/* Any struct of the kernel that begins with 32 bits would do. */
	if (from->array) {
		at = bpf_core_cast((void *)(from->array + (__u64)at * 4), struct io_uring)->head &
		     from->mask;
		many = 1;
	}
	*entry = from->base + ((__u64)at << (from->shift & 7));
	return many < from->count - number ? many : from->count - number;
}

static __always_inline const struct io_uring_sqe *submitted_sqe(const struct submission *from,
								__u32 number)
{
	__u64 entry;

	adjacent_sqes(from, number, &entry);
	return bpf_core_cast((void *)entry, struct io_uring_sqe);
}

static __always_inline bool is_commit(__u32 cmd_op)
{
	return cmd_op == UBLK_U_IO_COMMIT_AND_FETCH_REQ || cmd_op == UBLK_IO_COMMIT_AND_FETCH_REQ;
}

static __always_inline bool is_late_fetch(__u32 cmd_op)
{
	return cmd_op == UBLK_U_IO_NEED_GET_DATA || cmd_op == UBLK_IO_NEED_GET_DATA;
}
