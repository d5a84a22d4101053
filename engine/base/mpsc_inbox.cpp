// SPDX-License-Identifier: Apache-2.0
#include "engine/base/mpsc_inbox.hpp"

namespace callgate {

// Ordering:
//  1. push writes the node and what hangs on it, then publishes it by the release compare-exchange (A).
//  2. take_all's exchange (B) is an acquire. Pushes form a release sequence of read-modify-writes on head_,
//     so B synchronises with every push whose node is reachable from the value it read, not only the last.
//  3. No wake-up is lost: push sees "empty" (nullptr) exactly when it is the first after B emptied the
//     list, because both are read-modify-writes of one variable and have one total order. That push wakes
//     the consumer; those behind it ride along.
//  4. There is no ABA: the consumer never compares, it takes the whole list, and a producer that reads a
//     head which was taken meanwhile fails its compare-exchange unless the same node is the head again,
//     and then its next pointer to that node is right.
bool mpsc_inbox::push(inbox_node& node) noexcept {
    auto* head = head_.load(std::memory_order_relaxed);
    do {
        node.next_in_inbox = head;
    } while (!head_.compare_exchange_weak(head, &node, std::memory_order_release, std::memory_order_relaxed));  // A
    return head == nullptr;
}

inbox_node* mpsc_inbox::take_all() noexcept {
    auto* newest_first = head_.exchange(nullptr, std::memory_order_acquire);  // B
    inbox_node* oldest_first = nullptr;
    while (newest_first != nullptr) {
        auto* const next = newest_first->next_in_inbox;
        newest_first->next_in_inbox = oldest_first;
        oldest_first = newest_first;
        newest_first = next;
    }
    return oldest_first;
}

}  // namespace callgate
