// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/replay_set.hpp"

#include <algorithm>
#include <utility>

namespace callgate::flow {

replay_set::replay_set(std::size_t max_entries_per_generation)
    : max_entries_(std::max<std::size_t>(max_entries_per_generation >> stripe_bits, 1)) {}

bool replay_set::insert(std::string_view user_nkey, std::int64_t now_ns, std::int64_t until_ns) {
    const std::uint64_t f = key_.of(user_nkey);
    // From the high bits: the low ones say where in the table it lies.
    auto& s = stripes_[f >> (64 - stripe_bits)];
    const std::lock_guard lock(s.mutex);
    if (s.previous.count != 0 && now_ns >= s.previous.until_ns) s.previous.clear();
    if (s.current.count != 0 && now_ns >= s.current.until_ns) s.current.clear();
    if (s.current.contains(f) || s.previous.contains(f)) return false;
    // Turning over as soon as the previous generation is of no use keeps both small; turning when the current
    // one is full keeps them bounded.
    if ((s.previous.count == 0 && s.current.count != 0) || s.current.count >= max_entries_) {
        std::swap(s.current, s.previous);
        s.current.clear();
    }
    s.current.insert(f);
    s.current.until_ns = std::max(s.current.until_ns, until_ns);
    return true;
}

std::size_t replay_set::size() const {
    std::size_t n = 0;
    for (const auto& s : stripes_) {
        const std::lock_guard lock(s.mutex);
        n += s.current.count + s.previous.count;
    }
    return n;
}

bool replay_set::generation::contains(std::uint64_t f) const noexcept {
    if (cells.empty()) return false;
    const std::size_t mask = cells.size() - 1;
    for (std::size_t i = f & mask; cells[i] != 0; i = (i + 1) & mask)
        if (cells[i] == f) return true;
    return false;
}

void replay_set::generation::insert(std::uint64_t f) {
    if ((count + 1) * 2 > cells.size()) grow();
    const std::size_t mask = cells.size() - 1;
    std::size_t i = f & mask;
    while (cells[i] != 0) i = (i + 1) & mask;
    cells[i] = f;
    ++count;
}

void replay_set::generation::grow() {
    std::vector<std::uint64_t> old(std::max<std::size_t>(1024, cells.size() * 2), 0);
    old.swap(cells);
    count = 0;
    for (const auto f : old)
        if (f != 0) insert(f);
}

void replay_set::generation::clear() {
    // After a storm the table would stay large and each turn-over would clear it for nothing.
    if (cells.size() > 1024 && count * 8 < cells.size()) cells.assign(cells.size() / 2, 0);
    else std::fill(cells.begin(), cells.end(), 0);
    count = 0;
    until_ns = INT64_MIN;
}

}  // namespace callgate::flow
