// SPDX-License-Identifier: MIT
#include "analyzers/run_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "analyzers/record_builder.hpp"
#include "analyzers/text_table.hpp"
#include "bench/base/json_text.hpp"
#include "tests/unit/run_document.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;
using test::document_of;
using test::failed_sample;
using test::sample;
using test::two_modes;
using testing::HasSubstr;
using testing::Not;

Record record_of(const json& document) {
  RecordBuilder builder("made by hand", Detail::evidence);
  const auto begun = builder.begin(json_text(document));
  EXPECT_TRUE(begun) << begun.error().message();
  for (const json& each : document["samples"]) {
    const auto added = builder.sample(simdjson::padded_string(json_text(each)));
    EXPECT_TRUE(added) << added.error().message();
  }
  return builder.record();
}

std::string table_of(const json& document, const RunTableOptions& options = {}) {
  return run_table(record_of(document), options);
}

TEST(Summary, TakesMedianAndRangeOfGoodSamples) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  const std::string id = plan->cells[0].name();
  for (const double iops : {400.0, 100.0, 200.0})
    document["samples"].push_back(sample(id, document["samples"].size(), iops));
  document["samples"].push_back(failed_sample(id, 3, "boom"));
  const Record record = record_of(document);
  const CellSummary summary = summarize(record).front();
  EXPECT_EQ(summary.cell->samples.size(), 3U);
  EXPECT_EQ(summary.cell->failed, 1U);
  EXPECT_EQ(summary.cell->reason, "boom");
  EXPECT_DOUBLE_EQ(summary.of(Figure::iops)->median, 200);
  EXPECT_DOUBLE_EQ(summary.of(Figure::iops)->min, 100);
  EXPECT_DOUBLE_EQ(summary.of(Figure::iops)->max, 400);
  EXPECT_DOUBLE_EQ(summary.of(Figure::enters)->median, 0.1);
  EXPECT_DOUBLE_EQ(summary.of(Figure::server_sleeps)->median, 0.001);
  EXPECT_FALSE(summary.of(Figure::shared_memory_hit_ratio));
}

TEST(Summary, RatiosCompareTheSameLoad) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  for (const Cell& cell : plan->cells) {
    const double iops = cell.kind == Cell::Kind::control ? 400
                        : cell.mode.name() == "copy"     ? 100
                                                         : 200;
    document["samples"].push_back(sample(cell.name(), 0, iops * cell.depth));
  }
  const Record record = record_of(document);
  for (const CellSummary& cell : summarize(record)) {
    const Axes& axes = cell.cell->axes;
    if (axes.is_control()) {
      EXPECT_FALSE(cell.ratio_to_control);
    } else {
      EXPECT_DOUBLE_EQ(cell.ratio_to_control.value(), axes.mode == "copy" ? 0.25 : 0.5);
    }
    if (axes.mode == "batch,auto_zc") {
      EXPECT_DOUBLE_EQ(cell.ratio_to_first.value(), 2);
    } else {
      EXPECT_FALSE(cell.ratio_to_first);
    }
  }
}

TEST(Summary, SharesAreOfWhatTheyAreDividedBy) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  json added = sample(plan->cells[0].name(), 0, 100);
  added["server"]["shared_memory_hits"] = 30;
  added["server"]["shared_memory_misses"] = 10;
  added["page_cache"] = {
      {"start", "empty"}, {"load_read_bytes", 4000}, {"device_read_bytes", 1000}};
  document["samples"].push_back(added);
  const Record record = record_of(document);
  const CellSummary summary = summarize(record).front();
  EXPECT_DOUBLE_EQ(summary.of(Figure::shared_memory_hit_ratio)->median, 0.75);
  EXPECT_DOUBLE_EQ(summary.of(Figure::device_read_ratio)->median, 0.25);
}

TEST(Summary, OneVerificationIsForAllCellsOfModeAndTarget) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  for (const Cell& cell : plan->cells) document["samples"].push_back(sample(cell.name(), 0, 100));
  document["samples"][0]["verify"] = {{"status", "passed"}, {"checked", "completions"}};
  const auto words = [&document] {
    const Record record = record_of(document);
    std::map<std::string, std::set<std::string>> found;
    for (const CellSummary& cell : summarize(record))
      found[cell.cell->axes.mode].insert(cell.verified);
    return found;
  };
  EXPECT_THAT(words()["copy"], testing::ElementsAre("completions"));
  EXPECT_THAT(words()["batch,auto_zc"], testing::ElementsAre("off"));
  for (json& other : document["samples"])
    if (other["cell"].get<std::string>().starts_with("copy"))
      other["not_verified"] = "needs --destructive";
  EXPECT_THAT(words()["copy"], testing::ElementsAre("completions"));
  document["samples"][0].erase("verify");
  EXPECT_THAT(words()["copy"], testing::ElementsAre("not (needs --destructive)"));
  document["samples"][0] = failed_sample(plan->cells[0].name(), 0, "verify: torn");
  document["samples"][0]["verify"] = {{"status", "failed"}};
  EXPECT_THAT(words()["copy"], testing::ElementsAre("FAILED"));
}

