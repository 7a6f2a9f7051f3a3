// SPDX-License-Identifier: MIT
// A ublk server that misbehaves on request, so that ublk-dump's verdicts have a known truth. One
// queue, one thread.
//
//   bad_server serve [OPTION...]    add a device and serve it; prints 'ready N' when it is live
//   bad_server recover ID [OPTION...]
//   bad_server ctl COMMAND ID [DATA]  one control command, waited for without a bound; prints its
//   result
//
// It stands apart from bench/ on purpose: it does what that server must never do.
#include <linux/ublk_cmd.h>

#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::uint32_t max_io_bytes = 64 << 10;
constexpr std::uint32_t multishot = 1U << 1;  // IORING_URING_CMD_MULTISHOT, not in liburing 2.9
enum class Kind : std::uint64_t { io = 1, timeout, buffer, prep, fetch, commit };

struct Options {
  int id = -1;
  unsigned depth = 4;
  std::uint64_t flags = UBLK_F_NO_AUTO_PART_SCAN;
  int hold = 0;        // this many requests are never committed; -1: all
  long delay_ms = 0;   // a slow target: commits after a timeout in the ring
  unsigned fetch = 0;  // fetch only so many tags; 0: all
  unsigned cq = 0;     // size of the completion queue
  std::string idle =
      "wait";  // once live: wait, nap (never reaps), spin, unsubmitted (commits are not submitted)
  std::string leak;            // commit with the buffer registered: own, second (ring), thread
  std::string keep;            // what a child process keeps: fds (char device and ring), char, ring
  std::string batch;           // fetch command: ok, none, starved
  bool register_only = false;  // register the buffer and hold the request
  bool defer = true;
};

volatile std::sig_atomic_t release_held = 0;

[[noreturn]] void fail(const char* what, int error) {
  std::fprintf(stderr, "bad_server: %s: %s\n", what, std::strerror(error < 0 ? -error : error));
  std::exit(1);
}

int control(std::uint32_t op, int id, void* buffer, std::uint16_t length, std::uint64_t data) {
  io_uring ring{};
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_SQE128;
  if (int error = io_uring_queue_init_params(4, &ring, &parameters); error != 0)
    fail("control ring", error);
  const int file = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
  if (file < 0) fail("open /dev/ublk-control", errno);
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring);
  std::memset(static_cast<void*>(sqe), 0, 128);
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = file;
  sqe->cmd_op = op;
  ublksrv_ctrl_cmd command{};
  command.dev_id = static_cast<std::uint32_t>(id);
  command.queue_id = UINT16_MAX;
  command.addr = reinterpret_cast<std::uintptr_t>(buffer);
  command.len = length;
  command.data[0] = data;
  std::memcpy(sqe->cmd, &command, sizeof command);
  io_uring_submit(&ring);
  io_uring_cqe* cqe = nullptr;
  while (int error = io_uring_wait_cqe(&ring, &cqe)) {
    if (error != -EINTR) fail("control command", error);
  }
  const int result = cqe->res;
  io_uring_queue_exit(&ring);
  close(file);
  return result;
}

class Server {
 public:
  explicit Server(const Options& options) : options_(options), depth_(options.depth) {}

  void add() {
    ublksrv_ctrl_dev_info info{};
    info.nr_hw_queues = 1;
    info.queue_depth = static_cast<std::uint16_t>(depth_);
    info.max_io_buf_bytes = max_io_bytes;
    info.dev_id = static_cast<std::uint32_t>(options_.id);
    info.flags = options_.flags | UBLK_F_CMD_IOCTL_ENCODE;
    if (int error = control(UBLK_U_CMD_ADD_DEV, options_.id, &info, sizeof info, 0); error != 0)
      fail("ADD_DEV", error);
    options_.id = static_cast<int>(info.dev_id);
    flags_ = info.flags;
    ublk_params parameters{};
    parameters.len = sizeof parameters;
    parameters.types = UBLK_PARAM_TYPE_BASIC;
    parameters.basic.logical_bs_shift = 9;
    parameters.basic.physical_bs_shift = parameters.basic.io_opt_shift =
        parameters.basic.io_min_shift = 12;
    parameters.basic.max_sectors = max_io_bytes >> 9;
    parameters.basic.dev_sectors = 256 << 11;
    if (int error = control(UBLK_U_CMD_SET_PARAMS, options_.id, &parameters, sizeof parameters, 0);
        error != 0)
      fail("SET_PARAMS", error);
  }

