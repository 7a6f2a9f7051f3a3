// SPDX-License-Identifier: MIT
// libbpf's calls with errors that say what to do.
#pragma once

#include <memory>
#include <string>

#include "bench/base/result.hpp"

struct bpf_object;
struct bpf_object_skeleton;
struct bpf_map;

namespace ublkbench::probes {

/// Keeps libbpf's own messages off the terminal; the last error of them joins ours.
void quiet_libbpf();

/// Loads what is enabled in the skeleton, attaches it, and on failure leaves nothing attached.
Result<> load_and_attach(bpf_object_skeleton* skeleton, const char* probe);

/// One element of an array map, by value.
Result<> read_element(const bpf_map* map, unsigned index, void* value, std::size_t bytes);

}  // namespace ublkbench::probes
