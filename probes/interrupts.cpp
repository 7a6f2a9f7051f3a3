// SPDX-License-Identifier: MIT
#include "probes/interrupts.h"

#include <bpf/libbpf.h>

#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench/base/format.hpp"
#include "interrupts.skel.h"
#include "probes/lib/bpf_object.hpp"
#include "probes/lib/edges.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"

namespace ublkbench::probes {
namespace {

using nlohmann::json;

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

constexpr Trouble troubles[] = {
    {"lost_events", "interrupts are not counted: too many vectors"},
    {"missed_runs", "times a program did not run, as it was just running on that CPU"}};

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

class InterruptsProbe final : public Probe {
 public:
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

  [[nodiscard]] Result<json> record(Span span) const override {
    const InterruptsCounts counts = span == Span::window ? edges_.window() : count();
    json vectors = json::array();
    for (const auto& [irq, vector] : counts.vectors) vectors.push_back(vector_json(irq, vector));
    return json{{"used", bpf_.hooks().used()},
                {"unavailable", bpf_.hooks().unavailable()},
                {"vectors", std::move(vectors)},
                {"totals",
                 {{"completions_elsewhere", counts.totals.elsewhere},
                  {"lost_events", counts.totals.lost_events},
                  {"missed_runs", counts.missed_runs}}}};
  }

  [[nodiscard]] std::string text(const json& record) const override {
    std::string text;
    for (const json& vector : record["vectors"])
      if (vector["completions"] != 0)
        text += formatted("vector {}, {}: {} completions in {} interrupts\n{}\n",
                          vector["vector"].get<unsigned>(), vector["name"].get<std::string>(),
                          vector["completions"].get<std::uint64_t>(),
                          vector["interrupts"].get<std::uint64_t>(),
                          log2_histogram("completions", counts_from(vector["size_events"])));
    return text + elsewhere_text(record, text.empty()) + trouble_text(record["totals"], troubles);
  }

  [[nodiscard]] std::string brief(const json& record) const override {
    std::string lines;
    for (const json& vector : record["vectors"])
      if (vector["completions"] != 0)
        lines += histogram_line(
            formatted("{} {}", vector["vector"].get<unsigned>(), vector["name"].get<std::string>()),
            counts_from(vector["size_events"]), Values::numbers);
    return (lines.empty() ? std::string()
                          : "completions per interrupt, by vector\n" + histogram_titles() + lines) +
           elsewhere_text(record, lines.empty()) + trouble_text(record["totals"], troubles);
  }

 private:
  static std::string elsewhere_text(const json& record, bool none) {
    return formatted(
        "{}{} completions of other disks than ublk's outside of interrupts: polled, in softirqs, "
        "by other CPUs\n",
        none ? "no interrupt completed a request\n" : "",
        record["totals"].value("completions_elsewhere", 0ULL));
  }

  [[nodiscard]] InterruptsCounts count() const {
    return {.vectors = elements_of<std::uint32_t, interrupts_vector>(bpf_->maps.vectors),
            .totals = bpf_->bss->totals,
            .missed_runs = bpf_.missed_runs()};
  }

  static json vector_json(std::uint32_t irq, const interrupts_vector& vector) {
    json events = json::array();
    std::uint64_t interrupts = 0;
    for (unsigned size = 0; size <= INTERRUPTS_LARGEST; ++size) {
      if (vector.events[size] == 0) continue;
      events.push_back({size, vector.events[size]});
      interrupts += vector.events[size];
    }
    return {{"vector", irq},
            {"name", std::string(vector.name, ::strnlen(vector.name, sizeof(vector.name)))},
            {"interrupts", interrupts},
            {"completions", vector.completions},
            {"size_events", std::move(events)}};
  }

  BpfObject<interrupts_bpf> bpf_;
  Edges<InterruptsCounts> edges_;
};

}  // namespace

Result<std::unique_ptr<Probe>> attach_interrupts(const ProbeSetup& setup) {
  return InterruptsProbe::attach(setup);
}

}  // namespace ublkbench::probes
