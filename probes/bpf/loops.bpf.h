/* SPDX-License-Identifier: Dual MIT/GPL */
/* How a program walks what the kernel holds in lists and rings, at a few instructions an entry. */
#pragma once

/*
 * True, until the kernel thinks that a loop has gone on for too long (millions of turns). A
 * bpf_for() calls a function in each turn; this is may_goto, an instruction (Linux 6.9, 12ba8b08):
 * opcode 0xe5, 16 bits of distance in 8 bytes from the next instruction on.
 */
#define can_go_on                                                                                  \
	({                                                                                         \
		__label__ stop, done;                                                              \
		bool more = true;                                                                  \
		asm volatile goto("1: .byte 0xe5; .byte 0;"                                        \
				  " .long ((%l[stop] - 1b - 8) / 8) & 0xffff;"                     \
				  " .short 0"                                                      \
				  :                                                                \
				  :                                                                \
				  :                                                                \
				  : stop);                                                         \
		goto done;                                                                         \
	stop:                                                                                      \
		more = false;                                                                      \
	done:                                                                                      \
		more;                                                                              \
	})

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
