// SPDX-License-Identifier: MIT
#include "bench/targets/loop.hpp"

#include "bench/targets/file_steps.hpp"

namespace ublkbench {

Result<std::unique_ptr<Target>> LoopTarget::make(const std::string& path, const TargetUse& use) {
  auto file = BackingFile::open(path, use);
  if (!file) return std::unexpected(file.error());
  return std::unique_ptr<Target>(new LoopTarget(std::move(*file)));
}

void LoopTarget::queue(const Request& request, const Data& data, Chain& chain) noexcept {
  if (request.op == Op::read || request.op == Op::write)
    return queue_transfer(chain, 0, request, data);
  queue_without_data(chain, 0, file_, request);
}

}  // namespace ublkbench
