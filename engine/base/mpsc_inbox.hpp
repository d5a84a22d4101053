// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>

namespace callgate {

/// Link of an mpsc_inbox; derive from it. A node is in at most one inbox at a time.
struct inbox_node {
    inbox_node* next_in_inbox = nullptr;
};

/// Intrusive inbox of one thread: any thread pushes, one thread takes everything at once. Neither side
/// ever waits or allocates. The order of pushes is kept. Bounded by whoever owns the nodes.
class mpsc_inbox {
  public:
    mpsc_inbox() noexcept = default;
    mpsc_inbox(const mpsc_inbox&) = delete;
    mpsc_inbox& operator=(const mpsc_inbox&) = delete;

    /// [any] True when the inbox was empty: then the caller wakes the consumer, so a burst costs one wake-up.
    bool push(inbox_node& node) noexcept;
    /// [consumer] All nodes, oldest first, linked by next_in_inbox; nullptr when empty. The inbox no longer
    /// knows them, so a node may be pushed again once its next_in_inbox was read.
    [[nodiscard]] inbox_node* take_all() noexcept;
    /// [any] Only a hint: may be outdated when it returns.
    [[nodiscard]] bool empty() const noexcept { return head_.load(std::memory_order_relaxed) == nullptr; }

  private:
    alignas(64) std::atomic<inbox_node*> head_{nullptr};
};

}  // namespace callgate
