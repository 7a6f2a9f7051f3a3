// SPDX-License-Identifier: MIT
#include "bench/suite/metered_load.hpp"

#include <atomic>
#include <optional>
#include <utility>

#include "bench/load/load.hpp"
#include "bench/record/record_codec.hpp"
#include "bench/suite/child.hpp"
#include "bench/suite/page_cache.hpp"
#include "bench/suite/usage.hpp"
#include "bench/suite/window_meter.hpp"

namespace ublkbench {
namespace {

/// Fixed work has no known length: an hour is longer than any sensible sample, and a stuck one is
/// found by the load's own watchdog long before.
std::uint64_t load_timeout_ns(const load::LoadOptions& options) {
  const std::uint64_t work_ns =
      options.runtime_ns != 0 ? options.runtime_ns + options.warmup_ns : 3'600'000'000'000;
  return work_ns + options.hang_timeout_ns + 60'000'000'000;
}

/// What the page cache had to do with a load without O_DIRECT.
class CacheMeter {
 public:
  CacheMeter(const std::string& device, bool is_ours)
      : device_(device), emptied_(is_ours && drop_page_cache(device)) {}
  void begin() { before_ = device_read_bytes(device_); }
  void end() { after_ = device_read_bytes(device_); }
  [[nodiscard]] PageCacheUse use(std::uint64_t load_read_bytes) const {
    PageCacheUse use{.start = emptied_ ? PageCacheUse::Start::empty : PageCacheUse::Start::as_found,
                     .load_read_bytes = load_read_bytes};
    if (before_ && after_) use.device_read_bytes = *after_ - *before_;
    return use;
  }

 private:
  const std::string& device_;
  bool emptied_;
  std::optional<std::uint64_t> before_;
  std::optional<std::uint64_t> after_;
};

}  // namespace

Result<MeteredLoad> load_and_meter(const load::LoadOptions& options, const Server* server,
                                   const ForeignServer* foreign, const ProbeProcess* probes,
                                   bool is_ours) {
  return run_in_child<MeteredLoad>(
      [&](const std::atomic<bool>& stop) -> Result<MeteredLoad> {
        load::LoadOptions with_stop = options;
        with_stop.stop = &stop;
        std::optional<ServerMeter> meter;
        if (server != nullptr) meter.emplace(server->process(), server->counters());
        WindowMeter window(options.device, server != nullptr    ? server->process()
                                           : foreign != nullptr ? foreign->pid
                                                                : 0);
        ServerUsage begin;
        ServerUsage end;
        std::optional<ProcessUsage> process_begin;
        std::optional<ProcessUsage> process_end;
        std::optional<CacheMeter> cache;
        if (!options.direct) cache.emplace(options.device, is_ours);
        Result<> marked;
        const auto mark = [&](ProbeProcess::Edge edge) {
          if (probes != nullptr && marked) marked = probes->mark(edge);
        };
        load::WindowObserver observer;
        if (probes != nullptr) observer.before = [&] { mark(ProbeProcess::Edge::begin); };
        observer.begin = [&] {
          if (meter) begin = meter->read();
          if (foreign != nullptr) process_begin = usage_of_process(foreign->pid);
          if (cache) cache->begin();
          window.begin();
        };
        observer.end = [&] {
          if (meter) end = meter->read();
          if (foreign != nullptr) process_end = usage_of_process(foreign->pid);
          if (cache) cache->end();
          window.end();
          mark(ProbeProcess::Edge::end);
        };
        auto report = load::run_load(with_stop, observer);
        if (!report) return std::unexpected(report.error());
        // Of a load that was stopped there is no window.
        if (!marked && report->exit_code() == ExitCode::ok) return std::unexpected(marked.error());
        const std::uint64_t load_read_bytes = report->reads * options.block_bytes;
        MeteredLoad metered{
            .load = std::move(*report), .block = window.block(), .cpu_quota = window.cpu_quota()};
        if (meter) metered.server = end - begin;
        if (process_begin && process_end) metered.server_process = *process_end - *process_begin;
        if (cache) metered.page_cache = cache->use(load_read_bytes);
        return metered;
      },
      load_timeout_ns(options));
}

}  // namespace ublkbench
