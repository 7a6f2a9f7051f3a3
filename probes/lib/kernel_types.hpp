// SPDX-License-Identifier: MIT
// The running kernel's functions and tracepoints, as its BTF names them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/result.hpp"

struct btf;

namespace ublkbench::probes {

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
  /// The first of ublk_drv's symbols that `pattern` ("name.*") names; empty if there is none.
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
