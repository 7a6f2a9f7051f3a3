// SPDX-License-Identifier: MIT
// Data paths and the executor that drives them: what is queued, in which order, and what comes out.
// The ring is real and its SQEs are read before they are submitted; no driver is needed.
#include "bench/server/executor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "bench/server/data_paths/auto_zero_copy.hpp"
#include "bench/server/data_paths/copy.hpp"
#include "bench/server/data_paths/mixed.hpp"
#include "bench/server/data_paths/shared_memory.hpp"
#include "bench/server/data_paths/user_copy.hpp"
#include "bench/server/data_paths/zero_copy.hpp"

namespace ublkbench {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// A target whose turns are the test's.
class ScriptedLane final : public TargetLane {
 public:
  void queue(const Request& request, const Data& data, Chain& chain) noexcept override {
    seen.push_back(data);
    on_queue(request, chain);
  }
  void resume(std::uint8_t stage, const Request& request, const Data&,
              Chain& chain) noexcept override {
    stages.push_back(stage);
    if (on_resume) on_resume(request, chain);
  }

  std::vector<Data> seen;
  std::vector<int> stages;
  std::function<void(const Request&, Chain&)> on_queue = [](const Request& request, Chain& chain) {
    chain.complete(static_cast<std::int32_t>(request.bytes));
  };
  std::function<void(const Request&, Chain&)> on_resume;
};

struct Outcome {
  std::uint32_t index;
  std::int32_t result;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

void queue_nop(Chain& chain) {
  io_uring_sqe* const sqe = chain.step();
  io_uring_prep_nop(sqe);
  chain.queued(sqe, StepKind::data);
}

class ExecutorTest : public testing::Test {
 protected:
  void SetUp() override {
    auto ring = Ring::create({.sq_entries = 32});
    ASSERT_TRUE(ring) << ring.error().message();
    ring_.emplace(std::move(*ring));
    rings_ = {.io = &*ring_, .service = &*ring_, .first_file = 1};
    descriptors_.resize(4);
    for (std::uint16_t tag = 0; tag < descriptors_.size(); ++tag)
      slots_.push_back({.descriptor = &descriptors_[tag],
                        .buffer = buffer_.data(),
                        .lane = &lane_,
                        .rings = &rings_,
                        .queue_id = 3,
                        .tag = tag});
    describe(UBLK_IO_OP_READ);
  }

  void describe(std::uint32_t op_flags, std::uint64_t address = 0) {
    descriptors_[1] = {.op_flags = op_flags, .nr_sectors = 8, .start_sector = 16, .addr = address};
  }

  struct Finish {
    std::vector<Outcome>* outcomes;
    void operator()(IoSlot&, std::uint32_t index, std::int32_t result) const {
      outcomes->push_back({index, result});
    }
  };

  template <DataPath Path>
  std::unique_ptr<Executor<Path, Finish>> executor(const Path& path) {
    return std::make_unique<Executor<Path, Finish>>(slots_, path, counters_, Finish{&outcomes_});
  }

  /// Opcodes that are queued, and of commands the command.
  std::vector<std::uint32_t> queued() {
    std::vector<std::uint32_t> found;
    const io_uring_sq& sq = ring_->raw()->sq;
    for (unsigned at = sq.sqe_head; at != sq.sqe_tail; ++at) {
      const io_uring_sqe& sqe = sq.sqes[at & sq.ring_mask];
      found.push_back(sqe.opcode == IORING_OP_URING_CMD ? sqe.cmd_op : sqe.opcode);
    }
    return found;
  }

  static UserData step() {
    return {.owner = Owner::step, .phase = static_cast<std::uint8_t>(StepKind::data), .index = 1};
  }
  static io_uring_cqe completion(std::int32_t result) {
    io_uring_cqe cqe{};
    cqe.res = result;
    return cqe;
  }

  std::optional<Ring> ring_;
  ChainRings rings_;
  std::vector<ublksrv_io_desc> descriptors_;
  std::vector<IoSlot> slots_;
  std::vector<std::byte> buffer_{4096};
  DaemonCounters counters_;
  ScriptedLane lane_;
  std::vector<Outcome> outcomes_;
};

TEST_F(ExecutorTest, CopyServesFromTheServersBuffer) {
  auto serving = executor(CopyPath{});
  serving->start(1);
  ASSERT_EQ(lane_.seen.size(), 1U);
  EXPECT_EQ(lane_.seen[0].place, Data::Place::memory);
  EXPECT_EQ(lane_.seen[0].memory, buffer_.data());
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, 4096}));
  EXPECT_THAT(queued(), IsEmpty());
}

