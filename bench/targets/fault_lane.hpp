// SPDX-License-Identifier: MIT
// One task's share of a fault target.
#pragma once

#include <vector>

#include "bench/targets/fault.hpp"

namespace ublkbench {

class FaultLane final : public TargetLane {
 public:
  FaultLane(FaultTarget& target, TargetLane& below, int files_below, const LaneSetup& setup);

  void queue(const Request& request, const Data& data, Chain& chain) noexcept override;
  void resume(std::uint8_t stage, const Request& request, const Data& data,
              Chain& chain) noexcept override;
  void completion(const io_uring_cqe& cqe, const UserData& data) noexcept override {
    below_.completion(cqe, data);
  }

 private:
  /// The lane's own turns; the target below has the stages before them.
  enum Stage : std::uint8_t { first_own = 250, delayed = 250, torn, cached_read, cached_write };

  /// What was decided for a request when it came.
  struct Verdict {
    __kernel_timespec timeout{};  ///< read by the kernel when it takes the timer's SQE
    std::uint32_t bytes = 0;      ///< that are served
    std::int32_t error = 0;
    bool is_torn = false;
    bool hangs = false;
  };

  std::uint64_t judge(const Request& request, std::uint32_t slot, Verdict& verdict);
  void apply(const Fault& fault, const Request& request, Verdict& verdict, std::uint64_t& delay_ns);
  [[nodiscard]] bool hits(const Fault& fault, const Request& request, std::uint32_t slot);
  void serve(const Request& request, const Data& data, Chain& chain);
  void serve_cached(const Request& request, const Data& data, Chain& chain);
  void read_cached(const Request& request, const Data& data, Chain& chain);
  void write_cached(const Request& request, const Data& data, Chain& chain);
  void written(const Request& request, Chain& chain);
  /// A torn write's last turn comes after those of the target below.
  void after_below(const Verdict& verdict, Chain& chain);

  FaultTarget& target_;
  TargetLane& below_;
  int cache_file_;  ///< number of the cache's file among the target's
  std::vector<IoTag> tags_;
  std::vector<Verdict> verdicts_;
  SplitMix64 random_;
};

}  // namespace ublkbench
