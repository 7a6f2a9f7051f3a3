// SPDX-License-Identifier: MIT
#include "bench/targets/memory_file.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "bench/base/format.hpp"

namespace ublkbench {

Result<MemoryFile> make_memory_file(std::string_view whose, std::uint64_t bytes) {
  const std::string name = formatted("ublkbench {}", whose);
  MemoryFile made{.file = Fd(::memfd_create(name.c_str(), MFD_CLOEXEC)), .memory = {}};
  if (!made.file.valid()) return failed("memfd_create", formatted("for {}", whose), errno);
  if (::ftruncate(made.file.get(), static_cast<off_t>(bytes)) != 0)
    return failed("ftruncate", formatted("{} to {} bytes", whose, bytes), errno);
  auto memory =
      Mapping::map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, made.file.get());
  if (!memory) return std::unexpected(memory.error());
  made.memory = std::move(*memory);
  return made;
}

}  // namespace ublkbench
