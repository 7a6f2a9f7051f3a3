// SPDX-License-Identifier: MIT
#include "probes/wakeups.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "probes/lib/bpf_object.hpp"
#include "probes/lib/completed_ios.hpp"
#include "probes/lib/edges.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/task_times.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"
#include "wakeups.skel.h"

namespace ublkbench::probes {
namespace {

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

constexpr Trouble<probed::Missed> troubles[] = {
    {&probed::Missed::lost_events, "events are not counted: too many tasks"},
    {&probed::Missed::missed_runs,
     "times a program did not run, as it was just running on that CPU"}};

struct WakeupsCounts {
  std::map<std::uint32_t, wakeups_task> tasks;
  std::map<wakeups_waker, std::uint64_t, ByBytes> wakers;
  std::uint64_t completed_ios = 0;
  std::uint64_t at_ns = 0;  ///< a duration where it is a difference
  std::uint64_t lost_events = 0;
  std::uint64_t missed_runs = 0;
};

wakeups_task minus_task(const wakeups_task& later, const wakeups_task& earlier) {
  wakeups_task task = later;
  task.sleeps -= earlier.sleeps;
  task.preemptions -= earlier.preemptions;
  task.wakes -= earlier.wakes;
  // Two clocks may have told it, see add_running().
  task.on_cpu_ns -= std::min(task.on_cpu_ns, earlier.on_cpu_ns);
  task.delay_ns -= earlier.delay_ns;
  for (unsigned slot = 0; slot < LOG2_SLOTS; ++slot) task.delays[slot] -= earlier.delays[slot];
  return task;
}

WakeupsCounts operator-(const WakeupsCounts& later, const WakeupsCounts& earlier) {
  WakeupsCounts counts{.tasks = {},
                       .wakers = minus(later.wakers, earlier.wakers),
                       .completed_ios = later.completed_ios - earlier.completed_ios,
                       .at_ns = later.at_ns - earlier.at_ns,
                       .lost_events = later.lost_events - earlier.lost_events,
                       .missed_runs = later.missed_runs - earlier.missed_runs};
  for (const auto& [tid, task] : later.tasks) {
    const auto before = earlier.tasks.find(tid);
    const wakeups_task rest =
        before == earlier.tasks.end() ? task : minus_task(task, before->second);
    if (rest.sleeps + rest.preemptions + rest.wakes + rest.on_cpu_ns != 0)
      counts.tasks.emplace(tid, rest);
  }
  return counts;
}

class WakeupsProbe final : public ProbeOf<probed::Wakeups> {
 public:
  WakeupsProbe() : ProbeOf(&probed::Records::wakeups) {}

  static Result<std::unique_ptr<Probe>> attach(const ProbeSetup& setup) {
    std::set<pid_t> servers;
    for (const Device& device : setup.subject.devices)
      if (device.server > 0) servers.insert(device.server);
    if (servers.empty())
      return bad_input("probe wakeups", "none of the devices has a server to look at");
    if (servers.size() > WAKEUPS_SERVERS)
      return bad_input(formatted("probe wakeups: {} servers", servers.size()),
                       formatted("at most {}; choose a device or --pid", WAKEUPS_SERVERS));
    auto probe = std::make_unique<WakeupsProbe>();
    if (auto opened = probe->bpf_.open("wakeups", roles(), setup); !opened)
      return std::unexpected(opened.error());
    std::ranges::copy(servers, std::begin(probe->bpf_->rodata->servers));
    if (auto attached = probe->bpf_.attach(); !attached) return std::unexpected(attached.error());
    probe->completed_ios_ = std::make_unique<CompletedIos>(setup.subject);
    probe->ran_before_ = probe->tasks_of_servers();
    probe->begin_ns_ = now_ns();
    probe->bpf_->bss->begin_ns = probe->begin_ns_;
    return probe;
  }

  void look() override { completed_ios_->look(); }

  Result<> mark(Edge edge) override {
    edges_.keep(edge, count());
    return {};
  }

 protected:
  [[nodiscard]] Result<probed::Wakeups> record_of(Span span) const override {
    WakeupsCounts counts = span == Span::window ? edges_.window() : count();
    if (span == Span::attached) counts.at_ns -= begin_ns_;
    probed::Wakeups record{{bpf_.hooks()}};
    record.completed_ios = counts.completed_ios;
    record.elapsed_ns = counts.at_ns;
    for (const auto& [tid, task] : counts.tasks) record.tasks.push_back(record_of_task(tid, task));
    record.wakers = wakers_of(counts);
    record.totals = {.lost_events = counts.lost_events, .missed_runs = counts.missed_runs};
    return record;
  }

  [[nodiscard]] std::string text_of(const probed::Wakeups& record) const override {
    const SizeEvents delays = delays_of(record);
    return task_table(record) +
           (delays.empty() ? std::string()
                           : formatted("\nfrom a wake until it ran, in ns\n{}\n",
                                       log2_histogram("run_queue_delay_ns", delays))) +
           trouble_text<probed::Missed>(record.totals, troubles);
  }

  [[nodiscard]] std::string brief_of(const probed::Wakeups& record) const override {
    std::uint64_t delay_ns = 0;
    const SizeEvents delays = delays_of(record);
    for (const probed::WakeupsTask& task : record.tasks) delay_ns += task.delay_ns;
    return task_table(record) +
           (delays.empty() ? std::string()
                           : histogram_titles() + histogram_line("run_queue_delay", delays,
                                                                 Values::times_log2_ns,
                                                                 mean_delay_ns(delay_ns, delays))) +
           trouble_text<probed::Missed>(record.totals, troubles);
  }

