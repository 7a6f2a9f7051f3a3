// SPDX-License-Identifier: MIT
// ublk-probe: attaches the probes to devices of any ublk server, shows and records what they count.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "bench/base/atomic_file.hpp"
#include "bench/base/clock.hpp"
#include "bench/base/entry.hpp"
#include "bench/base/fd.hpp"
#include "bench/base/format.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/base/units.hpp"
#include "bench/cli/help_formatter.hpp"
#include "bench/cli/print_options.hpp"
#include "bench/record/probe_document.hpp"
#include "bench/record/record_text.hpp"
#include "bench/record/tool_identity.hpp"
#include "probes/lib/bpf.hpp"
#include "probes/probe.hpp"
#include "probes/probe_document.hpp"

namespace ublkbench::probes {
namespace {

constexpr std::uint64_t settle_limit_ns = 1'000'000'000;
constexpr std::uint64_t look_interval_ns = 200'000'000;  // for a device that vanished

struct Arguments {
  std::string device = "all";
  int pid = 0;
  std::vector<std::string> probes{"batch"};
  std::uint64_t interval_ns = 0;
  std::uint64_t duration_ns = 0;
  std::string json_file;
  unsigned max_tags = 65536;
  unsigned sample = 31;
  int ready_fd = -1;
  int edges_fd = -1;
  bool general = false;
  bool list = false;
};

constexpr const char* examples = R"(Examples
  how big are the batches on device 0, whoever serves it, until Ctrl-C
      ublk-probe --dev 0
  batches and the latency of each stage for ten seconds, for a program
      ublk-probe --dev 0 --probe batch,latency --duration 10s --json probe.json
  all devices of one server process, a new picture every two seconds
      ublk-probe --pid 4711 --interval 2s

Needs root and a kernel with BTF (CONFIG_DEBUG_INFO_BTF). Exit codes: 0 done, 2 usage,
5 this machine cannot do it, 130 ended by Ctrl-C; what was counted is shown then too.)";

int fail(const Error& error) {
  say("ublk-probe: {}", error.message());
  return static_cast<int>(error.exit);
}

CLI::Option* add_duration(CLI::App& app, const std::string& name, std::uint64_t& value,
                          const std::string& help) {
  return app
      .add_option_function<std::string>(
          name,
          [&value](const std::string& text) {
            const auto parsed = parse_duration_ns(text);
            if (!parsed) throw CLI::ValidationError(parsed.error().message());
            if (*parsed == 0) throw CLI::ValidationError("a time of 0 is none");
            value = *parsed;
          },
          help)
      ->type_name("TIME");
}

std::vector<std::string> probe_words() {
  std::vector<std::string> words;
  for (const ProbeKind& kind : probe_kinds()) words.emplace_back(kind.name);
  return words;
}

std::optional<int> parse_arguments(Arguments& arguments, int argc, char** argv) {
  CLI::App app{"Says what happens inside ublk devices, without any help of their server.",
               "ublk-probe"};
  app.formatter(std::make_shared<HelpFormatter>());
  app.footer(examples);
  app.set_version_flag("--version", version_text());
  add_print_options(app, {{"PROBE", probe_words()}});
  auto* const device = app.add_option("--dev,-d", arguments.device, "Number of a device, or all")
                           ->type_name("all|ID")
                           ->capture_default_str();
  app.add_option("--pid", arguments.pid, "All devices that this process serves")
      ->check(CLI::PositiveNumber)
      ->excludes(device);
  app.add_option("--probe,-p", arguments.probes, "Which, joined by commas; --list names them")
      ->type_name("PROBE,...")
      ->delimiter(',')
      ->capture_default_str();
  add_duration(app, "--interval,-i", arguments.interval_ns,
               "Show so often what was counted so far");
  add_duration(app, "--duration,-t", arguments.duration_ns, "End after so long (default: Ctrl-C)");
  app.add_option("--json", arguments.json_file, "Write the record; - for stdout instead of text")
      ->type_name("FILE");
  app.add_flag("--general", arguments.general,
               "Attach where every kernel can, even if it costs more: to check the cheaper ways");
  app.add_option("--max-tags", arguments.max_tags,
                 "latency: room for so many tags, of all queues of all devices")
      ->check(CLI::Range(1U, 1U << 24))
      ->capture_default_str();
  // Not a power of two, as batches often are: it would meet the same place of each of them.
  app.add_option("--sample", arguments.sample,
                 "latency: follow every Nth request; 1 follows all, and costs more")
      ->check(CLI::Range(1U, 1U << 20))
      ->envname("UBLKBENCH_PROBE_SAMPLE")
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--ready-fd", arguments.ready_fd,
                 "Write a byte to this file descriptor once everything is attached")
      ->type_name("FD");
  app.add_option("--edges-fd", arguments.edges_fd,
                 "A socket on which b and e mark the begin and the end of a window, each answered "
                 "by the same byte: what is shown and recorded is then of the window")
      ->type_name("FD");
  app.add_flag("--list", arguments.list, "List the probes");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    say("ublk-probe: {}; see --help", error.what());
    return static_cast<int>(ExitCode::usage);
  }
  return {};
}

