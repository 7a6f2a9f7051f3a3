// SPDX-License-Identifier: MIT
// The guest's first process, alone in its initramfs: puts the root file system together and runs
// the command. A program and not a shell script, because starting some forty processes under
// emulation takes seconds.
//
// /vm holds what scripts/vm appended for this run, as NUL-terminated strings: argv, env, cwd, disks
// (a number), shares (pairs of a folder in the work share and its path), and empty files: pty for
// an interactive command, settle for one whose instructions are counted. /modules holds what this
// kernel has not built in, and the order to load it.

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "pipe.hpp"

namespace vm {
namespace {

namespace fs = std::filesystem;

constexpr int poll_tries = 3000;
constexpr int poll_interval_us = 10'000;

struct Mount {
  const char* source;
  const char* type;
  const char* target;
  const char* options = "";
};

// The root share is mounted on /ro, its writable overlay on /new, which becomes the root.
constexpr Mount early_mounts[] = {
    {"dev", "devtmpfs", "/dev"}, {"proc", "proc", "/proc"}, {"sysfs", "sysfs", "/sys"}};
constexpr Mount root_mounts[] = {
    {"root", "virtiofs", "/ro"},
    {"tmpfs", "tmpfs", "/rw", "mode=755"},
};
constexpr Mount overlay = {"overlay", "overlay", "/new",
                           "lowerdir=/ro/root,upperdir=/rw/upper,workdir=/rw/work"};
constexpr Mount system_mounts[] = {
    {"devpts", "devpts", "/new/dev/pts", "gid=5,mode=620,ptmxmode=666"},
    {"tmpfs", "tmpfs", "/new/dev/shm", "mode=1777"},
    {"tmpfs", "tmpfs", "/new/run", "mode=755"},
    {"tmpfs", "tmpfs", "/new/tmp", "mode=1777"},
    {"work", "virtiofs", "/new/run/ublkbench-vm/work"},
};
// A kernel may lack these.
constexpr Mount optional_mounts[] = {
    {"debugfs", "debugfs", "/new/sys/kernel/debug"},
    {"tracefs", "tracefs", "/new/sys/kernel/tracing"},
    {"configfs", "configfs", "/new/sys/kernel/config"},
    {"bpf", "bpf", "/new/sys/fs/bpf"},
    {"cgroup2", "cgroup2", "/new/sys/fs/cgroup"},
    {"hugetlbfs", "hugetlbfs", "/new/dev/hugepages"},
};
constexpr const char* standard_links[][2] = {{"/proc/self/fd", "/new/dev/fd"},
                                             {"/proc/self/fd/0", "/new/dev/stdin"},
                                             {"/proc/self/fd/1", "/new/dev/stdout"},
                                             {"/proc/self/fd/2", "/new/dev/stderr"}};

void make_folders(const std::string& path) {
  std::error_code ignored;
  fs::create_directories(path, ignored);
}

bool try_mount(const Mount& entry) {
  make_folders(entry.target);
  return mount(entry.source, entry.target, entry.type, 0, entry.options) == 0;
}

void mount_or_fail(const Mount& entry) {
  if (!try_mount(entry)) fail(std::string("mount ") + entry.type + " on " + entry.target);
}

void move_or_bind(const std::string& from, const std::string& to, unsigned long how) {
  make_folders(to);
  if (mount(from.c_str(), to.c_str(), nullptr, how, nullptr) < 0) {
    fail("mount " + from + " on " + to);
  }
}

/// The first word of a file in sysfs; nothing if it cannot be read.
std::string read_word(const fs::path& path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

/// The archive may lack /dev/console, and then the kernel gave this process nothing to speak to.
void use_console() {
  const int console = open("/dev/console", O_RDWR);
  for (int fd = 0; fd <= 2; fd++) dup2(console, fd);
}

/// What cannot be loaded is missed later, or not needed: only say it.
void load_modules() {
  for (const std::string& name : read_strings("/modules/order")) {
    const int fd = open(("/modules/" + name).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)) {
      std::fprintf(stderr, "vm-init: cannot load %s: %s\n", name.c_str(), std::strerror(errno));
    }
    close(fd);
  }
}

void mount_root() {
  for (const Mount& entry : root_mounts) mount_or_fail(entry);
  make_folders("/rw/upper");
  make_folders("/rw/work");
  mount_or_fail(overlay);
  for (const char* path : {"/dev", "/proc", "/sys"}) {
    move_or_bind(path, std::string("/new") + path, MS_MOVE);
  }
  for (const Mount& entry : system_mounts) mount_or_fail(entry);
  for (const Mount& entry : optional_mounts) try_mount(entry);
  make_folders("/new/run/lock");
  for (const auto& [target, link] : standard_links) {
    if (symlink(target, link) < 0 && errno != EEXIST) fail(link);
  }
}

/// Gives back the paths, for the flush at the end.
std::vector<std::string> mount_shares() {
  std::vector<std::string> paths;
  const std::vector<std::string> pairs = read_strings("/vm/shares");
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
    move_or_bind("/new/run/ublkbench-vm/work/" + pairs[i], "/new" + pairs[i + 1], MS_BIND);
    paths.push_back(pairs[i + 1]);
  }
  return paths;
}

void mount_modules() {
  utsname system{};
  uname(&system);
  const std::string folder = std::string("lib/modules/") + system.release;
  if (fs::exists("/ro/kernel/" + folder)) {
    move_or_bind("/ro/kernel/" + folder, "/new/usr/" + folder, MS_BIND);
  }
}

/// Scratch disks are found by serial: their nvme numbers are assigned in a race.
std::size_t link_new_disks() {
  std::size_t found = 0;
  for (const auto& block : fs::directory_iterator("/new/sys/block")) {
    const std::string serial = read_word(block.path() / "device/serial");
    if (!serial.starts_with("scratch")) continue;
    const std::string target = "../../" + block.path().filename().string();
    const std::string link = "/new/dev/disk/by-ublkbench/" + serial;
    if (symlink(target.c_str(), link.c_str()) == 0 || errno == EEXIST) found++;
  }
  return found;
}

void link_disks() {
  const std::size_t expected = std::stoul(read_strings("/vm/disks").at(0));
  if (expected == 0) return;
  make_folders("/new/dev/disk/by-ublkbench");
  for (int i = 0; i < poll_tries && link_new_disks() < expected; i++) usleep(poll_interval_us);
}

int open_port() {
  for (int i = 0; i < poll_tries; i++) {
    std::error_code none_yet;
    for (const auto& port : fs::directory_iterator("/new/sys/class/virtio-ports", none_yet)) {
      if (read_word(port.path() / "name") != "vm-pipe") continue;
      const std::string device = "/new/dev/" + port.path().filename().string();
      const int fd = open(device.c_str(), O_RDWR | O_CLOEXEC);
      if (fd >= 0) return fd;
    }
    usleep(poll_interval_us);
  }
  fail("find the virtio port");
}

void set_limit(__rlimit_resource_t resource, rlim_t soft, rlim_t hard) {
  const rlimit limit{soft, hard};
  setrlimit(resource, &limit);
}

void set_limits_and_names() {
  set_limit(RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
  set_limit(RLIMIT_NOFILE, 1048576, 1048576);
  set_limit(RLIMIT_CORE, 0, RLIM_INFINITY);
  sethostname("ublkbench-vm", std::strlen("ublkbench-vm"));
  umask(022);
  const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq loopback{};
  std::strcpy(loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP | IFF_RUNNING;
  ioctl(any, SIOCSIFFLAGS, &loopback);
  close(any);
}

double cpu_seconds() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

/// After a boot the kernel's workers go on for seconds. With one CPU and an instruction clock they
/// would take up to three quarters of the command's time, so the command waits until a thread of
/// the lowest class gets nearly all of the CPU.
void wait_for_quiet() {
  constexpr double window_seconds = 0.05;
  constexpr double quiet_share = 0.98;
  constexpr int quiet_windows_needed = 6;
  const sched_param no_priority{};
  sched_setscheduler(0, SCHED_IDLE, &no_priority);
  const double give_up = seconds_now() + 20;
  for (int quiet = 0; quiet < quiet_windows_needed && seconds_now() < give_up;) {
    const double start = seconds_now();
    const double start_cpu = cpu_seconds();
    while (seconds_now() < start + window_seconds) {
    }
    const double share = (cpu_seconds() - start_cpu) / (seconds_now() - start);
    quiet = share > quiet_share ? quiet + 1 : 0;
  }
  sched_setscheduler(0, SCHED_OTHER, &no_priority);
}

void enter_root() {
  if (chdir("/new") < 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) < 0 || chroot(".") < 0 ||
      chdir("/") < 0) {
    fail("enter the root");
  }
}

}  // namespace

int run_init() {
  for (const Mount& entry : early_mounts) mount_or_fail(entry);
  use_console();
  Command command{.argv = read_strings("/vm/argv"),
                  .env = read_strings("/vm/env"),
                  .cwd = read_strings("/vm/cwd").at(0),
                  .shares = {},
                  .interactive = fs::exists("/vm/pty")};
  // Mounts and modules wait for RCU: hurry, until the command starts, which shall find it as usual.
  std::ofstream("/sys/kernel/rcu_expedited") << "1";
  load_modules();
  mount_root();
  command.shares = mount_shares();
  mount_modules();
  link_disks();
  set_limits_and_names();
  const int port = open_port();
  if (fs::exists("/vm/settle")) wait_for_quiet();
  std::ofstream("/new/sys/kernel/rcu_expedited") << "0";
  enter_root();
  run_command(port, command);
}

}  // namespace vm
