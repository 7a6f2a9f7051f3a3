// SPDX-License-Identifier: MIT
#include "analyzers/json_stream.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace ublkbench::analyzers {
namespace {

constexpr std::size_t chunk_bytes = 1 << 20;
constexpr std::size_t none = 0;  // the end of no piece: none is empty

constexpr bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/// +1 opens, -1 closes, 2 begins a string, 0 is of no interest.
constexpr std::array<signed char, 256> make_kinds() {
  std::array<signed char, 256> kinds{};
  kinds['{'] = kinds['['] = 1;
  kinds['}'] = kinds[']'] = -1;
  kinds['"'] = 2;
  return kinds;
}
constexpr auto kinds = make_kinds();

}  // namespace

Result<JsonStream> JsonStream::open(const std::string& path) {
  auto fd = open_file(path, O_RDONLY);
  if (!fd) return std::unexpected(fd.error().with_exit(ExitCode::usage));
  struct stat status{};
  if (::fstat(fd->get(), &status) == 0 && S_ISDIR(status.st_mode))
    return std::unexpected(failed("read", path, EISDIR).error().with_exit(ExitCode::usage));
  return JsonStream(std::move(*fd));
}

bool JsonStream::fill() {
  if (ended_) return false;
  if (from_ > buffer_.size() / 2) {
    std::memmove(buffer_.data(), buffer_.data() + from_, to_ - from_);
    to_ -= from_;
    from_ = 0;
  }
  if (buffer_.size() - to_ < chunk_bytes + padding)
    buffer_.resize(std::max(2 * buffer_.size(), to_ + chunk_bytes + padding));
  ssize_t got = 0;
  do got = ::read(fd_.get(), buffer_.data() + to_, buffer_.size() - padding - to_);
  while (got < 0 && errno == EINTR);
  if (got < 0) errnum_ = errno;
  ended_ = got <= 0;
  if (got > 0) to_ += static_cast<std::size_t>(got);
  return got > 0;
}

bool JsonStream::available(std::size_t ahead) {
  while (from_ + ahead >= to_)
    if (!fill()) return false;
  return true;
}

char JsonStream::peek() {
  while (available(0)) {
    if (!is_space(byte(0))) return byte(0);
    ++from_;
  }
  return 0;
}

bool JsonStream::take(char expected) {
  if (peek() != expected) return false;
  ++from_;
  return true;
}

std::string_view JsonStream::piece(std::size_t length) {
  const std::string_view text(buffer_.data() + from_, length);
  from_ += length;
  return text;
}

std::size_t JsonStream::end_of_string(std::size_t ahead) {
  for (++ahead; available(ahead); ++ahead) {
    if (byte(ahead) == '"') return ahead + 1;
    ahead += byte(ahead) == '\\' ? 1 : 0;
  }
  return none;
}

std::size_t JsonStream::end_of_brackets() {
  std::size_t depth = 0;
  for (std::size_t ahead = 0; available(ahead);) {
    // All that has been read, without asking for each byte whether it has.
    const char* const text = buffer_.data() + from_;
    const std::size_t limit = to_ - from_;
    while (ahead < limit && kinds[static_cast<unsigned char>(text[ahead])] == 0) ++ahead;
    if (ahead == limit) continue;
    const int kind = kinds[static_cast<unsigned char>(text[ahead])];
    if (kind == 2) {
      ahead = end_of_string(ahead);
      if (ahead == none) return none;
      continue;
    }
    depth = kind > 0 ? depth + 1 : depth - 1;
    ++ahead;
    if (depth == 0) return ahead;
  }
  return none;
}

std::string_view JsonStream::value() {
  const char first = peek();
  if (first == '{' || first == '[') return piece(end_of_brackets());
  if (first == '"') return piece(end_of_string(0));
  std::size_t length = 0;
  while (available(length) && !is_space(byte(length)) && !std::strchr(",:]}", byte(length)))
    ++length;
  return piece(length);
}

std::string_view JsonStream::line(bool& ended) {
  std::size_t length = 0;
  while (available(length)) {
    const auto* const found = static_cast<const char*>(
        std::memchr(buffer_.data() + from_ + length, '\n', to_ - from_ - length));
    if (found != nullptr) {
      ended = true;
      const std::string_view text =
          piece(static_cast<std::size_t>(found - (buffer_.data() + from_)));
      ++from_;
      return text;
    }
    length = to_ - from_;
  }
  ended = false;
  return piece(length);
}

}  // namespace ublkbench::analyzers
