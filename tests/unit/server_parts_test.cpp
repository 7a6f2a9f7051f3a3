// SPDX-License-Identifier: MIT
// What the server composes its commands from, against the driver's own structures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "bench/server/batch_element.hpp"
#include "bench/server/commands.hpp"
#include "bench/server/data_paths/auto_zero_copy.hpp"
#include "bench/server/serve_options.hpp"

namespace ublkbench {
namespace {

using testing::HasSubstr;

template <class T>
T payload_of(const io_uring_sqe& sqe) {
  T payload;
  std::memcpy(&payload, sqe.cmd, sizeof(payload));
  return payload;
}

io_uring_sqe dirty_sqe() {
  io_uring_sqe sqe;
  std::memset(&sqe, 0xff, sizeof(sqe));
  return sqe;
}

TEST(IoCommand, FillsTheWholeEntry) {
  io_uring_sqe sqe = dirty_sqe();
  prep_io_command(&sqe, command_word(17), UBLK_U_IO_COMMIT_AND_FETCH_REQ, 3, 4095, -EIO,
                  0x1234567890ULL, 0x10007, 99);
  EXPECT_EQ(sqe.opcode, IORING_OP_URING_CMD);
  EXPECT_EQ(sqe.flags, IOSQE_FIXED_FILE);
  EXPECT_EQ(sqe.ioprio, 0);
  EXPECT_EQ(sqe.fd, 17);
  EXPECT_EQ(sqe.cmd_op, UBLK_U_IO_COMMIT_AND_FETCH_REQ);
  EXPECT_EQ(sqe.__pad1, 0U);
  EXPECT_EQ(sqe.addr, 0x10007U);
  EXPECT_EQ(sqe.len, 0U);
  EXPECT_EQ(sqe.rw_flags, 0);
  EXPECT_EQ(sqe.user_data, 99U);
  EXPECT_EQ(sqe.buf_index, 0);
  EXPECT_EQ(sqe.personality, 0);
  EXPECT_EQ(sqe.file_index, 0U);
  const auto command = payload_of<ublksrv_io_cmd>(sqe);
  EXPECT_EQ(command.q_id, 3);
  EXPECT_EQ(command.tag, 4095);
  EXPECT_EQ(command.result, -EIO);
  EXPECT_EQ(command.addr, 0x1234567890ULL);
}

TEST(BatchCommand, DescribesItsElements) {
  io_uring_sqe sqe = dirty_sqe();
  int elements = 0;
  prep_batch_command(&sqe, 17, UBLK_U_IO_COMMIT_IO_CMDS, 7, &elements, 128, 16,
                     UBLK_BATCH_F_HAS_BUF_ADDR, 5);
  const auto batch = payload_of<ublk_batch_io>(sqe);
  EXPECT_EQ(batch.q_id, 7);
  EXPECT_EQ(batch.flags, UBLK_BATCH_F_HAS_BUF_ADDR);
  EXPECT_EQ(batch.nr_elem, 128);
  EXPECT_EQ(batch.elem_bytes, 16);
  EXPECT_EQ(batch.reserved, 0);
  EXPECT_EQ(batch.reserved2, 0U);
  EXPECT_EQ(sqe.addr, reinterpret_cast<std::uintptr_t>(&elements));
  EXPECT_EQ(sqe.fd, 17);
}

TEST(BatchFetch, IsMultishotOnItsBufferGroup) {
  io_uring_sqe sqe = dirty_sqe();
  prep_batch_fetch(&sqe, 17, 2, 9, 1);
  EXPECT_EQ(sqe.flags, IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT);
  EXPECT_EQ(sqe.fd, 17);
  EXPECT_EQ(sqe.buf_group, 9);
  EXPECT_EQ(static_cast<std::uint32_t>(sqe.rw_flags), uring_cmd_multishot);
  const auto batch = payload_of<ublk_batch_io>(sqe);
  EXPECT_EQ(batch.q_id, 2);
  EXPECT_EQ(batch.elem_bytes, sizeof(std::uint16_t));
  EXPECT_EQ(batch.flags, 0);
  EXPECT_EQ(batch.nr_elem, 0);
}

TEST(BatchElement, BufferAddressFollowsTheHeader) {
  std::byte bytes[16];
  EXPECT_EQ(encode_element<AddressKind::buffer>(bytes, 17, 4096, 0xabcdef), bytes + 16);
  ublk_elem_header header;
  std::uint64_t address = 0;
  std::memcpy(&header, bytes, sizeof(header));
  std::memcpy(&address, bytes + sizeof(header), sizeof(address));
  EXPECT_EQ(header.tag, 17);
  EXPECT_EQ(header.buf_index, 0);
  EXPECT_EQ(header.result, 4096);
  EXPECT_EQ(address, 0xabcdefU);
  EXPECT_EQ(batch_flags<AddressKind::buffer>(address), UBLK_BATCH_F_HAS_BUF_ADDR);
}

TEST(BatchElement, AutoRegistrationCarriesItsIndex) {
  std::byte bytes[8];
  const std::uint64_t address = 0x2211 | UBLK_AUTO_BUF_REG_FALLBACK << 16;
  EXPECT_EQ(encode_element<AddressKind::auto_register>(bytes, 1, -EIO, address), bytes + 8);
  ublk_elem_header header;
  std::memcpy(&header, bytes, sizeof(header));
  EXPECT_EQ(header.tag, 1);
  EXPECT_EQ(header.buf_index, 0x2211);
  EXPECT_EQ(header.result, -EIO);
  EXPECT_EQ(batch_flags<AddressKind::auto_register>(address), UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK);
  EXPECT_EQ(batch_flags<AddressKind::auto_register>(0x2211), 0);
}

TEST(ElementBuffer, KeepsWhatTheDriverDidNotTake) {
  ElementBuffer buffer(3 * 8);
  EXPECT_TRUE(buffer.empty());
  for (std::uint16_t tag = 0; tag < 3; ++tag)
    buffer.extend_to(encode_element<AddressKind::none>(buffer.end(), tag, 0, 0));
  EXPECT_EQ(buffer.bytes(), 24U);
  buffer.consume(8);
  EXPECT_EQ(buffer.bytes(), 16U);
  ublk_elem_header header;
  std::memcpy(&header, buffer.data(), sizeof(header));
  EXPECT_EQ(header.tag, 1);
  buffer.consume(16);
  EXPECT_TRUE(buffer.empty());
}

TEST(Tags, ResultIsInBytes) {
  const std::uint16_t buffer[] = {5, 6, 7, 8};
  EXPECT_THAT(decode_tags(buffer, 6), testing::ElementsAre(5, 6, 7));
}

ServeOptions options_for(const char* mode) {
  ServeOptions options;
  options.mode = *parse_mode(mode);
  return options;
}

TEST(ServeOptions, LimitsOfTheDriver) {
  ServeOptions options = options_for("copy");
  EXPECT_TRUE(validate(options));
  for (const unsigned depth : {0U, 4097U, 5000U}) {
    options.depth = depth;
    ASSERT_FALSE(validate(options)) << depth;
    EXPECT_THAT(validate(options).error().message(), HasSubstr("1 to 4096"));
    EXPECT_EQ(validate(options).error().exit, ExitCode::usage);
  }
  options.depth = 4096;
  EXPECT_TRUE(validate(options));
  options.queues = 0;
  EXPECT_FALSE(validate(options));
  options.queues = 1;
  for (const std::uint32_t bytes : {0U, 4095U, 6000U, (32U << 20) + 4096}) {
    options.max_io_bytes = bytes;
    EXPECT_FALSE(validate(options)) << bytes;
  }
}

TEST(ServeOptions, NumbersOfDevicesAndOfTheirQueues) {
  ServeOptions options = options_for("copy");
  options.id = (1 << 20) - 1;
  EXPECT_TRUE(validate(options));
  for (const int id : {1 << 20, 2'000'000, -2}) {
    options.id = id;
    ASSERT_FALSE(validate(options)) << id;
    EXPECT_THAT(validate(options).error().message(), HasSubstr("device number"));
    EXPECT_EQ(validate(options).error().exit, ExitCode::usage);
  }
  options.id = -1;
  options.depth = 2;
  options.devices = 1024;
  options.daemons = 64;
  options.queues = 64;
  EXPECT_TRUE(validate(options));
  options.queues = 65;
  ASSERT_FALSE(validate(options));
  EXPECT_THAT(validate(options).error().message(), HasSubstr("66560 queues"));
}

TEST(ServeOptions, OnlyBatchLetsDaemonsShareAQueue) {
  ServeOptions options = options_for("copy");
  options.daemons = 2;
  EXPECT_FALSE(validate(options));
  options.mode = *parse_mode("batch");
  EXPECT_TRUE(validate(options));
  options.queues = 2;
  options.daemons = 3;
  EXPECT_FALSE(validate(options));
}

TEST(ServeOptions, EveryQueueIsServedByTheRightNumberOfDaemons) {
  for (const auto& [queues, daemons] : {std::pair{4U, 2U}, {5U, 2U}, {2U, 4U}, {3U, 3U}}) {
    ServeOptions options = options_for("batch");
    options.queues = queues;
    options.daemons = daemons;
    std::vector<unsigned> served(queues);
    for (unsigned index = 0; index < daemons; ++index)
      for (const std::uint16_t queue : queues_of_daemon(options, index)) ++served[queue];
    const unsigned expected = daemons > queues ? daemons / queues : 1;
    EXPECT_THAT(served, testing::Each(expected)) << queues << " queues, " << daemons << " daemons";
  }
}

TEST(ServeOptions, QueuesOfManyDevicesAreDealtOut) {
  ServeOptions options = options_for("batch");
  options.devices = 3;
  options.queues = 2;
  EXPECT_EQ(options.daemon_count(), 1U) << "one thread for all";
  EXPECT_THAT(queues_of_daemon(options, 0), testing::ElementsAre(0, 1, 2, 3, 4, 5));
  options.daemons = 4;
  EXPECT_TRUE(validate(options));
  EXPECT_THAT(queues_of_daemon(options, 1), testing::ElementsAre(1, 5));
  options.daemons = 7;
  EXPECT_FALSE(validate(options)) << "many devices share no queue among daemons";
  options.devices = 1024;
  options.daemons = 7;
  EXPECT_FALSE(validate(options)) << "more io commands than a daemon's rings hold";
  options.daemons = 8;
  EXPECT_TRUE(validate(options));
}

TEST(ServeOptions, EachOfManyDevicesHasItsOwnTarget) {
  ServeOptions options = options_for("copy");
  options.target = "stripe:a%i,b%i";
  EXPECT_EQ(options.target_of(0), "stripe:a%i,b%i") << "one device's words are as they are";
  options.devices = 12;
  EXPECT_EQ(options.target_of(11), "stripe:a11,b11");
}

TEST(ServeOptions, FallbackNeedsManualRegistration) {
  ServeOptions options = options_for("auto_zc");
  options.auto_zc_fallback = true;
  EXPECT_TRUE(validate(options));
  EXPECT_NE(options.flags(0) & UBLK_F_SUPPORT_ZERO_COPY, 0U);
  options.mode = *parse_mode("copy");
  EXPECT_FALSE(validate(options));
}

TEST(ServeOptions, RotationIsOfAutoRegistrationByOneDaemonAQueue) {
  ServeOptions options = options_for("batch,auto_zc");
  options.rotate_buffers = true;
  EXPECT_TRUE(validate(options));
  options.auto_zc_fallback = true;
  EXPECT_FALSE(validate(options));
  options.auto_zc_fallback = false;
  options.daemons = 2 * options.queues;
  EXPECT_FALSE(validate(options));
  options.daemons = 0;
  options.mode = *parse_mode("zc");
  EXPECT_FALSE(validate(options));
}

TEST(RotatingAutoZeroCopyPath, EachCommitAsksForTheOtherSlot) {
  const RotatingAutoZeroCopyPath path(8);
  const auto copy = path;  // the delivery's and the executor's
  const IoSlot slot;
  ChainState state;
  Chain chain({}, state, 3);
  const Request write{.op = Op::write, .bytes = 4096};
  for (const std::uint64_t expected : {3, 11, 3}) {
    EXPECT_EQ(copy.address(slot, 3), expected);
    EXPECT_EQ(path.data(write, slot, 3).index, expected);
    EXPECT_EQ(path.address(slot, 4), 4U);
    path.release(write, slot, 3, chain);
  }
}

TEST(ServeOptions, PartitionScanIsKeptAwayOnlyWhereItCanBe) {
  ServeOptions options = options_for("copy");
  options.partition_scan = false;
  EXPECT_EQ(options.flags(0), 0U);
  EXPECT_EQ(options.flags(UBLK_F_NO_AUTO_PART_SCAN), UBLK_F_NO_AUTO_PART_SCAN);
}

TEST(DeviceParams, FollowTheTarget) {
  const ServeOptions options = options_for("copy");
  const ublk_params params = device_params(options, {.bytes = 1 << 20,
                                                     .volatile_cache = true,
                                                     .fua = true,
                                                     .discard = true,
                                                     .write_zeroes = true});
  EXPECT_EQ(params.basic.dev_sectors, 2048U);
  EXPECT_EQ(params.basic.max_sectors, options.max_io_bytes >> 9);
  EXPECT_EQ(params.basic.attrs, static_cast<unsigned>(UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA));
  EXPECT_NE(params.types & UBLK_PARAM_TYPE_DISCARD, 0U);
  EXPECT_GT(params.discard.max_discard_sectors, 0U);
  EXPECT_EQ(device_params(options, {.bytes = 1 << 20}).types & UBLK_PARAM_TYPE_DISCARD, 0U);
}

}  // namespace
}  // namespace ublkbench
