// SPDX-License-Identifier: MIT
#include "bench/targets/nbd.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/targets/memory_file.hpp"
#include "bench/targets/nbd_lane.hpp"
#include "bench/targets/nbd_protocol.hpp"

namespace ublkbench {
namespace {

constexpr std::uint32_t max_block_bytes = 4096;
constexpr std::uint64_t min_bytes = 1 << 20;

Result<> check_export(const nbd::Address& address, const nbd::Export& properties) {
  if (!std::has_single_bit(properties.min_block_bytes) ||
      properties.min_block_bytes > max_block_bytes)
    return unsupported(formatted("NBD server {}", address.text),
                       formatted("its smallest block is {} bytes, and this server goes up to {}",
                                 properties.min_block_bytes, max_block_bytes));
  if (properties.bytes < min_bytes)
    return bad_input(formatted("NBD server {}", address.text),
                     formatted("its export has {} bytes; at least {} are needed", properties.bytes,
                               format_size(min_bytes)));
  return {};
}

}  // namespace

Result<std::unique_ptr<Target>> NbdTarget::make(std::string_view argument, const TargetUse& use,
                                                unsigned silence_limit_s) {
  auto address = nbd::parse_address(argument);
  if (!address) return std::unexpected(address.error());
  auto connection = nbd::connect_to(*address);
  if (!connection) return std::unexpected(connection.error());
  if (auto checked = check_export(*address, connection->properties); !checked)
    return std::unexpected(checked.error());
  return std::unique_ptr<Target>(
      new NbdTarget(std::move(*address), std::move(*connection), use.writes, silence_limit_s));
}

DeviceShape NbdTarget::shape() const {
  const auto has = [this](nbd::ExportFlag flag) { return (properties_.flags & flag) != 0; };
  DeviceShape shape;
  shape.logical_block_shift =
      static_cast<unsigned>(std::bit_width(std::max(properties_.min_block_bytes, 512U)) - 1);
  shape.physical_block_shift = std::max(shape.physical_block_shift, shape.logical_block_shift);
  shape.bytes = properties_.bytes >> shape.logical_block_shift << shape.logical_block_shift;
  shape.volatile_cache = has(nbd::send_flush);
  shape.fua = has(nbd::send_flush) && has(nbd::send_fua);
  shape.read_only = !writes_ || has(nbd::read_only);
  shape.discard = !shape.read_only && has(nbd::send_trim);
  shape.write_zeroes = !shape.read_only && has(nbd::send_write_zeroes);
  return shape;
}

Result<> NbdTarget::pollable(Data::Place) const {
  return unsupported("polled I/O on target nbd", "a ring that polls takes no sockets");
}

Result<nbd::Connection> NbdTarget::connection_for_a_lane() {
  if (first_) return *std::exchange(first_, std::nullopt);
  if ((properties_.flags & nbd::can_multi_conn) == 0)
    return unsupported(formatted("a second connection to NBD server {}", address_.text),
                       "its export does not promise NBD_FLAG_CAN_MULTI_CONN, so a flush might not "
                       "cover the others' writes: use one queue and one daemon");
  return nbd::connect_to(address_);
}

Result<TargetLane*> NbdTarget::open_lane(const LaneSetup& setup) {
  if (setup.max_bytes > properties_.max_payload_bytes)
    return bad_input(formatted("I/O of up to {} with NBD server {}", format_size(setup.max_bytes),
                               address_.text),
                     formatted("its export takes {} at most: use --max-io",
                               format_size(properties_.max_payload_bytes)));
  const std::scoped_lock lock(mutex_);
  auto connection = connection_for_a_lane();
  if (!connection) return std::unexpected(connection.error());
  auto bounce = make_memory_file("target nbd", std::uint64_t{setup.slots} * setup.max_bytes);
  if (!bounce) return std::unexpected(bounce.error());
  auto lane = std::make_unique<NbdLane>(setup, address_.text, std::move(connection->socket),
                                        std::move(bounce->file), std::move(bounce->memory),
                                        silence_limit_s_);
  if (auto ready = lane->start(); !ready) return std::unexpected(ready.error());
  lanes_.push_back(std::move(lane));
  return lanes_.back().get();
}

}  // namespace ublkbench
