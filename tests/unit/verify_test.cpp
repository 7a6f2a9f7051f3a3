// SPDX-License-Identifier: MIT
// Verification end to end on a regular file: the passes must find what is planted between them.
#include "bench/load/verify.hpp"
#include "bench/record/write_fields.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "temp_file.hpp"

namespace ublkbench::load {
namespace {

constexpr std::uint64_t block = 512;

class VerifyTest : public testing::Test {
 protected:
  VerifyTest() {
    options.device = file.path();
    options.range = 0;
    options.random_writes = 300;
    options.direct = false;
    options.destructive = true;
  }
  VerifyReport run() {
    auto report = verify_device(options);
    EXPECT_TRUE(report) << report.error().message();
    return report ? *report : VerifyReport{};
  }
  /// Runs with `plant` between writing and reading; expects one bad block, with this fault.
  void expect_found(Fault fault, std::uint64_t offset, const std::function<void()>& plant) {
    options.before_read_back = plant;
    const VerifyReport report = run();
    EXPECT_FALSE(report.passed());
    EXPECT_EQ(report.exit_code(), ExitCode::io);
    EXPECT_EQ(report.bad_blocks(), 1U) << to_text(report);
    EXPECT_EQ(report.faults[static_cast<std::size_t>(fault)], 1U) << to_text(report);
    ASSERT_EQ(report.failures.size(), 1U);
    EXPECT_EQ(report.failures[0].offset, offset);
  }
  [[nodiscard]] BlockIdentity found_at(std::uint64_t offset) const {
    return inspect_block(file.read(offset, block)).found;
  }
  void put(const BlockIdentity& identity, std::uint64_t at) const {
    std::vector<std::byte> data(block);
    fill_block(data, identity);
    file.write(at, data);
  }
  /// An offset whose block was written `generation` times or more.
  [[nodiscard]] std::uint64_t written_often(std::uint32_t generation) const {
    for (std::uint64_t at = 0; at < file_bytes; at += block)
      if (found_at(at).generation >= generation) return at;
    ADD_FAILURE() << "no block was written that often";
    return 0;
  }

