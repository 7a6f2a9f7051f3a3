// SPDX-License-Identifier: MIT
#include "probes/syscalls.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <memory>
#include <set>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "probes/lib/bpf_object.hpp"
#include "probes/lib/completed_ios.hpp"
#include "probes/lib/edges.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/task_times.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"
#include "syscalls.skel.h"

namespace ublkbench::probes {
namespace {

const std::vector<Role>& roles() {
  static const std::vector<Role> all = {
      {.name = "io_uring_enter() calls",
       .ways = {{.hooks = {call_of(enter_function, SYSCALLS_ON_ENTERED)}},
                {.hooks = {tracepoint("sys_enter", "system_call")},
                 .remark = "one program for each system call of the machine"}},
       .without = "io_uring_enter() cannot be traced",
       .required = true},
      {.name = "io commands",
       .ways = {{.hooks = {call_of("io_uring_cmd", SYSCALLS_ON_COMMAND),
                           return_of("io_uring_cmd", SYSCALLS_ON_COMMAND)},
                 .remark = "with security_uring_cmd() and io_uring's own part"},
                {.hooks = {call_of("ublk_ch_uring_cmd", SYSCALLS_ON_DRIVER_COMMAND),
                           return_of("ublk_ch_uring_cmd", SYSCALLS_ON_DRIVER_COMMAND),
                           call_of("ublk_ch_batch_io_uring_cmd", SYSCALLS_ON_DRIVER_COMMAND),
                           return_of("ublk_ch_batch_io_uring_cmd", SYSCALLS_ON_DRIVER_COMMAND)},
                 .remark = "the driver's part only"},
                {.hooks = {call_of("ublk_ch_uring_cmd", SYSCALLS_ON_DRIVER_COMMAND),
                           return_of("ublk_ch_uring_cmd", SYSCALLS_ON_DRIVER_COMMAND)},
                 .remark = "the driver's part only"}},
       .without = "the time of io commands is not counted"},
      {.name = "security modules",
       .ways = {{.hooks = {call_of("security_uring_cmd", SYSCALLS_ON_SECURITY),
                           return_of("security_uring_cmd", SYSCALLS_ON_SECURITY)}}},
       .without = "the kernel has no security_uring_cmd(): its time is not counted"},
      {.name = "clients",
       .ways = {{.hooks = {call_of("ublk_queue_rqs", SYSCALLS_ON_QUEUE_LIST),
                           call_of("ublk_queue_rq", SYSCALLS_ON_QUEUE_RQ)}},
                {.hooks = {call_of("ublk_queue_rq", SYSCALLS_ON_QUEUE_RQ)}}},
       .without = "calls of clients are not counted"},
      {.name = "clients, batch",
       .ways = {{.hooks = {call_of("ublk_batch_queue_rqs", SYSCALLS_ON_QUEUE_LIST),
                           call_of("ublk_batch_queue_rq", SYSCALLS_ON_QUEUE_RQ)}}},
       .without = "no UBLK_F_BATCH_IO on this kernel"}};
  return all;
}

constexpr Trouble<probed::Missed> troubles[] = {
    {&probed::Missed::lost_events, "calls are not counted: too many tasks use io_uring"},
    {&probed::Missed::missed_runs,
     "times a program did not run, as it was just running on that CPU"}};

struct SyscallsCounts {
  std::map<std::uint32_t, syscalls_task> tasks;
  syscalls_totals totals{};
  std::uint64_t completed_ios = 0;
  std::uint64_t missed_runs = 0;
};

syscalls_task minus_task(const syscalls_task& later, const syscalls_task& earlier) {
  syscalls_task task = later;
  task.enters -= earlier.enters;
  task.commands -= earlier.commands;
  task.command_ns -= earlier.command_ns;
  task.security_calls -= earlier.security_calls;
  task.security_ns -= earlier.security_ns;
  return task;
}

SyscallsCounts operator-(const SyscallsCounts& later, const SyscallsCounts& earlier) {
  SyscallsCounts counts{.tasks = later.tasks,
                        .totals = minus(later.totals, earlier.totals),
                        .completed_ios = later.completed_ios - earlier.completed_ios,
                        .missed_runs = later.missed_runs - earlier.missed_runs};
  for (const auto& [tid, before] : earlier.tasks)
    if (const auto task = counts.tasks.find(tid); task != counts.tasks.end())
      task->second = minus_task(task->second, before);
  std::erase_if(counts.tasks, [](const auto& task) {
    return task.second.enters == 0 && task.second.commands == 0;
  });
  return counts;
}

class SyscallsProbe final : public ProbeOf<probed::Syscalls> {
 public:
  SyscallsProbe() : ProbeOf(&probed::Records::syscalls) {}

  static Result<std::unique_ptr<Probe>> attach(const ProbeSetup& setup) {
    auto probe = std::make_unique<SyscallsProbe>();
    if (auto opened = probe->bpf_.open("syscalls", roles(), setup); !opened)
      return std::unexpected(opened.error());
    aim(*probe->bpf_->rodata, setup.subject);
    std::set<pid_t> servers;
    for (const Device& device : setup.subject.devices)
      if (device.server > 0 && servers.size() < SYSCALLS_SERVERS) servers.insert(device.server);
    std::ranges::copy(servers, std::begin(probe->bpf_->rodata->servers));
    listen(*probe->bpf_->rodata, probe->bpf_.hooks());
    if (auto attached = probe->bpf_.attach(); !attached) return std::unexpected(attached.error());
    probe->completed_ios_ = std::make_unique<CompletedIos>(setup.subject);
    return probe;
  }

