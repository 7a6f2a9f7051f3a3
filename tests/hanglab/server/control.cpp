// SPDX-License-Identifier: MIT
#include "tests/hanglab/server/control.hpp"

#include <fcntl.h>
#include <liburing.h>
#include <linux/ublk_cmd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>

#include "tests/hanglab/server/options.hpp"

namespace hanglab {

int control(std::uint32_t op, int id, void* buffer, std::uint16_t length, std::uint64_t data) {
  io_uring ring{};
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_SQE128;
  if (int error = io_uring_queue_init_params(4, &ring, &parameters); error != 0)
    fail("control ring", error);
  const int file = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
  if (file < 0) fail("open /dev/ublk-control", errno);
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring);
  if (sqe == nullptr) fail("get an SQE", EBUSY);
  std::memset(static_cast<void*>(sqe), 0, 128);
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = file;
  sqe->cmd_op = op;
  ublksrv_ctrl_cmd command{};
  command.dev_id = static_cast<std::uint32_t>(id);
  command.queue_id = UINT16_MAX;
  command.addr = reinterpret_cast<std::uintptr_t>(buffer);
  command.len = length;
  command.data[0] = data;
  std::memcpy(sqe->cmd, &command, sizeof command);
  io_uring_submit(&ring);
  io_uring_cqe* cqe = nullptr;
  while (int error = io_uring_wait_cqe(&ring, &cqe)) {
    if (error != -EINTR) fail("control command", error);
  }
  const int result = cqe->res;
  io_uring_queue_exit(&ring);
  close(file);
  return result;
}

namespace {

// GET_PARAMS; those groups that are set, with the names of <linux/ublk_cmd.h>.
int print_params(int id) {
  ublk_params parameters{};
  parameters.len = sizeof parameters;
  const int result = control(UBLK_U_CMD_GET_PARAMS, id, &parameters, sizeof parameters, 0);
  const auto& basic = parameters.basic;
  std::printf(
      "{\"result\": %d, \"types\": %u, \"basic\": {\"attrs\": %u, \"logical_bs_shift\": %u, "
      "\"physical_bs_shift\": %u, \"io_opt_shift\": %u, \"io_min_shift\": %u, \"max_sectors\": %u, "
      "\"chunk_sectors\": %u, \"dev_sectors\": %llu, \"virt_boundary_mask\": %llu}, ",
      result, parameters.types, basic.attrs, basic.logical_bs_shift, basic.physical_bs_shift,
      basic.io_opt_shift, basic.io_min_shift, basic.max_sectors, basic.chunk_sectors,
      static_cast<unsigned long long>(basic.dev_sectors),
      static_cast<unsigned long long>(basic.virt_boundary_mask));
  const auto& discard = parameters.discard;
  std::printf(
      "\"discard\": {\"discard_alignment\": %u, \"discard_granularity\": %u, "
      "\"max_discard_sectors\": %u, \"max_write_zeroes_sectors\": %u, \"max_discard_segments\": "
      "%u}, "
      "\"dma\": {\"alignment\": %u}, \"seg\": {\"seg_boundary_mask\": %llu, \"max_segment_size\": "
      "%u, \"max_segments\": %u}}\n",
      discard.discard_alignment, discard.discard_granularity, discard.max_discard_sectors,
      discard.max_write_zeroes_sectors, static_cast<unsigned>(discard.max_discard_segments),
      parameters.dma.alignment, static_cast<unsigned long long>(parameters.seg.seg_boundary_mask),
      parameters.seg.max_segment_size, static_cast<unsigned>(parameters.seg.max_segments));
  return 0;
}

}  // namespace

int control_verb(const std::string& name, int id, std::uint64_t data) {
  static const std::map<std::string, std::uint32_t> commands = {
      {"start", UBLK_U_CMD_START_DEV},
      {"stop", UBLK_U_CMD_STOP_DEV},
      {"del", UBLK_U_CMD_DEL_DEV},
      {"del_async", UBLK_U_CMD_DEL_DEV_ASYNC},
      {"quiesce", UBLK_U_CMD_QUIESCE_DEV},
      {"try_stop", UBLK_U_CMD_TRY_STOP_DEV},
      {"recover", UBLK_U_CMD_START_USER_RECOVERY}};
  if (name == "info") {
    ublksrv_ctrl_dev_info info{};
    const int result = control(UBLK_U_CMD_GET_DEV_INFO, id, &info, sizeof info, 0);
    std::printf(
        "{\"result\": %d, \"nr_hw_queues\": %u, \"queue_depth\": %u, \"state\": %u, "
        "\"max_io_buf_bytes\": %u, "
        "\"dev_id\": %u, \"ublksrv_pid\": %d, \"flags\": %llu, \"owner_uid\": %u, \"owner_gid\": "
        "%u, "
        "\"io_desc_size\": %u}\n",
        result, info.nr_hw_queues, info.queue_depth, info.state, info.max_io_buf_bytes, info.dev_id,
        info.ublksrv_pid, static_cast<unsigned long long>(info.flags), info.owner_uid,
        info.owner_gid, info.io_desc_size);
    return 0;
  }
  if (name == "params") return print_params(id);
  const auto found = commands.find(name);
  if (found == commands.end()) fail("unknown control command", EINVAL);
  std::printf("%d\n", control(found->second, id, nullptr, 0, data));
  return 0;
}

}  // namespace hanglab