 private:
  static SizeEvents delays_of(const probed::Wakeups& record) {
    SizeEvents delays;
    for (const probed::WakeupsTask& task : record.tasks)
      for (const auto& [delay, events] : task.delay_ns_events) delays[delay] += events;
    return delays;
  }

  /// Of the runs that are known to follow from a wake.
  static double mean_delay_ns(std::uint64_t delay_ns, const SizeEvents& delays) {
    std::uint64_t runs = 0;
    for (const auto& [delay, events] : delays) runs += events;
    return runs == 0 ? 0 : static_cast<double>(delay_ns) / static_cast<double>(runs);
  }

  static std::string task_table(const probed::Wakeups& record) {
    const auto ios = static_cast<double>(record.completed_ios);
    const auto elapsed_ns =
        static_cast<double>(std::max<std::uint64_t>(record.elapsed_ns.value_or(1), 1));
    std::string text =
        formatted("{} I/Os completed\n{:<16} {:>8} {:>9} {:>11} {:>9} {:>11} {:>11} {:>7}\n",
                  record.completed_ios, "task", "tid", "sleeps", "preemptions", "wakes",
                  "sleeps/IO", "mean delay", "on CPU");
    for (const probed::WakeupsTask& task : record.tasks)
      text +=
          formatted("{:<16} {:>8} {:>9} {:>11} {:>9} {:>11} {:>11} {:>6.1f}%\n", task.task.name,
                    task.task.tid, task.sleeps, task.preemptions, task.wakes,
                    ios == 0 ? "-" : formatted("{:.3f}", static_cast<double>(task.sleeps) / ios),
                    format_ns(mean_delay_ns(task.delay_ns, task.delay_ns_events)),
                    100 * static_cast<double>(task.on_cpu_ns) / elapsed_ns);
    for (const probed::Waker& waker : record.wakers)
      text +=
          formatted("woken by {:<16} {:>9} times: {}\n", waker.waker, waker.wakes, waker.task.name);
    return text;
  }

  [[nodiscard]] WakeupsCounts count() const {
    WakeupsCounts counts;
    counts.at_ns = now_ns();
    counts.tasks = elements_of<std::uint32_t, wakeups_task>(bpf_->maps.tasks);
    add_running(counts);
    counts.completed_ios = completed_ios_->look();
    counts.wakers = elements_of<wakeups_waker, std::uint64_t, ByBytes>(bpf_->maps.wakers);
    counts.lost_events = bpf_->bss->totals.lost_events;
    counts.missed_runs = bpf_.missed_runs();
    return counts;
  }

  /// What runs now has not been added yet; and a task that has run ever since the probe came was
  /// never seen to be switched: of that the scheduler's own count tells, to a tick.
  void add_running(WakeupsCounts& counts) const {
    for (auto& [tid, task] : counts.tasks)
      if (task.running_since_ns != 0 && task.running_since_ns < counts.at_ns)
        task.on_cpu_ns += counts.at_ns - task.running_since_ns;
    for (const auto& [tid, ran] : tasks_of_servers()) {
      const auto before = ran_before_.find(tid);
      const std::uint64_t since_ns =
          ran.on_cpu_ns - (before == ran_before_.end() ? 0 : before->second.on_cpu_ns);
      const auto known = counts.tasks.find(tid);
      const bool switched = known != counts.tasks.end() &&
                            (known->second.running_since_ns != 0 || known->second.sleeps != 0 ||
                             known->second.preemptions != 0);
      if (switched || since_ns == 0) continue;
      wakeups_task& task = counts.tasks[tid];
      ran.name.copy(task.comm, sizeof(task.comm) - 1);
      task.on_cpu_ns = since_ns;
    }
  }

  [[nodiscard]] std::map<std::uint32_t, TaskTime> tasks_of_servers() const {
    std::map<std::uint32_t, TaskTime> all;
    for (const __u32 server : bpf_->rodata->servers)
      if (server != 0) all.merge(task_times(static_cast<pid_t>(server)));
    return all;
  }

  static probed::WakeupsTask record_of_task(std::uint32_t tid, const wakeups_task& task) {
    return {.task = task_name(tid, task.comm),
            .sleeps = task.sleeps,
            .preemptions = task.preemptions,
            .wakes = task.wakes,
            .on_cpu_ns = task.on_cpu_ns,
            .delay_ns = task.delay_ns,
            .delay_ns_events = log2_events(task.delays)};
  }

  /// The most wakes first.
  static std::vector<probed::Waker> wakers_of(const WakeupsCounts& counts) {
    std::vector<probed::Waker> wakers;
    for (const auto& [key, wakes] : counts.wakers) {
      const auto woken = counts.tasks.find(key.tid);
      wakers.push_back({.task = woken == counts.tasks.end()
                                    ? probed::TaskName{.tid = key.tid, .name = {}}
                                    : task_name(key.tid, woken->second.comm),
                        .waker = task_name(0, key.comm).name,
                        .wakes = wakes});
    }
    std::ranges::sort(wakers, std::ranges::greater(), &probed::Waker::wakes);
    return wakers;
  }

  BpfObject<wakeups_bpf> bpf_;
  std::unique_ptr<CompletedIos> completed_ios_;
  std::map<std::uint32_t, TaskTime> ran_before_;  // the probe came
  std::uint64_t begin_ns_ = 0;
  Edges<WakeupsCounts> edges_;
};

}  // namespace

Result<std::unique_ptr<Probe>> attach_wakeups(const ProbeSetup& setup) {
  return WakeupsProbe::attach(setup);
}

}  // namespace ublkbench::probes
