// SPDX-License-Identifier: Dual MIT/GPL
/*
 * io_uring_enter() calls of servers and clients, and the time that io commands take inside of them. The
 * driver's time to wait for requests is in neither: a fetch returns at once.
 */
#include <linux/ptrace.h>

#include "probes/bpf/compat.bpf.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "probes/bpf/entries.bpf.h"
#include "probes/bpf/subject.bpf.h"
#include "syscalls.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define NR_IO_URING_ENTER 426 /* on every architecture (asm-generic/unistd.h) */

const volatile __u32 servers[SYSCALLS_SERVERS]; /* their tgids; 0: none */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SYSCALLS_TASKS);
	__type(key, __u32);
	__type(value, struct syscalls_task);
} tasks SEC(".maps");

struct syscalls_totals totals;
const struct syscalls_task no_calls;

static __always_inline bool is_server(__u32 tgid)
{
	int i;

	for (i = 0; i < SYSCALLS_SERVERS && servers[i]; i++)
		if (servers[i] == tgid)
			return true;
	return false;
}

static __noinline struct syscalls_task *this_task(void)
{
	struct task_struct *current = bpf_get_current_task_btf();
	const __u32 tid = current->pid;
	struct syscalls_task *task = bpf_map_lookup_elem(&tasks, &tid);

	if (task)
		return task;
	bpf_map_update_elem(&tasks, &tid, (const void *)&no_calls, BPF_NOEXIST);
	task = bpf_map_lookup_elem(&tasks, &tid);
	if (!task) {
		__sync_fetch_and_add(&totals.lost_events, 1);
		return NULL;
	}
	task->tgid = current->tgid;
	task->server = is_server(task->tgid);
	bpf_get_current_comm(task->comm, sizeof(task->comm));
	return task;
}

/* Of every task: only later is it known which are clients. */
static __noinline int entered(void)
{
	struct syscalls_task *task = this_task();

	if (task)
		task->enters++;
	return 0;
}

static __noinline int command_begins(struct file *file)
{
	struct syscalls_task *task;

	if (!file || !wanted(device_of_file(bpf_core_cast(file, struct file))))
		return 0;
	task = this_task();
	if (!task)
		return 0;
	task->server = true;
	task->command_since_ns = bpf_ktime_get_ns();
	return 0;
}

static __noinline int command_ends(void)
{
	struct syscalls_task *task = this_task();
	__u64 ns;

	if (!task || !task->command_since_ns)
		return 0;
	ns = bpf_ktime_get_ns() - task->command_since_ns;
	task->command_since_ns = 0;
	task->commands++;
	task->command_ns += ns;
	__sync_fetch_and_add(&totals.command_ns_events[log2_slot(ns)], 1);
	return 0;
}

static __noinline int security_begins(struct file *file)
{
	struct syscalls_task *task;

	if (!file || !wanted(device_of_file(bpf_core_cast(file, struct file))))
		return 0;
	task = this_task();
	if (task)
		task->security_since_ns = bpf_ktime_get_ns();
	return 0;
}

static __noinline int security_ends(void)
{
	struct syscalls_task *task = this_task();

	if (!task || !task->security_since_ns)
		return 0;
	task->security_ns += bpf_ktime_get_ns() - task->security_since_ns;
	task->security_since_ns = 0;
	task->security_calls++;
	return 0;
}

static __noinline int queued(struct request *rq)
{
	struct syscalls_task *task;

	if (!rq || !wanted(device_of_queue(BPF_CORE_READ(rq, q))) ||
	    bpf_get_current_task_btf()->flags & PF_KTHREAD)
		return 0;
	task = this_task();
	if (task)
		task->client = true;
	return 0;
}

static __always_inline struct file *file_of_command(__u64 command)
{
	return BPF_CORE_READ((struct io_uring_cmd *)command, file);
}

SEC("kprobe.multi")
int entry(struct pt_regs *ctx)
{
	const __u64 first = PT_REGS_PARM1(ctx), second = PT_REGS_PARM2(ctx);

	switch (bpf_get_attach_cookie(ctx)) {
	ON(SYSCALLS_ON_ENTERED, entered());
	ON(SYSCALLS_ON_COMMAND, command_begins(BPF_CORE_READ((struct io_kiocb *)first, file)));
	ON(SYSCALLS_ON_DRIVER_COMMAND, command_begins(file_of_command(first)));
	ON(SYSCALLS_ON_SECURITY, security_begins(file_of_command(first)));
	ON(SYSCALLS_ON_QUEUE_LIST, queued(BPF_CORE_READ((struct rq_list *)first, head)));
	ON(SYSCALLS_ON_QUEUE_RQ, queued(BPF_CORE_READ((struct blk_mq_queue_data *)second, rq)));
	}
	return 0;
}

SEC("kprobe.multi")
int leave(struct pt_regs *ctx)
{
	switch (bpf_get_attach_cookie(ctx)) {
	ON(SYSCALLS_ON_COMMAND, command_ends());
	ON(SYSCALLS_ON_DRIVER_COMMAND, command_ends());
	ON(SYSCALLS_ON_SECURITY, security_ends());
	}
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(system_call, struct pt_regs *regs, long number)
{
	return number == NR_IO_URING_ENTER ? entered() : 0;
}
