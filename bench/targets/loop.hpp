// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "bench/targets/backing_file.hpp"

namespace ublkbench {

/// Serves a file or a block device, past the page cache where O_DIRECT is possible.
class LoopTarget final : public SharedTarget {
 public:
  static Result<std::unique_ptr<Target>> make(const std::string& path, const TargetUse& use);

  [[nodiscard]] DeviceShape shape() const override { return file_.shape(); }
  [[nodiscard]] DataOwner data_owner() const override { return DataOwner::user; }
  [[nodiscard]] std::vector<std::string> paths() const override { return {file_.path()}; }
  [[nodiscard]] std::vector<int> files() const override { return {file_.fd()}; }
  [[nodiscard]] Result<> pollable(Data::Place) const override { return file_.pollable(); }
  [[nodiscard]] int plain_file() const override { return file_.fd(); }

  void queue(const Request& request, const Data& data, Chain& chain) noexcept override;

 private:
  explicit LoopTarget(BackingFile file) : file_(std::move(file)) {}

  BackingFile file_;
};

}  // namespace ublkbench
