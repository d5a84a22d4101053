// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

namespace callgate::flow {

/// First in, first out. Unlike std::deque it keeps its room when it runs empty, so that a queue which goes up and down
/// with every request takes nothing from the heap. What was popped is destroyed at once. Room that a storm left behind
/// goes when the queue runs empty again.
template <class T>
class ring_queue {
  public:
    /// Cells kept for good.
    static constexpr std::size_t kept_cells = 1024;

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Only when not empty.
    [[nodiscard]] T& front() noexcept { return cells_[first_]; }
    [[nodiscard]] const T& front() const noexcept { return cells_[first_]; }
    void push_back(T&& value) {
        if (size_ == cells_.size()) grow();
        cells_[(first_ + size_) & (cells_.size() - 1)] = std::move(value);
        ++size_;
    }
    void pop_front() {
        cells_[first_] = T{};
        first_ = (first_ + 1) & (cells_.size() - 1);
        if (--size_ == 0 && cells_.size() > kept_cells) {
            std::vector<T>().swap(cells_);
            first_ = 0;
        }
    }

  private:
    void grow() {
        std::vector<T> more(cells_.empty() ? 8 : 2 * cells_.size());
        for (std::size_t i = 0; i < size_; ++i) more[i] = std::move(cells_[(first_ + i) & (cells_.size() - 1)]);
        cells_.swap(more);
        first_ = 0;
    }
    std::vector<T> cells_;  // a power of two of them
    std::size_t first_ = 0, size_ = 0;
};

}  // namespace callgate::flow
