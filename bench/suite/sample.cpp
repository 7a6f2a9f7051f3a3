// SPDX-License-Identifier: MIT
#include "bench/suite/sample.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <optional>
#include <utility>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/control/control.hpp"
#include "bench/control/features.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/record/block_queue.hpp"
#include "bench/server/server.hpp"
#include "bench/suite/hang_dump.hpp"
#include "bench/suite/metered_load.hpp"
#include "bench/suite/null_block.hpp"
#include "bench/suite/probe_process.hpp"
#include "bench/suite/scheduler.hpp"
#include "bench/suite/usage.hpp"
#include "bench/suite/verify_cell.hpp"
#include "bench/suite/writing.hpp"
#include "bench/targets/written_extents.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t null_block_bytes = 64ULL << 30;

SampleStatus status_of(ExitCode exit) {
  if (exit == ExitCode::ok) return SampleStatus::ok;
  return exit == ExitCode::interrupted ? SampleStatus::interrupted : SampleStatus::failed;
}

Sample failed_sample(ExitCode exit, std::string reason) {
  Sample sample{.record = {}, .exit = exit};
  sample.record.status = status_of(exit);
  sample.record.reason = std::move(reason);
  return sample;
}

Sample failed_sample(const Error& error) { return failed_sample(error.exit, error.message()); }

/// What fails once the user interrupted, fails of that: Ctrl-C reaches every process of the group.
/// What the load or a verification had found wrong stays wrong.
void forgive(Sample& sample) {
  if (sample.exit == ExitCode::ok || sample.exit == ExitCode::io || sample.exit == ExitCode::hang)
    return;
  sample.record.status = SampleStatus::interrupted;
  sample.exit = ExitCode::interrupted;
}

double per_io(double amount, double ios) { return ios > 0 ? amount / ios : 0; }

/// What one side used in the window.
struct Used {
  std::uint64_t cpu_ns = 0;
  std::optional<std::uint64_t> instructions;
};

std::optional<Used> used_by_server(const MeteredLoad& metered) {
  if (metered.server) return Used{metered.server->cpu_ns, metered.server->instructions};
  if (!metered.server_process) return std::nullopt;
  return Used{metered.server_process->cpu_ns, metered.server_process->instructions};
}

/// Under -icount a nanosecond of CPU time is a known number of instructions; elsewhere only a
/// hardware counter says.
PerIo per_io_figures(const MeteredLoad& metered) {
  const auto ios = static_cast<double>(metered.load.measured_ios);
  const auto shift = icount_shift();
  const double ns_per_instruction = shift ? static_cast<double>(1U << *shift) : 0;
  const auto cpu_ns = [&](const Used& used) {
    return per_io(static_cast<double>(used.cpu_ns), ios);
  };
  const auto instructions = [&](const Used& used) -> std::optional<double> {
    if (shift) return cpu_ns(used) / ns_per_instruction;
    if (!used.instructions) return std::nullopt;
    return per_io(static_cast<double>(*used.instructions), ios);
  };
  const Used load{metered.load.usage.cpu_ns, metered.load.usage.instructions};
  PerIo figures{.load_cpu_ns = cpu_ns(load), .load_instructions = instructions(load)};
  if (shift)
    figures.total_instructions =
        per_io(static_cast<double>(metered.load.window_ns) / ns_per_instruction, ios);
  if (const auto server = used_by_server(metered)) {
    figures.server_cpu_ns = cpu_ns(*server);
    figures.server_instructions = instructions(*server);
  }
  return figures;
}

std::string failure_of(const LoadReport& load) {
  if (load.hang) return "hang: the device completed nothing any more";
  if (load.first_error)
    return formatted("I/O error: {} of byte {} failed with errno {}",
                     name_of(load.first_error->operation), load.first_error->offset,
                     load.first_error->errnum);
  return formatted("the load ended: {}", name_of(load.ending));
}

Sample sample_of(MeteredLoad metered) {
  Sample sample{.record = {}, .exit = metered.load.exit_code()};
  SampleRecord& record = sample.record;
  record.status = status_of(sample.exit);
  if (sample.exit != ExitCode::ok) record.reason = failure_of(metered.load);
  record.per_io = per_io_figures(metered);
  record.load = std::move(metered.load);
  record.server = std::move(metered.server);
  record.server_process = std::move(metered.server_process);
  record.block = metered.block;
  record.cpu_quota = std::move(metered.cpu_quota);
  record.page_cache = metered.page_cache;
  return sample;
}

