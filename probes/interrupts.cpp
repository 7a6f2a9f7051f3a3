// SPDX-License-Identifier: MIT
#include "probes/interrupts.h"

#include <bpf/libbpf.h>

#include <cstring>
#include <memory>

#include "bench/base/format.hpp"
#include "interrupts.skel.h"
#include "probes/lib/bpf_object.hpp"
#include "probes/lib/edges.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"

namespace ublkbench::probes {
namespace {

const std::vector<Role>& roles() {
  static const std::vector<Role> all = {
      {.name = "completions per interrupt",
       .ways = {{.hooks = {tracepoint("irq_handler_entry", "handler_begins"),
                           tracepoint("irq_handler_exit", "handler_ends"),
                           tracepoint("block_rq_complete", "completed")},
                 .remark = "two programs for each interrupt of a device"}},
       .without = "no tracepoints of interrupts",
       .required = true}};
  return all;
}

constexpr Trouble<probed::InterruptTotals> troubles[] = {
    {&probed::InterruptTotals::lost_events, "interrupts are not counted: too many vectors"},
    {&probed::InterruptTotals::missed_runs,
     "times a program did not run, as it was just running on that CPU"}};

struct InterruptsCounts {
  std::map<std::uint32_t, interrupts_vector> vectors;
  interrupts_totals totals{};
  std::uint64_t missed_runs = 0;
};

InterruptsCounts operator-(const InterruptsCounts& later, const InterruptsCounts& earlier) {
  InterruptsCounts counts{.vectors = later.vectors,
                          .totals = minus(later.totals, earlier.totals),
                          .missed_runs = later.missed_runs - earlier.missed_runs};
  for (const auto& [irq, before] : earlier.vectors) {
    const auto vector = counts.vectors.find(irq);
    if (vector == counts.vectors.end()) continue;
    vector->second.completions -= before.completions;
    for (unsigned size = 0; size <= INTERRUPTS_LARGEST; ++size)
      vector->second.events[size] -= before.events[size];
  }
  return counts;
}

class InterruptsProbe final : public ProbeOf<probed::Interrupts> {
 public:
  InterruptsProbe() : ProbeOf(&probed::Records::interrupts) {}

  static Result<std::unique_ptr<Probe>> attach(const ProbeSetup& setup) {
    auto probe = std::make_unique<InterruptsProbe>();
    if (auto opened = probe->bpf_.open("interrupts", roles(), setup); !opened)
      return std::unexpected(opened.error());
    probe->bpf_->rodata->can_peek = kernel_can_peek();
    if (auto attached = probe->bpf_.attach(); !attached) return std::unexpected(attached.error());
    return probe;
  }

  Result<> mark(Edge edge) override {
    edges_.keep(edge, count());
    return {};
  }

 protected:
  [[nodiscard]] Result<probed::Interrupts> record_of(Span span) const override {
    const InterruptsCounts counts = span == Span::window ? edges_.window() : count();
    probed::Interrupts record{{bpf_.hooks()}};
    for (const auto& [irq, vector] : counts.vectors)
      record.vectors.push_back(record_of_vector(irq, vector));
    record.totals.lost_events = counts.totals.lost_events;
    record.totals.missed_runs = counts.missed_runs;
    record.totals.completions_elsewhere = counts.totals.elsewhere;
    return record;
  }

  [[nodiscard]] std::string text_of(const probed::Interrupts& record) const override {
    std::string text;
    for (const probed::InterruptVector& vector : record.vectors)
      if (vector.completions != 0)
        text += formatted("vector {}, {}: {} completions in {} interrupts\n{}\n", vector.vector,
                          vector.name, vector.completions, vector.interrupts,
                          log2_histogram("completions", vector.size_events));
    return text + elsewhere_text(record, text.empty()) +
           trouble_text<probed::InterruptTotals>(record.totals, troubles);
  }

  [[nodiscard]] std::string brief_of(const probed::Interrupts& record) const override {
    std::string lines;
    for (const probed::InterruptVector& vector : record.vectors)
      if (vector.completions != 0)
        lines += histogram_line(formatted("{} {}", vector.vector, vector.name), vector.size_events,
                                Values::numbers);
    return (lines.empty() ? std::string()
                          : "completions per interrupt, by vector\n" + histogram_titles() + lines) +
           elsewhere_text(record, lines.empty()) +
           trouble_text<probed::InterruptTotals>(record.totals, troubles);
  }

 private:
  static std::string elsewhere_text(const probed::Interrupts& record, bool none) {
    return formatted(
        "{}{} completions of other disks than ublk's outside of interrupts: polled, in softirqs, "
        "by other CPUs\n",
        none ? "no interrupt completed a request\n" : "", record.totals.completions_elsewhere);
  }

  [[nodiscard]] InterruptsCounts count() const {
    return {.vectors = elements_of<std::uint32_t, interrupts_vector>(bpf_->maps.vectors),
            .totals = bpf_->bss->totals,
            .missed_runs = bpf_.missed_runs()};
  }

  static probed::InterruptVector record_of_vector(std::uint32_t irq,
                                                  const interrupts_vector& vector) {
    probed::InterruptVector record{
        .vector = irq,
        .name = std::string(vector.name, ::strnlen(vector.name, sizeof(vector.name))),
        .completions = vector.completions,
        .size_events = {}};
    for (unsigned size = 0; size <= INTERRUPTS_LARGEST; ++size) {
      if (vector.events[size] == 0) continue;
      record.size_events[size] = vector.events[size];
      record.interrupts += vector.events[size];
    }
    return record;
  }

  BpfObject<interrupts_bpf> bpf_;
  Edges<InterruptsCounts> edges_;
};

}  // namespace

Result<std::unique_ptr<Probe>> attach_interrupts(const ProbeSetup& setup) {
  return InterruptsProbe::attach(setup);
}

}  // namespace ublkbench::probes
