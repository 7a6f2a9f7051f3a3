// SPDX-License-Identifier: MIT
// Samples brought together by cell, as they come: from a file, or from the run itself.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "analyzers/record.hpp"
#include "bench/record/sample_record.hpp"

namespace ublkbench::analyzers {

/// The error for a file that is no record of a run.
std::unexpected<Error> broken_record(const std::string& path, std::string_view why);

class RecordBuilder {
 public:
  /// `path` names the record in errors.
  RecordBuilder(const std::string& path, Detail detail);
  RecordBuilder(RecordBuilder&& other) noexcept;
  RecordBuilder& operator=(RecordBuilder&& other) noexcept;
  ~RecordBuilder();

  /// Of {"schema", "run", "env"}, which may stand behind the samples.
  Result<> head(const JsonReader::Object& document);
  /// Of {"cells"}: before the first sample.
  Result<> cells(const JsonReader::Object& document);
  /// head() and cells() of a text.
  Result<> begin(const std::string& document);
  /// Padded text, as JsonStream gives it.
  Result<> sample(std::string_view text);
  Result<> add(const SampleRecord& sample);
  /// The record so far.
  [[nodiscard]] Record record() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ublkbench::analyzers
