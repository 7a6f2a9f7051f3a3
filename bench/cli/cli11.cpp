// SPDX-License-Identifier: MIT
// CLI11 compiled once (CLI11_COMPILE, see CMakeLists.txt): in each file that includes it, its code
// would take longer to compile than ours.
#include <CLI/CLI.hpp>
// Behind the above, which they need.
#include <CLI/impl/App_inl.hpp>
#include <CLI/impl/Argv_inl.hpp>
#include <CLI/impl/Config_inl.hpp>
#include <CLI/impl/Encoding_inl.hpp>
#include <CLI/impl/Formatter_inl.hpp>
#include <CLI/impl/Option_inl.hpp>
#include <CLI/impl/Split_inl.hpp>
#include <CLI/impl/StringTools_inl.hpp>
#include <CLI/impl/Validators_inl.hpp>
