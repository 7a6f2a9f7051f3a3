// SPDX-License-Identifier: MIT
// shmem_zc: the memory that the server shares with its device's client.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/base/format.hpp"
#include "bench/server/device_record.hpp"
#include "bench/server/server.hpp"

namespace ublkbench {

namespace {

/// A file of another size is somebody's, and would be cut off or grown.
Result<> check_size(int file, const ServeOptions& options) {
  struct stat status{};
  if (::fstat(file, &status) != 0) return failed("stat", options.shared_memory_file, errno);
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  if (bytes == 0 || bytes == options.shared_memory_bytes) return {};
  return bad_input(formatted("shared memory file {} has {} bytes, not {}",
                             options.shared_memory_file, bytes, options.shared_memory_bytes),
                   "name a new file, or give its size as --shared-memory-size");
}

}  // namespace

Result<> Server::share_memory(const ServeOptions& options) {
  const std::string& name = options.shared_memory_file;
  if (name.empty()) {
    shared_memory_file_ = Fd(::memfd_create("ublkbench-shared", MFD_CLOEXEC));
    if (!shared_memory_file_.valid()) return failed("memfd_create", "for mode shmem_zc", errno);
  } else {
    auto file = open_file(name, O_RDWR | O_CREAT);
    if (!file) return std::unexpected(file.error().with_exit(ExitCode::usage));
    if (auto fits = check_size(file->get(), options); !fits) return fits;
    shared_memory_file_ = std::move(*file);
  }
  if (::ftruncate(shared_memory_file_.get(), static_cast<off_t>(options.shared_memory_bytes)) != 0)
    return failed("ftruncate", name.empty() ? "shared memory" : name, errno,
                  "on hugetlbfs the size must be a multiple of its pages");
  if (auto mapped = map_shared_memory(options); !mapped) return mapped;
  auto index = control::register_shared_memory(id(), shared_memory_.bytes(),
                                               options.shared_memory_read_only);
  if (!index) return std::unexpected(index.error());
  // SharedMemoryPath knows one region; a device that is new has no other.
  if (*index != 0) return failed("REG_BUF", formatted("gave index {}", *index), EPROTO);
  return {};
}

/// Mapped shared before the server process is forked, so that both have it at one address, and so
/// has the child that issues REG_BUF.
Result<> Server::map_shared_memory(const ServeOptions& options) {
  auto mapping = Mapping::map(options.shared_memory_bytes,
                              options.shared_memory_read_only ? PROT_READ : PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_POPULATE, shared_memory_file_.get());
  if (!mapping) return std::unexpected(mapping.error());
  shared_memory_ = std::move(*mapping);
  return {};
}

std::string Server::shared_memory_path() const {
  if (!shared_memory_file_.valid()) return {};
  return formatted("/proc/{}/fd/{}", ::getpid(), shared_memory_file_.get());
}

/// The driver holds the pages of a region until the device is removed and names requests' data by
/// offsets in it: in any other file the server would read and write at the wrong place.
Result<> Server::find_shared_memory(const ServeOptions& options) {
  const std::string& name = options.shared_memory_file;
  auto file = open_file(name, O_RDWR);
  if (!file) return std::unexpected(file.error().with_exit(ExitCode::usage));
  struct stat status{};
  if (::fstat(file->get(), &status) != 0) return failed("stat", name, errno);
  const auto record = load_record(device_);
  const bool known = record && record->shared_memory;
  if (static_cast<std::uint64_t>(status.st_size) < options.shared_memory_bytes ||
      (known && *record->shared_memory != region_identity(options, file->get())))
    return bad_input(formatted("shared memory {} is not what device {} was added with", name, id()),
                     formatted("{}; the driver holds the pages of that file",
                               known ? *record->shared_memory
                                     : formatted("{} bytes", options.shared_memory_bytes)));
  shared_memory_file_ = std::move(*file);
  return map_shared_memory(options);
}

}  // namespace ublkbench