  void take_over() {
    ublksrv_ctrl_dev_info info{};
    if (int error = control(UBLK_U_CMD_GET_DEV_INFO, options_.id, &info, sizeof info, 0);
        error != 0)
      fail("GET_DEV_INFO", error);
    depth_ = info.queue_depth;
    flags_ = info.flags;
    if (int error = control(UBLK_U_CMD_START_USER_RECOVERY, options_.id, nullptr, 0, 0); error != 0)
      fail("START_USER_RECOVERY", error);
  }

  void open_device() {
    const std::string path = "/dev/ublkc" + std::to_string(options_.id);
    for (int attempt = 0; (file_ = open(path.c_str(), O_RDWR | O_CLOEXEC)) < 0 && attempt < 500;
         ++attempt)
      usleep(10'000);
    if (file_ < 0) fail("open the char device", errno);
    const std::size_t bytes = (depth_ * sizeof(ublksrv_io_desc) + 4095) / 4096 * 4096;
    void* const mapped =
        mmap(nullptr, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, file_, UBLKSRV_CMD_BUF_OFFSET);
    if (mapped == MAP_FAILED) fail("map io descriptors", errno);
    descriptors_ = static_cast<const volatile ublksrv_io_desc*>(mapped);
    buffers_ =
        static_cast<std::byte*>(mmap(nullptr, std::size_t{depth_} * max_io_bytes,
                                     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    make_ring(ring_);
    if (options_.leak == "second") make_ring(second_);
  }

  void fetch_all() {
    if (batch()) return batch_start();
    const unsigned count = options_.fetch != 0 ? options_.fetch : depth_;
    for (unsigned tag = 0; tag < count; ++tag) command(UBLK_U_IO_FETCH_REQ, tag, 0);
    io_uring_submit(&ring_);
  }

  void start(std::uint32_t op) {
    keep_by_child();
    const int result = control(op, options_.id, nullptr, 0, static_cast<std::uint64_t>(getpid()));
    if (result != 0) fail("START_DEV or END_USER_RECOVERY", result);
    std::printf("ready %d\n", options_.id);
    std::fflush(stdout);
  }

  void serve() {
    if (options_.idle == "nap") {
      while (true) pause();
    }
    if (options_.idle == "spin") {
      while (release_held == 0) {  // a volatile read: the loop is not optimised away
      }
    }
    while (true) {
      if (options_.idle != "unsubmitted")
        io_uring_submit(&ring_);
      else
        io_uring_smp_store_release(ring_.sq.ktail,
                                   ring_.sq.sqe_tail);  // as far as the kernel can see
      io_uring_cqe* cqe = nullptr;
      const int error = io_uring_wait_cqe(&ring_, &cqe);
      if (release_held != 0) commit_held();
      if (error == -EINTR) continue;
      if (error != 0) fail("wait", error);
      const auto data = cqe->user_data;
      const int result = cqe->res;
      const std::uint32_t flags = cqe->flags;
      io_uring_cqe_seen(&ring_, cqe);
      completed(static_cast<Kind>(data >> 32), static_cast<unsigned>(data & 0xffff), result, flags);
    }
  }

  [[nodiscard]] int id() const { return options_.id; }

 private:
  Options options_;
  unsigned depth_;
  std::uint64_t flags_ = 0;
  int file_ = -1;
  const volatile ublksrv_io_desc* descriptors_ = nullptr;
  std::byte* buffers_ = nullptr;
  io_uring ring_{}, second_{}, third_{};
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::vector<std::uint16_t> fetched_tags_ = std::vector<std::uint16_t>(4096);
  std::vector<std::byte> elements_ = std::vector<std::byte>(std::size_t{4096} * 16);
  std::vector<unsigned> held_;
  std::map<unsigned, __kernel_timespec> timers_;
  int leaked_ = 0;

  [[nodiscard]] bool batch() const { return (flags_ & UBLK_F_BATCH_IO) != 0; }
  [[nodiscard]] bool copies() const {
    return (flags_ & (UBLK_F_USER_COPY | UBLK_F_SUPPORT_ZERO_COPY | UBLK_F_AUTO_BUF_REG)) == 0;
  }

  void make_ring(io_uring& ring) const {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_CQSIZE;
    if (options_.defer) parameters.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    parameters.cq_entries = options_.cq != 0 ? options_.cq : 2 * std::max(depth_, 4U);
    const unsigned entries =
        options_.cq != 0 ? std::min(options_.cq, std::max(depth_, 4U)) : std::max(depth_, 4U);
    if (int error = io_uring_queue_init_params(entries, &ring, &parameters); error != 0)
      fail("io_uring", error);
    if (int error = io_uring_register_files(&ring, &file_, 1); error != 0)
      fail("register file", error);
    if (int error = io_uring_register_buffers_sparse(&ring, depth_); error != 0)
      fail("register buffers", error);
  }

  io_uring_sqe* sqe(io_uring& ring, std::uint32_t op, Kind kind, unsigned tag) const {
    io_uring_sqe* entry = io_uring_get_sqe(&ring);
    if (entry == nullptr) {
      io_uring_submit(&ring);
      entry = io_uring_get_sqe(&ring);
    }
    if (entry == nullptr) fail("get an SQE", EBUSY);
    std::memset(static_cast<void*>(entry), 0, sizeof *entry);
    entry->opcode = IORING_OP_URING_CMD;
    entry->flags = IOSQE_FIXED_FILE;
    entry->cmd_op = op;
    entry->user_data = static_cast<std::uint64_t>(kind) << 32 | tag;
    return entry;
  }

  void io_command(io_uring& ring, std::uint32_t op, unsigned tag, int result, std::uint64_t address,
                  Kind kind) const {
    io_uring_sqe* const entry = sqe(ring, op, kind, tag);
    ublksrv_io_cmd command{};
    command.tag = static_cast<std::uint16_t>(tag);
    command.result = result;
    command.addr = address;
    std::memcpy(entry->cmd, &command, sizeof command);
    if ((flags_ & UBLK_F_AUTO_BUF_REG) != 0 && kind == Kind::io) entry->addr = tag;
  }

  void command(std::uint32_t op, unsigned tag, int result) {
    const auto address =
        copies() ? reinterpret_cast<std::uintptr_t>(buffers_ + std::size_t{tag} * max_io_bytes) : 0;
    io_command(ring_, op, tag, result, address, Kind::io);
  }

  void keep_by_child() const {
    if (options_.keep.empty() || fork() != 0) return;
    if (options_.keep == "char") close(ring_.ring_fd);
    if (options_.keep == "ring") {
      // The io descriptors' mapping would keep the char device too.
      munmap(const_cast<ublksrv_io_desc*>(descriptors_), 4096);
      close(file_);
    }
    prctl(PR_SET_NAME, "keeper");
    for (int fd = 0; fd < 3; ++fd) close(fd);
    while (true) pause();
  }

  void completed(Kind kind, unsigned tag, int result, std::uint32_t flags) {
    switch (kind) {
      case Kind::io:
        if (result == UBLK_IO_RES_OK) return request(tag);
        if (result == UBLK_IO_RES_ABORT) return;
        std::fprintf(stderr, "bad_server: tag %u: result %d\n", tag, result);
        return;
      case Kind::timeout:
        return finish(tag);
      case Kind::buffer:
        if (result < 0)
          std::fprintf(stderr, "bad_server: buffer of tag %u: result %d\n", tag, result);
        if (!options_.register_only) finish(tag);
        return;
      case Kind::fetch:
        return batch_fetched(result, flags);
      case Kind::prep:
      case Kind::commit:
        if (result < 0) std::fprintf(stderr, "bad_server: batch command: result %d\n", result);
        return;
    }
  }

  void request(unsigned tag) {
    if (options_.hold == -1 || static_cast<int>(held_.size()) < options_.hold) {
      held_.push_back(tag);
      return;
    }
    if ((options_.register_only || !options_.leak.empty()) && leaked_++ == 0)
      return register_buffer(tag);
    if (options_.delay_ms == 0) return finish(tag);
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    timers_[tag] = {.tv_sec = options_.delay_ms / 1000,
                    .tv_nsec = options_.delay_ms % 1000 * 1'000'000};
    io_uring_prep_timeout(entry, &timers_[tag], 0, 0);
    entry->user_data = static_cast<std::uint64_t>(Kind::timeout) << 32 | tag;
  }

  void finish(unsigned tag) {
    const int result = static_cast<int>(descriptors_[tag].nr_sectors << 9);
    if (batch()) return batch_commit(tag, result);
    command(UBLK_U_IO_COMMIT_AND_FETCH_REQ, tag, result);
  }

  void commit_held() {
    release_held = 0;
    // Gives leaked buffers back; without that, killing this server wedges the kernel
    // (CANCEL_LIVELOCK).
    if (options_.register_only || !options_.leak.empty()) {
      for (io_uring* ring : {&ring_, &second_, &third_}) {
        if (ring->ring_fd > 0) io_uring_unregister_buffers(ring);
      }
      return;
    }
    for (const unsigned tag : held_) finish(tag);
    held_.clear();
    options_.hold = 0;
  }

  // Registers the request's buffer and (but for register_only) commits without taking it back.
  void register_buffer(unsigned tag) {
    if (options_.leak == "thread") {
      std::thread([this, tag] {
        make_ring(third_);
        register_in(third_, tag);
        io_uring_submit_and_wait(&third_, 1);
        io_uring_sqe* const wake = io_uring_get_sqe(&third_);
        io_uring_prep_msg_ring(wake, ring_.ring_fd, 0,
                               static_cast<std::uint64_t>(Kind::buffer) << 32 | tag, 0);
        io_uring_submit(&third_);
        while (true) pause();
      }).detach();
      return;
    }
    if (options_.leak != "second") return register_in(ring_, tag);
    register_in(second_, tag);
    io_uring_submit_and_wait(&second_, 1);
    finish(tag);
  }

  void register_in(io_uring& ring, unsigned tag) const {
    io_command(ring, UBLK_U_IO_REGISTER_IO_BUF, tag, 0, tag, Kind::buffer);
  }

  void batch_command(std::uint32_t op, unsigned count, Kind kind) {
    io_uring_sqe* const entry = sqe(ring_, op, kind, 0);
    entry->addr = reinterpret_cast<std::uintptr_t>(elements_.data());
    ublk_batch_io header{};
    header.nr_elem = static_cast<std::uint16_t>(count);
    header.elem_bytes = copies() ? 16 : 8;
    header.flags = copies() ? UBLK_BATCH_F_HAS_BUF_ADDR : 0;
    std::memcpy(entry->cmd, &header, sizeof header);
    io_uring_submit(&ring_);  // reads the elements
  }

  void batch_element(unsigned place, unsigned tag, int result) {
    const std::size_t bytes = copies() ? 16 : 8;
    ublk_elem_header element{};
    element.tag = static_cast<std::uint16_t>(tag);
    element.buf_index = static_cast<std::uint16_t>(tag);
    element.result = result;
    std::memcpy(&elements_[place * bytes], &element, sizeof element);
    const auto address =
        reinterpret_cast<std::uintptr_t>(buffers_ + std::size_t{tag} * max_io_bytes);
    if (copies()) std::memcpy(&elements_[place * bytes + 8], &address, sizeof address);
  }

  void batch_commit(unsigned tag, int result) {
    batch_element(0, tag, result);
    batch_command(UBLK_U_IO_COMMIT_IO_CMDS, 1, Kind::commit);
  }

  void batch_start() {
    for (unsigned tag = 0; tag < depth_; ++tag) batch_element(tag, tag, 0);
    batch_command(UBLK_U_IO_PREP_IO_CMDS, depth_, Kind::prep);
    if (options_.batch == "none") return;
    int error = 0;
    buffer_ring_ = io_uring_setup_buf_ring(&ring_, 2, 0, 0, &error);
    if (buffer_ring_ == nullptr) fail("buffer ring", error);
    give_buffer();
    io_uring_sqe* const entry = sqe(ring_, UBLK_U_IO_FETCH_IO_CMDS, Kind::fetch, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->uring_cmd_flags = multishot;
    ublk_batch_io header{};
    header.elem_bytes = sizeof(std::uint16_t);
    std::memcpy(entry->cmd, &header, sizeof header);
    io_uring_submit(&ring_);
  }

  void give_buffer() {
    io_uring_buf_ring_add(buffer_ring_, fetched_tags_.data(), 4096, 0, io_uring_buf_ring_mask(2),
                          0);
    io_uring_buf_ring_advance(buffer_ring_, 1);
  }

  void batch_fetched(int result, std::uint32_t flags) {
    if (result < 0) {
      std::fprintf(stderr, "bad_server: fetch command ended: %d\n", result);
      return;
    }
    if ((flags & IORING_CQE_F_BUFFER) == 0) return;
    const std::vector<std::uint16_t> tags(fetched_tags_.begin(),
                                          fetched_tags_.begin() + result / 2);
    if (options_.batch != "starved") give_buffer();
    for (const std::uint16_t tag : tags) request(tag);
  }
};

std::uint64_t flag_bits(const std::string& words) {
  static const std::map<std::string, std::uint64_t> known = {
      {"zc", UBLK_F_SUPPORT_ZERO_COPY},
      {"user_copy", UBLK_F_USER_COPY},
      {"recovery", UBLK_F_USER_RECOVERY},
      {"reissue", UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE},
      {"auto_zc", UBLK_F_AUTO_BUF_REG},
      {"fail_io", UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_FAIL_IO},
      {"quiesce", UBLK_F_QUIESCE},
      {"batch", UBLK_F_BATCH_IO},
      {"part_scan", 0},
      {"off_daemon", UBLK_F_BUF_REG_OFF_DAEMON}};
  std::uint64_t bits = words.find("part_scan") == std::string::npos ? UBLK_F_NO_AUTO_PART_SCAN : 0;
  for (std::size_t start = 0; start < words.size();) {
    const std::size_t end = std::min(words.find(',', start), words.size());
    const auto found = known.find(words.substr(start, end - start));
    if (found == known.end()) fail("unknown word in --flags", EINVAL);
    bits |= found->second;
    start = end + 1;
  }
  return bits;
}

Options parse(int argc, char** argv, int first) {
  Options options;
  for (int i = first; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> std::string { return i + 1 < argc ? argv[++i] : ""; };
    if (name == "--id")
      options.id = std::stoi(value());
    else if (name == "--depth")
      options.depth = static_cast<unsigned>(std::stoul(value()));
    else if (name == "--flags")
      options.flags = flag_bits(value());
    else if (name == "--hold")
      options.hold = std::stoi(value());
    else if (name == "--delay-ms")
      options.delay_ms = std::stol(value());
    else if (name == "--fetch")
      options.fetch = static_cast<unsigned>(std::stoul(value()));
    else if (name == "--cq")
      options.cq = static_cast<unsigned>(std::stoul(value()));
    else if (name == "--idle")
      options.idle = value();
    else if (name == "--leak")
      options.leak = value();
    else if (name == "--keep")
      options.keep = value();
    else if (name == "--batch")
      options.batch = value();
    else if (name == "--register-only")
      options.register_only = true;
    else if (name == "--no-defer")
      options.defer = false;
    else
      fail(name.c_str(), EINVAL);
  }
  return options;
}

int control_verb(const std::string& name, int id, std::uint64_t data) {
  static const std::map<std::string, std::uint32_t> commands = {
      {"start", UBLK_U_CMD_START_DEV},
      {"stop", UBLK_U_CMD_STOP_DEV},
      {"del", UBLK_U_CMD_DEL_DEV},
      {"del_async", UBLK_U_CMD_DEL_DEV_ASYNC},
      {"quiesce", UBLK_U_CMD_QUIESCE_DEV},
      {"try_stop", UBLK_U_CMD_TRY_STOP_DEV},
      {"recover", UBLK_U_CMD_START_USER_RECOVERY}};
  if (name == "info") {
    ublksrv_ctrl_dev_info info{};
    const int result = control(UBLK_U_CMD_GET_DEV_INFO, id, &info, sizeof info, 0);
    std::printf(
        "{\"result\": %d, \"nr_hw_queues\": %u, \"queue_depth\": %u, \"state\": %u, "
        "\"max_io_buf_bytes\": %u, "
        "\"dev_id\": %u, \"ublksrv_pid\": %d, \"flags\": %llu, \"owner_uid\": %u, \"owner_gid\": "
        "%u, "
        "\"io_desc_size\": %u}\n",
        result, info.nr_hw_queues, info.queue_depth, info.state, info.max_io_buf_bytes, info.dev_id,
        info.ublksrv_pid, static_cast<unsigned long long>(info.flags), info.owner_uid,
        info.owner_gid, info.io_desc_size);
    return 0;
  }
  const auto found = commands.find(name);
  if (found == commands.end()) fail("unknown control command", EINVAL);
  std::printf("%d\n", control(found->second, id, nullptr, 0, data));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "ctl" && argc >= 4)
    return control_verb(argv[2], std::stoi(argv[3]), argc > 4 ? std::stoull(argv[4]) : 0);
  const bool recovering = verb == "recover" && argc >= 3;
  if (verb != "serve" && !recovering)
    fail("usage: bad_server serve|recover ID|ctl COMMAND ID", EINVAL);
  Options options = parse(argc, argv, recovering ? 3 : 2);
  if (recovering) options.id = std::stoi(argv[2]);
  struct sigaction action{};
  action.sa_handler = [](int) { release_held = 1; };
  sigaction(SIGUSR1, &action, nullptr);
  Server server(options);
  if (recovering)
    server.take_over();
  else
    server.add();
  std::printf("added %d\n", server.id());
  std::fflush(stdout);
  server.open_device();
  server.fetch_all();
  server.start(recovering ? UBLK_U_CMD_END_USER_RECOVERY : UBLK_U_CMD_START_DEV);
  server.serve();
}
