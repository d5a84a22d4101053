// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace callgate::flow {

/// Deadlines of the slots, soonest first: a binary heap that knows where each slot stands, so that a deadline
/// can move or go without leaving a tombstone. No clock, no timer.
class deadline_heap {
  public:
    /// Adds the slot or moves its deadline.
    void set(std::uint32_t slot, std::int64_t deadline_ns) {
        if (slot >= place_.size()) place_.resize(slot + 1, none);
        if (place_[slot] == none) {
            place_[slot] = heap_.size();
            heap_.push_back({deadline_ns, slot});
            up(place_[slot]);
            return;
        }
        heap_[place_[slot]].deadline_ns = deadline_ns;
        up(place_[slot]);
        down(place_[slot]);
    }
    void remove(std::uint32_t slot) {
        if (slot >= place_.size() || place_[slot] == none) return;
        const std::size_t i = std::exchange(place_[slot], none);
        const node last = heap_.back();
        heap_.pop_back();
        if (i == heap_.size()) return;
        heap_[i] = last;
        place_[last.slot] = i;
        up(i);
        down(place_[last.slot]);
    }
    [[nodiscard]] std::int64_t next_ns() const noexcept { return heap_.empty() ? INT64_MAX : heap_.front().deadline_ns; }
    /// Slot with the soonest deadline; only when next_ns() is not INT64_MAX.
    [[nodiscard]] std::uint32_t next_slot() const noexcept { return heap_.front().slot; }
    [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }

  private:
    struct node {
        std::int64_t deadline_ns;
        std::uint32_t slot;
    };
    static constexpr std::size_t none = SIZE_MAX;
    void swap(std::size_t a, std::size_t b) {
        std::swap(heap_[a], heap_[b]);
        place_[heap_[a].slot] = a;
        place_[heap_[b].slot] = b;
    }
    void up(std::size_t i) {
        for (; i != 0 && heap_[i].deadline_ns < heap_[(i - 1) / 2].deadline_ns; i = (i - 1) / 2) swap(i, (i - 1) / 2);
    }
    void down(std::size_t i) {
        for (;;) {
            std::size_t least = i;
            for (const std::size_t child : {2 * i + 1, 2 * i + 2})
                if (child < heap_.size() && heap_[child].deadline_ns < heap_[least].deadline_ns) least = child;
            if (least == i) return;
            swap(i, least);
            i = least;
        }
    }
    std::vector<node> heap_;
    std::vector<std::size_t> place_;
};

}  // namespace callgate::flow
