// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/shared_key_cache.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace callgate::flow {
namespace {
std::string_view text_of(const crypto::key_bytes& k) noexcept { return {reinterpret_cast<const char*>(k.data()), k.size()}; }
}  // namespace

shared_key_cache::shared_key_cache(std::size_t max_proven, std::size_t max_unproven)
    : max_proven_(std::max<std::size_t>(max_proven, 1)), max_unproven_(std::max<std::size_t>(max_unproven, 1)) {}

std::uint64_t shared_key_cache::key_of(const crypto::key_bytes& own, const crypto::key_bytes& peer) const noexcept {
    return hash_.of(text_of(own), text_of(peer));
}

shared_key_cache::list::iterator* shared_key_cache::lookup(const crypto::key_bytes& own, const crypto::key_bytes& peer) noexcept {
    const auto it = index_.find(key_of(own, peer));
    // A key of one pair must never serve another, however unlikely equal fingerprints are.
    if (it == index_.end() || it->second->own != own || it->second->peer != peer) return nullptr;
    return &it->second;
}

shared_key_cache::found shared_key_cache::find(const crypto::key_bytes& own, const crypto::key_bytes& peer, std::int64_t now_ns) {
    auto* at = lookup(own, peer);
    if (at == nullptr) return {};
    const auto e = *at;
    if (!e->key && now_ns >= e->failed_until_ns) return {};
    auto& l = e->proven ? proven_ : unproven_;
    l.splice(l.begin(), l, e);
    return {true, e->key};
}

void shared_key_cache::insert(const crypto::key_bytes& own, const crypto::key_bytes& peer, crypto::secret key) {
    put({own, peer, std::make_shared<const crypto::secret>(std::move(key)), 0, false});
}

void shared_key_cache::insert_failure(const crypto::key_bytes& own, const crypto::key_bytes& peer, std::int64_t until_ns) {
    put({own, peer, nullptr, until_ns, false});
}

void shared_key_cache::put(entry e) {
    const auto k = key_of(e.own, e.peer);
    if (const auto it = index_.find(k); it != index_.end()) {
        (it->second->proven ? proven_ : unproven_).erase(it->second);
        index_.erase(it);
    }
    unproven_.push_front(std::move(e));
    index_[k] = unproven_.begin();
    trim(unproven_, max_unproven_);
}

void shared_key_cache::mark_proven(const crypto::key_bytes& own, const crypto::key_bytes& peer) {
    auto* at = lookup(own, peer);
    if (at == nullptr || (*at)->proven || !(*at)->key) return;
    (*at)->proven = true;
    proven_.splice(proven_.begin(), unproven_, *at);
    trim(proven_, max_proven_);
}

void shared_key_cache::trim(list& l, std::size_t max) {
    while (l.size() > max) {
        index_.erase(key_of(l.back().own, l.back().peer));
        l.pop_back();
    }
}

}  // namespace callgate::flow
