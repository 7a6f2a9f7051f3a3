// SPDX-License-Identifier: MIT
// What a record that was read says of itself.
#include <set>

#include "analyzers/record.hpp"
#include "bench/base/format.hpp"
#include "bench/record/identity.hpp"

namespace ublkbench::analyzers {

std::vector<double> CellRecord::values(Figure figure) const {
  std::vector<double> values;
  values.reserve(samples.size());
  for (const SampleFigures& sample : samples)
    if (const auto value = sample.value(figure)) values.push_back(*value);
  return values;
}

std::string CellRecord::scheduler() const {
  const auto word_of = [](const Facts& settings) {
    std::string word = fact_word(settings, "scheduler").value_or("");
    const std::string* const below = fact(settings, "schedulers_below");
    for (const auto& [disk, scheduler] : below != nullptr ? facts_of(*below) : Facts())
      if (scheduler != R"("none")")
        word += formatted("{}{} below on {}", word.empty() ? "" : ", ",
                          scheduler.substr(1, scheduler.size() - 2), disk);
    return word;
  };
  std::set<std::string> words;
  if (queue) words.insert(word_of(*queue));
  for (const Facts& other : other_queues) words.insert(word_of(other));
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : "+") + word;
  return text;
}

bool Record::counts_instructions() const {
  return fact_word(run, "clock").value_or("").starts_with("icount");
}

std::string Record::commit() const { return fact_word(run, "tool.commit").value_or("unknown"); }

Facts Record::comparable_fields() const { return identity(run, env); }

}  // namespace ublkbench::analyzers
