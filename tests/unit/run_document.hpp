// SPDX-License-Identifier: MIT
// A plan of two modes, and the record of a run of it, made by hand.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bench/suite/plan.hpp"

namespace ublkbench::test {

inline RunOptions two_modes() {
  RunOptions options;
  options.modes = {*parse_mode("copy"), *parse_mode("batch,auto_zc")};
  options.depths = {1, 128};
  options.load.ios = 1000;
  options.repeat = 3;
  return options;
}

inline nlohmann::json sample(const std::string& cell, std::size_t round, double iops) {
  const nlohmann::json ten = {{"size_events", {{10, 100}}}};
  return {{"cell", cell},
          {"round", round},
          {"order", round},
          {"elapsed_ns", 1},
          {"status", "ok"},
          {"load",
           {{"measured_ios", 1000},
            {"window_ns", static_cast<std::uint64_t>(1e12 / iops)},
            {"iops", iops},
            {"usage", {{"cpu_ns", 1}}},
            {"latency_ns", {{"p50", 1000}, {"p99", 2000}, {"p999", 3000}}}}},
          {"server",
           {{"enters", 100},
            {"cpu_ns", 1},
            {"voluntary_switches", 1},
            {"fetch_batch", ten},
            {"commit_batch", ten}}},
          {"per_io", {{"load_cpu_ns", 500.0}, {"server_cpu_ns", 700.0}}}};
}

inline nlohmann::json failed_sample(const std::string& cell, std::size_t round,
                                    const std::string& reason) {
  return {{"cell", cell},    {"round", round},     {"order", round},
          {"elapsed_ns", 1}, {"status", "failed"}, {"reason", reason}};
}

inline nlohmann::json document_of(const Plan& plan) {
  using nlohmann::json;
  json document = {{"schema", "ublkbench.run/1"},
                   {"run",
                    {{"queues", 1},
                     {"jobs", 1},
                     {"loop", "closed"},
                     {"clock", ""},
                     {"tool", {{"commit", "unknown"}}}}},
                   {"env", {{"key_fields", {{"kernel", {{"release", "7.3.4"}}}}}}},
                   {"cells", json::array()},
                   {"samples", json::array()}};
  for (const Cell& cell : plan.cells) document["cells"].push_back(json::parse(cell.document()));
  return document;
}

}  // namespace ublkbench::test
