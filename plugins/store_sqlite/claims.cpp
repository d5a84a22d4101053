// SPDX-License-Identifier: Apache-2.0
#include "plugins/store_sqlite/claims.hpp"

#include <callgate/crypto/hash.hpp>
#include <limits>
#include <sqlite3.h>

namespace callgate::store_sqlite {
namespace {

// Behind every key: their bytes end at 0x7e.
constexpr std::string_view past_all = "\x7f";

// First text behind all that begin with `prefix`.
std::string past(std::string_view prefix) {
    std::string out(prefix);
    if (out.empty()) return std::string(past_all);
    ++out.back();
    return out;
}

std::string_view text(std::span<const std::uint8_t> b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

void append(std::string& out, std::string_view part) {
    for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(part.size() >> shift);
    out += part;
}

// What a commit asks for; the same token with another digest is another commit.
std::string digest(const sdk::claim_commit_view& r) {
    std::string all;
    for (std::size_t i = 0; i < r.preconditions.size(); ++i) {
        const auto p = r.preconditions[i];
        append(all, "require" + std::to_string(p.kind) + "@" + std::to_string(p.revision));
        append(all, sdk::view(p.key));
    }
    for (std::size_t i = 0; i < r.puts.size(); ++i) {
        const auto p = r.puts[i];
        append(all, "put");
        append(all, sdk::view(p.key));
        append(all, text(sdk::view(p.value)));
    }
    for (const auto& d : r.deletes) {
        append(all, "delete");
        append(all, sdk::view(d));
    }
    const auto d = crypto::sha256(all);
    return {d.begin(), d.end()};
}

[[noreturn]] void compacted(std::uint64_t asked, std::uint64_t first) {
    throw sdk::status_error(CG_E_COMPACTED, "the history behind revision " + std::to_string(asked) + " is gone, the oldest that is kept follows revision " +
                                                std::to_string(first) + "; read the present state and go on from its revision");
}

constexpr std::string_view range = "key >= ?1 AND key < ?2";

}  // namespace

std::string watch_position::token() const {
    std::string out("w1");
    for (int shift = 0; shift < 64; shift += 8) out += static_cast<char>(revision >> shift);
    if (!key.empty()) out += '=' + key;
    return out;
}

std::optional<watch_position> watch_position::from_token(std::span<const std::uint8_t> token) {
    const auto t = text(token);
    if (t.size() < 10 || !t.starts_with("w1")) return std::nullopt;
    watch_position out;
    for (std::size_t i = 0; i < 8; ++i) out.revision |= std::uint64_t{token[2 + i]} << (8 * i);
    if (t.size() == 10) return out;
    if (t[10] == '=' && sdk::claim_key_fault(t.substr(11)).empty()) {
        out.key = t.substr(11);
        return out;
    }
    return std::nullopt;
}

claims::claims(const store_options& o)
    : options_(o),
      db_(o.file, o.full_sync, o.busy_timeout_ms),
      heads_(db_, "SELECT revision, compacted FROM head"),
      get_(db_, "SELECT value, revision FROM claim WHERE key = ?1"),
      scan_(db_, "SELECT key, value, revision FROM claim WHERE " + std::string(range) + " AND key > ?3 ORDER BY key LIMIT ?4"),
      // A key that changed after ?5 is told by the first change after it: the one that found a revision of ?5 or before.
      scan_at_(db_, "SELECT key, value, revision FROM claim WHERE " + std::string(range) + " AND key > ?3 AND revision <= ?5 UNION ALL "
                    "SELECT key, before, before_revision FROM change WHERE " + std::string(range) +
                        " AND key > ?3 AND revision > ?5 AND before_revision BETWEEN 1 AND ?5 ORDER BY key LIMIT ?4"),
      changes_(db_, "SELECT c.revision, c.key, c.deleted, CASE WHEN c.deleted THEN NULL ELSE coalesce("
                    "(SELECT n.before FROM change n WHERE n.key = c.key AND n.revision > c.revision ORDER BY n.revision LIMIT 1),"
                    "(SELECT value FROM claim k WHERE k.key = c.key)) END FROM change c "
                    "WHERE (c.revision, c.key) > (?3, ?4) AND c.key >= ?1 AND c.key < ?2 ORDER BY c.revision, c.key LIMIT ?5"),
      set_revision_(db_, "UPDATE head SET revision = ?1"),
      log_put_(db_, "INSERT INTO change (revision, key, deleted, before, before_revision) "
                    "SELECT ?1, ?2, 0, (SELECT value FROM claim WHERE key = ?2), coalesce((SELECT revision FROM claim WHERE key = ?2), 0)"),
      log_delete_(db_, "INSERT INTO change (revision, key, deleted, before, before_revision) SELECT ?1, key, 1, value, revision FROM claim WHERE key = ?2"),
      put_(db_, "INSERT INTO claim (key, value, revision) VALUES (?1, ?2, ?3) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision"),
      delete_(db_, "DELETE FROM claim WHERE key = ?1"),
      find_token_(db_, "SELECT digest, revision FROM token WHERE token = ?1"),
      keep_token_(db_, "INSERT INTO token (token, digest, revision) VALUES (?1, ?2, ?3)"),
      changed_since_(db_, "SELECT c.key, coalesce((SELECT k.revision FROM claim k WHERE k.key = c.key), 0) FROM change c "
                          "WHERE c.key >= ?1 AND c.key < ?2 AND c.revision > ?3 ORDER BY c.key LIMIT 1") {
    db_.execute(("PRAGMA max_page_count=" + std::to_string(std::max<std::uint64_t>(options_.max_bytes / db_.query_number("PRAGMA page_size"), 64))).c_str());
}

claims::heads claims::read_heads() {
    const resetting scope(heads_);
    if (!heads_.step()) throw sdk::status_error(CG_E_UNAVAILABLE, "the table `head` is empty: the file is damaged; restore a snapshot", options_.file);
    return {heads_.number(0), heads_.number(1)};
}

std::uint64_t claims::key_revision(std::string_view key) {
    const resetting scope(get_);
    return get_.bind(1, key).step() ? get_.number(1) : 0;
}

// ---- reads
std::uint64_t claims::get(const sdk::claim_get_view& r, sdk::claim_entries& out) {
    transaction t(db_, transaction::kind::read);
    const auto revision = read_heads().revision;
    for (const auto& k : r.keys) {
        const resetting scope(get_);
        if (get_.bind(1, sdk::view(k)).step()) out.add(sdk::view(k), get_.blob(0), get_.number(1));
        else out.add(sdk::view(k), {}, 0);
    }
    t.commit();
    return revision;
}

std::string claims::scan(const sdk::claim_scan_view& r, const cg_claim_limits& limits, sdk::claim_entries& out, std::uint64_t& revision) {
    transaction t(db_, transaction::kind::read);
    const auto now = read_heads();
    revision = r.at_revision == 0 ? now.revision : r.at_revision;
    if (revision > now.revision)
        throw sdk::status_error(CG_E_INVALID, "the store is at revision " + std::to_string(now.revision) + ", not yet at " + std::to_string(revision));
    if (revision < now.compacted) compacted(revision, now.compacted);
    const auto limit = r.limit == 0 ? limits.max_scan_entries : std::min(r.limit, limits.max_scan_entries);
    const auto end = past(r.prefix);
    auto& query = revision == now.revision ? scan_ : scan_at_;
    const resetting scope(query);
    query.bind(1, r.prefix).bind(2, end).bind(3, text(r.cursor)).bind(4, std::uint64_t{limit} + 1);
    if (revision != now.revision) query.bind(5, revision);
    while (query.step()) {
        const bool full = out.size() == limit || (out.size() != 0 && out.bytes() + query.text(0).size() + query.blob(1).size() > limits.max_page_bytes);
        if (full) return std::string(out.last_key());
        out.add(query.text(0), query.blob(1), query.number(2));
    }
    return {};
}

std::uint64_t claims::check_position(const watch_position& at) {
    const auto now = read_heads();
    if (at.revision > now.revision)
        throw sdk::status_error(CG_E_COMPACTED, "revision " + std::to_string(at.revision) + " is ahead of the store, which is at " + std::to_string(now.revision) +
                                                    ": it is another store, or was put back from an older file; read the present state");
    if (at.revision < now.compacted || (at.revision == now.compacted && !at.key.empty())) compacted(at.revision, now.compacted);
    return now.revision;
}

std::vector<change> claims::changes(std::string_view prefix, watch_position& at, std::size_t limit) {
    transaction t(db_, transaction::kind::read);
    const auto now = check_position(at);
    std::vector<change> out;
    const auto end = past(prefix);
    bool more = false;
    {
        const resetting scope(changes_);
        changes_.bind(1, prefix).bind(2, end).bind(3, at.revision).bind(4, at.key.empty() ? past_all : std::string_view(at.key)).bind(5, std::uint64_t{limit + 1});
        while (changes_.step()) {
            const auto revision = changes_.number(0);
            const auto key = changes_.text(1);
            if (!out.empty() && out.back().after.revision != revision) out.back().after.key.clear();
            if (out.size() == limit) {
                more = true;
                break;
            }
            const bool deleted = changes_.number(2) != 0;
            out.push_back({deleted ? CG_CLAIM_CHANGE_DELETE : CG_CLAIM_CHANGE_PUT, std::string(key), std::string(changes_.blob(3)), {revision, std::string(key)}});
        }
    }
    if (!more) {
        if (!out.empty()) out.back().after.key.clear();
        at = {now, {}};
    } else {
        at = out.back().after;
    }
    return out;
}

// ---- writes
commit_outcome claims::commit(const sdk::claim_commit_view& r) {
    commit_outcome out;
    const auto token = text(r.idempotency);
    const auto content = token.empty() ? std::string{} : digest(r);
    if (!token.empty()) {
        const resetting scope(find_token_);
        if (find_token_.bind_blob(1, token).step()) {
            if (find_token_.blob(0) != content) throw sdk::status_error(CG_E_INVALID, "this idempotency token was used for another commit; make a new one for each");
            return {true, true, find_token_.number(1), {}, 0};
        }
    }
    const auto now = read_heads();
    const auto conflict = [&](std::string_view key, std::uint64_t has) {
        out.revision = now.revision;
        out.conflict_key = key;
        out.conflict_revision = has;
        return out;
    };
    for (std::size_t i = 0; i < r.preconditions.size(); ++i) {
        const auto p = r.preconditions[i];
        const auto key = sdk::view(p.key);
        if (p.kind == CG_CLAIM_PREFIX_UNCHANGED) {
            if (p.revision < now.compacted) compacted(p.revision, now.compacted);
            const auto end = past(key);
            const resetting scope(changed_since_);
            if (changed_since_.bind(1, key).bind(2, end).bind(3, p.revision).step()) return conflict(changed_since_.text(0), changed_since_.number(1));
            continue;
        }
        const auto has = key_revision(key);
        if (has != (p.kind == CG_CLAIM_KEY_ABSENT ? 0 : p.revision)) return conflict(key, has);
    }
    out.done = true;
    out.revision = now.revision + 1;
    for (std::size_t i = 0; i < r.puts.size(); ++i) {
        const auto p = r.puts[i];
        put(sdk::view(p.key), text(sdk::view(p.value)), out.revision);
    }
    for (const auto& d : r.deletes) erase(sdk::view(d), out.revision);
    if (!token.empty()) keep_token_.bind_blob(1, token).bind_blob(2, content).bind(3, out.revision).run();
    set_revision_.bind(1, out.revision).run();
    return out;
}

void claims::put(std::string_view key, std::string_view value, std::uint64_t revision) {
    log_put_.bind(1, revision).bind(2, key).run();
    put_.bind(1, key).bind_blob(2, value).bind(3, revision).run();
}

void claims::erase(std::string_view key, std::uint64_t revision) {
    log_delete_.bind(1, revision).bind(2, key).run();
    delete_.bind(1, key).run();
}

void claims::compact() {
    std::uint64_t cut = 0;
    {
        // From the newest back; whole revisions go, so the one in which the bound is met stays.
        statement newest(db_, "SELECT revision, length(key) + coalesce(length(before), 0) FROM change ORDER BY revision DESC, key DESC");
        std::uint64_t count = 0, bytes = 0, at = 0;
        while (newest.step()) {
            if (newest.number(0) != at && (count >= options_.history || bytes >= options_.history_bytes)) {
                cut = newest.number(0);
                break;
            }
            at = newest.number(0);
            ++count;
            bytes += newest.number(1);
        }
    }
    if (cut != 0) {
        statement(db_, "DELETE FROM change WHERE revision <= ?1").bind(1, cut).run();
        statement(db_, "UPDATE head SET compacted = ?1").bind(1, cut).run();
    }
    statement(db_, "DELETE FROM token WHERE id <= (SELECT id FROM token ORDER BY id DESC LIMIT 1 OFFSET ?1)").bind(1, options_.tokens).run();
}

}  // namespace callgate::store_sqlite
