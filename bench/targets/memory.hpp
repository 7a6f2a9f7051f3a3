// SPDX-License-Identifier: MIT
#pragma once

#include "bench/base/fd.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

/// Stores data in a memfd. Data in memory is copied to and from a mapping of it; data in a
/// registered buffer, which no process can address, is read and written by SQEs on the memfd.
/// Those SQEs are served by io-wq workers, because tmpfs files do not support non-blocking I/O
/// (mm/shmem.c sets no FMODE_NOWAIT): this target proves data paths, it does not compare them.
class MemoryTarget final : public SharedTarget {
 public:
  static Result<std::unique_ptr<Target>> make(std::uint64_t bytes);

  [[nodiscard]] DeviceShape shape() const override {
    return {.bytes = storage_.size(), .discard = true, .write_zeroes = true};
  }
  [[nodiscard]] DataOwner data_owner() const override { return DataOwner::run; }
  [[nodiscard]] std::vector<int> files() const override { return {file_.get()}; }
  [[nodiscard]] Result<> pollable(Data::Place place) const override;
  [[nodiscard]] int plain_file() const override { return file_.get(); }

  void queue(const Request& request, const Data& data, Chain& chain) noexcept override;

 private:
  MemoryTarget(Fd file, Mapping storage) : file_(std::move(file)), storage_(std::move(storage)) {}

  Fd file_;
  Mapping storage_;
};

}  // namespace ublkbench
