// SPDX-License-Identifier: MIT
// The running kernel's functions and tracepoints, as its BTF names them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/result.hpp"

struct btf;

namespace ublkbench::probes {

/// The first of the symbols that `pattern` ("name.*") names: the function itself, or what the
/// compiler made of it, but not the part for unlikely cases that it moved away ("name.cold").
/// Empty if there is none.
std::string pick_symbol(std::span<const std::string> symbols, std::string_view pattern);

class KernelTypes {
 public:
  /// vmlinux and, where the driver is a module, ublk_drv.
  static Result<KernelTypes> load();

  [[nodiscard]] bool has_function(std::string_view name) const;
  [[nodiscard]] bool has_tracepoint(std::string_view name) const;
  /// 0 if there is no such tracepoint.
  [[nodiscard]] unsigned tracepoint_arguments(std::string_view name) const;
  /// The struct that the function's first parameter is, by value; empty for anything else.
  [[nodiscard]] std::string first_parameter_struct(std::string_view function) const;
  /// pick_symbol() of ublk_drv's.
  [[nodiscard]] std::string driver_symbol(std::string_view pattern) const;

 private:
  struct Free {
    void operator()(btf* types) const;
  };
  using Types = std::unique_ptr<btf, Free>;

  Types vmlinux_;
  Types driver_;  // null where it is built in
  std::vector<std::string> driver_symbols_;
};

}  // namespace ublkbench::probes
