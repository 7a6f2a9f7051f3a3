/* SPDX-License-Identifier: Dual MIT/GPL */
/* Which of the kernel's functions was called: the cookie that its place in the link has. */
#pragma once

#include "entries.h"

/*
 * What this kernel has no function for is dead code to the verifier, which knows read-only data: a
 * call there may use types that only other kernels have.
 */
const volatile bool heard_events[ENTRY_EVENTS];

/* A case of switch (bpf_get_attach_cookie(ctx)). */
#define ON(event, call)                                                                            \
	case event:                                                                                \
		return heard_events[event] ? (call) : 0
