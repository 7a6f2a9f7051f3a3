// SPDX-License-Identifier: MIT
#include "bench/server/channel.hpp"

#include <unistd.h>

#include <utility>

#include <nlohmann/json.hpp>

#include "bench/base/json_text.hpp"
#include "bench/process/wait.hpp"

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

void ChannelWriter::released(int id) { line(json_text({{"released", id}})); }

void ChannelWriter::error(const Error& error) {
  const nlohmann::json message = {{"error",
                                   {{"operation", error.operation},
                                    {"object", error.object},
                                    {"errno", error.errnum},
                                    {"hint", error.hint},
                                    {"exit", static_cast<int>(error.exit)}}}};
  line(json_text(message));
}

Result<Message> ChannelReader::next(std::uint64_t timeout_ns) {
  const std::uint64_t deadline_ns = process::deadline_after(timeout_ns);
  for (;;) {
    if (const auto end = pending_.find('\n'); end != std::string::npos) {
      const std::string text = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return parse_message(text);
    }
    if (auto said =
            process::wait_readable(fd_.get(), "the server process to be ready", deadline_ns);
        !said)
      return std::unexpected(said.error());
    char buffer[4096];
    const ssize_t got = ::read(fd_.get(), buffer, sizeof(buffer));
    if (got == 0) return failed("server process", "ended unexpectedly", ECHILD);
    if (got > 0) pending_.append(buffer, static_cast<std::size_t>(got));
  }
}

Result<Channel> make_channel() {
  auto pipe = process::make_pipe("for the server process");
  if (!pipe) return std::unexpected(pipe.error());
  return Channel{.reader = ChannelReader(std::move(pipe->reader)),
                 .writer = ChannelWriter(std::move(pipe->writer))};
}

}  // namespace ublkbench
