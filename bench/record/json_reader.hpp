// SPDX-License-Identifier: MIT
// Typed access to parsed JSON that says where it is wrong: "run.json: samples[3].load.iops is
// missing". The first error is kept; what is read after it has no meaning.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bench/base/format.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

class JsonReader {
 public:
  using Element = simdjson::dom::element;
  using Object = simdjson::dom::object;

  /// `where` names the object: "samples[3]".
  JsonReader(const std::string& file, std::string where, std::optional<Error>& error)
      : file_(file), where_(std::move(where)), error_(error) {}

  void complain(std::string_view key, std::string_view what) {
    if (error_) return;
    const std::string dot = where_.empty() || key.empty() ? "" : ".";
    const std::string space = where_.empty() && key.empty() ? "" : " ";
    error_ = bad_input(formatted("{}: {}{}{}{}{}", file_, where_, dot, key, space, what),
                       "the record is damaged or no record of this program")
                 .error();
  }

  [[nodiscard]] bool failed() const { return error_.has_value(); }

  std::optional<Element> find(const Object& object, std::string_view key) const {
    Element element;
    if (error_) return std::nullopt;  // the object may be none
    if (object[key].get(element) != simdjson::SUCCESS || element.is_null()) return std::nullopt;
    return element;
  }

  std::string string(const Object& object, std::string_view key) {
    std::string_view text;
    const auto element = find(object, key);
    if (!element)
      complain(key, "is missing");
    else if (element->get(text) != simdjson::SUCCESS)
      complain(key, "is no string");
    return std::string(text);
  }

  std::uint64_t count(const Object& object, std::string_view key) {
    std::uint64_t value = 0;
    const auto element = find(object, key);
    if (!element)
      complain(key, "is missing");
    else if (element->get(value) != simdjson::SUCCESS)
      complain(key, "is no count");
    return value;
  }

  double number(const Object& object, std::string_view key) {
    const auto value = optional_number(object, key);
    if (!value) complain(key, "is missing");
    return value.value_or(0);
  }

  std::optional<double> optional_number(const Object& object, std::string_view key) {
    const auto element = find(object, key);
    if (!element) return std::nullopt;
    double value = 0;
    if (element->get(value) != simdjson::SUCCESS || value < 0)
      complain(key, "is no number of at least 0");
    return value;
  }

  /// The number at "load.latency_ns.p50".
  std::optional<double> optional_number_at(const Object& object, std::string_view path) {
    const std::size_t dot = path.find('.');
    if (dot == std::string_view::npos) return optional_number(object, path);
    const auto inner = optional_object(object, path.substr(0, dot));
    if (!inner) return std::nullopt;
    return inside(path.substr(0, dot)).optional_number_at(*inner, path.substr(dot + 1));
  }

  std::optional<Object> optional_object(const Object& object, std::string_view key) {
    const auto element = find(object, key);
    if (!element) return std::nullopt;
    Object found;
    if (element->get(found) != simdjson::SUCCESS) {
      complain(key, "is no object");
      return std::nullopt;
    }
    return found;
  }

  Object object(const Object& parent, std::string_view key) {
    const auto found = optional_object(parent, key);
    if (!found) complain(key, "is missing");
    return found.value_or(Object());
  }

  [[nodiscard]] JsonReader inside(std::string_view key) const {
    return {file_, where_.empty() ? std::string(key) : formatted("{}.{}", where_, key), error_};
  }

 private:
  const std::string& file_;
  std::string where_;
  std::optional<Error>& error_;
};

}  // namespace ublkbench
