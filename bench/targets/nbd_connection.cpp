// SPDX-License-Identifier: MIT
#include "bench/targets/nbd_connection.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <memory>
#include <vector>

#include "bench/base/format.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/targets/nbd_protocol.hpp"

namespace ublkbench::nbd {
namespace {

constexpr long handshake_timeout_s = 10;
constexpr std::size_t max_name_bytes = 4096;  // the protocol's limit for strings
constexpr std::size_t max_answer_bytes = 64 << 10;

std::unexpected<Error> no_server(const Address& address, int errnum, std::string_view hint) {
  return failed("NBD server", address.text, errnum, hint);
}

/// Again after EINTR, unless the user wants to go: a signal aside, it is what a socket with a
/// timeout gives where others restart by themselves: task work of a ring that this thread has is
/// enough of an interruption.
template <class Call>
ssize_t uninterrupted(Call&& call) {
  ssize_t ret = 0;
  do ret = call();
  while (ret < 0 && errno == EINTR && !process::interrupted());
  return ret;
}

ssize_t connect_socket(int socket, const sockaddr* name, socklen_t bytes) {
  return uninterrupted([&] { return ::connect(socket, name, bytes); });
}

bool is_socket(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

Result<> set_timeouts(int socket, long seconds) {
  const timeval time{.tv_sec = seconds, .tv_usec = 0};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO})
    if (::setsockopt(socket, SOL_SOCKET, option, &time, sizeof(time)) != 0)
      return failed("setsockopt", "a timeout", errno);
  return {};
}

/// So that a server whose machine is gone is noticed, with and without requests on their way.
void notice_a_dead_peer(int socket) {
  const auto set = [socket](int level, int option, int value) {
    (void)::setsockopt(socket, level, option, &value, sizeof(value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 30'000);
}

Result<Fd> connect_unix(const Address& address) {
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  if (address.socket_path.size() >= sizeof(name.sun_path))
    return bad_input(formatted("NBD server {}: the path is too long", address.text),
                     formatted("a socket's path has at most {} bytes", sizeof(name.sun_path) - 1));
  address.socket_path.copy(name.sun_path, sizeof(name.sun_path) - 1);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return failed("socket", "for " + address.text, errno);
  if (auto set = set_timeouts(socket.get(), handshake_timeout_s); !set)
    return std::unexpected(set.error());
  if (connect_socket(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0)
    return no_server(address, errno, "is it running, and with this socket?");
  return socket;
}

Result<Fd> connect_tcp(const Address& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int ret = ::getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found);
  if (ret != 0)
    return bad_input(formatted("NBD server {}: {}", address.text, ::gai_strerror(ret)),
                     "check host and port, for instance nbd:localhost:10809/NAME");
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> names(found, &::freeaddrinfo);
  int errnum = 0;
  for (const addrinfo* name = found; name != nullptr; name = name->ai_next) {
    Fd socket(::socket(name->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return failed("socket", "for " + address.text, errno);
    if (auto set = set_timeouts(socket.get(), handshake_timeout_s); !set)
      return std::unexpected(set.error());
    if (connect_socket(socket.get(), name->ai_addr, name->ai_addrlen) == 0) {
      notice_a_dead_peer(socket.get());
      return socket;
    }
    errnum = errno == EINPROGRESS ? ETIMEDOUT : errno;
  }
  return no_server(address, errnum, "is it running, and on this port?");
}

/// The two sides' words during the handshake.
class Talk {
 public:
  Talk(int socket, const Address& address) : socket_(socket), address_(address) {}

  Result<> say(const std::vector<std::byte>& message) {
    for (std::size_t done = 0; done < message.size();) {
      const ssize_t sent = uninterrupted([&] {
        return ::send(socket_, message.data() + done, message.size() - done, MSG_NOSIGNAL);
      });
      if (sent < 0) return no_server(address_, errno, "it broke off the handshake");
      done += static_cast<std::size_t>(sent);
    }
    return {};
  }

  Result<std::vector<std::byte>> hear(std::size_t bytes) {
    std::vector<std::byte> message(bytes);
    for (std::size_t done = 0; done < bytes;) {
      const ssize_t got =
          uninterrupted([&] { return ::recv(socket_, message.data() + done, bytes - done, 0); });
      if (got == 0)
        return no_server(address_, ECONNRESET, "it closed the connection during the handshake");
      if (got < 0)
        return no_server(address_, errno == EAGAIN ? ETIMEDOUT : errno,
                         errno == EAGAIN ? "it does not answer the handshake" : "");
      done += static_cast<std::size_t>(got);
    }
    return message;
  }

 private:
  int socket_;
  const Address& address_;
};

Result<> greet(Talk& talk, const Address& address) {
  auto greeting = talk.hear(18);
  if (!greeting) return std::unexpected(greeting.error());
  const std::byte* at = greeting->data();
  const auto magic = get<std::uint64_t>(at);
  const auto option = get<std::uint64_t>(at);
  const auto flags = get<std::uint16_t>(at);
  if (magic != server_magic)
    return no_server(address, EPROTO, "what answers there is no NBD server");
  if (option != option_magic || (flags & flag_fixed_newstyle) == 0)
    return no_server(address, EPROTO, "it has no fixed newstyle handshake");
  std::vector<std::byte> answer(4);
  std::byte* to = answer.data();
  put(to, static_cast<std::uint32_t>(flags & (flag_fixed_newstyle | flag_no_zeroes)));
  return talk.say(answer);
}

std::vector<std::byte> go_option(const std::string& name) {
  const std::size_t length = 4 + name.size() + 2 + 2;
  std::vector<std::byte> message(16 + length);
  std::byte* to = message.data();
  put(to, option_magic);
  put(to, option_go);
  put(to, static_cast<std::uint32_t>(length));
  put(to, static_cast<std::uint32_t>(name.size()));
  std::memcpy(to, name.data(), name.size());
  to += name.size();
  put(to, std::uint16_t{1});
  put(to, info_block_size);
  return message;
}

void take_info(const std::vector<std::byte>& info, Export& properties) {
  const std::byte* at = info.data();
  if (info.size() < 2) return;
  const auto kind = get<std::uint16_t>(at);
  if (kind == info_export && info.size() >= 12) {
    properties.bytes = get<std::uint64_t>(at);
    properties.flags = get<std::uint16_t>(at);
  } else if (kind == info_block_size && info.size() >= 14) {
    properties.min_block_bytes = get<std::uint32_t>(at);
    (void)get<std::uint32_t>(at);  // preferred
    properties.max_payload_bytes = get<std::uint32_t>(at);
  }
}

/// What a server says with an option's refusal: by kind, and in words if it has any.
std::string refusal(std::uint32_t type, const std::vector<std::byte>& words) {
  constexpr std::array reasons{"",
                               "it does not know NBD_OPT_GO",
                               "its policy forbids it",
                               "it finds the request invalid",
                               "its platform cannot",
                               "it wants TLS, which this client does not have",
                               "it has no export of this name",
                               "it is shutting down",
                               "it wants block sizes to be negotiated otherwise"};
  const std::uint32_t number = type & ~reply_is_error;
  std::string text = number < reasons.size() ? reasons[number] : formatted("error {}", number);
  if (!words.empty())
    text +=
        formatted(" ({})", std::string(reinterpret_cast<const char*>(words.data()), words.size()));
  return text;
}

Result<Export> negotiate(Talk& talk, const Address& address) {
  if (auto said = talk.say(go_option(address.export_name)); !said)
    return std::unexpected(said.error());
  Export properties;
  for (;;) {
    auto head = talk.hear(20);
    if (!head) return std::unexpected(head.error());
    const std::byte* at = head->data();
    const auto magic = get<std::uint64_t>(at);
    (void)get<std::uint32_t>(at);  // the option again
    const auto type = get<std::uint32_t>(at);
    const auto length = get<std::uint32_t>(at);
    if (magic != option_reply_magic || length > max_answer_bytes)
      return no_server(address, EPROTO, "it answers NBD_OPT_GO with garbage");
    auto answer = talk.hear(length);
    if (!answer) return std::unexpected(answer.error());
    if (type == reply_ack) return properties;
    if ((type & reply_is_error) != 0)
      return std::unexpected(Error{.operation = "NBD server",
                                   .object = address.text,
                                   .hint = refusal(type, *answer),
                                   .exit = ExitCode::usage});
    if (type == reply_info) take_info(*answer, properties);
  }
}

}  // namespace

Result<Address> parse_address(std::string_view argument) {
  Address address{.text = std::string(argument)};
  const auto unclear = [&] {
    return bad_input(formatted("target nbd:{}", argument),
                     "give nbd:HOST:PORT/NAME or nbd:unix:PATH/NAME; the name may be left out");
  };
  constexpr std::string_view unix_prefix = "unix:";
  if (argument.starts_with(unix_prefix)) {
    std::string path(argument.substr(unix_prefix.size()));
    if (path.empty()) return unclear();
    for (std::size_t end = path.size(); end != std::string::npos && end != 0;
         end = path.rfind('/', end - 1)) {
      if (!is_socket(path.substr(0, end))) continue;
      address.export_name = end < path.size() ? path.substr(end + 1) : "";
      address.socket_path = path.substr(0, end);
      return address;
    }
    return bad_input(formatted("target nbd:{}: there is no such socket", argument),
                     "start the server first");
  }
  const std::size_t slash = argument.find('/');
  const std::string_view place = argument.substr(0, slash);
  const std::size_t colon = place.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == place.size()) return unclear();
  std::string_view host = place.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  address.host = host;
  address.port = place.substr(colon + 1);
  if (slash != std::string_view::npos) address.export_name = argument.substr(slash + 1);
  if (address.export_name.size() > max_name_bytes) return unclear();
  return address;
}

Result<Connection> connect_to(const Address& address) {
  auto socket = address.socket_path.empty() ? connect_tcp(address) : connect_unix(address);
  if (!socket) return std::unexpected(socket.error());
  Talk talk(socket->get(), address);
  if (auto greeted = greet(talk, address); !greeted) return std::unexpected(greeted.error());
  auto properties = negotiate(talk, address);
  if (!properties) return std::unexpected(properties.error());
  if (auto set = set_timeouts(socket->get(), 0); !set) return std::unexpected(set.error());
  return Connection{.socket = std::move(*socket), .properties = *properties};
}

}  // namespace ublkbench::nbd
