/* SPDX-License-Identifier: Dual MIT/GPL */
/* The requests that are followed: an entry for each tag of each device, and how it is found. */
#pragma once

#include "latency.h"
#include "probes/bpf/loops.bpf.h"
#include "probes/bpf/subject.bpf.h"

struct latency_io {
	__u64 request; /* 0: none is followed with this tag */
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
	__u32 room;   /* of `ios` that is the number's, whichever device has it */
	__u32 queues; /* 0: there was no room */
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
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct latency_handed);
} handed SEC(".maps");

const volatile __u32 max_tags = 65536;
const volatile __u32 sample = 1; /* every how manieth request is followed */
struct latency_totals totals;
__u32 used_tags;

/*
 * What tells a request that is not followed, of any driver, in a few instructions, and mostly where
 * the entry is of one that is. (struct request is larger than 64 bytes.)
 */
#define MARKS 4096
struct latency_mark marks[MARKS];

static __always_inline struct latency_mark *mark_of(__u64 request)
{
	return &marks[(request >> 6) & (MARKS - 1)];
}

/* Not from the register of a pointer that was found to be equal: nobody calculates with that. */
static __always_inline __u64 request_of(const struct latency_io *io)
{
	return *(volatile __u64 *)&io->request;
}

static __always_inline void follow(struct latency_io *io, __u32 index, __u64 request)
{
	struct latency_mark *mark = mark_of(request);

	io->request = request;
	mark->index = index;
	__sync_fetch_and_add(&mark->followed, 1);
}

static __always_inline void forget(struct latency_io *io)
{
	__sync_fetch_and_add(&mark_of(request_of(io))->followed, -1);
	io->request = 0;
}

/* Of which queue of a device, and where its entries begin. */
struct tag_range {
	__u32 first;
	__u32 depth; /* 0: there are none */
};

static __always_inline struct tag_range tags_of(const struct latency_device *device, __u32 queue)
{
	struct tag_range range = {.first = device->first_io + queue * device->depth,
				  .depth = queue < device->queues ? device->depth : 0};

	return range;
}

static __always_inline struct latency_io *io_of(struct tag_range range, __u32 tag)
{
	const __u32 index = range.first + tag;

	return tag < range.depth ? bpf_map_lookup_elem(&ios, &index) : NULL;
}

static __always_inline struct latency_device *device_numbered(__u32 number)
{
	return bpf_map_lookup_elem(&devices, &number);
}

/* Makes room for the tags of a device that was not seen before. */
static __noinline int learn(struct latency_device *device, __u64 ub)
{
	struct ublksrv_ctrl_dev_info info;
	__u32 tags, first;

	if (!device || bpf_core_read(&info, sizeof(info), &((struct ublk_device *)ub)->dev_info))
		return 0;
	tags = (__u32)info.nr_hw_queues * info.queue_depth;
	device->number = info.dev_id;
	device->queues = 0;
	if (tags > device->room) {
		first = __sync_fetch_and_add(&used_tags, tags);
		if (tags <= max_tags && first <= max_tags - tags) {
			device->first_io = first;
			device->room = tags;
		} else {
			__sync_fetch_and_add(&used_tags, -tags);
		}
	}
	if (tags <= device->room) {
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

/*
 * The devices that were seen last, by the number of their request queue: an address may be
 * compared, but the verifier lets nobody calculate with it.
 */
#define KNOWN_DEVICES 16
struct {
	__u64 ub; /* struct ublk_device */
	__u32 number;
} known[KNOWN_DEVICES];

/* The number of the device of a request that the driver was given. */
static __always_inline int number_of_request(__u64 request, __u64 *ub)
{
	const __u64 queue = PEEK(__u64, request + bpf_core_field_offset(struct request, q));
	const __u64 disk = PEEK(__u64, queue + bpf_core_field_offset(struct request_queue, disk));

	*ub = PEEK(__u64, disk + bpf_core_field_offset(struct gendisk, private_data));
	return PEEK(int, *ub + bpf_core_field_offset(struct ublk_device, ub_number));
}

/* NULL where there is no room for its tags. */
static __always_inline struct latency_device *device_with_room(struct request *rq, int number,
							       __u64 ub)
{
	const __u32 place = rq->q->id & (KNOWN_DEVICES - 1);
	struct latency_device *device = device_numbered(number);

	if (!device || (device->ub != ub && !learn_once(device, ub)) || !device->queues)
		return NULL;
	known[place].ub = ub;
	known[place].number = number;
	return device;
}

/* What is known of the request; NULL if it is no request of ublk, or none that is followed. */
static __always_inline struct latency_io *io_of_known(struct request *rq)
{
	const __u32 place = rq->q->id & (KNOWN_DEVICES - 1);
	struct latency_device *device;
	struct latency_io *io;
	int number;

	/* Another driver's private data has no number, but whatever it has is no known device's. */
	number = known[place].ub == (__u64)rq->q->disk->private_data
			 ? (int)known[place].number
			 : device_number(rq->q->disk->private_data);
	if (number < 0)
		return NULL;
	device = device_numbered(number);
	if (!device || device->ub != (__u64)rq->q->disk->private_data)
		return NULL;
	io = io_of(tags_of(device, rq->mq_hctx->queue_num), rq->tag);
	return io && io->request == (__u64)rq ? io : NULL;
}

/* The same, where the request's address is a number. */
static __always_inline struct latency_io *followed(__u64 request)
{
	const struct latency_mark *mark = mark_of(request);
	struct latency_io *io;
	__u32 index;

	if (!mark->followed)
		return NULL;
	index = mark->index;
	io = bpf_map_lookup_elem(&ios, &index);
	if (io && io->request == request)
		return io;
	return io_of_known(bpf_core_cast((void *)request, struct request));
}
