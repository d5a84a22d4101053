// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/server_book.hpp"

#include <algorithm>
#include <utility>

namespace callgate::flow {

server_book::server_book(std::size_t max_servers, std::size_t max_pairs, std::shared_ptr<key_tables> tables) : keys(std::move(tables)) {
    servers_.max = max_servers;
    first_reply_ns_.max = max_pairs;
}

void server_book::learn_budget(std::string_view reply_hash, std::string_view server_id, std::int64_t budget_ns) {
    const auto id = hash_.of(server_id);
    const auto k = hash_.of(reply_hash);
    if (auto* known = servers_.find(k); known != nullptr && known->id != id) {
        // A restarted server has a new id and the same hash, and so has somebody who pretends to be it. Only
        // the longer budget is safe to believe: it never drops a request that could still be served.
        *known = {id, std::max(known->budget_ns, budget_ns)};
        return;
    }
    servers_.put(k, {id, budget_ns});
}

std::int64_t server_book::budget(std::string_view reply_hash) const noexcept {
    const auto k = hash_.of(reply_hash);
    if (const auto it = servers_.current.find(k); it != servers_.current.end()) return it->second.budget_ns;
    if (const auto it = servers_.previous.find(k); it != servers_.previous.end()) return it->second.budget_ns;
    return 0;
}

bool server_book::is_cold(std::string_view server_id, std::string_view placement, std::int64_t now_ns) {
    const auto* first = first_reply_ns_.find(hash_.of(server_id, placement));
    return first == nullptr || now_ns - *first < warm_after_ns;
}

void server_book::replied(std::string_view server_id, std::string_view placement, std::int64_t now_ns) {
    const auto k = hash_.of(server_id, placement);
    if (first_reply_ns_.find(k) == nullptr) first_reply_ns_.put(k, now_ns);
}

}  // namespace callgate::flow
