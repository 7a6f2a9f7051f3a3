// SPDX-License-Identifier: MIT
#include "bench/targets/fault_spec.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench {
namespace {

struct ErrorName {
  std::string_view name;
  std::int32_t errnum;
};
// Those that the block layer tells apart (block/blk-core.c, blk_errors); clients see the same name.
constexpr std::array error_names{
    ErrorName{"EIO", EIO},
    ErrorName{"EOPNOTSUPP", EOPNOTSUPP},
    ErrorName{"ETIMEDOUT", ETIMEDOUT},
    ErrorName{"ENOSPC", ENOSPC},
    ErrorName{"ENOLINK", ENOLINK},
    ErrorName{"EREMOTEIO", EREMOTEIO},
    ErrorName{"EBADE", EBADE},
    ErrorName{"ENODATA", ENODATA},
    ErrorName{"EILSEQ", EILSEQ},
    ErrorName{"ENOMEM", ENOMEM},
    ErrorName{"EOVERFLOW", EOVERFLOW},
    ErrorName{"ETOOMANYREFS", ETOOMANYREFS},
};

struct OpName {
  std::string_view name;
  Op op;
};
constexpr std::array op_names{OpName{"read", Op::read}, OpName{"write", Op::write},
                              OpName{"flush", Op::flush}, OpName{"discard", Op::discard},
                              OpName{"write_zeroes", Op::write_zeroes}};

constexpr std::uint32_t bit(Op op) { return 1U << static_cast<unsigned>(op); }
constexpr std::uint32_t transfers = bit(Op::read) | bit(Op::write);

std::unexpected<Error> bad_word(std::string_view word, std::string_view hint) {
  return bad_input(formatted("fault '{}'", word), hint);
}

/// "A..B" into two texts; the second empty if there are no dots.
std::pair<std::string_view, std::string_view> range_ends(std::string_view text) {
  const std::size_t dots = text.find("..");
  if (dots == std::string_view::npos) return {text, {}};
  return {text.substr(0, dots), text.substr(dots + 2)};
}

Result<> take_range(std::string_view text, FaultMatch& match) {
  const auto [first, last] = range_ends(text);
  const auto begin = parse_size(first);
  const auto end = parse_size(last);
  if (!begin || !end || *begin >= *end)
    return bad_word(text, "a range of bytes is FROM..TO, for instance 1M..2M");
  match.begin = *begin;
  match.end = *end;
  return {};
}

Result<double> parse_rate(std::string_view text) {
  double percent = 0;
  const char* const end = text.data() + text.size() - 1;
  const auto [rest, error] = std::from_chars(text.data(), end, percent);
  if (error != std::errc{} || rest != end || !(percent >= 0 && percent <= 100))
    return bad_word(text, "a rate is 0% to 100%, for instance 0.1%");
  return percent / 100;
}

/// One WHERE behind an '@'.
Result<> take_where(std::string_view text, FaultMatch& match, bool& ops_named) {
  if (text.ends_with('%')) {
    auto rate = parse_rate(text);
    if (!rate) return std::unexpected(rate.error());
    match.rate = *rate;
    return {};
  }
  for (const OpName& known : op_names) {
    if (known.name != text) continue;
    match.ops = (ops_named ? match.ops : 0) | bit(known.op);
    ops_named = true;
    return {};
  }
  if (text.find("..") != std::string_view::npos) return take_range(text, match);
  return bad_word(text,
                  "after '@' goes a rate (1%), an operation (read, write, flush, discard, "
                  "write_zeroes) or a range of bytes (1M..2M)");
}

Result<Delay> parse_delay(std::string_view text) {
  Delay delay;
  if (text.starts_with("exp:")) {
    delay.distribution = Delay::Distribution::exponential;
    text.remove_prefix(4);
  } else if (text.starts_with("uniform:")) {
    delay.distribution = Delay::Distribution::uniform;
    text.remove_prefix(8);
  }
  const auto [first, last] = range_ends(text);
  const bool uniform = delay.distribution == Delay::Distribution::uniform;
  const auto low = parse_duration_ns(first);
  const auto high = uniform ? parse_duration_ns(last) : low;
  if (!low || !high || *low > *high || (!uniform && !last.empty()))
    return bad_word(text, "a time is 2ms, uniform:1ms..3ms or exp:1ms");
  delay.low_ns = *low;
  delay.high_ns = *high;
  return delay;
}

Result<std::int32_t> parse_error(std::string_view text) {
  std::string known;
  for (const ErrorName& error : error_names) {
    if (error.name == text) return error.errnum;
    known += (known.empty() ? "" : ", ") + std::string(error.name);
  }
  return bad_word(text, "the block layer tells apart " + known);
}

Result<std::uint32_t> parse_head(std::string_view text) {
  const auto bytes = parse_size(text);
  if (!bytes || *bytes % 512 != 0 || *bytes > 1U << 30)
    return bad_word(text, "give how many bytes are served, a multiple of 512");
  return static_cast<std::uint32_t>(*bytes);
}

/// "TAG" or "QUEUE:TAG".
Result<> take_tag(std::string_view text, FaultMatch& match) {
  const std::size_t colon = text.find(':');
  const auto tag = parse_count(colon == std::string_view::npos ? text : text.substr(colon + 1));
  const auto queue = parse_count(colon == std::string_view::npos ? "0" : text.substr(0, colon));
  if (!tag || !queue || *tag > 4095 || *queue > 4095)
    return bad_word(text, "give a tag, or QUEUE:TAG, for instance hang=5");
  match.tag = static_cast<unsigned>(*tag);
  if (colon != std::string_view::npos) match.queue = static_cast<unsigned>(*queue);
  return {};
}

template <class T, class Field>
Result<> put(const Result<T>& value, Field& field) {
  if (!value) return std::unexpected(value.error());
  field = *value;
  return {};
}

struct Key {
  std::string_view name;
  Fault::Kind kind;
  std::uint32_t ops;
  Result<> (*take)(std::string_view value, Fault& fault);
};
constexpr std::array keys{
    Key{"delay", Fault::Kind::delay, ~0U,
        [](std::string_view value, Fault& fault) { return put(parse_delay(value), fault.delay); }},
    Key{"stall", Fault::Kind::stall, ~0U,
        [](std::string_view value, Fault& fault) { return put(parse_delay(value), fault.delay); }},
    Key{"error", Fault::Kind::error, ~0U,
        [](std::string_view value, Fault& fault) { return put(parse_error(value), fault.errnum); }},
    Key{"short", Fault::Kind::cut_short, transfers,
        [](std::string_view value, Fault& fault) { return put(parse_head(value), fault.bytes); }},
    Key{"torn", Fault::Kind::torn, bit(Op::write),
        [](std::string_view value, Fault& fault) { return put(parse_head(value), fault.bytes); }},
    Key{"hang", Fault::Kind::hang, ~0U,
        [](std::string_view value, Fault& fault) { return take_tag(value, fault.match); }},
    // As a disk reports an unreadable sector: BLK_STS_MEDIUM, which clients see as ENODATA.
    Key{"badblocks", Fault::Kind::error, transfers,
        [](std::string_view value, Fault& fault) {
          fault.errnum = ENODATA;
          return take_range(value, fault.match);
        }},
};

/// Words that are for the target as a whole; false if `name` is none of them.
Result<bool> take_setting(std::string_view name, std::string_view value, FaultSpec& spec) {
  if (name == "cache") {
    if (value != "volatile") return bad_word(value, "the only cache is cache=volatile");
    spec.volatile_cache = true;
    return true;
  }
  std::uint64_t* const field = name == "seed"        ? &spec.seed
                               : name == "die"       ? &spec.die_at
                               : name == "bandwidth" ? &spec.bytes_per_second
                                                     : nullptr;
  if (field == nullptr) return false;
  const auto number = name == "bandwidth" ? parse_size(value) : parse_count(value);
  if (!number) return std::unexpected(number.error());
  if (*number == 0 && name != "seed") return bad_word(name, "give more than 0");
  *field = *number;
  return true;
}

Result<> take_word(const std::string& word, FaultSpec& spec) {
  const auto parts = split(word, '@');
  const std::string_view head = parts.empty() ? std::string_view{} : parts.front();
  const std::size_t equals = head.find('=');
  if (equals == std::string_view::npos)
    return bad_word(word, "faults are KEY=VALUE, for instance delay=2ms or error=EIO@0.1%");
  const std::string_view name = head.substr(0, equals);
  const std::string_view value = head.substr(equals + 1);
  auto setting = take_setting(name, value, spec);
  if (!setting) return std::unexpected(setting.error());
  if (*setting) {
    if (parts.size() > 1) return bad_word(word, "it is for all requests and takes no '@'");
    return {};
  }
  for (const Key& key : keys) {
    if (key.name != name) continue;
    Fault fault{.kind = key.kind, .match = {.ops = key.ops}};
    if (auto taken = key.take(value, fault); !taken) return taken;
    bool ops_named = false;
    for (std::size_t part = 1; part < parts.size(); ++part)
      if (auto taken = take_where(parts[part], fault.match, ops_named); !taken) return taken;
    if ((fault.match.ops & ~key.ops) != 0 && ops_named)
      return bad_word(word,
                      name == "torn" ? "only writes are torn" : "it is for reads and writes only");
    spec.faults.push_back(fault);
    return {};
  }
  return bad_word(name,
                  "use delay, stall, error, short, torn, hang, badblocks, bandwidth, die, "
                  "cache or seed");
}

}  // namespace

std::uint64_t Delay::draw_ns(SplitMix64& random) const {
  switch (distribution) {
    case Distribution::fixed:
      return low_ns;
    case Distribution::uniform:
      return low_ns + static_cast<std::uint64_t>(random.fraction() *
                                                 static_cast<double>(high_ns - low_ns + 1));
    case Distribution::exponential:
      return static_cast<std::uint64_t>(-std::log(1 - random.fraction()) *
                                        static_cast<double>(low_ns));
  }
  return 0;
}

Result<FaultSpec> parse_faults(std::string_view text) {
  FaultSpec spec;
  const auto words = split(text, ',');
  if (words.empty())
    return bad_input("+fault: without a fault", "for instance null+fault:delay=2ms");
  for (const std::string& word : words)
    if (auto taken = take_word(word, spec); !taken) return std::unexpected(taken.error());
  return spec;
}

}  // namespace ublkbench
