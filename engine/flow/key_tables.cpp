// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/key_tables.hpp"

#include <algorithm>
#include <new>
#include <string_view>

namespace callgate::flow {

key_tables::key_tables(std::size_t max_tables) : max_(max_tables) { entries_.reserve(max_); }

void key_tables::drop_unheld() {
    std::erase_if(entries_, [](const entry& e) { return !e.building && e.table.expired(); });
}

key_table key_tables::get(const crypto::key_bytes& key, std::int64_t now_ns) {
    {
        const std::lock_guard lock(mutex_);
        const auto known = std::ranges::find(entries_, key, &entry::key);
        if (known != entries_.end()) {
            if (known->building) return nullptr;
            if (auto table = known->table.lock()) return table;
        }
        drop_unheld();
        if (entries_.size() >= max_ || !rate_.take(now_ns)) return nullptr;
        entries_.push_back({key, {}, true});
        ++built_;
    }
    key_table table;
    try {
        table = crypto::known_key::make(key);
    } catch (const std::bad_alloc&) {
        // A table only saves time.
    }
    const std::lock_guard lock(mutex_);
    const auto own = std::ranges::find(entries_, key, &entry::key);
    if (table) {
        own->table = table;
        own->building = false;
    } else {
        entries_.erase(own);
    }
    return table;
}

void key_tables::discard(const key_table& table) noexcept {
    const std::lock_guard lock(mutex_);
    // Perhaps another shard was first, and a sound table is here or on its way.
    std::erase_if(entries_, [&](const entry& e) { return !e.building && e.table.lock() == table; });
}

std::size_t key_tables::size() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::ranges::count_if(entries_, [](const entry& e) { return !e.table.expired(); }));
}

std::uint64_t key_tables::built() const {
    const std::lock_guard lock(mutex_);
    return built_;
}

key_ranking::key_ranking(std::shared_ptr<key_tables> tables, std::size_t max_tables, std::uint32_t proofs)
    : tables_(std::move(tables)), max_(max_tables), proofs_for_table_(proofs) {
    keys_.reserve(max_ + 1);
    held_.reserve(max_ + 1);
}

std::size_t key_ranking::find(const crypto::key_bytes& key) const noexcept {
    return static_cast<std::size_t>(std::ranges::find(keys_, key) - keys_.begin());
}

bool key_ranking::verify(std::span<const std::uint8_t> message, std::span<const std::uint8_t, 64> signature, const crypto::key_bytes& key) {
    const auto i = find(key);
    if (i == held_.size()) return crypto::verify_any(message, signature, key);
    switch (crypto::verify_known(message, signature, *held_[i].table)) {
        case crypto::verification::by_table: ++by_table_; return true;
        case crypto::verification::refused: return false;
        case crypto::verification::by_libsodium: break;
    }
    ++misjudged_;
    tables_->discard(held_[i].table);
    drop(i);
    return true;
}

void key_ranking::drop(std::size_t i) noexcept {
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
    keys_.erase(keys_.begin() + static_cast<std::ptrdiff_t>(i));
}

key_ranking::candidate& key_ranking::candidate_for(const crypto::key_bytes& key) noexcept {
    const auto print = hash_.of(std::string_view{reinterpret_cast<const char*>(key.data()), key.size()});
    auto& set = candidates_[print % sets];
    auto* least = &set[0];
    for (auto& c : set) {
        if (c.fingerprint == print) return c;
        if (c.proofs < least->proofs) least = &c;
    }
    // Keys that came once push each other out, never one that comes often.
    *least = {print, 0};
    return *least;
}

void key_ranking::halve(std::int64_t now_ns) noexcept {
    if (now_ns < next_halving_ns_) return;
    next_halving_ns_ = now_ns + halving_ns;
    // Who has not come for some rounds makes room for others, in this shard and in the process.
    for (std::size_t i = held_.size(); i-- > 0;)
        if ((held_[i].uses /= 2) == 0) drop(i);
    for (auto& set : candidates_)
        for (auto& c : set) c.proofs /= 2;
}

void key_ranking::proven(const crypto::key_bytes& key, std::int64_t now_ns) {
    halve(now_ns);
    if (const auto i = find(key); i != held_.size()) {
        ++held_[i].uses;
        return;
    }
    auto& c = candidate_for(key);
    if (++c.proofs < proofs_for_table_ || max_ == 0) return;
    auto least = held_.end();
    if (held_.size() >= max_) {
        least = std::ranges::min_element(held_, {}, &holder::uses);
        // Twice as much, or two servers with as many logins would take the place from each other for ever.
        if (c.proofs < 2 * std::uint64_t{least->uses}) return;
    }
    // First the new one: nobody loses a table to a key that gets none.
    auto table = tables_->get(key, now_ns);
    if (!table) return;
    if (least != held_.end()) drop(static_cast<std::size_t>(least - held_.begin()));
    keys_.push_back(key);
    held_.push_back({std::move(table), c.proofs});
    c = {};
}

}  // namespace callgate::flow
