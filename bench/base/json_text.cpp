// SPDX-License-Identifier: MIT
#include "bench/base/json_text.hpp"

#include <nlohmann/json.hpp>

#include "bench/base/format.hpp"

namespace ublkbench {

std::string json_text(const nlohmann::json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool is_utf8(std::string_view text) {
  // What is valid comes through the serializer as it is.
  const std::string quoted =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore);
  return nlohmann::json::parse(quoted).get_ref<const std::string&>() == text;
}

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char character : text)
    safe += character >= ' ' && character <= '~'
                ? std::string(1, character)
                : formatted("\\x{:02x}", static_cast<unsigned char>(character));
  return safe;
}

}  // namespace ublkbench
