// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/known_key.hpp>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "engine/flow/fingerprint.hpp"
#include "engine/flow/token_bucket.hpp"

/// Who gets a verification table (crypto::known_key: about 300 KiB, half a millisecond to build). Anybody inside the
/// callout account can invent server keys and sign with them, so tables go to the keys that bring the most requests.
namespace callgate::flow {

using key_table = std::shared_ptr<const crypto::known_key>;

/// The tables of a process: its shards share each one. Bounded in number, and in how many are built in a second.
/// [any] thread; the lock is not held while a table is built.
class key_tables {
  public:
    static constexpr std::size_t default_tables = 64;
    /// A table is built on the shard that asked: 5 ms at once, then 1 % of a core, are the most this takes from logins.
    static constexpr double builds_per_second = 16, build_burst = 8;
    explicit key_tables(std::size_t max_tables = default_tables);

    /// The table of that key, built here if nobody holds one. nullptr: as many as allowed are held, too many were
    /// built lately, another thread is at it, or the key deserves none.
    [[nodiscard]] key_table get(const crypto::key_bytes& key, std::int64_t now_ns);
    /// Nobody gets this table again: it misjudged.
    void discard(const key_table& table) noexcept;
    /// Tables that somebody holds.
    [[nodiscard]] std::size_t size() const;
    [[nodiscard]] std::uint64_t built() const;

  private:
    struct entry {
        crypto::key_bytes key;
        std::weak_ptr<const crypto::known_key> table;
        bool building = false;
    };
    void drop_unheld();

    const std::size_t max_;
    mutable std::mutex mutex_;
    std::vector<entry> entries_;
    token_bucket rate_{builds_per_second, build_burst};
    std::uint64_t built_ = 0;
};

/// One shard's choice of keys. A key is counted each time it proved itself, and counts are halved every ten
/// seconds, so they say who comes often now. Fixed memory apart from the tables.
class key_ranking {
  public:
    /// A table is memory (300 KiB) for CPU (37 us a request): for servers with more than a dozen logins a second. A key earns one
    /// within about twenty seconds at that rate; a server that is restarted again and again leaves none behind.
    static constexpr std::uint32_t proofs_for_table = 256;
    static constexpr std::int64_t halving_ns = 10'000'000'000;

    explicit key_ranking(std::shared_ptr<key_tables> tables, std::size_t max_tables = key_tables::default_tables / 2,
                         std::uint32_t proofs = proofs_for_table);

    /// Is `signature` by `key` over `message`? By table where the key has one, else by libsodium. No effect but counters.
    [[nodiscard]] bool verify(std::span<const std::uint8_t> message, std::span<const std::uint8_t, 64> signature,
                              const crypto::key_bytes& key);
    /// A request that `key` signed passed every check. May build a table.
    void proven(const crypto::key_bytes& key, std::int64_t now_ns);

    [[nodiscard]] std::size_t tables() const noexcept { return held_.size(); }
    [[nodiscard]] bool has_table(const crypto::key_bytes& key) const noexcept { return find(key) != held_.size(); }
    /// Signatures that a table accepted, and those a table refused although they are good (its memory or this CPU is
    /// damaged). Each returns what came since it was asked last.
    [[nodiscard]] std::uint64_t take_by_table() noexcept { return std::exchange(by_table_, 0); }
    [[nodiscard]] std::uint64_t take_misjudged() noexcept { return std::exchange(misjudged_, 0); }

  private:
    struct candidate {
        std::uint64_t fingerprint = 0;  // 0 = free
        std::uint32_t proofs = 0;
    };
    struct holder {
        key_table table;
        std::uint32_t uses = 0;
    };
    static constexpr std::size_t ways = 4, sets = 256;
    [[nodiscard]] std::size_t find(const crypto::key_bytes& key) const noexcept;
    void drop(std::size_t i) noexcept;
    [[nodiscard]] candidate& candidate_for(const crypto::key_bytes& key) noexcept;
    void halve(std::int64_t now_ns) noexcept;

    std::shared_ptr<key_tables> tables_;
    std::size_t max_;
    const std::uint32_t proofs_for_table_;
    fingerprint_key hash_;
    std::vector<crypto::key_bytes> keys_;  // of held_, apart, so that a search reads little
    std::vector<holder> held_;
    std::array<std::array<candidate, ways>, sets> candidates_{};
    std::int64_t next_halving_ns_ = 0;
    std::uint64_t by_table_ = 0, misjudged_ = 0;
};

}  // namespace callgate::flow