TEST(RunTable, EveryFormatNamesEveryMode) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  for (const Cell& cell : plan->cells)
    document["samples"].push_back(sample(cell.name(), 0, 123456));
  for (const char* word : {"text", "md", "csv"}) {
    const std::string text = table_of(document, {.format = *parse_format(word)});
    EXPECT_THAT(text, HasSubstr("batch,auto_zc")) << word;
    EXPECT_THAT(text, HasSubstr("null_blk")) << word;
  }
  EXPECT_THAT(table_of(document), HasSubstr("123.5k"));
  EXPECT_FALSE(parse_format("yaml"));
}

TEST(RunTable, LeavesOutColumnsThatATerminalHasNoRoomFor) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  for (const Cell& cell : plan->cells)
    document["samples"].push_back(sample(cell.name(), 0, 123456));
  const std::string wide = table_of(document);
  EXPECT_THAT(wide, HasSubstr("enters/IO"));
  EXPECT_THAT(wide, Not(HasSubstr("No room")));
  const std::string narrow = table_of(document, {.width = 80});
  EXPECT_THAT(narrow, HasSubstr("\nNo room for: "));
  EXPECT_THAT(narrow, HasSubstr("enters/IO"));
  const std::string titles = narrow.substr(narrow.find("\nmode") + 1);
  const std::string line = titles.substr(0, titles.find('\n'));
  EXPECT_LE(line.size(), 80U);
  for (const char* kept : {"qd", "IOPS", "x control"}) EXPECT_THAT(line, HasSubstr(kept));
  EXPECT_THAT(line, Not(HasSubstr("enters")));
}

TEST(RunTable, APercentileOfTooFewIosSaysOfHowMany) {
  RunOptions options = two_modes();
  options.modes.resize(1);
  options.depths = {1};
  options.control = "none";
  const auto plan = make_plan(options);
  json document = document_of(*plan);
  document["samples"].push_back(sample(plan->cells[0].name(), 0, 100));
  std::string text = table_of(document);
  EXPECT_THAT(text, HasSubstr("3.00 us of 1000"));
  EXPECT_THAT(text, HasSubstr("which leaves fewer than ten beyond; p99.9 needs 10000.\n"));
  EXPECT_THAT(text, Not(HasSubstr("2.00 us of"))) << "1000 I/Os leave ten beyond the 99th";
  EXPECT_THAT(text, Not(HasSubstr("100..100"))) << "one sample has no range";
  const Record record = record_of(document);
  EXPECT_TRUE(record.cells[0].values(Figure::p999_ns).empty()) << "it is in no verdict";
  document["samples"][0]["load"]["latency_ns"]["count"] = 10'000;
  text = table_of(document);
  EXPECT_THAT(text, Not(HasSubstr("of 10000")));
  EXPECT_THAT(text, Not(HasSubstr("needs")));
}

TEST(RunTable, NamesASchedulerThatIsNotTheOneAskedFor) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  const auto scheduled = [&](const char* ours, const char* control) {
    document["samples"] = json::array();
    for (const Cell& cell : plan->cells) {
      json added = sample(cell.name(), 0, 100);
      const char* word = cell.kind == Cell::Kind::control ? control : ours;
      added["device"] = {{"queue_limits", {{"scheduler", word}}}};
      document["samples"].push_back(added);
    }
    return table_of(document);
  };
  EXPECT_THAT(scheduled("none", "none"), Not(HasSubstr("scheduler")));
  EXPECT_THAT(scheduled("kyber", "kyber"), HasSubstr(", scheduler in force kyber, 1 queue(s)"));
  const std::string text = scheduled("mq-deadline", "none");
  EXPECT_THAT(text, HasSubstr("  in force  ")) << "a column";
  EXPECT_THAT(text, HasSubstr("mq-deadline"));
  EXPECT_THAT(text, HasSubstr("none"));
}

TEST(RunTable, AFailedCellSaysWhy) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  document["samples"].push_back(failed_sample(plan->cells[0].name(), 0, "no space"));
  EXPECT_THAT(table_of(document), HasSubstr("no space"));
}

TEST(TextTable, HasNothingThatEndsACellOfMarkdown) {
  const TextTable table{.columns = {{.title = "a", .left = true}, {.title = "b"}},
                        .rows = {{"x|y", "1"}}};
  EXPECT_EQ(table.markdown(), "| a | b |\n|:--|--:|\n| x\\|y | 1 |\n");
  EXPECT_EQ(table.aligned(), "a    b\nx|y  1\n");
  EXPECT_EQ(table.aligned(4), "a\nx|y\nNo room for: b (--wide shows all).\n");
}

}  // namespace
}  // namespace ublkbench::analyzers
