// SPDX-License-Identifier: MIT
#include "bench/targets/zoned.hpp"

#include <linux/falloc.h>

#include <array>
#include <bit>
#include <cstring>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/targets/file_steps.hpp"
#include "bench/targets/memory_file.hpp"

namespace ublkbench {
namespace {

constexpr unsigned block_bytes = 4096;

class ZonedLane final : public TargetLane {
 public:
  ZonedLane(ZonedTarget& target, std::uint64_t* append_sectors)
      : target_(target), zones_(target.zones()), append_sectors_(append_sectors) {}

  void queue(const Request& request, const Data& data, Chain& chain) noexcept override {
    switch (request.op) {
      case Op::read:
        return transfer(request, data, chain);
      case Op::write:
        return go_on(zones_.write(request.offset, request.bytes), request, data, chain);
      case Op::zone_append:
        return append(request, data, chain);
      case Op::flush:
        return chain.complete(0);
      case Op::report_zones:
        return report(request, data, chain);
      default:
        return manage(request, chain);
    }
  }

 private:
  void go_on(ZoneStates::Outcome outcome, const Request& request, const Data& data, Chain& chain) {
    if (outcome != 0) return chain.complete(outcome);
    transfer(request, data, chain);
  }

  void append(const Request& request, const Data& data, Chain& chain) {
    Request write = request;
    write.op = Op::write;
    const auto outcome = zones_.append(request.offset, request.bytes, write.offset);
    if (append_sectors_ != nullptr) append_sectors_[chain.slot()] = write.offset >> 9;
    go_on(outcome, write, data, chain);
  }

  void transfer(const Request& request, const Data& data, Chain& chain) {
    if (data.place == Data::Place::registered) return queue_transfer(chain, 0, request, data);
    std::byte* const here = target_.memory() + request.offset;
    if (request.op == Op::write)
      std::memcpy(here, data.memory, request.bytes);
    else
      std::memcpy(data.memory, here, request.bytes);
    chain.complete(static_cast<std::int32_t>(request.bytes));
  }

  /// A report's length is in zones.
  void report(const Request& request, const Data& data, Chain& chain) {
    const std::uint64_t wanted = request.bytes >> 9;
    const std::uint32_t count = zones_.zones_from(request.offset, wanted);
    if (data.place == Data::Place::registered) {
      const std::uint64_t first = request.offset / target_.layout().zone_bytes;
      return queue_transfer(chain, 0,
                            {.op = Op::read,
                             .bytes = static_cast<std::uint32_t>(count * sizeof(blk_zone)),
                             .offset = target_.data_bytes() + first * sizeof(blk_zone)},
                            data);
    }
    const std::span reports(reinterpret_cast<blk_zone*>(data.memory), count);
    zones_.report(request.offset, reports);
    chain.complete(static_cast<std::int32_t>(reports.size_bytes()));
  }

  void manage(const Request& request, Chain& chain) {
    switch (request.op) {
      case Op::zone_open:
        return chain.complete(zones_.open(request.offset));
      case Op::zone_close:
        return chain.complete(zones_.close(request.offset));
      case Op::zone_finish:
        return chain.complete(zones_.finish(request.offset));
      case Op::zone_reset:
        if (const auto outcome = zones_.reset(request.offset); outcome != 0)
          return chain.complete(outcome);
        return forget(request.offset, target_.layout().zone_bytes, chain);
      case Op::zone_reset_all: {
        zones_.reset_all();
        const std::uint64_t first = target_.layout().conventional * target_.layout().zone_bytes;
        return forget(first, target_.data_bytes() - first, chain);
      }
      default:
        chain.complete(-EOPNOTSUPP);
    }
  }

  /// What is behind a write pointer reads as zeroes.
  void forget(std::uint64_t offset, std::uint64_t bytes, Chain& chain) {
    queue_fallocate(chain, 0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes);
  }

