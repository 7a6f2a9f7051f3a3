// SPDX-License-Identifier: MIT
#include "bench/suite/sample.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <format>
#include <optional>

#include "bench/base/clock.hpp"
#include "bench/control/features.hpp"
#include "bench/load/load.hpp"
#include "bench/record/environment.hpp"
#include "bench/server/server.hpp"
#include "bench/suite/child.hpp"
#include "bench/suite/hang_dump.hpp"
#include "bench/suite/null_block.hpp"
#include "bench/suite/probe_process.hpp"
#include "bench/suite/usage.hpp"
#include "bench/suite/verify_cell.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;

constexpr std::uint64_t null_block_bytes = 64ULL << 30;

json failed_record(const Error& error) {
  return {{"status", error.exit == ExitCode::interrupted ? "interrupted" : "failed"},
          {"reason", error.message()}};
}

Sample failed_sample(const Error& error) { return {failed_record(error), error.exit}; }

/// Fixed work has no known length: an hour is longer than any sensible sample, and a stuck one is
/// found by the load's own watchdog long before.
std::uint64_t load_timeout_ns(const load::LoadOptions& options) {
  const std::uint64_t work_ns =
      options.runtime_ns != 0 ? options.runtime_ns + options.warmup_ns : 3'600'000'000'000;
  return work_ns + options.hang_timeout_ns + 60'000'000'000;
}

double per_io(double amount, double ios) { return ios > 0 ? amount / ios : 0; }

/// CPU time and instructions per measured I/O, by side. Under -icount a nanosecond of CPU time is a
/// known number of instructions; elsewhere only a hardware counter says.
json per_io_figures(const json& load, const json& server) {
  const double ios = load.value("measured_ios", 0.0);
  const double load_cpu_ns = load["usage"].value("cpu_ns", 0.0);
  json figures = {{"load_cpu_ns", per_io(load_cpu_ns, ios)}};
  const auto shift = icount_shift();
  const double ns_per_instruction = shift ? static_cast<double>(1U << *shift) : 0;
  if (shift) {
    figures["load_instructions"] = per_io(load_cpu_ns / ns_per_instruction, ios);
    figures["total_instructions"] = per_io(load.value("window_ns", 0.0) / ns_per_instruction, ios);
  } else if (load["usage"].contains("instructions")) {
    figures["load_instructions"] = per_io(load["usage"].value("instructions", 0.0), ios);
  }
  if (!server.is_object()) return figures;
  const double server_cpu_ns = server.value("cpu_ns", 0.0);
  figures["server_cpu_ns"] = per_io(server_cpu_ns, ios);
  if (shift)
    figures["server_instructions"] = per_io(server_cpu_ns / ns_per_instruction, ios);
  else if (server["instructions"].is_number())
    figures["server_instructions"] = per_io(server["instructions"].get<double>(), ios);
  return figures;
}

/// Runs the load, with the server's usage read at the very edges of the measured window.
Result<json> load_and_meter(const load::LoadOptions& options, const Server* server) {
  return run_in_child(
      [&](const std::atomic<bool>& stop) -> Result<json> {
        load::LoadOptions with_stop = options;
        with_stop.stop = &stop;
        std::optional<ServerMeter> meter;
        if (server != nullptr) meter.emplace(server->process(), server->counters());
        ServerUsage begin;
        ServerUsage end;
        load::WindowObserver observer;
        if (meter)
          observer = {.begin = [&] { begin = meter->read(); }, .end = [&] { end = meter->read(); }};
        auto report = load::run_load(with_stop, observer);
        if (!report) return std::unexpected(report.error());
        return json{{"load", report->to_json()},
                    {"exit", static_cast<int>(report->exit_code())},
                    {"summary", load::to_text(*report)},
                    {"server", meter ? (end - begin).to_json() : json()}};
      },
      load_timeout_ns(options));
}

std::string failure_of(const json& outcome) {
  const json& load = outcome["load"];
  if (load.contains("hang")) return "hang: the device completed nothing any more";
  if (load.contains("first_error"))
    return std::format("I/O error: {} of byte {} failed with errno {}",
                       load["first_error"].value("operation", "I/O"),
                       load["first_error"].value("offset_bytes", std::uint64_t{0}),
                       load["first_error"].value("errno", 0));
  return "the load ended: " + load.value("ending", std::string("?"));
}

Sample sample_of(const json& outcome) {
  const auto exit = static_cast<ExitCode>(outcome["exit"].get<int>());
  Sample sample{.record = {{"status", exit == ExitCode::ok            ? "ok"
                                      : exit == ExitCode::interrupted ? "interrupted"
                                                                      : "failed"},
                           {"load", outcome["load"]},
                           {"server", outcome["server"]},
                           {"per_io", per_io_figures(outcome["load"], outcome["server"])}},
                .exit = exit};
  if (exit != ExitCode::ok) sample.record["reason"] = failure_of(outcome);
  return sample;
}

/// What the probes and, over the same time, the server itself counted. The device is idle at both
/// edges, so that the two can be compared to the last I/O.
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

  Result<json> finish() {
    auto outcome = process_->finish();
    if (!outcome) return outcome;
    (*outcome)["server"] = meter_ ? (meter_->read() - before_).to_json() : json();
    return outcome;
  }

 private:
  std::optional<ServerMeter> meter_;
  ServerUsage before_;
  std::optional<ProbeProcess> process_;
};