Result<std::vector<const ProbeKind*>> chosen_kinds(const std::vector<std::string>& names) {
  std::vector<const ProbeKind*> kinds;
  for (const std::string& name : names) {
    const auto found = std::ranges::find_if(
        probe_kinds(), [&](const ProbeKind& kind) { return kind.name == name; });
    if (found == probe_kinds().end()) {
      std::string known;
      for (const std::string& word : probe_words()) known += (known.empty() ? "" : ", ") + word;
      return bad_input(formatted("unknown probe '{}'", name), "there are " + known);
    }
    if (std::ranges::find(kinds, &*found) == kinds.end()) kinds.push_back(&*found);
  }
  return kinds;
}

Result<Subject> subject_of(const Arguments& arguments) {
  if (arguments.pid != 0) return devices_of(arguments.pid);
  if (arguments.device == "all") return all_devices();
  const auto number = parse_count(arguments.device);
  if (!number || *number > 1U << 20)
    return bad_input(formatted("--dev {}", arguments.device), "a number or 'all'");
  return one_device(static_cast<int>(*number));
}

/// SIGINT, SIGTERM and SIGHUP as a file.
Fd signal_file() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  return Fd(::signalfd(-1, &signals, SFD_CLOEXEC));
}

class Session {
 public:
  Session(const Arguments& arguments, Subject subject)
      : arguments_(arguments), subject_(std::move(subject)) {}

  Result<> attach(const std::vector<const ProbeKind*>& kinds) {
    auto kernel = KernelTypes::load();
    if (!kernel) return std::unexpected(kernel.error());
    const ProbeSetup setup{
        .kernel = *kernel,
        .subject = subject_,
        .preference = arguments_.general ? Preference::most_general : Preference::cheapest,
        .max_tags = arguments_.max_tags,
        .sample = arguments_.sample};
    for (const ProbeKind* kind : kinds) {
      auto probe = kind->attach(setup);
      if (!probe) return std::unexpected(probe.error());
      probes_.push_back({kind->name, std::move(*probe)});
    }
    begin_ns_ = now_ns();
    return {};
  }

  void announce() const {
    say("ublk-probe: attached to {}", subject_.text());
    if (arguments_.ready_fd < 0) return;
    const char byte = '\n';
    (void)!::write(arguments_.ready_fd, &byte, 1);
    ::close(arguments_.ready_fd);
  }

