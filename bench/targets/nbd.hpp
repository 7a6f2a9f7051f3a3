// SPDX-License-Identifier: MIT
// An export of an NBD server as a target: one connection per task.
#pragma once

#include <mutex>
#include <optional>

#include "bench/targets/nbd_connection.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

class NbdTarget final : public Target {
 public:
  /// A server that is silent for `silence_limit_s` while requests wait for it counts as gone.
  static Result<std::unique_ptr<Target>> make(std::string_view argument,
                                              const TargetUse& use = {},
                                              unsigned silence_limit_s = 60);

  [[nodiscard]] DeviceShape shape() const override;
  [[nodiscard]] DataOwner data_owner() const override { return DataOwner::user; }
  /// Two places in a task's table of files that its lane fills: the socket, and where data is
  /// between the socket and a registered buffer.
  [[nodiscard]] std::vector<int> files() const override { return {-1, -1}; }
  [[nodiscard]] Result<> pollable(Data::Place) const override;
  Result<TargetLane*> open_lane(const LaneSetup& setup) override;

 private:
  NbdTarget(nbd::Address address, nbd::Connection first, bool writes, unsigned silence_limit_s)
      : address_(std::move(address)),
        properties_(first.properties),
        writes_(writes),
        silence_limit_s_(silence_limit_s),
        first_(std::move(first)) {}

  Result<nbd::Connection> connection_for_a_lane();

  nbd::Address address_;
  nbd::Export properties_;
  bool writes_;
  unsigned silence_limit_s_;
  std::mutex mutex_;
  /// The one that the export's size came from; it is the first lane's, because some servers end
  /// with their last client.
  std::optional<nbd::Connection> first_;
  std::vector<std::unique_ptr<TargetLane>> lanes_;
};

}  // namespace ublkbench
