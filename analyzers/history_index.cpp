// SPDX-License-Identifier: MIT
#include "analyzers/history_index.hpp"

#include <filesystem>
#include <format>
#include <map>
#include <utility>

#include "analyzers/sqlite.hpp"

namespace ublkbench::analyzers {
namespace {

using sqlite::Database;
using sqlite::Statement;

constexpr std::int64_t version = 1;

/// A sample's columns are the figures, so a new figure is another version of the index.
std::string schema() {
  std::string figures;
  for (const FigureTraits& figure : figure_traits) figures += std::format(", {} REAL", figure.name);
  return "DROP TABLE IF EXISTS sample; DROP TABLE IF EXISTS cell; DROP TABLE IF EXISTS run;"
         "DROP TABLE IF EXISTS env; DROP TABLE IF EXISTS source;"
         "CREATE TABLE source (version INTEGER, figures INTEGER, last_begin INTEGER, last_end "
         "INTEGER, last_line_hash INTEGER);"
         "CREATE TABLE env (id INTEGER PRIMARY KEY, fields TEXT UNIQUE NOT NULL);"
         "CREATE TABLE run (id INTEGER PRIMARY KEY, run_id TEXT UNIQUE NOT NULL, started TEXT NOT "
         "NULL, commit_id TEXT NOT NULL, dirty INTEGER NOT NULL, clock TEXT NOT NULL, env INTEGER "
         "NOT NULL REFERENCES env(id));"
         "CREATE TABLE cell (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, kind TEXT, mode "
         "TEXT, target TEXT, depth INTEGER, block_bytes INTEGER, pattern TEXT);"
         "CREATE TABLE sample (cell INTEGER NOT NULL REFERENCES cell(id), run INTEGER NOT NULL "
         "REFERENCES run(id), number INTEGER NOT NULL" +
         figures + ", PRIMARY KEY (cell, run, number)) WITHOUT ROWID;";
}

/// FNV-1a: tells one line from another; nobody attacks it.
std::int64_t hash_of(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return static_cast<std::int64_t>(hash);
}

/// Where the indexed part of the history ends.
struct Source {
  std::uint64_t begin = 0;  ///< of the last indexed line
  std::uint64_t end = 0;
  std::int64_t hash = 0;
};

std::optional<Source> read_source(const Database& database) {
  Statement exists(database, "SELECT 1 FROM sqlite_schema WHERE name = 'source'");
  if (!exists.step()) return std::nullopt;
  Statement row(database,
                "SELECT version, figures, last_begin, last_end, last_line_hash FROM source");
  if (!row.step() || row.integer(0) != version ||
      row.integer(1) != static_cast<std::int64_t>(figure_count))
    return std::nullopt;
  return Source{.begin = static_cast<std::uint64_t>(row.integer(2)),
                .end = static_cast<std::uint64_t>(row.integer(3)),
                .hash = row.integer(4)};
}

void write_source(const Database& database, const Source& source) {
  Statement(database, "DELETE FROM source").run();
  Statement row(database, "INSERT INTO source VALUES (?, ?, ?, ?, ?)");
  row.bind(1, version);
  row.bind(2, static_cast<std::int64_t>(figure_count));
  row.bind(3, static_cast<std::int64_t>(source.begin));
  row.bind(4, static_cast<std::int64_t>(source.end));
  row.bind(5, source.hash);
  row.run();
}

class Writer {
 public:
  explicit Writer(const Database& database)
      : database_(database),
        add_env_(database, "INSERT OR IGNORE INTO env (fields) VALUES (?)"),
        find_env_(database, "SELECT id FROM env WHERE fields = ?"),
        add_run_(database,
                 "INSERT OR IGNORE INTO run (run_id, started, commit_id, dirty, clock, env) VALUES "
                 "(?, ?, ?, ?, ?, ?) RETURNING id"),
        add_cell_(database,
                  "INSERT OR IGNORE INTO cell (name, kind, mode, target, depth, block_bytes, "
                  "pattern) VALUES (?, ?, ?, ?, ?, ?, ?)"),
        find_cell_(database, "SELECT id FROM cell WHERE name = ?"),
        add_sample_(database, insert_sample()) {}