/// The load of a cell with the cell's probes attached to ublk device `device`.
Sample load_probed(const Cell& cell, const load::LoadOptions& options, int device,
                   const Server* server) {
  auto probing = Probing::start(cell.probes, device, server);
  if (!probing) return failed_sample(probing.error());
  auto outcome = load_and_meter(options, server);
  Sample sample = outcome ? sample_of(*outcome) : failed_sample(outcome.error());
  if (!*probing) return sample;
  auto counted = (*probing)->finish();
  if (counted)
    sample.record["probe"] = std::move(*counted);
  else if (sample.exit == ExitCode::ok)
    return failed_sample(counted.error());
  return sample;
}

/// The N of /dev/ublkbN; nothing for another device.
json describe(const Server& server, const ServeOptions& options) {
  const auto& device = server.device();
  return {{"id", server.id()},
          {"queues", device.nr_hw_queues},
          {"depth", device.queue_depth},
          {"daemons", options.daemon_count()},
          {"max_io_bytes", device.max_io_buf_bytes},
          {"flags_requested", feature_list(options.flags(device.flags))},
          {"flags_granted", feature_list(device.flags)},
          {"queue_limits", queue_limits(server.block_path())}};
}

}  // namespace

bool Sampler::should_verify(const Cell& cell) const {
  if (options_.verify == VerifyPolicy::off || cell.kind != Cell::Kind::ublk) return false;
  if (verified_.contains(verified_key(cell))) return false;
  if (options_.verify == VerifyPolicy::on) return true;
  // Verifying writes: a backing file that is only to be read must not be destroyed unasked.
  return !cell.target.starts_with("loop:") || load::writes(cell.pattern);
}

/// Once a mode and target, unless verification was asked for: then once a cell.
std::string Sampler::verified_key(const Cell& cell) const {
  return options_.verify == VerifyPolicy::on ? cell.name() : cell.mode_name() + ' ' + cell.target;
}

json Sampler::verify(const Cell& cell, const Server& server) {
  auto outcome = verify_cell(options_, cell, server.block_path(), server.shared_memory_path());
  if (!outcome)
    return {{"status", "failed"},
            {"reason", outcome.error().message()},
            {"exit", static_cast<int>(outcome.error().exit)}};
  if (outcome->value("status", "") == "passed") verified_.insert(verified_key(cell));
  return *outcome;
}

void Sampler::explain_hang(Sample& sample, int device) {
  if (sample.exit != ExitCode::hang || device < 0) return;
  json dump = dump_hang(options_.hang_dump, device, options_.load.hang_timeout_ns);
  if (dump["status"] == "taken")
    sample.record["reason"] = std::format(
        "{}; ublk-dump: {}", sample.record.value("reason", "hang"), dump.value("verdict", ""));
  sample.record["hang_dump"] = std::move(dump);
}

Sample Sampler::measure(const Cell& cell) {
  const std::uint64_t begin_ns = now_ns();
  Sample sample = cell.kind == Cell::Kind::ublk      ? measure_ublk(cell)
                  : cell.kind == Cell::Kind::control ? measure_control(cell)
                                                     : measure_device(cell, cell.target);
  sample.record["cell"] = cell.name();
  sample.record["elapsed_ns"] = now_ns() - begin_ns;
  return sample;
}

Sample Sampler::measure_ublk(const Cell& cell) {
  const ServeOptions serve = serve_options(options_, cell);
  auto server = Server::start(serve);
  if (!server) return failed_sample(server.error());

  json verified = nullptr;
  if (should_verify(cell)) verified = verify(cell, *server);
  Sample sample;
  if (verified.is_object() && verified["status"] != "passed") {
    sample = {
        {{"status", verified["status"]}, {"reason", "verify: " + verified.value("reason", "")}},
        static_cast<ExitCode>(verified.value("exit", 6))};
  } else {
    load::LoadOptions load = load_options(options_, cell, server->block_path());
    load.buffer_file = server->shared_memory_path();
    sample = load_probed(cell, load, server->id(), &*server);
  }
  explain_hang(sample, server->id());
  sample.record["device"] = describe(*server, serve);
  if (!verified.is_null()) sample.record["verify"] = verified;

  // A server that hangs cannot be stopped in order; the driver fails what it held.
  const auto ended = sample.exit == ExitCode::hang ? server->kill() : server->stop();
  if (!ended && sample.exit == ExitCode::ok)
    return {failed_record(ended.error()), ended.error().exit};
  return sample;
}

Sample Sampler::measure_control(const Cell& cell) {
  if (cell.target != "null_blk") return measure_device(cell, cell.target);
  auto device = NullBlock::create(options_.server.queues, cell.depth, null_block_bytes);
  if (!device) return failed_sample(device.error());
  return measure_device(cell, device->path());
}

Sample Sampler::measure_device(const Cell& cell, const std::string& path) {
  const int device = ublk_number(path);
  if (device < 0 && !cell.probes.empty())
    return failed_sample(
        bad_input("--probe with " + path, "the probes are for ublk devices").error());
  Sample sample = load_probed(cell, load_options(options_, cell, path), device, nullptr);
  explain_hang(sample, device);
  sample.record["device"] = {{"path", path}, {"queue_limits", queue_limits(path)}};
  return sample;
}

}  // namespace ublkbench
