// SPDX-License-Identifier: MIT
#include "probes/probe_document.hpp"

#include "bench/base/format.hpp"

namespace ublkbench::probes {
namespace {

using nlohmann::json;

std::string used_text(const json& record) {
  std::string text;
  for (const json& used : record["used"]) {
    std::string hooks;
    for (const json& hook : used["hooks"])
      hooks += (hooks.empty() ? "" : ", ") + hook.get<std::string>();
    text +=
        formatted("{}: {}{}\n", used["for"].get<std::string>(), hooks,
                  used.contains("remark") ? " (" + used["remark"].get<std::string>() + ")" : "");
  }
  return text;
}

std::string unavailable_text(const json& record) {
  std::string text;
  for (const json& missing : record["unavailable"])
    text += formatted("not on this kernel: {}: {}\n", missing["for"].get<std::string>(),
                      missing["consequence"].get<std::string>());
  return text;
}

}  // namespace

Result<json> records_of(std::span<const Attached> probes, Span span) {
  json records = json::object();
  for (const Attached& attached : probes) {
    auto record = attached.probe->record(span);
    if (!record) return record;
    records[attached.name] = std::move(*record);
  }
  return records;
}

std::string text_of(std::span<const Attached> probes, const json& records, Detail detail) {
  std::string text;
  for (const Attached& attached : probes) {
    const json& record = records[attached.name];
    if (probes.size() > 1) text += formatted("== {} ==\n", attached.name);
    text += detail == Detail::brief ? attached.probe->brief(record)
                                    : attached.probe->text(record) + used_text(record);
    text += unavailable_text(record);
  }
  return text;
}

json without_histograms(json records) {
  for (auto& [name, record] : records.items())
    for (const char* const key :
         {"used", "unavailable", "parts", "stages_ns", "ops_ns", "sizes", "queues", "in_flight"})
      record.erase(key);
  return records;
}

}  // namespace ublkbench::probes
