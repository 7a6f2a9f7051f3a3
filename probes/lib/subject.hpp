// SPDX-License-Identifier: MIT
// What is probed: one device, all devices, or those of one server process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/record/probe_document.hpp"
#include "probes/lib/bpf.hpp"

namespace ublkbench::probes {

struct Device {
  int id;
  unsigned queues;
  unsigned depth;
  std::uint64_t flags;
  pid_t server;
};

struct Subject {
  bool all = false;
  std::vector<Device> devices;  ///< with all: those that were there at the start
  unsigned char_major = 0;      ///< of /dev/ublkcN

  [[nodiscard]] probed::Subject record() const;
  /// "ublk device 0 (2 queues x 128 tags, batch; server 312)" for people.
  [[nodiscard]] std::string text() const;
  /// A device that was removed since, of those that were asked for by name.
  [[nodiscard]] std::optional<int> vanished() const;
};

/// Tells the BPF side's subject.bpf.h, by its skeleton's read-only data.
template <class Rodata>
void aim(Rodata& rodata, const Subject& subject) {
  rodata.can_peek = kernel_can_peek();
  rodata.all_devices = subject.all;
  rodata.char_major = subject.char_major;
  if (subject.all) return;
  for (const Device& device : subject.devices) rodata.wanted_devices[device.id] = 1;
}

Result<Subject> all_devices();
Result<Subject> one_device(int id);
Result<Subject> devices_of(pid_t server);

}  // namespace ublkbench::probes
