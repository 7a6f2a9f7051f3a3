// SPDX-License-Identifier: MIT
#include "probes/wakeups.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <format>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "bench/base/clock.hpp"
#include "bench/base/units.hpp"
#include "probes/lib/bpf.hpp"
#include "probes/lib/completed_ios.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"
#include "wakeups.skel.h"

namespace ublkbench::probes {
namespace {

using nlohmann::json;

const std::vector<Role>& roles() {
  static const std::vector<Role> all = {
      {.name = "switches and wakes",
       .ways = {{.hooks = {tracepoint("sched_switch", "switched"),
                           tracepoint("sched_waking", "waking")},
                 .remark = "one program for each switch of the machine"}},
       .without = "no scheduler tracepoints",
       .required = true}};
  return all;
}

constexpr Trouble troubles[] = {
    {"lost_events", "events are not counted: too many tasks"},
    {"missed_runs", "times a program did not run, as it was just running on that CPU"}};

std::string name_of(const char (&comm)[16]) { return {comm, ::strnlen(comm, sizeof(comm))}; }

ValueCounts counts_from(const json& pairs) {
  ValueCounts counts;
  for (const json& pair : pairs) counts[pair[0]] = pair[1];
  return counts;
}

class WakeupsProbe final : public Probe {
 public:
  static Result<std::unique_ptr<Probe>> attach(const ProbeSetup& setup) {
    std::set<pid_t> servers;
    for (const Device& device : setup.subject.devices)
      if (device.server > 0) servers.insert(device.server);
    if (servers.empty())
      return bad_input("probe wakeups", "none of the devices has a server to look at");
    if (servers.size() > WAKEUPS_SERVERS)
      return bad_input(std::format("probe wakeups: {} servers", servers.size()),
                       std::format("at most {}; choose a device or --pid", WAKEUPS_SERVERS));
    auto probe = std::make_unique<WakeupsProbe>();
    if (!probe->skeleton_) return failed("open the BPF object of probe", "wakeups", errno);
    std::ranges::copy(servers, std::begin(probe->skeleton_->rodata->servers));
    auto chosen = choose_hooks(roles(), setup.kernel, setup.preference, probe->skeleton_->obj);
    if (!chosen) return std::unexpected(chosen.error());
    probe->hooks_ = std::move(*chosen);
    auto links = load_and_attach(probe->skeleton_->skeleton, "wakeups", probe->hooks_);
    if (!links) return std::unexpected(links.error());
    probe->links_ = std::move(*links);
    probe->completed_ios_ = std::make_unique<CompletedIos>(setup.subject);
    probe->begin_ns_ = now_ns();
    probe->skeleton_->bss->begin_ns = probe->begin_ns_;
    return probe;
  }

  void look() override { completed_ios_->look(); }

  [[nodiscard]] Result<json> record() const override {
    json record = {{"used", hooks_.used()},
                   {"unavailable", hooks_.unavailable()},
                   {"completed_ios", completed_ios_->look()},
                   {"elapsed_ns", now_ns() - begin_ns_}};
    json tasks = json::array();
    const std::uint64_t now = now_ns();
    std::uint32_t tid = 0;
    const void* previous = nullptr;
    while (bpf_map__get_next_key(skeleton_->maps.tasks, previous, &tid, sizeof(tid)) == 0) {
      previous = &tid;
      wakeups_task task{};
      if (bpf_map__lookup_elem(skeleton_->maps.tasks, &tid, sizeof(tid), &task, sizeof(task), 0) ==
          0)
        tasks.push_back(task_json(tid, task, now));
    }
    record["tasks"] = std::move(tasks);
    record["wakers"] = wakers();
    record["totals"] = {{"lost_events", skeleton_->bss->totals.lost_events},
                        {"missed_runs", missed_runs(skeleton_->obj, links_)}};
    return record;
  }