TEST_F(ExecutorTest, ZeroCopyRegistersAroundTheTargetsIo) {
  lane_.on_queue = [](const Request&, Chain& chain) { queue_nop(chain); };
  auto serving = executor(ZeroCopyPath{});
  serving->start(1);
  EXPECT_EQ(lane_.seen[0].place, Data::Place::registered);
  EXPECT_EQ(lane_.seen[0].index, 1);
  EXPECT_THAT(queued(), ElementsAre(UBLK_U_IO_REGISTER_IO_BUF, std::uint32_t{IORING_OP_NOP},
                                    UBLK_U_IO_UNREGISTER_IO_BUF));
  EXPECT_EQ(serving->in_flight(), 1U);
  EXPECT_THAT(outcomes_, IsEmpty());
  serving->step_done(completion(4096), step());
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, 4096}));
  EXPECT_EQ(queued().size(), 3U) << "unregistered once only";
  EXPECT_EQ(serving->in_flight(), 0U);
}

TEST_F(ExecutorTest, ZeroCopyKeepsTheBufferWhileTheTargetHasMoreToDo) {
  lane_.on_queue = [](const Request&, Chain& chain) {
    queue_nop(chain);
    chain.resume_at(7);
  };
  lane_.on_resume = [](const Request&, Chain& chain) { queue_nop(chain); };
  auto serving = executor(ZeroCopyPath{});
  serving->start(1);
  EXPECT_EQ(queued().size(), 2U) << "no unregistration yet";
  serving->step_done(completion(1024), step());
  EXPECT_THAT(lane_.stages, ElementsAre(7));
  EXPECT_THAT(outcomes_, IsEmpty());
  serving->step_done(completion(3072), step());
  EXPECT_EQ(queued().back(), UBLK_U_IO_UNREGISTER_IO_BUF);
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, 4096}));
}

TEST_F(ExecutorTest, ZeroCopyOfARequestWithoutDataRegistersNothing) {
  describe(UBLK_IO_OP_FLUSH);
  lane_.on_queue = [](const Request&, Chain& chain) { chain.complete(0); };
  auto serving = executor(ZeroCopyPath{});
  serving->start(1);
  EXPECT_EQ(lane_.seen[0].place, Data::Place::none);
  EXPECT_THAT(queued(), IsEmpty());
}

TEST_F(ExecutorTest, FallbackRegistersOnlyWhereTheDriverCouldNot) {
  auto serving = executor(AutoZeroCopyFallbackPath(0));
  serving->start(1);
  EXPECT_THAT(queued(), IsEmpty());
  describe(UBLK_IO_OP_READ | UBLK_IO_F_NEED_REG_BUF);
  serving->start(1);
  EXPECT_THAT(queued(), ElementsAre(UBLK_U_IO_REGISTER_IO_BUF, UBLK_U_IO_UNREGISTER_IO_BUF));
  EXPECT_EQ(counters_.registered_by_hand.get(), 1U);
}

TEST_F(ExecutorTest, UserCopyThatFailsFailsTheRequest) {
  auto serving = executor(UserCopyPath{});
  describe(UBLK_IO_OP_WRITE);
  serving->start(1);
  EXPECT_THAT(lane_.seen, IsEmpty()) << "a write whose data did not come must not be served";
  describe(UBLK_IO_OP_READ);
  serving->start(1);
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, -EBADF}, Outcome{1, -EBADF}));
  EXPECT_EQ(counters_.failed_ios.get(), 2U);
}

TEST_F(ExecutorTest, MixedCopiesBelowItsSize) {
  auto copies = executor(MixedPath(8192));
  copies->start(1);
  auto registered = executor(MixedPath(4096));
  registered->start(1);
  ASSERT_EQ(lane_.seen.size(), 2U);
  EXPECT_EQ(lane_.seen[0].place, Data::Place::memory);
  EXPECT_EQ(lane_.seen[1].place, Data::Place::registered);
}

