// SPDX-License-Identifier: Apache-2.0
// The file itself: who may read it, and whether it is a store of ours.
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/store_sqlite/claims.hpp"

namespace callgate::store_sqlite {
namespace {

constexpr std::uint64_t application_id = 0x63676331;  // "cgc1"
constexpr std::uint64_t schema_version = 1;

// `change` keeps what was there before, not what came: the value a change brought is what the next one found, or the
// present one. So each value is stored once, and the state at a revision needs only the changes after it.
constexpr const char* tables = R"(
CREATE TABLE claim (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL, revision INTEGER NOT NULL);
CREATE TABLE change (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, key TEXT NOT NULL, deleted INTEGER NOT NULL,
  before BLOB, before_revision INTEGER NOT NULL, UNIQUE (revision, key));
CREATE UNIQUE INDEX change_by_key ON change (key, revision);
CREATE TABLE token (id INTEGER PRIMARY KEY, token BLOB NOT NULL UNIQUE, digest BLOB NOT NULL, revision INTEGER NOT NULL);
CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, compacted INTEGER NOT NULL);
INSERT INTO head VALUES (1, 0, 0);
)";

[[noreturn]] void refuse(cg_status code, const std::string& file, const std::string& why) { throw sdk::status_error(code, why, file); }

}  // namespace

void prepare_file(const store_options& o) {
    const auto& file = o.file;
    // Made here and not by SQLite, so that nobody else can read it for a moment; -wal and -shm take over its mode.
    const int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (o.create ? O_CREAT : 0);
    const int fd = ::open(file.c_str(), flags, 0600);
    if (fd < 0) {
        const int e = errno;
        if (e == ELOOP) refuse(CG_E_PERMISSION, file, "a symbolic link; name the file itself");
        if (e == ENOENT)
            refuse(CG_E_NOT_FOUND, file, o.create ? "cannot create the store: its folder does not exist; make it, mode 0700" : "there is no store and `create` is false");
        refuse(e == EACCES || e == EPERM || e == EROFS ? CG_E_PERMISSION : CG_E_UNAVAILABLE, file,
               std::string("cannot open the store: ") + std::strerror(e) + "; the file and its folder must be writable for the user callgate runs as");
    }
    struct stat st {};
    const bool known = ::fstat(fd, &st) == 0;
    ::close(fd);
    if (!known || !S_ISREG(st.st_mode)) refuse(CG_E_PERMISSION, file, "not a regular file");
    if ((st.st_mode & 077) != 0) refuse(CG_E_PERMISSION, file, "group or others have access to it; run chmod 600");
    if (st.st_uid != 0 && st.st_uid != ::geteuid())
        refuse(CG_E_PERMISSION, file, "it belongs to user " + std::to_string(st.st_uid) + "; the owner must be root or the user callgate runs as");

    connection db(file, o.full_sync, o.busy_timeout_ms);
    const auto check_version = [&](std::uint64_t version) {
        if (version != schema_version)
            refuse(CG_E_UNSUPPORTED, file,
                   "its tables are of version " + std::to_string(version) + ", this plugin knows version " + std::to_string(schema_version) +
                       "; use the callgate that wrote it, or a snapshot of it");
    };
    if (db.query_number("PRAGMA application_id") == application_id) {
        check_version(db.query_number("PRAGMA user_version"));
        db.execute("PRAGMA journal_mode=WAL");
        return;
    }
    if (db.query_number("SELECT count(*) FROM sqlite_master") != 0) refuse(CG_E_INVALID, file, "an SQLite database, but not a claim store of callgate");
    db.execute("PRAGMA journal_mode=WAL");
    transaction t(db, transaction::kind::write);
    // Two processes may be at this point at once; the second finds the tables of the first.
    if (db.query_number("PRAGMA application_id") != application_id) {
        db.execute(tables);
        db.execute(("PRAGMA application_id=" + std::to_string(application_id) + ";PRAGMA user_version=" + std::to_string(schema_version)).c_str());
    }
    t.commit();
}

}  // namespace callgate::store_sqlite
