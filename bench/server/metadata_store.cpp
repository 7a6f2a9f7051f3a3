// SPDX-License-Identifier: MIT
#include "bench/server/metadata_store.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

void invert(std::span<std::byte> bytes) {
  for (std::byte& byte : bytes) byte = ~byte;
}

/// 0xff over the bytes from `begin` to `end`; 0 or a negative errno.
int fill(int file, off_t begin, off_t end) {
  std::array<std::byte, 64 << 10> filler;
  filler.fill(std::byte{0xff});
  while (begin < end) {
    const auto bytes = std::min<std::size_t>(filler.size(), static_cast<std::size_t>(end - begin));
    const ssize_t written = ::pwrite(file, filler.data(), bytes, begin);
    if (written <= 0) return written < 0 ? -errno : -EIO;
    begin += written;
  }
  return 0;
}

}  // namespace

Result<MetadataStore> MetadataStore::open(const MetadataOptions& options, const ublk_params& params,
                                          Missing missing) {
  MetadataStore store;
  store.block_shift_ = params.basic.logical_bs_shift;
  store.bytes_per_block_ = options.bytes;
  store.in_memory_ = options.file.empty();
  store.all_bytes_ = store.bytes_for(params.basic.dev_sectors << 9);
  if (store.in_memory_) {
    store.file_ = Fd(::memfd_create("ublkbench-metadata", MFD_CLOEXEC));
    if (!store.file_.valid()) return failed("memfd_create", "for metadata", errno);
    if (::ftruncate(store.file_.get(), static_cast<off_t>(store.all_bytes_)) != 0)
      return failed("ftruncate", "memory for metadata", errno);
    return store;
  }
  auto file = open_file(options.file, O_RDWR | (missing == Missing::create ? O_CREAT : 0));
  if (!file) return std::unexpected(file.error().with_exit(ExitCode::usage));
  store.file_ = std::move(*file);
  store.path_ = options.file;
  struct stat status{};
  if (::fstat(store.file_.get(), &status) != 0) return failed("stat", options.file, errno);
  // A block device says that its size is 0: all that it held would be filled again.
  if (!S_ISREG(status.st_mode))
    return bad_input(formatted("metadata file {}", options.file), "it must be a regular file");
  return store;
}

Result<> MetadataStore::make_room() const {
  if (in_memory_) return {};
  struct stat status{};
  if (::fstat(file_.get(), &status) != 0) return failed("stat", path_, errno);
  const int error = fill(file_.get(), status.st_size, static_cast<off_t>(all_bytes_));
  if (error != 0) return failed("write", path_, -error, "it must hold the metadata of all blocks");
  return {};
}

std::uint64_t MetadataStore::room_bytes() const {
  struct stat status{};
  if (::fstat(file_.get(), &status) != 0) return 0;
  return (static_cast<std::uint64_t>(status.st_size) / bytes_per_block_) << block_shift_;
}

int MetadataStore::write(std::uint64_t offset, std::span<std::byte> metadata, bool durable) const {
  if (in_memory_) invert(metadata);
  const iovec piece{.iov_base = metadata.data(), .iov_len = metadata.size()};
  const ssize_t written =
      ::pwritev2(file_.get(), &piece, 1, position(offset), durable && !in_memory_ ? RWF_DSYNC : 0);
  if (written == static_cast<ssize_t>(metadata.size())) return 0;
  return written < 0 ? -errno : -EIO;
}

int MetadataStore::read(std::uint64_t offset, std::span<std::byte> metadata) const {
  const ssize_t got = ::pread(file_.get(), metadata.data(), metadata.size(), position(offset));
  if (got != static_cast<ssize_t>(metadata.size())) return got < 0 ? -errno : -EIO;
  if (in_memory_) invert(metadata);
  return 0;
}

int MetadataStore::forget(std::uint64_t offset, std::uint64_t data_bytes) const {
  const off_t begin = position(offset);
  const auto bytes = static_cast<off_t>(bytes_for(data_bytes));
  if (!in_memory_) return fill(file_.get(), begin, begin + bytes);
  return ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, bytes) == 0
             ? 0
             : -errno;
}

int MetadataStore::flush() const {
  return in_memory_ || ::fdatasync(file_.get()) == 0 ? 0 : -errno;
}

}  // namespace ublkbench
