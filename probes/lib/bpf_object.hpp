// SPDX-License-Identifier: MIT
// The BPF side of a probe.
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/base/result.hpp"
#include "probes/lib/bpf.hpp"
#include "probes/lib/hooks.hpp"
#include "probes/probe.hpp"

namespace ublkbench::probes {

/// Opened, told what to look at, attached; detached and gone with this object.
template <class Skeleton>
class BpfObject {
 public:
  /// Chooses the hooks; read-only data and the sizes of maps may be set until attach().
  Result<> open(std::string_view probe, const std::vector<Role>& roles, const ProbeSetup& setup) {
    probe_ = probe;
    skeleton_.reset(Skeleton::open());
    if (!skeleton_) return failed("open the BPF object of probe", probe_, errno);
    auto chosen = choose_hooks(roles, setup.kernel, setup.preference, skeleton_->obj);
    if (!chosen) return std::unexpected(chosen.error());
    hooks_ = std::move(*chosen);
    return {};
  }

  Result<> attach() {
    auto links = load_and_attach(skeleton_->skeleton, probe_, hooks_);
    if (!links) return std::unexpected(links.error());
    links_ = std::move(*links);
    return {};
  }

  Skeleton* operator->() const { return skeleton_.get(); }
  [[nodiscard]] const ChosenHooks& hooks() const { return hooks_; }
  [[nodiscard]] std::uint64_t missed_runs() const {
    return probes::missed_runs(skeleton_->obj, links_);
  }

 private:
  struct Destroy {
    void operator()(Skeleton* skeleton) const { Skeleton::destroy(skeleton); }
  };

  std::string probe_;
  std::unique_ptr<Skeleton, Destroy> skeleton_;
  ChosenHooks hooks_;
  Links links_;
};

}  // namespace ublkbench::probes