  ZonedTarget& target_;
  ZoneStates& zones_;
  std::uint64_t* append_sectors_;
};

Result<> take_option(const std::string& word, ZoneLayout& layout) {
  const std::size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
  if (name == "zone" || name == "capacity") {
    auto bytes = parse_size(value);
    if (!bytes) return std::unexpected(bytes.error());
    (name == "zone" ? layout.zone_bytes : layout.capacity_bytes) = *bytes;
    return {};
  }
  std::uint32_t* const field = name == "conventional" ? &layout.conventional
                               : name == "max_open"   ? &layout.max_open
                               : name == "max_active" ? &layout.max_active
                                                      : nullptr;
  if (field == nullptr)
    return bad_input(formatted("target zoned with '{}'", word),
                     "use zone, capacity, conventional, max_open or max_active");
  auto count = parse_count(value);
  if (!count) return std::unexpected(count.error());
  *field = static_cast<std::uint32_t>(std::min<std::uint64_t>(*count, UINT32_MAX));
  return {};
}

Result<> check_layout(ZoneLayout& layout, std::uint64_t bytes) {
  const auto bad = [](std::string_view what, std::uint64_t value, std::string_view hint) {
    return bad_input(formatted("target zoned with {} {}", what, value), hint);
  };
  if (!std::has_single_bit(layout.zone_bytes) || layout.zone_bytes < 64 << 10 ||
      layout.zone_bytes > 1U << 30)
    return bad("zones of bytes", layout.zone_bytes, "give a power of two from 64k to 1G");
  if (bytes == 0 || bytes % layout.zone_bytes != 0 || bytes / layout.zone_bytes > 1U << 20)
    return bad("a size of bytes", bytes,
               formatted("give a multiple of the zone size {}, a million zones at most",
                         format_size(layout.zone_bytes)));
  layout.zones = static_cast<std::uint32_t>(bytes / layout.zone_bytes);
  if (layout.capacity_bytes > layout.zone_bytes || layout.capacity_bytes % block_bytes != 0)
    return bad("a zone capacity of bytes", layout.capacity_bytes,
               "give at most the zone size, a multiple of 4k");
  if (layout.conventional >= layout.zones)
    return bad("conventional zones:", layout.conventional,
               formatted("there are {} zones, and one must be sequential", layout.zones));
  if (layout.max_open > layout.zones || layout.max_active > layout.zones)
    return bad("open or active zones:", std::max(layout.max_open, layout.max_active),
               formatted("there are {} zones", layout.zones));
  if (layout.max_active != 0 && layout.max_active < layout.max_open)
    return bad("active zones:", layout.max_active, "an open zone is active: give max_open or more");
  return {};
}

}  // namespace

Result<ZoneLayout> parse_zoned(std::string_view argument) {
  const std::size_t colon = argument.find(':');
  const auto bytes = parse_size(argument.substr(0, colon));
  if (!bytes)
    return std::unexpected(bytes.error().with_hint("for instance zoned:256M:zone=4M,max_open=8"));
  ZoneLayout layout;
  if (colon != std::string_view::npos)
    for (const std::string& word : split(argument.substr(colon + 1), ','))
      if (auto taken = take_option(word, layout); !taken) return std::unexpected(taken.error());
  if (auto checked = check_layout(layout, *bytes); !checked)
    return std::unexpected(checked.error());
  return layout;
}

Result<std::unique_ptr<Target>> ZonedTarget::make(const ZoneLayout& layout) {
  const std::uint64_t bytes = layout.zones * (layout.zone_bytes + sizeof(blk_zone));
  auto storage = make_memory_file("target zoned", bytes);
  if (!storage) return std::unexpected(storage.error());
  return std::unique_ptr<Target>(
      new ZonedTarget(layout, std::move(storage->file), std::move(storage->memory)));
}

ZonedTarget::ZonedTarget(const ZoneLayout& layout, Fd file, Mapping storage)
    : layout_(layout), file_(std::move(file)), storage_(std::move(storage)) {
  const std::span reports(reinterpret_cast<blk_zone*>(storage_.data() + data_bytes()),
                          layout.zones);
  zones_ = std::make_unique<ZoneStates>(layout, reports);
}

DeviceShape ZonedTarget::shape() const {
  return {.bytes = data_bytes(),
          .logical_block_shift = 12,
          .zone_bytes = layout_.zone_bytes,
          .zone_capacity_bytes =
              layout_.capacity_bytes != 0 ? layout_.capacity_bytes : layout_.zone_bytes,
          .max_open_zones = layout_.max_open,
          .max_active_zones = layout_.max_active};
}

Result<> ZonedTarget::pollable(Data::Place place) const {
  if (place == Data::Place::registered)
    return unsupported("polled I/O on target zoned", "tmpfs files do not poll");
  return {};
}

Result<TargetLane*> ZonedTarget::open_lane(const LaneSetup& setup) {
  const std::scoped_lock lock(mutex_);
  lanes_.push_back(std::make_unique<ZonedLane>(*this, setup.append_sectors));
  return lanes_.back().get();
}

}  // namespace ublkbench