  [[nodiscard]] std::string text(const json& record) const override {
    const double ios = record.value("completed_ios", 0.0);
    const double elapsed_ns = record.value("elapsed_ns", 1.0);
    std::string text =
        std::format("{} I/Os completed\n{:<16} {:>8} {:>9} {:>11} {:>9} {:>11} {:>11} {:>7}\n",
                    record.value("completed_ios", std::uint64_t{0}), "task", "tid", "sleeps",
                    "preemptions", "wakes", "sleeps/IO", "mean delay", "on CPU");
    ValueCounts delays;
    for (const json& task : record["tasks"]) {
      double runs = 0;  // that are known to follow from a wake
      for (const auto& [delay, events] : counts_from(task["delay_ns_events"])) {
        delays[delay] += events;
        runs += static_cast<double>(events);
      }
      text += std::format("{:<16} {:>8} {:>9} {:>11} {:>9} {:>11} {:>11} {:>6.1f}%\n",
                          task["task"]["name"].get<std::string>(), task["task"]["tid"].get<int>(),
                          task.value("sleeps", 0ULL), task.value("preemptions", 0ULL),
                          task.value("wakes", 0ULL),
                          ios == 0 ? "-" : std::format("{:.3f}", task.value("sleeps", 0.0) / ios),
                          format_ns(runs == 0 ? 0 : task.value("delay_ns", 0.0) / runs),
                          100 * task.value("on_cpu_ns", 0.0) / elapsed_ns);
    }
    for (const json& waker : record["wakers"])
      text += std::format("woken by {:<16} {:>9} times: {}\n", waker["waker"].get<std::string>(),
                          waker.value("wakes", 0ULL), waker["task"]["name"].get<std::string>());
    if (!delays.empty())
      text += std::format("\nfrom a wake until it ran, in ns\n{}\n",
                          log2_histogram("run_queue_delay_ns", delays));
    return text + trouble_text(record["totals"], troubles);
  }

 private:
  struct Destroy {
    void operator()(wakeups_bpf* skeleton) const { wakeups_bpf::destroy(skeleton); }
  };

  static json task_json(std::uint32_t tid, const wakeups_task& task, std::uint64_t now) {
    // What runs now has not been added yet.
    const std::uint64_t running_ns =
        task.running_since_ns == 0 ? 0 : now - std::min<std::uint64_t>(now, task.running_since_ns);
    json delays = json::array();
    for (unsigned slot = 0; slot < WAKEUPS_SLOTS; ++slot)
      if (task.delays[slot] != 0) delays.push_back({std::uint64_t{1} << slot, task.delays[slot]});
    return {{"task", {{"tid", tid}, {"name", name_of(task.comm)}}},
            {"sleeps", task.sleeps},
            {"preemptions", task.preemptions},
            {"wakes", task.wakes},
            {"on_cpu_ns", task.on_cpu_ns + running_ns},
            {"delay_ns", task.delay_ns},
            {"delay_ns_events", std::move(delays)}};
  }

  [[nodiscard]] json wakers() const {
    json list = json::array();
    wakeups_waker key{};
    const void* previous = nullptr;
    while (bpf_map__get_next_key(skeleton_->maps.wakers, previous, &key, sizeof(key)) == 0) {
      previous = &key;
      std::uint64_t wakes = 0;
      wakeups_task task{};
      bpf_map__lookup_elem(skeleton_->maps.wakers, &key, sizeof(key), &wakes, sizeof(wakes), 0);
      bpf_map__lookup_elem(skeleton_->maps.tasks, &key.tid, sizeof(key.tid), &task, sizeof(task),
                           0);
      list.push_back({{"task", {{"tid", key.tid}, {"name", name_of(task.comm)}}},
                      {"waker", name_of(key.comm)},
                      {"wakes", wakes}});
    }
    std::sort(list.begin(), list.end(),
              [](const json& a, const json& b) { return a["wakes"] > b["wakes"]; });
    return list;
  }

  std::unique_ptr<wakeups_bpf, Destroy> skeleton_{wakeups_bpf::open()};
  ChosenHooks hooks_;
  Links links_;
  std::unique_ptr<CompletedIos> completed_ios_;
  std::uint64_t begin_ns_ = 0;
};

}  // namespace

Result<std::unique_ptr<Probe>> attach_wakeups(const ProbeSetup& setup) {
  return WakeupsProbe::attach(setup);
}

}  // namespace ublkbench::probes
