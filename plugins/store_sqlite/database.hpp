// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/value.hpp>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

/// SQLite with owners. One connection and its statements belong to one thread at a time.
namespace callgate::store_sqlite {

/// What went wrong in words of the operator, with the status of the ABI. Thrown for every failure of SQLite.
[[nodiscard]] sdk::status_error database_fault(int code, std::string_view detail, const std::string& file);

class connection;

/// A prepared statement. bind numbers from 1, column from 0. Texts and blobs that are bound must outlive the step.
class statement {
  public:
    statement() noexcept = default;
    statement(connection& db, std::string_view sql);
    statement(statement&& o) noexcept;
    statement& operator=(statement&& o) noexcept;
    ~statement();

    statement& bind(int at, std::string_view text);
    statement& bind_blob(int at, std::string_view bytes);
    statement& bind_null(int at);
    /// Values above INT64_MAX are bound as that.
    statement& bind(int at, std::uint64_t number);
    /// True: a row is there. Throws.
    bool step();
    /// Steps once, expects no row, resets.
    void run();
    void reset() noexcept;
    [[nodiscard]] std::uint64_t number(int column) const noexcept;
    /// Lives until the next step or reset.
    [[nodiscard]] std::string_view text(int column) const noexcept;
    [[nodiscard]] std::string_view blob(int column) const noexcept;

  private:
    void check(int code) const;
    sqlite3_stmt* stmt_ = nullptr;
    connection* db_ = nullptr;
};

/// Resets at the end of a scope, so that no statement keeps a read transaction open.
class resetting {
  public:
    explicit resetting(statement& s) noexcept : s_(s) {}
    resetting(const resetting&) = delete;
    resetting& operator=(const resetting&) = delete;
    ~resetting() { s_.reset(); }

  private:
    statement& s_;
};

class connection {
  public:
    /// `file` exists already. Throws.
    connection(const std::string& file, bool full_sync, std::int64_t busy_timeout_ms);
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;
    ~connection();

    void execute(const char* sql);
    [[nodiscard]] std::uint64_t query_number(std::string_view sql);
    [[nodiscard]] sqlite3* get() const noexcept { return db_; }
    [[nodiscard]] const std::string& file() const noexcept { return file_; }
    /// Rolls back if a transaction is open. Never throws.
    void rollback() noexcept;

  private:
    std::string file_;
    sqlite3* db_ = nullptr;
};

/// One transaction; rolled back unless commit() was reached.
class transaction {
  public:
    enum class kind : std::uint8_t { read, write };
    transaction(connection& db, kind k);
    transaction(const transaction&) = delete;
    transaction& operator=(const transaction&) = delete;
    ~transaction() { if (!done_) db_.rollback(); }
    void commit();

  private:
    connection& db_;
    bool done_ = false;
};

}  // namespace callgate::store_sqlite
