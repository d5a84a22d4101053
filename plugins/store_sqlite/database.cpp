// SPDX-License-Identifier: Apache-2.0
#include "plugins/store_sqlite/database.hpp"

#include <limits>
#include <sqlite3.h>
#include <utility>

namespace callgate::store_sqlite {

sdk::status_error database_fault(int code, std::string_view detail, const std::string& file) {
    const auto told = " (SQLite: " + std::string(detail) + ", code " + std::to_string(code) + ")";
    switch (code & 0xff) {
        case SQLITE_FULL:
            return {CG_E_UNAVAILABLE, "the disk is full, or the store has reached max_bytes; make room or raise max_bytes" + told, file};
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL:
            return {CG_E_UNAVAILABLE, "the store is locked by another process for longer than busy_timeout; see who has it open with: fuser -v " + file + told, file};
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return {CG_E_UNAVAILABLE, "the file is damaged or is no SQLite database; move it away and restore a snapshot" + told, file};
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_AUTH:
        case SQLITE_CANTOPEN:
            return {CG_E_PERMISSION,
                    "the file and its folder must be writable for the user callgate runs as: SQLite keeps " + file + "-wal and " + file + "-shm beside it" + told, file};
        case SQLITE_IOERR: return {CG_E_UNAVAILABLE, "reading or writing the file failed; look at the disk and the kernel's log" + told, file};
        case SQLITE_NOMEM: return {CG_E_BUSY, "out of memory" + told, file};
        default: return {CG_E_INTERNAL, "the database refused what it was asked" + told, file};
    }
}

// ---- statement
statement::statement(connection& db, std::string_view sql) : db_(&db) {
    check(sqlite3_prepare_v3(db.get(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &stmt_, nullptr));
}
statement::statement(statement&& o) noexcept : stmt_(std::exchange(o.stmt_, nullptr)), db_(o.db_) {}
statement& statement::operator=(statement&& o) noexcept {
    std::swap(stmt_, o.stmt_);
    std::swap(db_, o.db_);
    return *this;
}
statement::~statement() { sqlite3_finalize(stmt_); }

void statement::check(int code) const {
    if (code != SQLITE_OK) throw database_fault(sqlite3_extended_errcode(db_->get()), sqlite3_errmsg(db_->get()), db_->file());
}
statement& statement::bind(int at, std::string_view text) {
    // A null pointer would be bound as NULL.
    check(sqlite3_bind_text(stmt_, at, text.data() == nullptr ? "" : text.data(), static_cast<int>(text.size()), SQLITE_STATIC));
    return *this;
}
statement& statement::bind_blob(int at, std::string_view bytes) {
    check(sqlite3_bind_blob(stmt_, at, bytes.data() == nullptr ? "" : bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC));
    return *this;
}
statement& statement::bind_null(int at) {
    check(sqlite3_bind_null(stmt_, at));
    return *this;
}
statement& statement::bind(int at, std::uint64_t number) {
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    check(sqlite3_bind_int64(stmt_, at, static_cast<std::int64_t>(std::min(number, most))));
    return *this;
}
bool statement::step() {
    const int code = sqlite3_step(stmt_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    auto fault = database_fault(sqlite3_extended_errcode(db_->get()), sqlite3_errmsg(db_->get()), db_->file());
    reset();
    throw fault;
}
void statement::run() {
    const resetting scope(*this);
    step();
}
void statement::reset() noexcept {
    sqlite3_reset(stmt_);
    sqlite3_clear_bindings(stmt_);
}
std::uint64_t statement::number(int column) const noexcept { return static_cast<std::uint64_t>(sqlite3_column_int64(stmt_, column)); }
std::string_view statement::text(int column) const noexcept {
    const auto* p = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, column));
    return {p == nullptr ? "" : p, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
}
std::string_view statement::blob(int column) const noexcept {
    const auto* p = static_cast<const char*>(sqlite3_column_blob(stmt_, column));
    return {p == nullptr ? "" : p, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
}

// ---- connection
connection::connection(const std::string& file, bool full_sync, std::int64_t busy_timeout_ms) : file_(file) {
    const int code = sqlite3_open_v2(file.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
    const auto give_up = [&](int why) {
        auto fault = database_fault(why, db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_), file_);
        sqlite3_close(db_);
        db_ = nullptr;
        throw fault;
    };
    if (code != SQLITE_OK) give_up(code);
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_busy_timeout(db_, static_cast<int>(busy_timeout_ms));
    // A damaged or hostile file must not run what stands in its schema.
    sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_limit(db_, SQLITE_LIMIT_ATTACHED, 0);
    try {
        execute("PRAGMA foreign_keys=OFF; PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=ON;");
        execute(full_sync ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    } catch (...) {
        sqlite3_close(db_);
        throw;
    }
}
connection::~connection() { sqlite3_close_v2(db_); }

void connection::execute(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) throw database_fault(sqlite3_extended_errcode(db_), sqlite3_errmsg(db_), file_);
}
std::uint64_t connection::query_number(std::string_view sql) {
    statement s(*this, sql);
    return s.step() ? s.number(0) : 0;
}
void connection::rollback() noexcept {
    if (sqlite3_get_autocommit(db_) == 0) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
}

transaction::transaction(connection& db, kind k) : db_(db) { db_.execute(k == kind::write ? "BEGIN IMMEDIATE" : "BEGIN"); }
void transaction::commit() {
    db_.execute("COMMIT");
    done_ = true;
}

}  // namespace callgate::store_sqlite
