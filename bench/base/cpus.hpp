// SPDX-License-Identifier: MIT
// CPUs by their numbers: lists of them, and whether threads can be pinned to them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/base/result.hpp"

namespace ublkbench {

/// "0-3,7", as users and sysfs write it.
Result<std::vector<int>> parse_cpu_list(const std::string& text);

/// Whether this process may run on each of `cpus`; the first that it may not, and why. `whose`
/// names the list: "--load-cpus".
Result<> check_cpus(const std::vector<int>& cpus, std::string_view whose);

/// CPUs that this kernel can ever have, nr_cpu_ids of kernel/cpu.c: as many queues can a blk-mq
/// device have.
unsigned possible_cpus();

}  // namespace ublkbench
