// SPDX-License-Identifier: MIT
#include "probes/syscalls.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "probes/lib/bpf_object.hpp"
#include "probes/lib/completed_ios.hpp"
#include "probes/lib/edges.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"
#include "syscalls.skel.h"

namespace ublkbench::probes {
namespace {

using nlohmann::json;

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

constexpr Trouble troubles[] = {
    {"lost_events", "calls are not counted: too many tasks use io_uring"},
    {"missed_runs", "times a program did not run, as it was just running on that CPU"}};

struct Sums {
  std::uint64_t server_enters = 0;
  std::uint64_t client_enters = 0;
  syscalls_task commands{};
};

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

class SyscallsProbe final : public Probe {
 public:
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

  [[nodiscard]] Result<json> record(Span span) const override {
    const SyscallsCounts counts = span == Span::window ? edges_.window() : count();
    json tasks = json::array();
    Sums sums;
    for (const auto& [tid, task] : counts.tasks) {
      (task.server != 0 ? sums.server_enters : sums.client_enters) += task.enters;
      sums.commands.commands += task.commands;
      sums.commands.command_ns += task.command_ns;
      sums.commands.security_calls += task.security_calls;
      sums.commands.security_ns += task.security_ns;
      tasks.push_back(task_json(tid, task));
    }
    json record = {
        {"used", bpf_.hooks().used()},
        {"unavailable", bpf_.hooks().unavailable()},
        {"completed_ios", counts.completed_ios},
        {"server_enters", sums.server_enters},
        {"client_enters", sums.client_enters},
        {"tasks", std::move(tasks)},
        {"totals",
         {{"lost_events", counts.totals.lost_events}, {"missed_runs", counts.missed_runs}}}};
    if (bpf_.hooks().has("io commands")) {
      record["commands"] = sums.commands.commands;
      record["command_ns"] = sums.commands.command_ns;
      record["command_ns_events"] = command_histogram(counts.totals);
    }
    if (bpf_.hooks().has("security modules")) {
      record["security_calls"] = sums.commands.security_calls;
      record["security_ns"] = sums.commands.security_ns;
    }
    return record;
  }

  [[nodiscard]] std::string text(const json& record) const override {
    const ValueCounts counts = command_times(record);
    return tables(record) +
           (counts.empty() ? std::string()
                           : formatted("\ntime of an io command in the kernel, in ns\n{}\n",
                                       log2_histogram("command_ns", counts))) +
           trouble_text(record["totals"], troubles);
  }

  [[nodiscard]] std::string brief(const json& record) const override {
    const ValueCounts counts = command_times(record);
    return tables(record) +
           (counts.empty()
                ? std::string()
                : histogram_titles() + histogram_line("io command", counts, Values::times_log2_ns,
                                                      record.value("command_ns", 0.0) /
                                                          record.value("commands", 1.0))) +
           trouble_text(record["totals"], troubles);
  }

 private:
  static ValueCounts command_times(const json& record) {
    return counts_from(record.value("command_ns_events", json::array()));
  }

  static std::string tables(const json& record) {
    const double ios = record.value("completed_ios", 0.0);
    const auto per_io = [&](const char* key) {
      return ios == 0 ? "-" : formatted("{:.3f}", record.value(key, 0.0) / ios);
    };
    std::string text = formatted("{} I/Os completed\n", record.value("completed_ios", 0ULL));
    text += formatted("io_uring_enter() per I/O: server {}, clients {}\n", per_io("server_enters"),
                      per_io("client_enters"));
    if (const double commands = record.value("commands", 0.0); commands > 0) {
      const double time_ns = record.value("command_ns", 0.0);
      text += formatted("{} io commands, {} each, {} in all", record.value("commands", 0ULL),
                        format_ns(time_ns / commands), format_ns(time_ns));
      if (record.contains("security_ns") && time_ns > 0)
        text += formatted("; security_uring_cmd() {} each, {:.1f} % of it",
                          format_ns(record.value("security_ns", 0.0) / commands),
                          100 * record.value("security_ns", 0.0) / time_ns);
      text += '\n';
    }
    text += formatted("{:<16} {:>8} {:<7} {:>10} {:>10} {:>11}\n", "task", "tid", "is", "enters",
                      "commands", "in commands");
    for (const json& task : record["tasks"])
      text += formatted("{:<16} {:>8} {:<7} {:>10} {:>10} {:>11}\n",
                        task["task"]["name"].get<std::string>(), task["task"]["tid"].get<int>(),
                        task["role"].get<std::string>(), task.value("enters", 0ULL),
                        task.value("commands", 0ULL), format_ns(task.value("command_ns", 0.0)));
    return text;
  }

  static json task_json(std::uint32_t tid, const syscalls_task& task) {
    return {{"task", {{"tid", tid}, {"name", std::string(task.comm, ::strnlen(task.comm, 16))}}},
            {"role", task.server != 0 ? "server" : "client"},
            {"enters", task.enters},
            {"commands", task.commands},
            {"command_ns", task.command_ns},
            {"security_calls", task.security_calls},
            {"security_ns", task.security_ns}};
  }

  static json command_histogram(const syscalls_totals& totals) {
    json list = json::array();
    for (unsigned slot = 0; slot < SYSCALLS_SLOTS; ++slot)
      if (const auto events = totals.command_ns_events[slot]; events != 0)
        list.push_back({std::uint64_t{1} << slot, events});
    return list;
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