  void look() override { completed_ios_->look(); }

  Result<> mark(Edge edge) override {
    edges_.keep(edge, count());
    return {};
  }

 protected:
  [[nodiscard]] Result<probed::Syscalls> record_of(Span span) const override {
    const SyscallsCounts counts = span == Span::window ? edges_.window() : count();
    probed::Syscalls record{{bpf_.hooks()}};
    record.completed_ios = counts.completed_ios;
    record.totals = {.lost_events = counts.totals.lost_events, .missed_runs = counts.missed_runs};
    syscalls_task sums{};
    for (const auto& [tid, task] : counts.tasks) {
      (task.server != 0 ? record.server_enters : record.client_enters) += task.enters;
      sums.commands += task.commands;
      sums.command_ns += task.command_ns;
      sums.security_calls += task.security_calls;
      sums.security_ns += task.security_ns;
      record.tasks.push_back(record_of_task(tid, task));
    }
    if (bpf_.hooks().has("io commands")) {
      record.commands = sums.commands;
      record.command_ns = sums.command_ns;
      record.command_ns_events = log2_events(counts.totals.command_ns_events);
    }
    if (bpf_.hooks().has("security modules")) {
      record.security_calls = sums.security_calls;
      record.security_ns = sums.security_ns;
    }
    return record;
  }

  [[nodiscard]] std::string text_of(const probed::Syscalls& record) const override {
    return tables(record) +
           (has_times(record) ? formatted("\ntime of an io command in the kernel, in ns\n{}\n",
                                          log2_histogram("command_ns", *record.command_ns_events))
                              : std::string()) +
           trouble_text<probed::Missed>(record.totals, troubles);
  }

  [[nodiscard]] std::string brief_of(const probed::Syscalls& record) const override {
    return tables(record) +
           (has_times(record)
                ? histogram_titles() + histogram_line("io command", *record.command_ns_events,
                                                      Values::times_log2_ns,
                                                      ratio(record.command_ns, record.commands))
                : std::string()) +
           trouble_text<probed::Missed>(record.totals, troubles);
  }

 private:
  static bool has_times(const probed::Syscalls& record) {
    return record.command_ns_events && !record.command_ns_events->empty();
  }

  static double ratio(std::optional<std::uint64_t> of, std::optional<std::uint64_t> over) {
    return static_cast<double>(of.value_or(0)) / static_cast<double>(over.value_or(1));
  }

  static std::string tables(const probed::Syscalls& record) {
    const auto per_io = [&](std::uint64_t count) {
      return record.completed_ios == 0 ? "-"
                                       : formatted("{:.3f}", ratio(count, record.completed_ios));
    };
    std::string text = formatted("{} I/Os completed\n", record.completed_ios);
    text += formatted("io_uring_enter() per I/O: server {}, clients {}\n",
                      per_io(record.server_enters), per_io(record.client_enters));
    if (record.commands.value_or(0) > 0) {
      const std::uint64_t time_ns = record.command_ns.value_or(0);
      text += formatted("{} io commands, {} each, {} in all", *record.commands,
                        format_ns(ratio(time_ns, record.commands)),
                        format_ns(static_cast<double>(time_ns)));
      if (record.security_ns && time_ns > 0)
        text += formatted("; security_uring_cmd() {} each, {:.1f} % of it",
                          format_ns(ratio(record.security_ns, record.commands)),
                          100 * ratio(record.security_ns, time_ns));
      text += '\n';
    }
    text += formatted("{:<16} {:>8} {:<7} {:>10} {:>10} {:>11}\n", "task", "tid", "is", "enters",
                      "commands", "in commands");
    for (const probed::SyscallsTask& task : record.tasks)
      text += formatted("{:<16} {:>8} {:<7} {:>10} {:>10} {:>11}\n", task.task.name, task.task.tid,
                        name_of(task.role), task.enters, task.commands,
                        format_ns(static_cast<double>(task.command_ns)));
    return text;
  }

  static probed::SyscallsTask record_of_task(std::uint32_t tid, const syscalls_task& task) {
    return {.task = task_name(tid, task.comm),
            .role = task.server != 0 ? probed::Role::server : probed::Role::client,
            .enters = task.enters,
            .commands = task.commands,
            .command_ns = task.command_ns,
            .security_calls = task.security_calls,
            .security_ns = task.security_ns};
  }

  /// Of tasks that are server or client.
  [[nodiscard]] SyscallsCounts count() const {
    SyscallsCounts counts{.tasks = elements_of<std::uint32_t, syscalls_task>(bpf_->maps.tasks),
                          .totals = bpf_->bss->totals,
                          .completed_ios = completed_ios_->look(),
                          .missed_runs = bpf_.missed_runs()};
    std::erase_if(counts.tasks, [](const auto& task) {
      return task.second.server == 0 && task.second.client == 0;
    });
    return counts;
  }

  BpfObject<syscalls_bpf> bpf_;
  std::unique_ptr<CompletedIos> completed_ios_;
  Edges<SyscallsCounts> edges_;
};

}  // namespace

Result<std::unique_ptr<Probe>> attach_syscalls(const ProbeSetup& setup) {
  return SyscallsProbe::attach(setup);
}

}  // namespace ublkbench::probes
