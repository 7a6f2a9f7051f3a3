// SPDX-License-Identifier: MIT
#include "bench/base/json_text.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace ublkbench {
namespace {

TEST(JsonText, BytesThatAreNotUtf8DoNotThrow) {
  EXPECT_EQ(json_text({{"name", "a\xff"}}), "{\"name\":\"a\xef\xbf\xbd\"}");
}

TEST(JsonText, KnowsUtf8) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("loop:/tmp/gr\xc3\xbc\xc3\x9f\"e\\\n"));
  EXPECT_FALSE(is_utf8("loop:/tmp/\xff"));
  EXPECT_FALSE(is_utf8("cut \xc3"));
  EXPECT_FALSE(is_utf8("overlong \xc0\xaf"));
}

TEST(JsonText, Escapes) { EXPECT_EQ(escaped("a b\xff\x01"), "a b\\xff\\x01"); }

}  // namespace
}  // namespace ublkbench
