// SPDX-License-Identifier: MIT
// What was counted between two moments, from what was counted at each.
#include "probes/lib/edges.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "bench/base/log_linear.h"
#include "probes/lib/latency_counts.hpp"

namespace ublkbench::probes {
namespace {

void count(latency_histogram& histogram, std::uint64_t ns) {
  ++histogram.slots[log_linear_slot(ns)];
  histogram.sum_ns += ns;
  histogram.max_ns = std::max<std::uint64_t>(histogram.max_ns, ns);
  if (histogram.min_ns == 0 || ns + 1 < histogram.min_ns) histogram.min_ns = ns + 1;
}

void count(LatencyCounts& counts, unsigned place, std::uint64_t ns) {
  auto& stages = counts.by_size[place];
  if (!stages) stages = std::make_unique<latency_stages>();
  for (auto& stage : stages->stages) count(stage, ns);
  ++counts.totals.finished_ios;
}

TEST(ProbeEdges, CountersAndSizesAreTakenOff) {
  struct Totals {
    std::uint64_t a, b;
  };
  const Totals rest = minus(Totals{10, 7}, Totals{4, 7});
  EXPECT_EQ(rest.a, 6U);
  EXPECT_EQ(rest.b, 0U);
  using Sizes = std::map<std::uint64_t, std::uint64_t>;
  EXPECT_EQ(minus(Sizes{{1, 5}, {2, 3}, {9, 1}}, Sizes{{1, 5}, {2, 1}}), (Sizes{{2, 2}, {9, 1}}));
}

TEST(ProbeEdges, WhatWasBeforeTheWindowMovesNoMean) {
  LatencyCounts begin;
  for (unsigned i = 0; i < 1000; ++i) count(begin, 0, 5'000'000);  // a slow warm-up
  count(begin, 3, 100);
  LatencyCounts end;
  for (unsigned i = 0; i < 1000; ++i) count(end, 0, 5'000'000);
  count(end, 3, 100);
  for (unsigned i = 0; i < 10; ++i) count(end, 0, 1000 + i);
  Edges<LatencyCounts> edges;
  edges.keep(Edge::begin, std::move(begin));
  edges.keep(Edge::end, std::move(end));
  const LatencyCounts window = edges.window();
  ASSERT_EQ(window.by_size.size(), 1U);  // nothing came in the other
  EXPECT_EQ(window.totals.finished_ios, 10U);
  const Stages stages = histograms_of(*window.by_size.at(0));
  const Histogram& total = stages[LATENCY_TOTAL];
  EXPECT_EQ(total.count(), 10U);
  EXPECT_EQ(total.sum(), 10U * 1000 + 45);
  EXPECT_EQ(total.min(), 1000U);  // less than any before: exact
  // The greatest of all was before: that of its slot.
  EXPECT_GE(total.max(), 1009U);
  EXPECT_LE(total.max(), 1009U + 1009 / 64);
}

TEST(ProbeEdges, ANewExtremeIsExact) {
  latency_histogram begin{};
  count(begin, 1000);
  latency_histogram end = begin;
  count(end, 123'457);
  count(end, 3);
  const latency_histogram rest = minus_histogram(end, begin);
  EXPECT_EQ(rest.max_ns, 123'457U);
  EXPECT_EQ(rest.min_ns, 4U);  // one more than it is
  EXPECT_EQ(rest.sum_ns, 123'460U);
}

TEST(ProbeEdges, NothingIsNothing) {
  latency_histogram both{};
  count(both, 77);
  const latency_histogram rest = minus_histogram(both, both);
  EXPECT_EQ(rest.sum_ns, 0U);
  EXPECT_EQ(rest.max_ns, 0U);
  EXPECT_EQ(rest.min_ns, 0U);
}

}  // namespace
}  // namespace ublkbench::probes
