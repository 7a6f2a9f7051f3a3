// SPDX-License-Identifier: MIT
// The table of targets: one row each.
#include "bench/targets/target.hpp"

#include <array>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/targets/fault.hpp"
#include "bench/targets/loop.hpp"
#include "bench/targets/memory.hpp"
#include "bench/targets/nbd.hpp"
#include "bench/targets/null.hpp"
#include "bench/targets/stripe.hpp"
#include "bench/targets/zoned.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t min_device_bytes = 1 << 20;

Result<std::uint64_t> device_bytes(std::string_view text, std::string_view kind) {
  auto bytes = parse_size(text);
  if (!bytes) return std::unexpected(bytes.error());
  if (*bytes < min_device_bytes || *bytes % 4096 != 0)
    return bad_input(formatted("target {} of {} bytes", kind, *bytes),
                     "give at least 1M, a multiple of 4k");
  return *bytes;
}

Result<std::unique_ptr<Target>> make_null(std::string_view argument, const TargetUse&) {
  if (argument.empty()) return std::make_unique<NullTarget>(NullTarget::default_bytes);
  const auto bytes = device_bytes(argument, "null");
  if (!bytes) return std::unexpected(bytes.error());
  return std::make_unique<NullTarget>(*bytes);
}

Result<std::unique_ptr<Target>> make_memory(std::string_view argument, const TargetUse&) {
  if (argument.empty()) return bad_input("target mem needs a size", "for instance mem:256M");
  const auto bytes = device_bytes(argument, "mem");
  if (!bytes) return std::unexpected(bytes.error());
  return MemoryTarget::make(*bytes);
}

Result<std::unique_ptr<Target>> make_loop(std::string_view argument, const TargetUse& use) {
  if (argument.empty()) return bad_input("target loop needs a path", "for instance loop:/dev/sdX");
  return LoopTarget::make(std::string(argument), use);
}

Result<std::unique_ptr<Target>> make_stripe(std::string_view argument, const TargetUse& use) {
  const auto spec = parse_stripe(argument);
  if (!spec) return std::unexpected(spec.error());
  return StripeTarget::make(*spec, use);
}

Result<std::unique_ptr<Target>> make_zoned(std::string_view argument, const TargetUse&) {
  if (argument.empty())
    return bad_input("target zoned needs a size", "for instance zoned:256M:zone=4M,max_open=8");
  const auto layout = parse_zoned(argument);
  if (!layout) return std::unexpected(layout.error());
  return ZonedTarget::make(*layout);
}

Result<std::unique_ptr<Target>> make_nbd(std::string_view argument, const TargetUse& use) {
  return NbdTarget::make(argument, use);
}

struct Kind {
  std::string_view name;
  std::string_view form;  ///< with what may or must follow
  std::string_view remark;
  Result<std::unique_ptr<Target>> (*make)(std::string_view argument, const TargetUse& use);
};

constexpr std::array kinds{
    Kind{"null", "null[:SIZE]", "completes at once", make_null},
    Kind{"mem", "mem:SIZE", "stores in memory", make_memory},
    Kind{"loop", "loop:PATH", "file or block device", make_loop},
    Kind{"stripe", "stripe:PATH,PATH[,...][:chunk=64k]", "RAID 0", make_stripe},
    Kind{"zoned", "zoned:SIZE[:zone=16M,...]", "host-managed, in memory", make_zoned},
    Kind{"nbd", "nbd:HOST:PORT/NAME", "or nbd:unix:PATH/NAME", make_nbd}};

Result<std::unique_ptr<Target>> make_plain(std::string_view spec, const TargetUse& use) {
  const std::size_t colon = spec.find(':');
  const std::string_view name = spec.substr(0, colon);
  const std::string_view argument =
      colon == std::string_view::npos ? std::string_view{} : spec.substr(colon + 1);
  for (const Kind& kind : kinds)
    if (kind.name == name) return kind.make(argument, use);
  return bad_input(formatted("unknown target '{}'", spec),
                   "use null, mem:SIZE, loop:PATH, stripe:PATH,PATH, zoned:SIZE or "
                   "nbd:HOST:PORT/NAME");
}

}  // namespace

Result<std::unique_ptr<Target>> make_target(std::string_view spec, const TargetUse& use) {
  constexpr std::string_view decorator = "+fault:";
  const std::size_t at = spec.find(decorator);
  if (at == std::string_view::npos) return make_plain(spec, use);
  auto faults = parse_faults(spec.substr(at + decorator.size()));
  if (!faults) return std::unexpected(faults.error());
  auto below = make_plain(spec.substr(0, at), use);
  if (!below) return below;
  return FaultTarget::make(std::move(*below), std::move(*faults));
}

std::string target_help() {
  std::string help;
  for (const Kind& kind : kinds) help += formatted("{} ({}), ", kind.form, kind.remark);
  return help +
         "behind any of them +fault:FAULT[,...], for instance null+fault:delay=2ms,error=EIO@0.1%";
}

std::vector<std::string> target_forms() {
  std::vector<std::string> forms;
  for (const Kind& kind : kinds) forms.emplace_back(kind.form);
  return forms;
}

}  // namespace ublkbench
