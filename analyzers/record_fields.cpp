// SPDX-License-Identifier: MIT
// What a record that was read says of itself.
#include <set>

#include "analyzers/record.hpp"
#include "bench/base/format.hpp"
#include "bench/record/identity.hpp"

namespace ublkbench::analyzers {

using nlohmann::json;

std::vector<double> CellRecord::values(Figure figure) const {
  std::vector<double> values;
  values.reserve(samples.size());
  for (const Sample& sample : samples)
    if (const auto value = sample.value(figure)) values.push_back(*value);
  return values;
}

std::string CellRecord::scheduler() const {
  const auto word_of = [](const json& settings) {
    const json above = settings.value("scheduler", json());
    std::string word = above.is_string() ? above.get<std::string>() : std::string();
    const json below = settings.value("schedulers_below", json::object());
    for (const auto& [disk, scheduler] : below.items())
      if (scheduler != "none")
        word += formatted("{}{} below on {}", word.empty() ? "" : ", ",
                          scheduler.get<std::string>(), disk);
    return word;
  };
  std::set<std::string> words;
  if (queue.is_object()) words.insert(word_of(queue));
  for (const json& other : other_queues) words.insert(word_of(other));
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : "+") + word;
  return text;
}

bool Record::counts_instructions() const {
  return run.value("clock", std::string()).starts_with("icount");
}

std::string Record::commit() const { return run["tool"].value("commit", std::string("unknown")); }

json Record::comparable_fields() const { return identity(run, env); }

}  // namespace ublkbench::analyzers
