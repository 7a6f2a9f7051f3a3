// SPDX-License-Identifier: MIT
#include "probes/probe_document.hpp"

#include "bench/base/format.hpp"

namespace ublkbench::probes {

std::string used_text(const probed::Attachment& attachment) {
  std::string text;
  for (const probed::UsedHooks& used : attachment.used) {
    std::string hooks;
    for (const std::string& hook : used.hooks) hooks += (hooks.empty() ? "" : ", ") + hook;
    text += formatted("{}: {}{}\n", used.role, hooks,
                      used.remark ? formatted(" ({})", *used.remark) : std::string());
  }
  return text;
}

std::string unavailable_text(const probed::Attachment& attachment) {
  std::string text;
  for (const probed::MissingHooks& missing : attachment.unavailable)
    text += formatted("not on this kernel: {}: {}\n", missing.role, missing.consequence);
  return text;
}

Result<probed::Records> records_of(std::span<const Attached> probes, Span span) {
  probed::Records records;
  for (const Attached& attached : probes)
    if (auto counted = attached.probe->record(span, records); !counted)
      return std::unexpected(counted.error());
  return records;
}

std::string text_of(std::span<const Attached> probes, const probed::Records& records,
                    Detail detail) {
  std::string text;
  for (const Attached& attached : probes) {
    if (probes.size() > 1) text += formatted("== {} ==\n", attached.name);
    text += attached.probe->text(records, detail);
  }
  return text;
}

probed::Records without_details(probed::Records records) {
  if (records.batch) records.batch->parts.clear();
  if (records.latency) {
    records.latency->stages_ns.reset();
    records.latency->ops_ns.clear();
    records.latency->sizes.clear();
    records.latency->queues.clear();
  }
  if (records.tags) records.tags->in_flight.reset();
  return records;
}

}  // namespace ublkbench::probes
