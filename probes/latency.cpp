// SPDX-License-Identifier: MIT
#include "probes/latency.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <format>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/base/histogram.hpp"
#include "bench/base/units.hpp"
#include "latency.skel.h"
#include "probes/lib/bpf.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"

namespace ublkbench::probes {
namespace {

using nlohmann::json;

static_assert(LATENCY_SLOTS == LOG_LINEAR_SLOTS);

const std::vector<Role>& roles() {
  static const std::vector<Role> all = {
      {.name = "begin",
       .ways = {{.hooks = {call_of("ublk_queue_rqs", LATENCY_ON_QUEUE_LIST),
                           call_of("ublk_queue_rq", LATENCY_ON_QUEUE_RQ)}},
                {.hooks = {call_of("ublk_queue_rq", LATENCY_ON_QUEUE_RQ)}}},
       .without = "ublk_queue_rq() cannot be traced",
       .required = true},
      {.name = "begin, batch",
       .ways = {{.hooks = {call_of("ublk_batch_queue_rqs", LATENCY_ON_QUEUE_LIST),
                           call_of("ublk_batch_queue_rq", LATENCY_ON_QUEUE_RQ)}}},
       .without = "no UBLK_F_BATCH_IO on this kernel"},
      {.name = "dispatch",
       .ways = {{.hooks = {call_of("ublk_cmd_list_tw_cb", LATENCY_ON_DISPATCH_LIST, "io_tw_req"),
                           call_of("ublk_cmd_tw_cb", LATENCY_ON_DISPATCH_ONE, "io_tw_req")}}},
       .without = "when the server gets a request is not known without it",
       .required = true},
      {.name = "dispatch, batch",
       .ways = {{.hooks = {call_of("io_uring_mshot_cmd_post_cqe", LATENCY_ON_FETCH_POSTED)}}},
       .without = "no FETCH_IO_CMDS on this kernel"},
      {.name = "the turn of a loop",
       .ways = {{.hooks = {call_of(enter_function, LATENCY_ON_ENTERED), return_of(enter_function)},
                 .remark = "when a server had seen a request and when it had submitted its I/O is "
                           "told from the turns of its loop"}},
       .without = "io_uring_enter() cannot be traced",
       .required = true},
      {.name = "commit",
       .ways = {{.hooks = {call_of("io_submit_sqes", LATENCY_ON_SUBMITTING)}}},
       .without = "io_submit_sqes() cannot be traced",
       .required = true},
      {.name = "commit, batch",
       .ways = {{.hooks = {call_of("ublk_handle_batch_commit_cmd", LATENCY_ON_BATCH_COMMIT)}}},
       .without = "no COMMIT_IO_CMDS on this kernel"},
      {.name = "completion",
       .ways = {{.hooks = {call_of("blk_update_request", LATENCY_ON_COMPLETE)}},
                {.hooks = {tracepoint("block_rq_complete", "completed")},
                 .remark = "misses some if it is preempted (totals.missed_runs)"}},
       .without = "no block tracepoints",
       .required = true},
      {.name = "requests given back",
       .ways = {{.hooks = {tracepoint("block_rq_requeue", "requeued")}}},
       .without = "requests that the driver gives back count as lost"}};
  return all;
}

struct StageName {
  const char* name;
  const char* meaning;
};

constexpr StageName stage_names[LATENCY_STAGES] = {
    {"dispatch", "queue_rq to the driver's task work in the server's task"},
    {"wake", "to the return of that io_uring_enter(): the server sees the completion"},
    {"server", "to the server's next io_uring_enter(): what it does before it waits again"},
    {"target", "to the return of the last io_uring_enter() before the commit; 0 if there is none"},
    {"commit", "to the io_uring_enter() that commits"},
    {"complete", "to the block layer's completion"},
    {"total", "all of it"}};
constexpr const char* op_names[LATENCY_OPS] = {"read", "write", "other"};
constexpr const char* size_names[LATENCY_SIZES] = {"to 4k", "to 16k", "to 64k", "to 256k",
                                                   "above 256k"};

struct Counted {
  std::uint64_t sum_ns = 0;
  std::uint64_t min_ns = 0;  // + 1; 0 is none
  std::uint64_t max_ns = 0;
  std::vector<std::uint64_t> slots = std::vector<std::uint64_t>(LATENCY_SLOTS);

  void add(const latency_histogram& of_cpu) {
    sum_ns += of_cpu.sum_ns;
    if (of_cpu.min_ns != 0 && (min_ns == 0 || of_cpu.min_ns < min_ns)) min_ns = of_cpu.min_ns;
    max_ns = std::max<std::uint64_t>(max_ns, of_cpu.max_ns);
    for (unsigned slot = 0; slot < LATENCY_SLOTS; ++slot) slots[slot] += of_cpu.slots[slot];
  }

