// SPDX-License-Identifier: MIT
#include "bench/record/probe_document.hpp"

#include "bench/record/record_codec.hpp"

namespace ublkbench {

template std::string record_text(const probed::Document& record, int indent);
template Result<probed::Document> record_of_text(const std::string& text, const std::string& name);

}  // namespace ublkbench
