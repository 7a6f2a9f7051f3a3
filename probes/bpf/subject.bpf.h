/* SPDX-License-Identifier: Dual MIT/GPL */
/* Which devices a BPF program looks at, and how it finds out whose a request or a command is. */
#pragma once

#include "probes/bpf/peek.bpf.h"
#include "subject.h"

const volatile bool all_devices = true;
const volatile __u8 wanted_devices[WANTED_DEVICES];
const volatile __u32 char_major = 0; /* of /dev/ublkcN */

static __always_inline bool wanted(int dev)
{
	if (all_devices)
		return true;
	return dev >= 0 && dev < WANTED_DEVICES && wanted_devices[dev];
}

static __always_inline int device_number(struct ublk_device *ub)
{
	return u32_at((__u64)&ub->ub_number);
}

/* The number of the ublk device that the queue belongs to, or -1 if it is another driver's. */
static __always_inline int device_of_queue(struct request_queue *queue)
{
	struct gendisk *disk = (void *)u64_at((__u64)&queue->disk);
	struct ublk_device *ub;

	if (!disk)
		return -1;
	ub = (void *)u64_at((__u64)&disk->private_data);
	if (!ub || u64_at((__u64)&ub->ub_disk) != (__u64)disk)
		return -1;
	return device_number(ub);
}

static __always_inline int device_of_rdev(__u32 rdev)
{
	if (rdev >> KERNEL_MINOR_BITS != char_major)
		return -1;
	return rdev & ((1u << KERNEL_MINOR_BITS) - 1);
}

static __always_inline int device_of_file(struct file *file)
{
	return device_of_rdev(file->f_inode->i_rdev);
}

static __always_inline struct ublk_uring_cmd_pdu *pdu_of(__u64 kiocb)
{
	/* struct io_uring_cmd is the head of struct io_kiocb (io_uring_cmd_from_tw). */
	return (void *)(kiocb + bpf_core_field_offset(struct io_uring_cmd, pdu));
}
