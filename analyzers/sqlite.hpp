// SPDX-License-Identifier: MIT
// SQLite's handles as objects, and its errors as one exception that ends in history_index.cpp.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ublkbench::analyzers::sqlite {

class Failure : public std::runtime_error {
 public:
  Failure(int code, const std::string& what) : std::runtime_error(what), code_(code) {}
  [[nodiscard]] int code() const { return code_; }

 private:
  int code_;
};

class Database {
 public:
  explicit Database(const std::string& path) {
    sqlite3* opened = nullptr;
    const int code = sqlite3_open(path.c_str(), &opened);
    handle_.reset(opened);
    check(code);
    sqlite3_busy_timeout(opened, 10'000);
  }

  void run(const char* statements) {
    check(sqlite3_exec(get(), statements, nullptr, nullptr, nullptr));
  }
  void check(int code) const {
    if (code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE)
      throw Failure(code & 0xff, sqlite3_errmsg(get()));
  }
  [[nodiscard]] sqlite3* get() const { return handle_.get(); }
  [[nodiscard]] std::int64_t last_row() const { return sqlite3_last_insert_rowid(get()); }

 private:
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

class Statement {
 public:
  Statement(const Database& database, std::string_view text) : database_(database) {
    sqlite3_stmt* made = nullptr;
    const int code = sqlite3_prepare_v2(database.get(), text.data(), static_cast<int>(text.size()),
                                        &made, nullptr);
    handle_.reset(made);
    database.check(code);
  }

  void bind(int at, std::int64_t value) { database_.check(sqlite3_bind_int64(get(), at, value)); }
  void bind(int at, double value) { database_.check(sqlite3_bind_double(get(), at, value)); }
  void bind_null(int at) { database_.check(sqlite3_bind_null(get(), at)); }
  /// The text must live until the statement has run.
  void bind(int at, std::string_view text) {
    database_.check(
        sqlite3_bind_text(get(), at, text.data(), static_cast<int>(text.size()), SQLITE_STATIC));
  }

  /// Whether there is a row.
  bool step() {
    const int code = sqlite3_step(get());
    database_.check(code);
    return code == SQLITE_ROW;
  }
  /// Runs it to its end, and makes it ready for other values.
  void run() {
    while (step()) {
    }
    reset();
  }
  void reset() { sqlite3_reset(get()); }

  [[nodiscard]] std::int64_t integer(int column) const {
    return sqlite3_column_int64(get(), column);
  }
  [[nodiscard]] double number(int column) const { return sqlite3_column_double(get(), column); }
  [[nodiscard]] std::string text(int column) const {
    const auto* const found = reinterpret_cast<const char*>(sqlite3_column_text(get(), column));
    return found != nullptr ? std::string(found) : std::string();
  }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* handle) const { sqlite3_finalize(handle); }
  };
  [[nodiscard]] sqlite3_stmt* get() const { return handle_.get(); }

  const Database& database_;
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

}  // namespace ublkbench::analyzers::sqlite
