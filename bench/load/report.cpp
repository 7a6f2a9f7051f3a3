// SPDX-License-Identifier: MIT
#include "bench/load/report.hpp"

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "bench/base/units.hpp"

namespace ublkbench::load {
namespace {

using nlohmann::json;

constexpr std::array ending_names{
    std::pair{Ending::completed, "completed"}, std::pair{Ending::stopped, "stopped"},
    std::pair{Ending::errors, "errors"}, std::pair{Ending::hang, "hang"}};

std::string_view operation_of(const IoRef& io) { return io.write ? "write" : "read"; }

json json_of(const IoRef& io) {
  return {{"job", io.job}, {"offset_bytes", io.offset}, {"operation", operation_of(io)}};
}

IoRef io_from(const json& object) {
  return {.job = object.at("job").get<unsigned>(),
          .offset = object.at("offset_bytes").get<std::uint64_t>(),
          .write = object.at("operation").get<std::string>() == "write"};
}

json json_of(const ThreadUsage& usage) {
  json object{{"cpu_ns", usage.cpu_ns},
              {"voluntary_switches", usage.voluntary_switches},
              {"involuntary_switches", usage.involuntary_switches}};
  if (usage.instructions) object["instructions"] = *usage.instructions;
  return object;
}

ThreadUsage usage_from(const json& object) {
  ThreadUsage usage{.cpu_ns = object.at("cpu_ns").get<std::uint64_t>(),
                    .voluntary_switches = object.at("voluntary_switches").get<std::uint64_t>(),
                    .involuntary_switches = object.at("involuntary_switches").get<std::uint64_t>(),
                    .instructions = {}};
  if (object.contains("instructions"))
    usage.instructions = object.at("instructions").get<std::uint64_t>();
  return usage;
}

HangReport hang_from(const json& object) {
  HangReport hang{.quiet_ns = object.at("quiet_ns").get<std::uint64_t>(),
                  .outstanding = {},
                  .unreachable_jobs = object.at("unreachable_jobs").get<unsigned>()};
  for (const json& stuck : object.at("outstanding"))
    hang.outstanding.push_back(
        {.io = io_from(stuck), .age_ns = stuck.at("age_ns").get<std::uint64_t>()});
  return hang;
}

/// One list for both directions, so that writer and reader cannot drift apart.
template <class Report, class Visit>
void for_each_counter(Report& report, Visit&& visit) {
  visit("measured_ios", report.measured_ios);
  visit("reads", report.reads);
  visit("writes", report.writes);
  visit("bytes", report.bytes);
  visit("window_begin_ns", report.window_begin_ns);
  visit("window_ns", report.window_ns);
  visit("warmup_ios", report.warmup_ios);
  visit("errors", report.errors);
  visit("short_ios", report.short_ios);
  visit("enters", report.enters);
}

template <class Report, class Visit>
void for_each_histogram(Report& report, Visit&& visit) {
  if (report.latency_recorded) {
    visit("read_latency_ns", report.read_latency_ns);
    visit("write_latency_ns", report.write_latency_ns);
  }
  visit("submit_batch", report.submit_batch);
  visit("complete_batch", report.complete_batch);
}

/// Throws nlohmann's exceptions on a wrong shape; from_json() turns them into an Error.
Result<> read_into(LoadReport& report, const json& object) {
  const auto ending = object.at("ending").get<std::string>();
  bool known = false;
  for (const auto& [value, name] : ending_names)
    if (ending == name) report.ending = value, known = true;
  if (!known) return bad_input(std::format("load report: unknown ending '{}'", ending));
  for_each_counter(report, [&](const char* key, std::uint64_t& value) {
    value = object.at(key).get<std::uint64_t>();
  });
  const json& steady = object.at("steady");
  report.first_third_ns = steady.at("first_third_ns").get<std::uint64_t>();
  report.last_third_ns = steady.at("last_third_ns").get<std::uint64_t>();
  report.latency_recorded = object.contains("latency_ns");
  Result<> histograms;
  for_each_histogram(report, [&](const char* key, Histogram& value) {
    auto histogram = Histogram::from_json(object.at(key));
    if (histogram)
      value = std::move(*histogram);
    else
      histograms = std::unexpected(histogram.error());
  });
  if (!histograms) return histograms;
  if (object.contains("first_error"))
    report.first_error = IoError{.io = io_from(object.at("first_error")),
                                 .errnum = object.at("first_error").at("errno").get<int>()};
  if (object.contains("hang")) report.hang = hang_from(object.at("hang"));
  report.usage = usage_from(object.at("usage"));
  for (const json& usage : object.at("usage_per_job"))
    report.usage_per_job.push_back(usage_from(usage));
  report.remarks = object.at("remarks").get<std::vector<std::string>>();
  return {};
}

double per(std::uint64_t amount, std::uint64_t count) {
  return count == 0 ? 0 : static_cast<double>(amount) / static_cast<double>(count);
}

std::string latency_line(const char* name, const Histogram& latency) {
  const auto at = [&](double percent) {
    return format_ns(static_cast<double>(latency.percentile(percent)));
  };
  return std::format("\n{:<10}p50 {}, p90 {}, p99 {}, p99.9 {}, max {}", name, at(50), at(90),
                     at(99), at(99.9), format_ns(static_cast<double>(latency.max())));
}

}  // namespace

std::string_view name_of(Ending ending) {
  for (const auto& [value, name] : ending_names)
    if (value == ending) return name;
  return "?";
}

double LoadReport::iops() const { return per(measured_ios, window_ns) * 1e9; }
double LoadReport::ns_per_io() const { return per(window_ns, measured_ios); }

Histogram LoadReport::latency_ns() const {
  Histogram all = read_latency_ns;
  all.merge(write_latency_ns);
  return all;
}

ExitCode LoadReport::exit_code() const {
  if (hang) return ExitCode::hang;
  if (errors != 0 || short_ios != 0) return ExitCode::io;
  return ending == Ending::stopped ? ExitCode::interrupted : ExitCode::ok;
}

json LoadReport::to_json() const {
  json object{{"ending", name_of(ending)}, {"iops", iops()}, {"ns_per_io", ns_per_io()}};
  for_each_counter(*this, [&](const char* key, std::uint64_t value) { object[key] = value; });
  object["steady"] = {{"first_third_ns", first_third_ns}, {"last_third_ns", last_third_ns}};
  if (latency_recorded) object["latency_ns"] = latency_ns().to_json();
  for_each_histogram(*this, [&](const char* key, const Histogram& histogram) {
    object[key] = histogram.to_json();
  });
  if (first_error) object["first_error"] = load::to_json(*first_error);
  if (hang) object["hang"] = load::to_json(*hang);
  object["usage"] = json_of(usage);
  object["usage_per_job"] = json::array();
  for (const ThreadUsage& job : usage_per_job) object["usage_per_job"].push_back(json_of(job));
  object["remarks"] = remarks;
  return object;
}

Result<LoadReport> LoadReport::from_json(const json& object) {
  LoadReport report;
  try {
    if (auto read = read_into(report, object); !read) return std::unexpected(read.error());
  } catch (const json::exception& error) {
    return bad_input(std::format("load report: {}", error.what()));
  }
  return report;
}

json to_json(const HangReport& hang) {
  json outstanding = json::array();
  for (const StuckIo& stuck : hang.outstanding) {
    outstanding.push_back(json_of(stuck.io));
    outstanding.back()["age_ns"] = stuck.age_ns;
  }
  return {{"quiet_ns", hang.quiet_ns},
          {"unreachable_jobs", hang.unreachable_jobs},
          {"outstanding", std::move(outstanding)}};
}

json to_json(const IoError& error) {
  json object = json_of(error.io);
  object["errno"] = error.errnum;
  object["message"] = describe(error);
  return object;
}

std::string describe(const IoError& error) {
  if (error.errnum == 0)
    return std::format("{} at byte {} was short", operation_of(error.io), error.io.offset);
  return std::format("{} at byte {} failed: {}", operation_of(error.io), error.io.offset,
                     std::strerror(error.errnum));
}

std::string to_text(const HangReport& hang) {
  std::string text =
      std::format("hang      no completion for {}; {} I/Os outstanding",
                  format_ns(static_cast<double>(hang.quiet_ns)), hang.outstanding.size());
  if (hang.unreachable_jobs != 0)
    text += std::format(", {} jobs stuck in the kernel", hang.unreachable_jobs);
  constexpr std::size_t shown = 8;
  for (std::size_t i = 0; i < std::min(shown, hang.outstanding.size()); ++i) {
    const StuckIo& stuck = hang.outstanding[i];
    text +=
        std::format("\n          {} at byte {} of job {}, for {} or longer", operation_of(stuck.io),
                    stuck.io.offset, stuck.io.job, format_ns(static_cast<double>(stuck.age_ns)));
  }
  return text;
}

std::string to_text(const LoadReport& report) {
  std::string text = std::format(
      "{:<10}{} IOPS, {:.1f} MB/s, {} I/Os in {} ({})", "load", format_count(report.iops()),
      per(report.bytes, report.window_ns) * 1e3, report.measured_ios,
      format_ns(static_cast<double>(report.window_ns)), name_of(report.ending));
  if (report.latency_recorded && report.measured_ios != 0) {
    text += latency_line("latency", report.latency_ns());
    if (report.reads != 0 && report.writes != 0) {
      text += latency_line("  reads", report.read_latency_ns);
      text += latency_line("  writes", report.write_latency_ns);
    }
  }
  text += std::format("\n{:<10}{} per I/O, {:.4f} sleeps and {:.4f} preemptions per I/O", "CPU",
                      format_ns(per(report.usage.cpu_ns, report.measured_ios)),
                      per(report.usage.voluntary_switches, report.measured_ios),
                      per(report.usage.involuntary_switches, report.measured_ios));
  text += std::format("\n{:<10}{:.1f} submitted and {:.1f} completed per io_uring_enter()",
                      "batches", report.submit_batch.mean(), report.complete_batch.mean());
  if (report.first_third_ns != 0 && report.last_third_ns != 0) {
    const double change =
        static_cast<double>(report.last_third_ns) / static_cast<double>(report.first_third_ns) - 1;
    if (change > 0.05 || change < -0.05)
      text += std::format(
          "\n{:<10}not in a steady state: the last third took {:+.0f} % of the time "
          "of the first",
          "steady", change * 100);
  }
  if (report.first_error)
    text += std::format("\n{:<10}{}, the first: {}", "errors", report.errors,
                        describe(*report.first_error));
  if (report.short_ios != 0) text += std::format("\n{:<10}{} I/Os", "short", report.short_ios);
  if (report.hang) text += "\n" + to_text(*report.hang);
  for (const std::string& remark : report.remarks)
    text += std::format("\n{:<10}{}", "remark", remark);
  return text;
}

}  // namespace ublkbench::load
