// SPDX-License-Identifier: MIT
#include "bench/targets/stripe.hpp"

#include <algorithm>
#include <climits>
#include <span>

#include "bench/base/file_use.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/targets/file_steps.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t max_iovec_bytes = 1ULL << 28;

/// Holds the iovecs of the requests in flight: the kernel copies them when it takes the SQE, which
/// is after queue() has returned.
class StripeLane final : public TargetLane {
 public:
  StripeLane(const StripeMap& map, std::span<const BackingFile> members, Mapping iovecs,
             std::uint64_t pieces_per_slot)
      : map_(map),
        members_(members),
        iovecs_(std::move(iovecs)),
        pieces_per_slot_(pieces_per_slot) {}

  void queue(const Request& request, const Data& data, Chain& chain) noexcept override {
    if (request.op == Op::flush) return queue_everywhere(request, chain);
    const std::uint32_t shares = map_.shares(request.offset, request.bytes);
    if (request.op != Op::read && request.op != Op::write)
      return queue_split(request, shares, chain);
    if (shares == 1 && request.bytes <= map_.chunk_bytes()) {
      const StripeMap::Place place = map_.place(request.offset);
      Request there = request;
      there.offset = place.offset;
      return queue_transfer(chain, static_cast<int>(place.member), there, data);
    }
    iovec* vector = reinterpret_cast<iovec*>(iovecs_.data()) + chain.slot() * pieces_per_slot_;
    for (std::uint32_t index = 0; index < shares; ++index)
      vector = queue_share(map_.share(request.offset, request.bytes, index), request, data, vector,
                           chain);
  }

 private:
  void queue_everywhere(const Request& request, Chain& chain) const {
    for (std::size_t member = 0; member < members_.size(); ++member)
      queue_without_data(chain, static_cast<int>(member), members_[member], request);
  }

  void queue_split(const Request& request, std::uint32_t shares, Chain& chain) const {
    for (std::uint32_t index = 0; index < shares; ++index) {
      const StripeMap::Share share = map_.share(request.offset, request.bytes, index);
      Request there = request;
      there.offset = share.offset;
      there.bytes = static_cast<std::uint32_t>(share.bytes);
      queue_without_data(chain, static_cast<int>(share.member), members_[share.member], there);
    }
  }

  /// One vectored SQE, or more where a share has more pieces than a vector may have (IOV_MAX).
  iovec* queue_share(const StripeMap::Share& share, const Request& request, const Data& data,
                     iovec* vector, Chain& chain) const {
    std::uint64_t at = share.first_at;
    std::uint64_t piece_bytes = share.first_bytes;
    std::uint64_t left = share.bytes;
    Request part = request;
    part.offset = share.offset;
    for (std::uint32_t piece = 0; piece < share.pieces;) {
      iovec* const first = vector;
      std::uint64_t bytes = 0;
      for (; piece < share.pieces && vector - first < IOV_MAX; ++piece) {
        *vector++ = {.iov_base = data.from(at).memory, .iov_len = piece_bytes};
        bytes += piece_bytes;
        left -= piece_bytes;
        at = piece == 0 ? share.second_at : at + map_.piece_distance();
        piece_bytes = std::min(left, map_.chunk_bytes());
      }
      queue_vector(chain, static_cast<int>(share.member), part, data,
                   {first, static_cast<std::size_t>(vector - first)}, bytes);
      part.offset += bytes;
    }
    return vector;
  }

  const StripeMap& map_;
  std::span<const BackingFile> members_;
  Mapping iovecs_;
  std::uint64_t pieces_per_slot_;
};

/// Before they are opened: the second time it would be in use.
Result<> check_members(const std::vector<std::string>& paths) {
  for (std::size_t one = 0; one < paths.size(); ++one)
    for (std::size_t other = one + 1; other < paths.size(); ++other) {
      const auto first = file_id(paths[one]);
      const auto second = file_id(paths[other]);
      if (first && second && overlaps(*first, *second))
        return bad_input(
            formatted("target stripe has {} twice{}", paths[one],
                      paths[one] == paths[other] ? "" : formatted(" (also as {})", paths[other])),
            "each member must be a file or device of its own");
    }
  return {};
}