/// The probes, and what the server itself counted while they were attached. The device is idle when
/// they come and go, so that the two can be compared to the last I/O.
class Probing {
 public:
  static Result<std::optional<Probing>> start(const std::string& probes, int device,
                                              const Server* server) {
    if (probes.empty()) return std::nullopt;
    Probing probing;
    if (server != nullptr) {
      probing.meter_.emplace(server->process(), server->counters());
      probing.before_ = probing.meter_->read();
    }
    auto process = ProbeProcess::start(device, probes);
    if (!process) return std::unexpected(process.error());
    probing.process_.emplace(std::move(*process));
    return std::optional<Probing>(std::move(probing));
  }

  [[nodiscard]] const ProbeProcess& process() const { return *process_; }

  Result<ProbeRecord> finish() {
    auto probed = process_->finish();
    if (probed && meter_) probed->server = meter_->read() - before_;
    return probed;
  }

 private:
  std::optional<ServerMeter> meter_;
  ServerUsage before_;
  std::optional<ProbeProcess> process_;
};

/// The load of a cell with the cell's probes attached to ublk device `device`.
Sample load_probed(const Cell& cell, const load::LoadOptions& options, int device,
                   const Server* server, const ForeignServer* foreign) {
  auto probing = Probing::start(cell.probes, device, server);
  if (!probing) return failed_sample(probing.error());
  const bool is_ours = server != nullptr || cell.data.owner != DataOwner::user;
  auto outcome = load_and_meter(options, server, foreign,
                                *probing ? &(*probing)->process() : nullptr, is_ours);
  Sample sample = outcome ? sample_of(std::move(*outcome)) : failed_sample(outcome.error());
  if (!*probing) return sample;
  auto counted = (*probing)->finish();
  if (counted)
    sample.record.probe = std::move(*counted);
  else if (sample.exit == ExitCode::ok)
    return failed_sample(counted.error());
  return sample;
}

/// A good sample under two schedulers is none.
void check_scheduler(Sample& sample, const std::string& path, const SchedulerChoice& choice) {
  if (sample.exit != ExitCode::ok) return;
  if (auto stayed = check_scheduler_stayed(path, choice); !stayed)
    sample = failed_sample(stayed.error());
}

/// As load_probed(), with how much of the data there is to read.
Sample load_cell(const Cell& cell, const load::LoadOptions& options, int device,
                 const Server* server, const ForeignServer* foreign) {
  const auto written = written_of(cell.data.paths);
  Sample sample = load_probed(cell, options, device, server, foreign);
  if (written)
    sample.record.data = WrittenData{.written_bytes = written->written_bytes,
                                     .bytes = written->bytes,
                                     .in_memory = written->in_memory};
  return sample;
}

MeasuredDevice describe(const Server& server, const ServeOptions& options) {
  const auto& device = server.device();
  return {.id = server.id(),
          .queues = device.nr_hw_queues,
          .depth = device.queue_depth,
          .daemons = options.daemon_count(),
          .max_io_bytes = device.max_io_buf_bytes,
          .flags_requested = feature_list(options.flags(device.flags)),
          .flags_granted = feature_list(device.flags),
          .queue_limits = queue_limits(server.block_path())};
}

/// With what the kernel says of the device; none where it is another one by now.
Sample of_foreign(Sample sample, const ForeignDevice& before) {
  const auto now = look_again(before);
  if (now)
    now->describe(*sample.record.device);
  else if (sample.exit == ExitCode::ok)
    return failed_sample(now.error());
  return sample;
}

bool failed_verification(const std::optional<Verification>& verified) {
  return verified && verified->status != Verification::Status::passed;
}

/// What is not as it should be is not measured.
Sample sample_of_verification(const Verification& verified) {
  const bool interrupted = verified.status == Verification::Status::interrupted;
  const auto exit = verified.exit ? static_cast<ExitCode>(*verified.exit)
                    : interrupted ? ExitCode::interrupted
                                  : ExitCode::io;
  Sample sample = failed_sample(exit, "verify: " + verified.reason.value_or(""));
  sample.record.status = interrupted ? SampleStatus::interrupted : SampleStatus::failed;
  return sample;
}

}  // namespace

bool Sampler::should_verify(const Cell& cell) const {
  return not_verified(options_, cell).empty() && !verified_.contains(verified_key(cell));
}

/// Once a mode and target, unless verification was asked for: then once a cell.
std::string Sampler::verified_key(const Cell& cell) const {
  return options_.verify == VerifyPolicy::on ? cell.name() : cell.mode_name() + ' ' + cell.target;
}

