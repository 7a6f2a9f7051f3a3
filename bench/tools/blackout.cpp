// SPDX-License-Identifier: MIT
#include "bench/tools/blackout.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>

#include "bench/base/clock.hpp"

namespace ublkbench {

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
  client.process_ = ::fork();
  if (client.process_ < 0) return failed("fork", "client", errno);
  if (client.process_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    read_on(file->get(), block->data(), block_bytes, client.shared());
  }
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
  ::_exit(0);
}

void BlackoutClient::await_reads(std::uint64_t reads) const {
  const std::uint64_t deadline_ns = now_ns() + 1'000'000'000;
  while (shared().reads < reads && now_ns() < deadline_ns) ::usleep(200);
}

void BlackoutClient::begin() { shared().counting = true; }

Blackout BlackoutClient::end() {
  await_reads(shared().reads + 4);
  shared().ending = true;
  const std::uint64_t deadline_ns = now_ns() + 1'000'000'000;
  while (now_ns() < deadline_ns && ::waitpid(process_, nullptr, WNOHANG) == 0) ::usleep(200);
  return {.longest_read_ns = shared().longest_ns,
          .usual_read_ns = shared().usual_ns,
          .reads = shared().reads,
          .errors = shared().errors};
}

BlackoutClient::~BlackoutClient() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, WNOHANG);
}

}  // namespace ublkbench
