// SPDX-License-Identifier: MIT
// What programs of this suite tell each other of a device: that one of them looks after it, and
// that one of them is about to change its state.
//
// Both are locks on bytes of /dev/ublk-control: a node that all of them have open anyway, of one
// devtmpfs that PID and mount namespaces share, where /run is each container's own. The kernel
// takes them away with their holders, however these end. Where a container has a node of its own
// (mknod in its /dev) it does not see them; the driver's state and the maker's stamp remain then.
#pragma once

#include <cstdint>

#include "bench/base/fd.hpp"

namespace ublkbench::control {

/// Held by those who look after devices, their supervisors and servers; a forked process keeps it.
class DeviceWatch {
 public:
  /// Without effect where there is no node to lock.
  void add(int id);

 private:
  Fd control_;
};

/// Whether any process looks after the device.
bool is_watched(int id);

/// One operation on a device at a time: state is asked for and changed under it.
class DeviceLock {
 public:
  /// Waits for whoever has it; past the bound the error names that process.
  static Result<DeviceLock> take(int id, std::uint64_t timeout_ns);

  DeviceLock(DeviceLock&&) noexcept = default;
  DeviceLock& operator=(DeviceLock&&) noexcept;
  DeviceLock(const DeviceLock&) = delete;
  DeviceLock& operator=(const DeviceLock&) = delete;
  ~DeviceLock();

  [[nodiscard]] int id() const { return id_; }
  /// In a forked child, which must not end what its parent goes on with.
  void forget() { control_.reset(); }

 private:
  DeviceLock(int id, Fd control) : id_(id), control_(std::move(control)) {}
  void release();

  int id_ = -1;
  Fd control_;
};

}  // namespace ublkbench::control
