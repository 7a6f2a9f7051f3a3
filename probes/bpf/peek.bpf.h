/* SPDX-License-Identifier: Dual MIT/GPL */
/* How a program reads numbers in the kernel's memory, which it may then calculate with. */
#pragma once

/*
 * A number in the kernel's memory. Of a pointer that is read through its struct the verifier lets
 * nobody calculate anything; of what this reads it does. Linux 6.17 (bpf_rdonly_cast to void).
 */
#define PEEK(type, address) (*(const type *)bpf_rdonly_cast((void *)(address), 0))

const volatile bool can_peek = false; /* what PEEK() needs is there */

/* The same on any kernel: where it cannot be, a copy, at five times the cost. */
static __always_inline __u64 u64_at(__u64 address)
{
	__u64 number = 0;

	if (can_peek)
		return PEEK(__u64, address);
	bpf_probe_read_kernel(&number, sizeof(number), (void *)address);
	return number;
}

static __always_inline __u32 u32_at(__u64 address)
{
	__u32 number = 0;

	if (can_peek)
		return PEEK(__u32, address);
	bpf_probe_read_kernel(&number, sizeof(number), (void *)address);
	return number;
}
