// SPDX-License-Identifier: MIT
// --figure, as compare, trend and calibrate take it.
#pragma once

#include <string>
#include <vector>

#include "analyzers/figures.hpp"
#include "bench/base/format.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

inline std::vector<std::string> figure_words() {
  std::vector<std::string> words;
  for (const analyzers::FigureTraits& figure : analyzers::figure_traits)
    words.emplace_back(figure.name);
  return words;
}

inline std::string known_figures() {
  std::string names;
  for (const std::string& word : figure_words()) names += (names.empty() ? "" : ", ") + word;
  return names;
}

inline Result<analyzers::Figure> parse_figure(const std::string& name) {
  const auto figure = analyzers::figure_named(name);
  if (!figure) return bad_input(formatted("unknown figure '{}'", name), "use " + known_figures());
  return *figure;
}

}  // namespace ublkbench
