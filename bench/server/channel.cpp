// SPDX-License-Identifier: MIT
#include "bench/server/channel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "bench/base/clock.hpp"

namespace ublkbench {
namespace {

Result<Message> parse_message(const std::string& text) {
  const auto message = nlohmann::json::parse(text, nullptr, false);
  if (message.is_discarded()) return failed("server process", "sent garbage", EPROTO);
  if (message.contains("released")) return Message{.released = message["released"].get<int>()};
  if (!message.contains("error")) return Message{};
  const auto& error = message["error"];
  return std::unexpected(Error{.operation = error.value("operation", ""),
                               .object = error.value("object", ""),
                               .errnum = error.value("errno", 0),
                               .hint = error.value("hint", ""),
                               .exit = static_cast<ExitCode>(error.value("exit", 5))});
}

}  // namespace

void ChannelWriter::line(const std::string& text) {
  const std::string message = text + '\n';
  // Below PIPE_BUF a write is atomic; a supervisor that is gone needs no message.
  if (::write(fd_.get(), message.data(), message.size()) < 0) return;
}

void ChannelWriter::ready() { line(R"({"ready":true})"); }

void ChannelWriter::released(int id) { line(nlohmann::json{{"released", id}}.dump()); }

void ChannelWriter::error(const Error& error) {
  const nlohmann::json message = {{"error",
                                   {{"operation", error.operation},
                                    {"object", error.object},
                                    {"errno", error.errnum},
                                    {"hint", error.hint},
                                    {"exit", static_cast<int>(error.exit)}}}};
  line(message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

Result<Message> ChannelReader::next(std::uint64_t timeout_ns) {
  const std::uint64_t deadline_ns = now_ns() + timeout_ns;
  for (;;) {
    if (const auto end = pending_.find('\n'); end != std::string::npos) {
      const std::string text = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return parse_message(text);
    }
    const std::uint64_t now = now_ns();
    const std::uint64_t left_ns = deadline_ns - std::min(now, deadline_ns);
    const std::uint64_t left_ms = (left_ns + 999'999) / 1'000'000;
    pollfd poller{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&poller, 1, static_cast<int>(std::min<std::uint64_t>(left_ms, 60'000))) <= 0) {
      if (left_ns == 0) return failed("wait for the server process", "to be ready", ETIMEDOUT);
      continue;
    }
    char buffer[4096];
    const ssize_t got = ::read(fd_.get(), buffer, sizeof(buffer));
    if (got == 0) return failed("server process", "ended unexpectedly", ECHILD);
    if (got > 0) pending_.append(buffer, static_cast<std::size_t>(got));
  }
}

Result<Channel> make_channel() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("pipe", {}, errno);
  return Channel{.reader = ChannelReader(Fd(ends[0])), .writer = ChannelWriter(Fd(ends[1]))};
}

}  // namespace ublkbench
