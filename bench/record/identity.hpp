// SPDX-License-Identifier: MIT
// What two runs must have in common to be compared, or to be one: the machine and the work.
// compare, gate, trend and --resume all ask here. A thing that decides the work is a
// member of WorkDetails (run_record.hpp); one that earlier records lack may get a row of what it
// was then.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/record/facts.hpp"

namespace ublkbench {

/// {"env.kernel.release": ..., "work.ios": ...}: the environment's key fields and the work, with
/// dots for levels. Of `run` and `env` of a record.
Facts identity(const Facts& run, const Facts& env);

/// And what samples of one run share besides: programs, seed, verification.
Facts identity_of_one_run(const Facts& run, const Facts& env);

struct FieldDifference {
  std::string field;  ///< "env.kernel.release"
  std::string a;      ///< as JSON; "absent" where there is none
  std::string b;
  std::string where = {};  ///< the cells that it is of; empty: all
};

/// Of two identities, without those below a name in `vary`: "kernel" (or "env.kernel") is all of
/// env.kernel.*, "ios" (or "work.ios") that field. What one side does not know is no difference.
std::vector<FieldDifference> differences(const Facts& a, const Facts& b,
                                         std::span<const std::string> vary = {});

/// What one of two identities knows and the other does not: nobody can say whether it differs.
std::vector<FieldDifference> unknowns(const Facts& a, const Facts& b);

/// "  env.kernel.release: "7.3.4" and "7.2.9"", a line each.
std::string to_text(std::span<const FieldDifference> differences);

}  // namespace ublkbench