  [[nodiscard]] Result<Histogram> histogram() const {
    json pairs = json::array();
    std::uint64_t count = 0;
    for (unsigned slot = 0; slot < LATENCY_SLOTS; ++slot) {
      if (slots[slot] == 0) continue;
      pairs.push_back({log_linear_lowest(slot), slots[slot]});
      count += slots[slot];
    }
    return Histogram::from_json({{"sub_buckets_per_power_of_two", LOG_LINEAR_SUB_BUCKETS},
                                 {"count", count},
                                 {"min", min_ns == 0 ? 0 : min_ns - 1},
                                 {"max", max_ns},
                                 {"sum", sum_ns},
                                 {"slots", std::move(pairs)}});
  }
};

ValueCounts counts_from(const json& histogram) {
  ValueCounts counts;
  for (const json& pair : histogram["slots"]) counts[pair[0]] = pair[1];
  return counts;
}

std::string stage_table(const json& stages) {
  std::string text = std::format("{:<9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}\n", "stage", "ios",
                                 "mean", "p50", "p99", "max", "share");
  const double total = stages["total"].value("sum", 0.0);
  for (const StageName& stage : stage_names) {
    const json& histogram = stages[stage.name];
    const auto ios = histogram.value("count", std::uint64_t{0});
    const double sum = histogram.value("sum", 0.0);
    const auto time = [&](const char* key) { return format_ns(histogram.value(key, 0.0)); };
    text += std::format("{:<9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>5.1f}%\n", stage.name, ios,
                        format_ns(ios == 0 ? 0 : sum / static_cast<double>(ios)), time("p50"),
                        time("p99"), time("max"), total == 0 ? 0 : 100 * sum / total);
  }
  return text;
}

constexpr Trouble troubles[] = {
    {"in_flight_ios", "I/Os are still in flight"},
    {"lost_ios", "I/Os are in no histogram: an event of theirs was missed"},
    {"uncommitted_ios", "I/Os failed without a commit: their server was gone"},
    {"requeued_ios", "times an I/O went back to the block layer; its time begins anew"},
    {"untracked_ios", "I/Os are in no histogram: no room for their tags; see --max-tags"},
    {"unsplit_ios", "I/Os took so many turns of the loop that all of it counts as target"},
    {"unread_sqes",
     "SQEs were not read: of a SQPOLL ring, or of a task that serves several devices"}};

class LatencyProbe final : public Probe {
 public:
  static Result<std::unique_ptr<Probe>> attach(const ProbeSetup& setup) {
    auto probe = std::make_unique<LatencyProbe>();
    if (!probe->skeleton_) return failed("open the BPF object of probe", "latency", errno);
    aim(*probe->skeleton_->rodata, setup.subject);
    probe->skeleton_->rodata->max_tags = setup.max_tags;
    bpf_map__set_max_entries(probe->skeleton_->maps.ios, setup.max_tags);
    auto chosen = choose_hooks(roles(), setup.kernel, setup.preference, probe->skeleton_->obj);
    if (!chosen) return std::unexpected(chosen.error());
    probe->hooks_ = std::move(*chosen);
    listen(*probe->skeleton_->rodata, probe->hooks_);
    auto links = load_and_attach(probe->skeleton_->skeleton, "latency", probe->hooks_);
    if (!links) return std::unexpected(links.error());
    probe->links_ = std::move(*links);
    return probe;
  }

  [[nodiscard]] Result<json> record() const override {
    json record = {{"used", hooks_.used()}, {"unavailable", hooks_.unavailable()}};
    std::array<Counted, LATENCY_STAGES> all;
    json ops = json::object();
    for (unsigned op = 0; op < LATENCY_OPS; ++op) {
      std::array<Counted, LATENCY_STAGES> of_op;
      for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage) {
        auto cpus = read_element_of_cpus<latency_histogram>(skeleton_->maps.histograms,
                                                            op * LATENCY_STAGES + stage);
        if (!cpus) return std::unexpected(cpus.error());
        for (const latency_histogram& cpu : *cpus) {
          of_op[stage].add(cpu);
          all[stage].add(cpu);
        }
      }
      auto stages = stages_json(of_op);
      if (!stages) return stages;
      if ((*stages)["total"]["count"] != 0) ops[op_names[op]] = std::move(*stages);
    }
    auto stages = stages_json(all);
    if (!stages) return stages;
    record["stages_ns"] = std::move(*stages);
    record["ops_ns"] = std::move(ops);
    auto sizes = sizes_json();
    if (!sizes) return sizes;
    record["sizes"] = std::move(*sizes);
    auto queues = queues_json();
    if (!queues) return queues;
    record["queues"] = std::move(*queues);
    record["totals"] = totals();
    return record;
  }

