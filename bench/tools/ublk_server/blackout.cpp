// SPDX-License-Identifier: MIT
#include "bench/tools/ublk_server/blackout.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <new>

#include "bench/base/clock.hpp"
#include "bench/process/wait.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t patience_ns = 1'000'000'000;

}  // namespace

Result<BlackoutClient> BlackoutClient::start(const std::string& path, std::uint32_t block_bytes) {
  auto file = open_file(path, O_RDONLY | O_DIRECT);
  if (!file) return std::unexpected(file.error());
  auto block = Mapping::map(block_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (!block) return std::unexpected(block.error());
  auto mapping = Mapping::map(sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  if (!mapping) return std::unexpected(mapping.error());
  BlackoutClient client;
  client.shared_ = std::move(*mapping);
  new (client.shared_.data()) Shared{};
  auto child =
      process::Child::start({.what = "the reading client", .keep = {file->get()}}, [&]() -> int {
        read_on(file->get(), block->data(), block_bytes, client.shared());
        return 0;
      });
  if (!child) return std::unexpected(child.error());
  client.process_ = std::move(*child);
  client.await_reads(4);
  return client;
}

void BlackoutClient::read_on(int file, std::byte* block, std::uint32_t bytes, Shared& shared) {
  while (!shared.ending) {
    const std::uint64_t began_ns = now_ns();
    const bool counting = shared.counting;
    const bool good = ::pread(file, block, bytes, 0) == static_cast<ssize_t>(bytes);
    const std::uint64_t took_ns = now_ns() - began_ns;
    // A read that began before the count did may well have met the blackout.
    auto& longest = counting || shared.counting ? shared.longest_ns : shared.usual_ns;
    if (took_ns > longest) longest = took_ns;
    ++shared.reads;
    if (!good) ++shared.errors;
    if (!good) ::usleep(100);
  }
}

void BlackoutClient::await_reads(std::uint64_t reads) const {
  (void)process::wait_until("reads of the client", process::deadline_after(patience_ns),
                            [&] { return shared().reads >= reads; });
}

void BlackoutClient::begin() { shared().counting = true; }

Blackout BlackoutClient::end() {
  await_reads(shared().reads + 4);
  shared().ending = true;
  (void)process_.wait(process::deadline_after(patience_ns));
  return {.longest_read_ns = shared().longest_ns,
          .usual_read_ns = shared().usual_ns,
          .reads = shared().reads,
          .errors = shared().errors};
}

BlackoutClient::~BlackoutClient() {
  // It may hang in a read for as long as the device has no server.
  (void)process_.kill(0);
}

}  // namespace ublkbench
