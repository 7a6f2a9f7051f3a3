// SPDX-License-Identifier: MIT
// Records as text, for files and pipes. The templates are instantiated where record_codec.hpp is
// included, so that JSON is compiled there only.
#pragma once

#include <string>

#include "bench/base/result.hpp"
#include "bench/record/fields.hpp"

namespace ublkbench {

/// JSON without a newline at its end: on one line, or indented by so many spaces.
template <HasFields Record>
std::string record_text(const Record& record, int indent = -1);

/// Its inverse; `name` names the text in errors, which are ExitCode::usage.
template <HasFields Record>
Result<Record> record_of_text(const std::string& text, const std::string& name);

}  // namespace ublkbench
