// SPDX-License-Identifier: MIT
// Which data path a daemon has, with what that one alone needs. The classes are in data_paths/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>

#include "bench/server/metadata_store.hpp"
#include "bench/server/serve_options.hpp"

namespace ublkbench {

/// What the supervisor made before the process was forked.
struct ServerResources {
  std::byte* shared_memory = nullptr;       ///< shmem_zc
  const MetadataStore* metadata = nullptr;  ///< of a device whose blocks have metadata
};

namespace data_path {

struct Copy {};
struct GetData {};
struct UserCopy {};
struct UserCopyMetadata {
  const MetadataStore* store;
};
struct ZeroCopy {};
struct AutoZeroCopy {};
struct AutoZeroCopyFallback {
  std::uint32_t force_every;  ///< so manieth slot takes the fallback; 0: none has to
};
struct RotatingAutoZeroCopy {};
struct SharedMemory {
  std::byte* base;
};
struct Mixed {
  std::uint32_t zero_copy_from_bytes;
};

}  // namespace data_path

using DataPathChoice =
    std::variant<data_path::Copy, data_path::GetData, data_path::UserCopy,
                 data_path::UserCopyMetadata, data_path::ZeroCopy, data_path::AutoZeroCopy,
                 data_path::AutoZeroCopyFallback, data_path::RotatingAutoZeroCopy,
                 data_path::SharedMemory, data_path::Mixed>;

DataPathChoice choose_data_path(const ServeOptions& options, const ServerResources& resources);

}  // namespace ublkbench