Verification Sampler::verify(const Cell& cell, const std::string& path,
                             const std::string& buffer_file) {
  auto outcome = verify_cell(options_, cell, path, buffer_file);
  if (!outcome)
    return {.status = Verification::Status::failed,
            .reason = outcome.error().message(),
            .exit = static_cast<int>(outcome.error().exit)};
  if (outcome->status == Verification::Status::passed) verified_.insert(verified_key(cell));
  return *outcome;
}

void Sampler::explain_hang(Sample& sample, int device) {
  if (sample.exit != ExitCode::hang || device < 0) return;
  HangDump dump = dump_hang(options_.hang_dump, device, options_.load.hang_timeout_ns);
  if (dump.verdict)
    sample.record.reason =
        formatted("{}; ublk-dump: {}", sample.record.reason.value_or("hang"), *dump.verdict);
  sample.record.hang_dump = std::move(dump);
}

Sample Sampler::measure(const Cell& cell) {
  const std::uint64_t begin_ns = now_ns();
  Sample sample =
      cell.kind == Cell::Kind::ublk ? measure_ublk(cell)
      : cell.kind == Cell::Kind::control
          ? measure_control(cell)
          : measure_device(cell, cell.target, borrowed_.at(cell.target).put(cell.scheduler()));
  if (process::interrupted()) forgive(sample);
  sample.record.cell = cell.name();
  sample.record.elapsed_ns = now_ns() - begin_ns;
  return sample;
}

Sample Sampler::measure_ublk(const Cell& cell) {
  const ServeOptions serve = serve_options(options_, cell);
  auto server = Server::start(serve);
  if (!server) return failed_sample(server.error());

  const auto scheduler = choose_scheduler(server->block_path(), cell.scheduler());
  std::optional<Verification> verified;
  if (scheduler && should_verify(cell))
    verified = verify(cell, server->block_path(), server->shared_memory_path());
  Sample sample;
  if (!scheduler) {
    sample = failed_sample(scheduler.error());
  } else if (failed_verification(verified)) {
    sample = sample_of_verification(*verified);
  } else {
    load::LoadOptions load = load_options(options_, cell, server->block_path());
    load.buffer_file = server->shared_memory_path();
    sample = load_cell(cell, load, server->id(), &*server, nullptr);
    check_scheduler(sample, server->block_path(), *scheduler);
  }
  explain_hang(sample, server->id());
  sample.record.device = describe(*server, serve);
  if (scheduler) sample.record.device->scheduler = *scheduler;
  sample.record.verify = verified;
  if (std::string why = not_verified(options_, cell); !why.empty())
    sample.record.not_verified = std::move(why);

  // A server that hangs cannot be stopped in order, and a user who wants to go does not wait for
  // I/O: the driver fails what it held.
  const bool forced = sample.exit == ExitCode::hang || process::interrupted();
  const auto ended = forced ? server->kill() : server->stop();
  if (!ended && sample.exit == ExitCode::ok) return failed_sample(ended.error());
  return sample;
}

Sample Sampler::measure_control(const Cell& cell) {
  if (cell.target != "null_blk")
    return measure_device(cell, cell.target, borrowed_.at(cell.target).put(cell.scheduler()));
  auto device = NullBlock::create(options_.device_queues(), cell.depth, null_block_bytes);
  if (!device) return failed_sample(device.error());
  return measure_device(cell, device->path(), choose_scheduler(device->path(), cell.scheduler()));
}

Sample Sampler::measure_device(const Cell& cell, const std::string& path,
                               const Result<SchedulerChoice>& scheduler) {
  if (!scheduler) return failed_sample(scheduler.error());
  const int device = ublk_number(path);
  if (device < 0 && !cell.probes.empty())
    return failed_sample(
        bad_input("--probe with " + path, "the probes are for ublk devices").error());
  std::optional<Verification> verified;
  if (should_verify(cell)) verified = verify(cell, path, {});
  const bool is_foreign = cell.kind == Cell::Kind::external && options_.foreign;
  const ForeignServer* const server =
      is_foreign && options_.foreign->server ? &*options_.foreign->server : nullptr;
  Sample sample =
      failed_verification(verified)
          ? sample_of_verification(*verified)
          : load_cell(cell, load_options(options_, cell, path), device, nullptr, server);
  check_scheduler(sample, path, *scheduler);
  explain_hang(sample, device);
  sample.record.device =
      MeasuredDevice{.path = path, .queue_limits = queue_limits(path), .scheduler = *scheduler};
  sample.record.verify = verified;
  return is_foreign ? of_foreign(std::move(sample), *options_.foreign) : sample;
}

}  // namespace ublkbench
