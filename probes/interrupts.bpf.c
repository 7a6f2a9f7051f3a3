// SPDX-License-Identifier: Dual MIT/GPL
/*
 * How many requests of block devices other than ublk's each interrupt completes: what the backing disks
 * deliver at once. A handler runs with interrupts off, so it is alone on its CPU from entry to exit.
 */
#include "probes/bpf/compat.bpf.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "interrupts.h"
#include "probes/bpf/subject.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, INTERRUPTS_VECTORS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct interrupts_vector);
} vectors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct interrupts_cpu);
} cpus SEC(".maps");

struct interrupts_totals totals;
const struct interrupts_vector no_interrupts;

static __always_inline struct interrupts_cpu *this_cpu(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&cpus, &zero);
}

static __always_inline struct interrupts_vector *vector_of(__u32 irq, struct irqaction *action)
{
	struct interrupts_vector *vector = bpf_map_lookup_elem(&vectors, &irq);

	if (vector)
		return vector;
	bpf_map_update_elem(&vectors, &irq, (const void *)&no_interrupts, BPF_NOEXIST);
	vector = bpf_map_lookup_elem(&vectors, &irq);
	if (vector)
		bpf_probe_read_kernel_str(vector->name, sizeof(vector->name), action->name);
	return vector;
}

SEC("tp_btf/irq_handler_entry")
int BPF_PROG(handler_begins, int irq, struct irqaction *action)
{
	struct interrupts_cpu *cpu = this_cpu();

	if (cpu) {
		cpu->running = true;
		cpu->completions = 0;
	}
	return 0;
}

SEC("tp_btf/irq_handler_exit")
int BPF_PROG(handler_ends, int irq, struct irqaction *action)
{
	struct interrupts_cpu *cpu = this_cpu();
	struct interrupts_vector *vector;
	__u32 completions;

	if (!cpu || !cpu->running)
		return 0;
	cpu->running = false;
	vector = vector_of(irq, action);
	if (!vector) {
		__sync_fetch_and_add(&totals.lost_events, 1);
		return 0;
	}
	completions = cpu->completions;
	__sync_fetch_and_add(&vector->completions, completions);
	if (completions > INTERRUPTS_LARGEST)
		completions = INTERRUPTS_LARGEST;
	__sync_fetch_and_add(&vector->events[completions], 1);
	return 0;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(completed, struct request *rq)
{
	struct interrupts_cpu *cpu = this_cpu();

	if (cpu && cpu->running)
		cpu->completions++;
	else if (device_of_queue(rq->q) < 0)
		__sync_fetch_and_add(&totals.elsewhere, 1);
	return 0;
}
