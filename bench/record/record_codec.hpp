// SPDX-License-Identifier: MIT
// The definitions of record_text.hpp's templates.
#pragma once

#include <string>

#include "bench/base/json_text.hpp"
#include "bench/record/read_fields.hpp"
#include "bench/record/record_text.hpp"
#include "bench/record/write_fields.hpp"

namespace ublkbench {

template <HasFields Record>
std::string record_text(const Record& record, int indent) {
  return json_text(to_json(record), indent);
}

template <HasFields Record>
Result<Record> record_of_text(const std::string& text, const std::string& name) {
  simdjson::dom::parser parser;
  JsonReader::Object object;
  std::optional<Error> error;
  JsonReader at(name, "", error);
  Record record;
  if (parser.parse(text).get(object) != simdjson::SUCCESS)
    at.complain("", "is no JSON object");
  else
    read_fields(at, object, record);
  if (error) return std::unexpected(*error);
  return record;
}

}  // namespace ublkbench
