// SPDX-License-Identifier: MIT
// stdin, stdout and stderr as a program is given them: closed, full, or read by nobody.
#pragma once

#include <string_view>

#include "bench/base/format.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

/// The first thing in main(). Streams that are closed are opened, so that no device's descriptor
/// becomes stdout; what is written to one of them fails as before. A reader that is gone is an
/// error of write(), not the end of the program.
void prepare_standard_streams();

/// Closes the descriptors above stderr that were open when the program began: its caller's. For a
/// process that was forked; once, as the numbers are then its own.
void close_callers_descriptors();

/// A line to stderr, as one write. That nobody can read it is no error.
void say(std::string_view line);
template <class... Values>
void say(std::format_string<Values...> format, Values&&... values)
  requires(sizeof...(Values) > 0)
{
  say(std::string_view(formatted_with(format.get(), std::make_format_args(values...))));
}

/// The same without a newline, for a line that is written over.
void say_part(std::string_view text);

/// To stdout through stdio: entry.hpp says at the end of the program if it could not be written.
void print_part(std::string_view text);
template <class... Values>
void print_line(std::format_string<Values...> format, Values&&... values) {
  print_part(formatted_with(format.get(), std::make_format_args(values...)) + '\n');
}

/// All of `text` to stdout. That it cannot be written is an error, with ExitCode::usage.
Result<> write_to_stdout(std::string_view text);

}  // namespace ublkbench
