// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/claim_store.hpp>
#include <optional>
#include <string>
#include <vector>

#include "plugins/store_sqlite/database.hpp"

/// The claim store's contract on one connection: tables and queries. No threads, no host.
namespace callgate::store_sqlite {

struct store_options {
    std::string file;
    bool create = true;
    bool full_sync = true;             ///< synchronous=FULL: a commit that was answered survives loss of power
    std::int64_t busy_timeout_ms = 1000;
    std::uint64_t history = 10'000;    ///< changes kept for watch and scan(at_revision), at least
    std::uint64_t history_bytes = 64u << 20;  ///< of values in it; what is older goes first
    std::uint64_t tokens = 10'000;     ///< idempotency tokens kept, at least
    std::uint64_t max_bytes = 1u << 30;
};

/// Makes the file (mode 0600) and its tables, or checks what is there: owner, mode, kind of file, schema version.
/// Throws status_error. [control]
void prepare_file(const store_options& o);

struct commit_outcome {
    bool done = false, replayed = false;
    std::uint64_t revision = 0;
    std::string conflict_key;
    std::uint64_t conflict_revision = 0;
};

/// Where a watch stands: everything up to and with `revision` was seen, or of that revision only keys up to `key`.
struct watch_position {
    std::uint64_t revision = 0;
    std::string key;  ///< empty = the whole revision
    [[nodiscard]] std::string token() const;
    [[nodiscard]] static std::optional<watch_position> from_token(std::span<const std::uint8_t> token);
};

struct change {
    std::uint32_t kind = CG_CLAIM_CHANGE_PUT;
    std::string key, value;
    watch_position after;  ///< where a watch stands that has seen it
};

struct transferred {
    std::uint64_t revision = 0, entries = 0, bytes = 0;
};

class claims {
  public:
    claims(const store_options& o);

    // Reads: each is one consistent state of its own.
    [[nodiscard]] std::uint64_t get(const sdk::claim_get_view& r, sdk::claim_entries& out);
    /// Returns the cursor of the next page; throws CG_E_COMPACTED.
    std::string scan(const sdk::claim_scan_view& r, const cg_claim_limits& limits, sdk::claim_entries& out, std::uint64_t& revision);
    [[nodiscard]] std::uint64_t revision() { return read_heads().revision; }
    /// The store's revision. Throws CG_E_COMPACTED when a watch cannot go on from `at`.
    std::uint64_t check_position(const watch_position& at);
    /// Up to `limit` changes under `prefix` behind `at`, which moves on past what cannot match. Throws CG_E_COMPACTED.
    std::vector<change> changes(std::string_view prefix, watch_position& at, std::size_t limit);
    /// Changes whenever a commit of another connection, here or in another process, became visible.
    [[nodiscard]] std::uint64_t data_version() { return db_.query_number("PRAGMA data_version"); }
    transferred snapshot(int fd);

    // Writes: inside write().
    commit_outcome commit(const sdk::claim_commit_view& r);
    transferred restore(int fd, bool replace, const cg_claim_limits& limits);
    /// Drops history and tokens beyond their bounds; cheap when there is nothing to drop.
    void compact();
    /// Runs `work` in one write transaction; what throws rolls back.
    template <class Work>
    void write(Work&& work) {
        transaction t(db_, transaction::kind::write);
        work();
        t.commit();
    }

  private:
    struct heads {
        std::uint64_t revision = 0, compacted = 0;
    };
    heads read_heads();
    [[nodiscard]] std::uint64_t key_revision(std::string_view key);
    void put(std::string_view key, std::string_view value, std::uint64_t revision);
    void erase(std::string_view key, std::uint64_t revision);

    store_options options_;
    connection db_;
    statement heads_, get_, scan_, scan_at_, changes_, set_revision_, log_put_, log_delete_, put_, delete_, find_token_, keep_token_, changed_since_;
};

}  // namespace callgate::store_sqlite
