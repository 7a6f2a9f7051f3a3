/* SPDX-License-Identifier: Dual MIT/GPL */
/* The turns of a server task's loop: when it called io_uring_enter(), and when that returned. */
#pragma once

#include "latency.h"

struct server_task {
	__u32 server; /* its place in `turns`; LATENCY_SERVERS and above: none (yet) */
	__u32 turn;
	__u32 device;  /* that was dispatched last, of any */
	__u32 devices; /* 0, 1, or 2 for several */
	__u64 left_ns; /* when the last io_uring_enter() returned */
};

struct server_turn {
	__u64 entered_ns;
	__u64 left_ns; /* 0: not yet, or not seen */
	__u32 turn;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct server_task);
} server_tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LATENCY_SERVERS *LATENCY_TURNS);
	__type(key, __u32);
	__type(value, struct server_turn);
} turns SEC(".maps");

__u32 used_servers;

#define NO_SERVER 0xffff /* latency_io.server has 16 bits */

static __always_inline struct server_task *server_task(bool create)
{
	struct task_struct *current = bpf_get_current_task_btf();
	struct server_task *task = bpf_task_storage_get(&server_tasks, current, NULL, 0);

	if (task || !create)
		return task;
	task = bpf_task_storage_get(&server_tasks, current, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (task)
		task->server = NO_SERVER;
	return task;
}

static __always_inline struct server_turn *turn_place(__u32 server, __u32 turn)
{
	const __u32 index = server * LATENCY_TURNS + (turn & (LATENCY_TURNS - 1));

	return server < LATENCY_SERVERS ? bpf_map_lookup_elem(&turns, &index) : NULL;
}

/* NULL if it is forgotten, or was not seen. */
static __always_inline const struct server_turn *turn_of(__u32 server, __u32 turn)
{
	const struct server_turn *place = turn_place(server, turn);

	return place && place->turn == turn ? place : NULL;
}

/* Only tasks that serve what was asked for take a place, in the midst of a turn. */
static __always_inline void take_place(struct server_task *task)
{
	struct server_turn *turn;

	if (task->server != NO_SERVER || used_servers >= LATENCY_SERVERS)
		return;
	task->server = __sync_fetch_and_add(&used_servers, 1);
	turn = turn_place(task->server, task->turn);
	if (turn)
		turn->turn = task->turn;
}

static __noinline int turn_begins(void)
{
	struct server_task *task = server_task(false);
	struct server_turn *turn;

	if (!task)
		return 0;
	turn = turn_place(task->server, ++task->turn);
	if (!turn)
		return 0;
	turn->turn = task->turn;
	turn->entered_ns = bpf_ktime_get_ns();
	turn->left_ns = 0;
	return 0;
}

static __noinline int turn_ends(void)
{
	struct server_task *task = server_task(false);
	struct server_turn *turn;

	if (!task)
		return 0;
	task->left_ns = bpf_ktime_get_ns();
	turn = turn_place(task->server, task->turn);
	if (turn && turn->turn == task->turn)
		turn->left_ns = task->left_ns;
	return 0;
}