  /// Until a signal, the end of --duration, or the end of the device.
  Result<> watch(const Fd& signals) {
    std::uint64_t next_picture_ns =
        arguments_.interval_ns == 0 ? UINT64_MAX : begin_ns_ + arguments_.interval_ns;
    const std::uint64_t end_ns =
        arguments_.duration_ns == 0 ? UINT64_MAX : begin_ns_ + arguments_.duration_ns;
    for (;;) {
      const std::uint64_t now = now_ns();
      if (now >= end_ns) {
        end(probed::Ending::duration);
        return {};
      }
      for (const Attached& attached : probes_) attached.probe->look();
      if (now >= next_picture_ns) {
        picture();
        // Not before now, also where a picture takes longer than the interval.
        next_picture_ns = std::max(next_picture_ns + arguments_.interval_ns, now);
      }
      if (const auto gone = subject_.vanished()) {
        say("ublk-probe: device {} was removed; what was counted until then:", *gone);
        end(probed::Ending::device_removed);
        return {};
      }
      const std::uint64_t wake_ns = std::min({end_ns, next_picture_ns, now + look_interval_ns});
      // poll() leaves a negative file out.
      pollfd files[] = {{.fd = signals.get(), .events = POLLIN, .revents = 0},
                        {.fd = arguments_.edges_fd, .events = POLLIN, .revents = 0}};
      if (edges_over_) files[1].fd = -1;
      if (::poll(files, 2, static_cast<int>((wake_ns - now + 999'999) / 1'000'000)) <= 0) continue;
      // An edge that came before the signal is marked before the end.
      if (files[1].revents != 0)
        if (auto marked = mark_edge(); !marked) return marked;
      if (files[1].revents == 0 && files[0].revents != 0) {
        end(probed::Ending::interrupted);
        return {};
      }
    }
  }

  /// What is in flight when the end comes is not half counted: the load is usually over by then.
  void settle() const {
    const std::uint64_t deadline_ns = now_ns() + settle_limit_ns;
    const auto settled = [](const auto& probe) { return probe.probe->settled(); };
    while (ending_ != probed::Ending::device_removed && !std::ranges::all_of(probes_, settled) &&
           now_ns() < deadline_ns)
      ::usleep(1000);
  }

  Result<int> finish() {
    const auto document = record();
    if (!document) return std::unexpected(document.error());
    const std::string& file = arguments_.json_file;
    const std::string json = file.empty() ? std::string() : record_text(*document, 2) + '\n';
    if (!json.empty() && file != "-")
      if (auto written = write_file_atomically(file, json); !written)
        return std::unexpected(written.error());
    if (auto written = write_to_stdout(file == "-" ? json : *document->text); !written)
      return std::unexpected(written.error());
    return ending_ == probed::Ending::interrupted && arguments_.ready_fd < 0
               ? static_cast<int>(ExitCode::interrupted)
               : 0;
  }

 private:
  Result<> mark_edge() {
    char byte = 0;
    if (::read(arguments_.edges_fd, &byte, 1) != 1) {
      edges_over_ = true;  // whoever told of them is gone
      return {};
    }
    if (byte != 'b' && byte != 'e')
      return bad_input(formatted("--edges-fd: byte {}", static_cast<int>(byte)), "b or e");
    for (const Attached& attached : probes_)
      if (auto marked = attached.probe->mark(byte == 'b' ? Edge::begin : Edge::end); !marked)
        return marked;
    (byte == 'b' ? window_begin_ns_ : window_end_ns_) = now_ns();
    if (::send(arguments_.edges_fd, &byte, 1, MSG_NOSIGNAL) != 1)
      return failed("answer on", formatted("--edges-fd {}", arguments_.edges_fd), errno);
    return {};
  }

  /// Whether both edges of a window were marked.
  [[nodiscard]] bool has_window() const {
    return window_begin_ns_ != 0 && window_end_ns_ > window_begin_ns_;
  }

  void end(probed::Ending why) {
    ending_ = why;
    end_ns_ = now_ns();
  }

  void picture() const {
    const auto document = record();
    if (!document || arguments_.json_file == "-") return;
    if (::isatty(STDOUT_FILENO) == 1) print_part("\033[H\033[2J");
    print_line("{}", *document->text);
    std::fflush(stdout);
  }

  [[nodiscard]] Result<probed::Document> record() const {
    utsname kernel{};
    ::uname(&kernel);
    auto counted = records_of(probes_, has_window() ? Span::window : Span::attached);
    if (!counted) return std::unexpected(counted.error());
    probed::Document document{
        .tool = tool_identity(),
        .kernel = kernel.release,
        .subject = subject_.record(),
        .attached_ns = (end_ns_ != 0 ? end_ns_ : now_ns()) - begin_ns_,
        .ending = ending_,
        .probes = std::move(*counted),
    };
    if (has_window()) {
      auto all = records_of(probes_, Span::attached);
      if (!all) return std::unexpected(all.error());
      document.window_ns = window_end_ns_ - window_begin_ns_;
      document.attached = without_details(std::move(*all));
    }
    document.text = text_of(probes_, document.probes, Detail::all);
    document.brief = text_of(probes_, document.probes, Detail::brief);
    return document;
  }

  const Arguments& arguments_;
  Subject subject_;
  std::vector<Attached> probes_;
  std::uint64_t begin_ns_ = 0;
  std::uint64_t end_ns_ = 0;
  std::uint64_t window_begin_ns_ = 0;
  std::uint64_t window_end_ns_ = 0;
  bool edges_over_ = false;
  probed::Ending ending_ = probed::Ending::running;
};

int list_probes() {
  for (const ProbeKind& kind : probe_kinds()) print_line("{:<10} {}", kind.name, kind.question);
  return 0;
}

int run(const Arguments& arguments) {
  if (arguments.list) return list_probes();
  quiet_libbpf();
  const auto kinds = chosen_kinds(arguments.probes);
  if (!kinds) return fail(kinds.error());
  auto subject = subject_of(arguments);
  if (!subject) return fail(subject.error());
  // What is attached goes with this process.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    ::signal(signal, [](int) { ::_exit(static_cast<int>(ExitCode::interrupted)); });
  Session session(arguments, std::move(*subject));
  if (auto attached = session.attach(*kinds); !attached) return fail(attached.error());
  const Fd signals = signal_file();
  session.announce();
  if (auto watched = session.watch(signals); !watched) return fail(watched.error());
  session.settle();
  const auto code = session.finish();
  return code ? *code : fail(code.error());
}

}  // namespace
}  // namespace ublkbench::probes

int main(int argc, char** argv) {
  return ublkbench::enter("ublk-probe", argc, argv, [&] {
    ublkbench::probes::Arguments arguments;
    const auto code = ublkbench::probes::parse_arguments(arguments, argc, argv);
    return code ? *code : ublkbench::probes::run(arguments);
  });
}
