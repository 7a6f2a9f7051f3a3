// SPDX-License-Identifier: MIT
// Axes in JSON: json(axes) and object.get<Axes>(), which throws what nlohmann's JSON throws.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "bench/record/axes.hpp"

namespace ublkbench {

/// An axis that is none has no key, as in records from before it was one.
void to_json(nlohmann::json& object, const Axes& axes);
void from_json(const nlohmann::json& object, Axes& axes);

}  // namespace ublkbench