DeviceShape joint_shape(const std::vector<BackingFile>& members, const StripeMap& map) {
  DeviceShape shape = members.front().shape();
  std::uint64_t smallest = shape.bytes;
  for (const BackingFile& member : members) {
    const DeviceShape& other = member.shape();
    smallest = std::min(smallest, other.bytes);
    shape.logical_block_shift = std::max(shape.logical_block_shift, other.logical_block_shift);
    shape.physical_block_shift = std::max(shape.physical_block_shift, other.physical_block_shift);
    shape.dma_alignment = std::max(shape.dma_alignment, other.dma_alignment);
    shape.read_only = shape.read_only || other.read_only;
    shape.discard = shape.discard && other.discard;
    shape.write_zeroes = shape.write_zeroes && other.write_zeroes;
  }
  shape.bytes = map.device_bytes(smallest);
  return shape;
}

}  // namespace

Result<StripeSpec> parse_stripe(std::string_view argument) {
  constexpr std::string_view option = ":chunk=";
  StripeSpec spec;
  if (const std::size_t at = argument.rfind(option); at != std::string_view::npos) {
    auto bytes = parse_size(argument.substr(at + option.size()));
    if (!bytes) return std::unexpected(bytes.error().with_hint("for instance chunk=64k"));
    spec.chunk_bytes = *bytes;
    argument = argument.substr(0, at);
  }
  spec.paths = split(argument, ',');
  if (spec.paths.size() < 2)
    return bad_input(formatted("target stripe of {} members", spec.paths.size()),
                     "give two or more, for instance stripe:/dev/sdX,/dev/sdY:chunk=64k");
  for (const std::string& path : spec.paths)
    if (path.empty()) return bad_input("target stripe with an empty path");
  if (spec.chunk_bytes < 512 || spec.chunk_bytes % 512 != 0 || spec.chunk_bytes > 1U << 30)
    return bad_input(formatted("target stripe with a chunk of {} bytes", spec.chunk_bytes),
                     "give 512 to 1G, a multiple of the members' block size");
  return spec;
}

Result<std::unique_ptr<Target>> StripeTarget::make(const StripeSpec& spec, const TargetUse& use) {
  if (auto checked = check_members(spec.paths); !checked) return std::unexpected(checked.error());
  std::vector<BackingFile> members;
  for (const std::string& path : spec.paths) {
    auto member = BackingFile::open(path, use);
    if (!member) return std::unexpected(member.error());
    members.push_back(std::move(*member));
    const std::uint64_t block = 1ULL << members.back().shape().logical_block_shift;
    if (spec.chunk_bytes % block != 0)
      return bad_input(formatted("target stripe with a chunk of {} bytes", spec.chunk_bytes),
                       formatted("{} has blocks of {} bytes: give a multiple", path, block));
  }
  const StripeMap map(static_cast<std::uint32_t>(members.size()), spec.chunk_bytes);
  std::unique_ptr<StripeTarget> target(new StripeTarget(std::move(members), map));
  if (target->shape_.bytes == 0)
    return bad_input(formatted("target stripe with a chunk of {}", format_size(spec.chunk_bytes)),
                     "it is larger than the smallest member");
  return target;
}

StripeTarget::StripeTarget(std::vector<BackingFile> members, const StripeMap& map)
    : members_(std::move(members)), map_(map), shape_(joint_shape(members_, map)) {}

std::string StripeTarget::data_layout() const {
  return formatted("stripe of {}, chunk {}", map_.members(), map_.chunk_bytes());
}

std::vector<std::string> StripeTarget::paths() const {
  std::vector<std::string> paths;
  for (const BackingFile& member : members_) paths.push_back(member.path());
  return paths;
}

std::vector<int> StripeTarget::files() const {
  std::vector<int> files;
  for (const BackingFile& member : members_) files.push_back(member.fd());
  return files;
}

Result<> StripeTarget::pollable(Data::Place) const {
  for (const BackingFile& member : members_)
    if (auto can = member.pollable(); !can) return can;
  return {};
}

Result<TargetLane*> StripeTarget::open_lane(const LaneSetup& setup) {
  const std::uint64_t pieces = map_.max_pieces(setup.max_bytes);
  const std::uint64_t bytes = setup.slots * pieces * sizeof(iovec);
  if (bytes > max_iovec_bytes)
    return bad_input(formatted("a chunk of {} bytes with {} I/Os of {} in flight",
                               map_.chunk_bytes(), setup.slots, format_size(setup.max_bytes)),
                     "use larger chunks, a smaller --max-io or a smaller depth");
  auto iovecs =
      Mapping::map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  if (!iovecs) return std::unexpected(iovecs.error());
  const std::scoped_lock lock(mutex_);
  lanes_.push_back(std::make_unique<StripeLane>(map_, members_, std::move(*iovecs), pieces));
  return lanes_.back().get();
}

}  // namespace ublkbench