  void add(const HistoryRun& run) {
    const std::int64_t env = env_of(run.fields.dump());
    add_run_.bind(1, run.id);
    add_run_.bind(2, run.started);
    add_run_.bind(3, run.commit);
    add_run_.bind(4, std::int64_t{run.dirty});
    add_run_.bind(5, run.clock);
    add_run_.bind(6, env);
    const bool is_new = add_run_.step();  // the same run, appended twice, counts once
    const std::int64_t row = is_new ? add_run_.integer(0) : 0;
    add_run_.reset();
    if (!is_new) return;
    for (const CellRecord& cell : run.cells) add_samples(row, cell_of(cell), cell.samples);
  }

 private:
  static std::string insert_sample() {
    std::string marks = "?, ?, ?";
    for (std::size_t at = 0; at < figure_count; ++at) marks += ", ?";
    return "INSERT INTO sample VALUES (" + marks + ")";
  }

  std::int64_t env_of(const std::string& fields) {
    add_env_.bind(1, fields);
    add_env_.run();
    find_env_.bind(1, fields);
    find_env_.step();
    const std::int64_t id = find_env_.integer(0);
    find_env_.reset();
    return id;
  }

  std::int64_t cell_of(const CellRecord& cell) {
    const auto [found, is_new] = cells_.try_emplace(cell.id, 0);
    if (!is_new) return found->second;
    add_cell_.bind(1, cell.id);
    add_cell_.bind(2, cell.axes.kind);
    add_cell_.bind(3, cell.axes.mode);
    add_cell_.bind(4, cell.axes.target);
    add_cell_.bind(5, static_cast<std::int64_t>(cell.axes.depth));
    add_cell_.bind(6, static_cast<std::int64_t>(cell.axes.block_bytes));
    add_cell_.bind(7, cell.axes.pattern);
    add_cell_.run();
    find_cell_.bind(1, cell.id);
    find_cell_.step();
    found->second = find_cell_.integer(0);
    find_cell_.reset();
    return found->second;
  }

  void add_samples(std::int64_t run, std::int64_t cell, const std::vector<Sample>& samples) {
    for (std::size_t number = 0; number < samples.size(); ++number) {
      add_sample_.bind(1, cell);
      add_sample_.bind(2, run);
      add_sample_.bind(3, static_cast<std::int64_t>(number));
      for (std::size_t at = 0; at < figure_count; ++at) {
        const auto value = samples[number].figures.get(static_cast<Figure>(at));
        const int place = static_cast<int>(at) + 4;
        if (value)
          add_sample_.bind(place, *value);
        else
          add_sample_.bind_null(place);
      }
      add_sample_.run();
    }
  }

