// SPDX-License-Identifier: MIT
#include "bench/cli/words.hpp"

#include <algorithm>

#include "bench/base/format.hpp"

namespace ublkbench {

bool typed(const CLI::App& app, const std::string& option) {
  const CLI::Option* const found = app.get_option_no_throw(option);
  return found != nullptr && found->count() != 0;
}

Result<> refuse_empty(const CLI::App& app) {
  for (const CLI::Option* const option : app.get_options()) {
    // Its value may be left out.
    if (option->count() == 0 || option->get_expected_min() == 0) continue;
    if (std::ranges::contains(option->results(), std::string()))
      return bad_input(formatted("{} is empty", option->get_name()),
                       "give it a value or leave it out");
  }
  return {};
}

Result<> refuse_idle(const CLI::App& app, const std::vector<Idle>& rows) {
  for (const Idle& row : rows)
    if (row.idle && typed(app, row.option))
      return bad_input(formatted("{} does nothing here: {}", row.option, row.why), "leave it out");
  return {};
}

std::vector<Idle> all_idle(const std::vector<std::string>& options, bool idle,
                           const std::string& why) {
  std::vector<Idle> rows;
  for (const std::string& option : options)
    rows.push_back({.option = option, .idle = idle, .why = why});
  return rows;
}

}  // namespace ublkbench
