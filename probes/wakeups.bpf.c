// SPDX-License-Identifier: Dual MIT/GPL
/*
 * How often the tasks of a server sleep, who wakes them, and how long they then wait for a CPU.
 * The scheduler's tracepoints fire with interrupts off, so that no event is missed; but for that of
 * a task that wakes itself (try_to_wake_up(), kernel/sched/core.c), which an interrupt's wake may
 * come between: missed_runs counts those.
 */
#include "probes/bpf/compat.bpf.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "wakeups.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile __u32 servers[WAKEUPS_SERVERS]; /* their tgids; 0: none */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WAKEUPS_TASKS);
	__type(key, __u32);
	__type(value, struct wakeups_task);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4 * WAKEUPS_TASKS);
	__type(key, struct wakeups_waker);
	__type(value, __u64);
} wakers SEC(".maps");

struct wakeups_totals totals;
__u64 begin_ns; /* when everything was attached; 0: not yet */
const struct wakeups_task no_events;

static __always_inline bool of_server(struct task_struct *task)
{
	const __u32 tgid = task->tgid;
	bool found = false;

#pragma unroll
	for (int i = 0; i < WAKEUPS_SERVERS; i++)
		found |= servers[i] && servers[i] == tgid;
	return found;
}

static __always_inline struct wakeups_task *events_of(struct task_struct *task)
{
	const __u32 tid = task->pid;
	struct wakeups_task *events = bpf_map_lookup_elem(&tasks, &tid);

	if (events)
		return events;
	bpf_map_update_elem(&tasks, &tid, (const void *)&no_events, BPF_NOEXIST);
	events = bpf_map_lookup_elem(&tasks, &tid);
	if (!events) {
		__sync_fetch_and_add(&totals.lost_events, 1);
		return NULL;
	}
	bpf_probe_read_kernel_str(events->comm, sizeof(events->comm), task->comm);
	return events;
}

static __always_inline void switched_in(struct task_struct *task, __u64 now)
{
	struct wakeups_task *events = events_of(task);
	__u64 delay_ns;

	if (!events)
		return;
	events->running_since_ns = now;
	if (!events->woken_ns)
		return;
	delay_ns = now - events->woken_ns;
	events->woken_ns = 0;
	events->delay_ns += delay_ns;
	events->delays[log2_slot(delay_ns)]++;
}

static __always_inline void switched_out(struct task_struct *task, bool preempted, __u64 now)
{
	struct wakeups_task *events = events_of(task);

	if (!events)
		return;
	/* Of its first run only the end is seen, if it ran when the probe came. */
	if (!events->running_since_ns && !events->sleeps && !events->preemptions)
		events->running_since_ns = begin_ns;
	if (events->running_since_ns && now > events->running_since_ns)
		events->on_cpu_ns += now - events->running_since_ns;
	events->running_since_ns = 0;
	/* It was woken before it was asleep, and went on: the next time that it runs is another's. */
	events->woken_ns = 0;
	if (preempted)
		events->preemptions++;
	else
		events->sleeps++;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempt, struct task_struct *prev, struct task_struct *next,
	     unsigned int prev_state)
{
	const bool out = of_server(prev), in = of_server(next);
	__u64 now;

	if (!out && !in)
		return 0;
	now = bpf_ktime_get_ns();
	if (out)
		/* TASK_RUNNING is 0: preempted, or it gave the CPU up without waiting. */
		switched_out(prev, preempt || !prev_state, now);
	if (in)
		switched_in(next, now);
	return 0;
}

SEC("tp_btf/sched_waking")
int BPF_PROG(waking, struct task_struct *task)
{
	struct wakeups_waker waker = {};
	struct wakeups_task *events;
	__u64 one = 1, *wakes;

	/* The one that runs does not sleep yet, and no run follows from its wake. */
	if (!of_server(task) || task == bpf_get_current_task_btf())
		return 0;
	events = events_of(task);
	if (!events)
		return 0;
	/* Woken once more before it ran: one wake. */
	if (events->woken_ns)
		return 0;
	events->woken_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&events->wakes, 1);
	waker.tid = task->pid;
	if (bpf_get_current_task_btf()->pid)
		bpf_get_current_comm(waker.comm, sizeof(waker.comm));
	else
		__builtin_memcpy(waker.comm, "interrupt", sizeof("interrupt"));
	wakes = bpf_map_lookup_elem(&wakers, &waker);
	if (wakes)
		__sync_fetch_and_add(wakes, 1);
	else if (bpf_map_update_elem(&wakers, &waker, &one, BPF_NOEXIST))
		__sync_fetch_and_add(&totals.lost_events, 1);
	return 0;
}
