/* SPDX-License-Identifier: Dual MIT/GPL */
/* The kernel's functions that a probe hears of: what every probe's BPF side and its reader share.
 */
#pragma once

/* A probe numbers its events below this. */
#define ENTRY_EVENTS 32
