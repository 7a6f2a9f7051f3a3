// SPDX-License-Identifier: MIT
#include "bench/server/make_data_path.hpp"

#include <utility>

namespace ublkbench {

DataPathChoice choose_data_path(const ServeOptions& options, const ServerResources& resources) {
  switch (options.mode.buffer) {
    case BufferMode::copy:
      return data_path::Copy{};
    case BufferMode::get_data:
      return data_path::GetData{};
    case BufferMode::user_copy:
      if (resources.metadata != nullptr) return data_path::UserCopyMetadata{resources.metadata};
      return data_path::UserCopy{};
    case BufferMode::zc:
      return data_path::ZeroCopy{};
    case BufferMode::shmem_zc:
      return data_path::SharedMemory{resources.shared_memory};
    case BufferMode::mixed:
      return data_path::Mixed{options.mode.mixed_bytes};
    case BufferMode::auto_zc:
      if (options.rotate_buffers) return data_path::RotatingAutoZeroCopy{};
      if (options.auto_zc_fallback)
        return data_path::AutoZeroCopyFallback{options.force_fallback_every};
      return data_path::AutoZeroCopy{};
  }
  std::unreachable();
}

}  // namespace ublkbench
