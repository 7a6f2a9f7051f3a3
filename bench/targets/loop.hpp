// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "bench/base/fd.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

/// Serves a file or a block device, past the page cache where O_DIRECT is possible.
class LoopTarget final : public SharedTarget {
 public:
  /// `path` must exist and be a regular file or a block device that nobody else holds.
  static Result<std::unique_ptr<Target>> make(const std::string& path);

  [[nodiscard]] DeviceShape shape() const override { return shape_; }
  [[nodiscard]] std::vector<int> files() const override { return {file_.get()}; }
  [[nodiscard]] bool direct() const { return direct_; }

  void queue(const Request& request, const Data& data, Chain& chain) noexcept override;

 private:
  LoopTarget(Fd file, const DeviceShape& shape, bool direct, bool block_device)
      : file_(std::move(file)), shape_(shape), direct_(direct), block_device_(block_device) {}

  Fd file_;
  DeviceShape shape_;
  bool direct_;
  bool block_device_;
};

}  // namespace ublkbench