  const Database& database_;
  Statement add_env_;
  Statement find_env_;
  Statement add_run_;
  Statement add_cell_;
  Statement find_cell_;
  Statement add_sample_;
  std::map<std::string, std::int64_t> cells_;
};

std::unexpected<Error> index_failed(const std::string& path, const sqlite::Failure& failure) {
  return unsupported(std::format("index {}: {}", path, failure.what()),
                     "it can be deleted: the history is the truth");
}

/// A database that SQLite cannot read has nothing to save; its journal must not meet its successor.
void remove_index(const std::string& path) {
  std::error_code error;
  for (const char* suffix : {"", "-journal", "-wal", "-shm"})
    std::filesystem::remove(path + suffix, error);
}

}  // namespace

std::string index_path(const std::string& history) { return history + ".sqlite"; }

HistoryIndex::HistoryIndex(std::string history, std::string path)
    : history_(std::move(history)), path_(std::move(path)) {}
HistoryIndex::~HistoryIndex() = default;
HistoryIndex::HistoryIndex(HistoryIndex&&) noexcept = default;
HistoryIndex& HistoryIndex::operator=(HistoryIndex&&) noexcept = default;

Result<HistoryIndex> HistoryIndex::open(const std::string& history, bool rebuild) {
  std::error_code error;
  if (!std::filesystem::exists(history, error))  // or there would be an index of nothing
    return std::unexpected(
        failed("read the history", history, ENOENT, "'ublkbench trend add' makes one")
            .error()
            .with_exit(ExitCode::usage));
  HistoryIndex index(history, index_path(history));
  for (bool again = false;; again = true) {
    try {
      index.database_ = std::make_unique<Database>(index.path_);
      if (auto done = index.refresh(rebuild); !done) return std::unexpected(done.error());
      return index;
    } catch (const sqlite::Failure& failure) {
      const bool read_only = failure.code() == SQLITE_READONLY || failure.code() == SQLITE_CANTOPEN;
      if (read_only && !again) {
        index.path_ = ":memory:";
        index.remarks_.push_back("no index can be written beside " + history +
                                 "; all of it is read");
        continue;
      }
      if (again || (failure.code() != SQLITE_CORRUPT && failure.code() != SQLITE_NOTADB))
        return index_failed(index.path_, failure);
      index.database_.reset();
      remove_index(index.path_);
      index.remarks_.push_back(
          std::format("{} was damaged ({}) and is made again", index.path_, failure.what()));
    }
  }
}

/// One transaction: whoever kills this leaves the old index or the new one.
Result<> HistoryIndex::refresh(bool rebuild) {
  Database& database = *database_;
  database.run("BEGIN IMMEDIATE");
  auto known = rebuild ? std::nullopt : read_source(database);
  Source source = known.value_or(Source{});
  std::optional<Writer> writer;
  const auto begin_anew = [&] {
    database.run(schema().c_str());
    source = {};
  };
  if (!known) begin_anew();
  bool same = true;
  bool is_known = known && known->end != 0;  // the first line that is read is indexed already
  const auto add = [&](std::string_view line, std::uint64_t end) -> Result<> {
    if (std::exchange(is_known, false)) {
      same = end == known->end && hash_of(line) == known->hash;
      return {};
    }
    if (!same) return {};
    auto run = parse_history_line(line, std::format("{}, byte {}", history_, source.end));
    if (!run) return std::unexpected(run.error());
    if (!writer) writer.emplace(database);
    writer->add(*run);
    source = {.begin = source.end, .end = end, .hash = hash_of(line)};
    return {};
  };
  auto end = read_history(history_, source.begin, add);
  if (end && known && (!same || end->bytes < known->end)) {
    remarks_.push_back(
        std::format("{} is not the file that was indexed; the index is made again", history_));
    known.reset();
    is_known = false;
    same = true;
    begin_anew();
    end = read_history(history_, 0, add);
  }
  if (!end) return std::unexpected(end.error());  // without COMMIT nothing has happened
  if (end->torn_bytes != 0)
    remarks_.push_back(
        std::format("{}: the last line has no end and is left out ({} bytes); the next 'trend add' "
                    "cuts it off",
                    history_, end->torn_bytes));
  if (writer || !known) write_source(database, source);
  writer.reset();
  database.run("COMMIT");
  return {};
}

Result<bool> HistoryIndex::has(const std::string& run_id) const try {
  Statement find(*database_, "SELECT 1 FROM run WHERE run_id = ?");
  find.bind(1, run_id);
  return find.step();
} catch (const sqlite::Failure& failure) {
  return index_failed(path_, failure);
}

Result<std::vector<IndexedRun>> HistoryIndex::runs() const try {
  Statement row(*database_,
                "SELECT run.id, run_id, started, commit_id, dirty, clock, fields FROM run JOIN env "
                "ON env.id = run.env ORDER BY started, run.id");
  std::vector<IndexedRun> runs;
  while (row.step())
    runs.push_back({.row = row.integer(0),
                    .id = row.text(1),
                    .started = row.text(2),
                    .commit = row.text(3),
                    .dirty = row.integer(4) != 0,
                    .clock = row.text(5),
                    .fields = nlohmann::json::parse(row.text(6), nullptr, false)});
  return runs;
} catch (const sqlite::Failure& failure) {
  return index_failed(path_, failure);
}

Result<std::vector<IndexedCell>> HistoryIndex::cells(Figure figure) const try {
  Statement row(
      *database_,
      std::format("SELECT cell.id, name, kind, mode, target, depth, block_bytes, pattern, "
                  "run, {0} FROM sample JOIN cell ON cell.id = sample.cell WHERE {0} IS "
                  "NOT NULL ORDER BY cell.id, run, number",
                  traits(figure).name));
  std::vector<IndexedCell> cells;
  std::int64_t last = -1;
  while (row.step()) {
    if (row.integer(0) != last) {
      last = row.integer(0);
      cells.push_back({.id = row.text(1),
                       .axes = {.kind = row.text(2),
                                .mode = row.text(3),
                                .target = row.text(4),
                                .depth = static_cast<std::uint64_t>(row.integer(5)),
                                .block_bytes = static_cast<std::uint64_t>(row.integer(6)),
                                .pattern = row.text(7)},
                       .runs = {}});
    }
    auto& runs = cells.back().runs;
    if (runs.empty() || runs.back().run != row.integer(8))
      runs.push_back({.run = row.integer(8), .values = {}});
    runs.back().values.push_back(row.number(9));
  }
  return cells;
} catch (const sqlite::Failure& failure) {
  return index_failed(path_, failure);
}

}  // namespace ublkbench::analyzers