TEST_F(ExecutorTest, SharedMemoryIsUsedWhereTheDriverFoundIt) {
  std::vector<std::byte> region(1 << 16);
  auto serving = executor(SharedMemoryPath(region.data()));
  serving->start(1);
  describe(UBLK_IO_OP_READ | UBLK_IO_F_SHMEM_ZC, ublk_shmem_zc_addr(0, 0x3000));
  serving->start(1);
  ASSERT_EQ(lane_.seen.size(), 2U);
  EXPECT_EQ(lane_.seen[0].memory, buffer_.data());
  EXPECT_EQ(lane_.seen[1].memory, region.data() + 0x3000);
  EXPECT_EQ(counters_.shared_memory_hits.get(), 1U);
  EXPECT_EQ(counters_.shared_memory_misses.get(), 1U);
}

TEST_F(ExecutorTest, AShortReadIsResumedOnlyWhereTheDriverCopies) {
  lane_.on_queue = [](const Request&, Chain& chain) { chain.complete(512); };
  executor(CopyPath{})->start(1);
  executor(AutoZeroCopyPath{})->start(1);
  std::vector<std::byte> region(4096);
  describe(UBLK_IO_OP_READ | UBLK_IO_F_SHMEM_ZC, ublk_shmem_zc_addr(0, 0));
  executor(SharedMemoryPath(region.data()))->start(1);
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, 512}, Outcome{1, -EIO}, Outcome{1, -EIO}));
}

// blk_update_request() counts sectors: it would go on at the wrong byte of the client's memory.
TEST_F(ExecutorTest, AShortReadIsResumedAtABlock) {
  slots_[1].block_shift = 10;
  std::int32_t served = 1024 + 1023;
  lane_.on_queue = [&](const Request&, Chain& chain) { chain.complete(served); };
  executor(CopyPath{})->start(1);
  served = 1023;
  executor(CopyPath{})->start(1);
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, 1024}, Outcome{1, -EIO}));
  EXPECT_EQ(counters_.failed_ios.get(), 1U);
}

TEST_F(ExecutorTest, AShortAppendIsAnError) {
  describe(UBLK_IO_OP_ZONE_APPEND);
  lane_.on_queue = [](const Request&, Chain& chain) { chain.complete(512); };
  executor(AutoZeroCopyPath{})->start(1);
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, -EIO}));
}

TEST_F(ExecutorTest, AShortWriteIsAnErrorEverywhere) {
  describe(UBLK_IO_OP_WRITE);
  lane_.on_queue = [](const Request&, Chain& chain) { chain.complete(512); };
  executor(CopyPath{})->start(1);
  executor(AutoZeroCopyPath{})->start(1);
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, -EIO}, Outcome{1, -EIO}));
}

TEST_F(ExecutorTest, AParkedRequestWaitsForItsUnpark) {
  lane_.on_queue = [](const Request&, Chain& chain) { chain.park(); };
  auto serving = executor(CopyPath{});
  serving->start(1);
  EXPECT_THAT(outcomes_, IsEmpty());
  EXPECT_EQ(serving->in_flight(), 1U);
  serving->unpark(1, 4096);
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, 4096}));
  EXPECT_EQ(serving->in_flight(), 0U);
}

TEST_F(ExecutorTest, AnErrorEndsTheTargetsTurns) {
  lane_.on_queue = [](const Request&, Chain& chain) {
    queue_nop(chain);
    chain.resume_at(1);
  };
  auto serving = executor(CopyPath{});
  serving->start(1);
  serving->step_done(completion(-ENOSPC), step());
  EXPECT_THAT(lane_.stages, IsEmpty());
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, -ENOSPC}));
}

TEST_F(ExecutorTest, ATurnThatNeedsNoSqeGoesOnAtOnce) {
  lane_.on_queue = [](const Request&, Chain& chain) { chain.resume_at(1); };
  lane_.on_resume = [](const Request& request, Chain& chain) {
    chain.complete(static_cast<std::int32_t>(request.bytes));
  };
  executor(CopyPath{})->start(1);
  EXPECT_THAT(lane_.stages, ElementsAre(1));
  EXPECT_THAT(outcomes_, ElementsAre(Outcome{1, 4096}));
}

}  // namespace
}  // namespace ublkbench
