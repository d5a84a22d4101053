// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/ed25519.hpp>
#include <callgate/crypto/secret.hpp>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "engine/flow/fingerprint.hpp"

namespace callgate::flow {

using shared_key = std::shared_ptr<const crypto::secret>;

/// Results of key agreements between an own xkey and a server's, bounded. A peer key comes from an unsigned
/// header, so anybody can fill the cache: pairs through which a verified request came ("proven") have room of
/// their own and are not evicted by the others.
class shared_key_cache {
  public:
    static constexpr std::size_t default_proven = 448, default_unproven = 64;
    explicit shared_key_cache(std::size_t max_proven = default_proven, std::size_t max_unproven = default_unproven);

    struct found {
        bool known = false;  ///< false: nobody agreed on this pair yet
        shared_key key;      ///< null with known: agreement failed lately
    };
    [[nodiscard]] found find(const crypto::key_bytes& own, const crypto::key_bytes& peer, std::int64_t now_ns);
    void insert(const crypto::key_bytes& own, const crypto::key_bytes& peer, crypto::secret key);
    /// No agreement for that pair until `until_ns`.
    void insert_failure(const crypto::key_bytes& own, const crypto::key_bytes& peer, std::int64_t until_ns);
    void mark_proven(const crypto::key_bytes& own, const crypto::key_bytes& peer);
    [[nodiscard]] std::size_t size() const noexcept { return index_.size(); }

  private:
    struct entry {
        crypto::key_bytes own, peer;
        shared_key key;
        std::int64_t failed_until_ns = 0;
        bool proven = false;
    };
    using list = std::list<entry>;  // front = used last
    [[nodiscard]] std::uint64_t key_of(const crypto::key_bytes& own, const crypto::key_bytes& peer) const noexcept;
    [[nodiscard]] list::iterator* lookup(const crypto::key_bytes& own, const crypto::key_bytes& peer) noexcept;
    void put(entry e);
    void trim(list& l, std::size_t max);

    fingerprint_key hash_;
    list proven_, unproven_;
    std::unordered_map<std::uint64_t, list::iterator> index_;
    std::size_t max_proven_, max_unproven_;
};

}  // namespace callgate::flow