  [[nodiscard]] std::string text(const json& record) const override {
    if (record["stages_ns"]["total"]["count"] == 0)
      return "no I/O was completed\n" + trouble_text(record["totals"], troubles);
    std::string text = stage_table(record["stages_ns"]);
    for (const auto& [op, stages] : record["ops_ns"].items())
      if (record["ops_ns"].size() > 1) text += std::format("\n{}\n{}", op, stage_table(stages));
    text += '\n';
    for (const StageName& stage : stage_names)
      text += std::format("{}: {}, in ns\n{}\n", stage.name, stage.meaning,
                          log2_histogram(std::format("{}_ns", stage.name),
                                         counts_from(record["stages_ns"][stage.name])));
    return text + trouble_text(record["totals"], troubles);
  }

  [[nodiscard]] bool settled() const override { return in_flight(skeleton_->bss->totals) == 0; }

 private:
  struct Destroy {
    void operator()(latency_bpf* skeleton) const { latency_bpf::destroy(skeleton); }
  };

  static std::uint64_t in_flight(const latency_totals& totals) {
    return totals.begun_ios - totals.finished_ios - totals.lost_ios - totals.uncommitted_ios -
           totals.requeued_ios;
  }

  static Result<json> stages_json(const std::array<Counted, LATENCY_STAGES>& counted) {
    json stages = json::object();
    for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage) {
      const auto histogram = counted[stage].histogram();
      if (!histogram) return std::unexpected(histogram.error());
      stages[stage_names[stage].name] = histogram->to_json();
    }
    return stages;
  }

  /// I/Os and the mean of each stage of one element of `map`; "ios" is 0 where there was none.
  static Result<json> means_json(const bpf_map* map, unsigned index) {
    auto cpus = read_element_of_cpus<latency_sum>(map, index);
    if (!cpus) return std::unexpected(cpus.error());
    latency_sum sum{};
    for (const latency_sum& cpu : *cpus) {
      sum.ios += cpu.ios;
      for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage)
        sum.stage_ns[stage] += cpu.stage_ns[stage];
    }
    json means = json::object();
    for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage)
      means[stage_names[stage].name] =
          sum.ios == 0 ? 0
                       : static_cast<double>(sum.stage_ns[stage]) / static_cast<double>(sum.ios);
    return json{{"ios", sum.ios}, {"mean_ns", std::move(means)}};
  }

  [[nodiscard]] Result<json> sizes_json() const {
    json list = json::array();
    for (unsigned op = 0; op < LATENCY_OPS; ++op)
      for (unsigned size = 0; size < LATENCY_SIZES; ++size) {
        auto means = means_json(skeleton_->maps.sums, op * LATENCY_SIZES + size);
        if (!means) return means;
        if ((*means)["ios"] == 0) continue;
        (*means)["op"] = op_names[op];
        (*means)["size"] = size_names[size];
        list.push_back(std::move(*means));
      }
    return list;
  }

  [[nodiscard]] Result<json> queues_json() const {
    json list = json::array();
    for (unsigned queue = 0; queue < LATENCY_QUEUES; ++queue) {
      auto means = means_json(skeleton_->maps.queue_sums, queue);
      if (!means) return means;
      if ((*means)["ios"] == 0) continue;
      (*means)["queue"] = queue;
      list.push_back(std::move(*means));
    }
    return list;
  }

  [[nodiscard]] json totals() const {
    const latency_totals& totals = skeleton_->bss->totals;
    return {{"begun_ios", totals.begun_ios},
            {"finished_ios", totals.finished_ios},
            {"in_flight_ios", in_flight(totals)},
            {"lost_ios", totals.lost_ios},
            {"uncommitted_ios", totals.uncommitted_ios},
            {"requeued_ios", totals.requeued_ios},
            {"untracked_ios", totals.untracked_ios},
            {"unsplit_ios", totals.unsplit_ios},
            {"unread_sqes", totals.unread_sqes},
            {"missed_runs", missed_runs(skeleton_->obj, links_)}};
  }

  std::unique_ptr<latency_bpf, Destroy> skeleton_{latency_bpf::open()};
  ChosenHooks hooks_;
  Links links_;
};

}  // namespace

Result<std::unique_ptr<Probe>> attach_latency(const ProbeSetup& setup) {
  return LatencyProbe::attach(setup);
}

}  // namespace ublkbench::probes