  static constexpr std::uint64_t file_bytes = 1 << 20;
  test::TempFile file{file_bytes};
  VerifyOptions options;
};

TEST_F(VerifyTest, AFilePasses) {
  const VerifyReport report = run();
  EXPECT_TRUE(report.passed()) << to_text(report);
  EXPECT_EQ(report.exit_code(), ExitCode::ok);
  EXPECT_EQ(report.range_bytes, file_bytes);
  EXPECT_EQ(report.block_bytes, block);
  EXPECT_EQ(report.writes, 300 + file_bytes / 65536);
  EXPECT_GE(report.checked_blocks, file_bytes / block);
  EXPECT_GT(report.read_bytes, file_bytes) << "some writes are read back at once";
}

TEST_F(VerifyTest, PassesOnEveryPath) {
  for (const bool fixed : {false, true})
    for (const bool registered : {false, true})
      for (const unsigned depth : {1U, 7U}) {
        options.fixed_buffers = fixed;
        options.registered_file = registered;
        options.depth = depth;
        EXPECT_TRUE(run().passed());
      }
}

TEST_F(VerifyTest, StaysInsideItsRange) {
  const std::vector<std::byte> mark(block, std::byte{0x5a});
  options.offset = 64 * block;
  options.range = 100 * block;
  const std::uint64_t end = options.offset + options.range;
  file.write(options.offset - block, mark);
  file.write(end, mark);
  EXPECT_TRUE(run().passed());
  EXPECT_EQ(file.read(options.offset - block, block), mark);
  EXPECT_EQ(file.read(end, block), mark);
}

TEST_F(VerifyTest, WorksOnASingleBlock) {
  options.range = block;
  EXPECT_TRUE(run().passed());
}

TEST_F(VerifyTest, FindsLost) {
  options.read_back_percent = 0;  // nobody has seen the newest generation
  options.sizes = {512};          // a lost block of a larger write is a torn write
  std::uint64_t at = 0;
  options.before_read_back = nullptr;
  const auto plant = [&] {
    at = written_often(2);
    BlockIdentity older = found_at(at);
    --older.generation;
    put(older, at);
  };
  options.before_read_back = plant;
  const VerifyReport report = run();
  EXPECT_EQ(report.bad_blocks(), 1U);
  EXPECT_EQ(report.faults[static_cast<std::size_t>(Fault::lost)], 1U) << to_text(report);
  ASSERT_FALSE(report.failures.empty());
  EXPECT_EQ(report.failures[0].offset, at);
}

TEST_F(VerifyTest, FindsStale) {
  options.random_writes = 2000;
  options.before_read_back = [&] {
    const std::uint64_t at = written_often(3);
    BlockIdentity older = found_at(at);
    older.generation -= 2;
    put(older, at);
  };
  const VerifyReport report = run();
  EXPECT_EQ(report.faults[static_cast<std::size_t>(Fault::stale)], 1U) << to_text(report);
  EXPECT_EQ(report.bad_blocks(), 1U);
}

TEST_F(VerifyTest, FindsMisplaced) {
  expect_found(Fault::misplaced, 10 * block,
               [&] { file.write(10 * block, file.read(20 * block, block)); });
}

TEST_F(VerifyTest, FindsTorn) {
  expect_found(Fault::torn, 10 * block, [&] {
    BlockIdentity other = found_at(10 * block);
    ++other.generation;
    ++other.write;
    std::vector<std::byte> newer(block);
    fill_block(newer, other);
    file.write(10 * block + 256, {newer.begin() + 256, newer.end()});
  });
}

TEST_F(VerifyTest, FindsCorrupt) {
  expect_found(Fault::corrupt, 10 * block,
               [&] { file.write(10 * block + 100, {std::byte{1}, std::byte{2}}); });
}

TEST_F(VerifyTest, FindsZeroed) {
  expect_found(Fault::zeroed, 10 * block,
               [&] { file.write(10 * block, std::vector<std::byte>(block)); });
}

TEST_F(VerifyTest, ANullDeviceIsCheckedForCompletionsOnly) {
  options.stores_data = false;
  options.before_read_back = [&] { file.write(0, std::vector<std::byte>(4096)); };
  const VerifyReport report = run();
  EXPECT_TRUE(report.passed());
  EXPECT_EQ(report.checked_blocks, 0U);
  EXPECT_GT(report.reads, 0U);
}

TEST_F(VerifyTest, AShortReadIsAnError) {
  options.before_read_back = [&] { file.resize(file_bytes / 2); };
  const VerifyReport report = run();
  EXPECT_EQ(report.ending, Ending::errors);
  EXPECT_EQ(report.exit_code(), ExitCode::io);
  ASSERT_TRUE(report.first_error);
  EXPECT_EQ(report.first_error->operation, Operation::read);
}

TEST_F(VerifyTest, StopsWhenAsked) {
  const std::atomic<bool> stop = true;
  options.stop = &stop;
  const VerifyReport report = run();
  EXPECT_EQ(report.ending, Ending::stopped);
  EXPECT_EQ(report.exit_code(), ExitCode::interrupted);
  EXPECT_FALSE(report.passed());
}

TEST_F(VerifyTest, RefusesWhatItCannotOrMayNotDo) {
  const auto refused = [&](auto change) {
    VerifyOptions changed = options;
    change(changed);
    const auto report = verify_device(changed);
    return !report && report.error().exit == ExitCode::usage;
  };
  EXPECT_TRUE(refused([](auto& o) { o.destructive = false; }));
  EXPECT_TRUE(refused([](auto& o) { o.device.clear(); }));
  EXPECT_TRUE(refused([](auto& o) { o.depth = 0; }));
  EXPECT_TRUE(refused([](auto& o) { o.sizes = {}; }));
  EXPECT_TRUE(refused([](auto& o) { o.offset = 100; }));
  EXPECT_TRUE(refused([](auto& o) { o.offset = file_bytes; }));
  EXPECT_TRUE(refused([](auto& o) { o.device = "/tmp"; }));
}

TEST_F(VerifyTest, ReportIsReadable) {
  options.before_read_back = [&] { file.write(10 * block, std::vector<std::byte>(block)); };
  const VerifyReport report = run();
  const auto json = to_json(report);
  EXPECT_EQ(json.at("passed"), false);
  EXPECT_EQ(json.at("faults").at("zeroed"), 1);
  EXPECT_EQ(json.at("failures").at(0).at("offset_bytes"), 10 * block);
  EXPECT_NE(to_text(report).find("FAILED"), std::string::npos);
  EXPECT_NE(to_text(report).find("byte 5120: zeroed"), std::string::npos) << to_text(report);
}

}  // namespace
}  // namespace ublkbench::load
