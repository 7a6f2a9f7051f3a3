// SPDX-License-Identifier: MIT
#include "bench/server/device_record.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

#include "bench/base/atomic_file.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"

namespace ublkbench {
namespace {

constexpr const char* records_folder = "/run/ublkbench";
constexpr int record_version = 1;
constexpr std::string_view birth_prefix = ", made at ";
constexpr std::string_view metadata_prefix = "metadata in ";

std::string record_path(int id) { return formatted("{}/ublk{}.json", records_folder, id); }

/// When the file was made: a file system may give a new one the inode number of one that was
/// removed. Empty where the file system does not know.
std::string birth(int file) {
  struct statx status{};
  if (::statx(file, "", AT_EMPTY_PATH, STATX_BTIME, &status) != 0) return {};
  if ((status.stx_mask & STATX_BTIME) == 0) return {};
  return formatted("{}{}.{:09}", birth_prefix, status.stx_btime.tv_sec, status.stx_btime.tv_nsec);
}

bool same_file(const std::string& recorded, const std::string& now) {
  if (recorded == now) return true;
  return !recorded.contains(birth_prefix) &&
         now.starts_with(std::string(recorded).append(birth_prefix));
}

std::optional<std::string> text(const nlohmann::json& json, const char* name) {
  if (!json.contains(name)) return std::nullopt;
  return json.at(name).get<std::string>();
}

/// Nothing when there is none, or a damaged one: a field of another type is no record of ours.
std::optional<DeviceRecord> read_record(const std::string& path) {
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  try {
    if (json.value("version", 0) != record_version) return std::nullopt;
    return DeviceRecord{.id = json.value("id", -1),
                        .owner = json.value("owner_pid", -1),
                        .stamp = json.value("stamp", std::uint64_t{0}),
                        .folder = json.value("folder", ""),
                        .words = json.value("words", std::vector<std::string>{}),
                        .target = json.value("target", ""),
                        .files = json.value("files", std::vector<std::string>{}),
                        .target_bytes = json.value("target_bytes", std::uint64_t{0}),
                        .read_only = json.value("read_only", false),
                        .metadata_room_bytes = json.value("metadata_room_bytes", std::uint64_t{0}),
                        .layout = text(json, "layout"),
                        .shared_memory = text(json, "shared_memory")};
  } catch (const nlohmann::json::type_error&) {
    return std::nullopt;
  }
}

/// Whether it is of this very device; a record of an earlier version has no stamp.
bool is_of(const DeviceRecord& record, const ublksrv_ctrl_dev_info& device) {
  return record.stamp != 0 ? record.stamp == device.ublksrv_flags
                           : control::owner(device) == record.owner;
}

}  // namespace

// A connection is not the server at its other end.
std::string file_identity(int file) {
  struct stat status{};
  if (::fstat(file, &status) != 0 || S_ISSOCK(status.st_mode)) return {};
  if (S_ISBLK(status.st_mode))
    return formatted("block device {}:{}", major(status.st_rdev), minor(status.st_rdev));
  return formatted("file {} of file system {}:{}", status.st_ino, major(status.st_dev),
                   minor(status.st_dev)) +
         birth(file);
}

bool same_files(const std::vector<std::string>& recorded, const std::vector<std::string>& now) {
  return std::ranges::equal(recorded, now, same_file);
}

std::vector<std::string> file_identities(const Target& target, const MetadataStore* metadata) {
  std::vector<std::string> identities;
  for (const int file : target.files())
    if (std::string name = file_identity(file); !name.empty())
      identities.push_back(std::move(name));
  if (metadata != nullptr)
    identities.push_back(std::string(metadata_prefix) + file_identity(metadata->file()));
  return identities;
}

std::string region_identity(const ServeOptions& options, int file) {
  return formatted("{} bytes of {}, {}", options.shared_memory_bytes, file_identity(file),
                   options.shared_memory_read_only ? "only read" : "read and written");
}

Result<> refuse_shared(const std::vector<std::string>& files, bool read_only, int own) {
  const auto is_one_of_ours = [&files](const std::string& recorded) {
    return std::ranges::any_of(files,
                               [&](const std::string& file) { return same_file(recorded, file); });
  };
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(records_folder, error)) {
    const auto record = read_record(entry.path());
    if (!record || record->id == own || (read_only && record->read_only)) continue;
    if (std::ranges::none_of(record->files, is_one_of_ours)) continue;
    const auto device = control::info(record->id);
    if (!device || !is_of(*record, *device)) continue;
    return std::unexpected(
        failed("open target", record->target, EBUSY,
               formatted("device {} has the same data ('ublk-server list'); two users of the "
                         "same data destroy it",
                         record->id))
            .error()
            .with_exit(ExitCode::usage));
  }
  return {};
}

bool is_metadata(const std::string& identity) { return identity.starts_with(metadata_prefix); }

Result<> save(const DeviceRecord& record) {
  if (!is_utf8(record.folder))
    return bad_input(formatted("the working folder '{}' is not UTF-8", escaped(record.folder)),
                     "'recover' could not find the target from there: start in another folder");
  if (::mkdir(records_folder, 0755) != 0 && errno != EEXIST)
    return failed("mkdir", records_folder, errno);
  nlohmann::json json = {{"version", record_version},
                         {"id", record.id},
                         {"owner_pid", record.owner},
                         {"stamp", record.stamp},
                         {"folder", record.folder},
                         {"words", record.words},
                         {"target", record.target},
                         {"files", record.files},
                         {"target_bytes", record.target_bytes},
                         {"read_only", record.read_only},
                         {"metadata_room_bytes", record.metadata_room_bytes}};
  if (record.layout) json["layout"] = *record.layout;
  if (record.shared_memory) json["shared_memory"] = *record.shared_memory;
  return write_file_atomically(record_path(record.id), json_text(json, 2) + '\n');
}

std::optional<DeviceRecord> load_record(const ublksrv_ctrl_dev_info& device) {
  auto record = read_record(record_path(static_cast<int>(device.dev_id)));
  if (record && !is_of(*record, device)) return std::nullopt;
  if (record) record->id = static_cast<int>(device.dev_id);
  return record;
}

void forget_record(int id) { ::unlink(record_path(id).c_str()); }

}  // namespace ublkbench
