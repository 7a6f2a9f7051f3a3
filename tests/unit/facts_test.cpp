// SPDX-License-Identifier: MIT
#include "bench/record/facts.hpp"

#include <gtest/gtest.h>

namespace ublkbench {
namespace {

TEST(Facts, AreTheValuesByTheirDottedNames) {
  const Facts facts = facts_of(
      R"({"a": 1, "b": {"c": "x\n", "d": {"e": [1, {"f": 2}]}}, "g": null, "h": {}, "i": 4.0, "j": 0.5})");
  EXPECT_EQ(facts, (Facts{{"a", "1"},
                          {"b.c", R"("x\n")"},
                          {"b.d.e", R"([1,{"f":2}])"},
                          {"g", "null"},
                          {"i", "4"},
                          {"j", "0.5"}}));
}

TEST(Facts, OfOneLevelHaveObjectsAsValues) {
  EXPECT_EQ(values_of(R"({"a": 1, "b": {"c": 2}})"), (Facts{{"a", "1"}, {"b", R"({"c":2})"}}));
}

TEST(Facts, OfWhatIsNoObjectThereAreNone) {
  for (const char* text : {"", "[1]", "1", "{", "null"}) {
    EXPECT_TRUE(facts_of(text).empty()) << text;
    EXPECT_TRUE(values_of(text).empty()) << text;
  }
}

TEST(Facts, AreReadByTheirKind) {
  const Facts facts = facts_of(R"({"word": "a \"b\"", "number": 7, "none": null})");
  EXPECT_EQ(fact_word(facts, "word"), "a \"b\"");
  EXPECT_EQ(fact_word(facts, "number"), std::nullopt);
  EXPECT_EQ(fact_number(facts, "number"), 7);
  EXPECT_EQ(fact_number(facts, "word"), std::nullopt);
  EXPECT_EQ(fact_number(facts, "none"), std::nullopt);
  EXPECT_EQ(fact(facts, "absent"), nullptr);
}

TEST(Facts, BelowANameAreThoseOfItsLevelAndNotOfOnesThatBeginAlike) {
  const Facts facts{{"tool-x", "1"}, {"tool.a", "2"}, {"tool.b.c", "3"}, {"tools", "4"}};
  EXPECT_TRUE(has_fact(facts, "tool"));
  EXPECT_TRUE(has_fact(facts, "tool.b"));
  EXPECT_TRUE(has_fact(facts, "tools"));
  EXPECT_FALSE(has_fact(facts, "too"));
  EXPECT_EQ(facts_below(facts, "tool"), (Facts{{"a", "2"}, {"b.c", "3"}}));
}

}  // namespace
}  // namespace ublkbench
