// SPDX-License-Identifier: MIT
// The driver's feature flags by name: what each is called and which kernel had it first.
#pragma once

#include "bench/control/uapi.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ublkbench {

struct Feature {
  std::uint64_t flag;
  std::string_view name;          ///< as in <linux/ublk_cmd.h>
  std::string_view first_kernel;  ///< mainline release that grants it
};

/// Every UBLK_F_* of the header this was built with, lowest bit first.
std::span<const Feature> all_features();

/// The entry of one flag; an unknown flag gives an entry without a name.
Feature feature(std::uint64_t flag);

/// The names one by one; unknown bits as "bit40".
std::vector<std::string> feature_list(std::uint64_t flags);

/// "UBLK_F_AUTO_BUF_REG|UBLK_F_BATCH_IO"; unknown bits as "bit40".
std::string feature_names(std::uint64_t flags);

}  // namespace ublkbench
