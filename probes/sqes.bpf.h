/* SPDX-License-Identifier: Dual MIT/GPL */
/* The entries of a submission queue that io_submit_sqes() is about to consume. */
#pragma once

#include "loops.bpf.h"

struct submission {
	__u64 base;  /* of the entries */
	__u64 array; /* of their numbers, in the order of submission; 0: there is none */
	__u32 head;
	__u32 count;
	__u32 mask;
	__u32 shift;
	__u32 flags; /* of the ring */
};

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
	/* Copied, because a program may not calculate with a pointer that it reads. */
	found->base = 0;
	found->array = 0;
	bpf_core_read(&found->base, sizeof(found->base), &ring->sq_sqes);
	if (!(found->flags & IORING_SETUP_NO_SQARRAY))
		bpf_core_read(&found->array, sizeof(found->array), &ring->sq_array);
}

static __always_inline const struct io_uring_sqe *submitted_sqe(const struct submission *from,
								__u32 number)
{
	__u32 at = (from->head + number) & from->mask;

	/* Any struct of the kernel that begins with 32 bits would do. */
	if (from->array)
		at = bpf_core_cast((void *)(from->array + (__u64)at * 4), struct io_uring)->head &
		     from->mask;
	return bpf_core_cast((void *)(from->base + ((__u64)at << (from->shift & 7))),
			     struct io_uring_sqe);
}

static __always_inline bool is_commit(__u32 cmd_op)
{
	return cmd_op == UBLK_U_IO_COMMIT_AND_FETCH_REQ || cmd_op == UBLK_IO_COMMIT_AND_FETCH_REQ;
}

static __always_inline bool is_late_fetch(__u32 cmd_op)
{
	return cmd_op == UBLK_U_IO_NEED_GET_DATA || cmd_op == UBLK_IO_NEED_GET_DATA;
}
