// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>

#include "engine/flow/ring_queue.hpp"
#include "engine/flow/shard_engine.hpp"

namespace callgate::flow {

/// Messages read but not started: first in, first out, bounded in count and bytes. What has waited too long is
/// dropped unread (decisions.md, Engine 8): its server gives up before an answer could be there.
class admission_queue {
  public:
    /// False: full, the message is left as it was.
    [[nodiscard]] bool push(callout_message&& message, std::size_t max_count, std::size_t max_bytes) {
        const std::size_t size = cost(message);
        if (queue_.size() >= max_count || size > max_bytes || bytes_ > max_bytes - size) return false;
        bytes_ += size;
        queue_.push_back(std::move(message));
        return true;
    }
    [[nodiscard]] callout_message pop() {
        callout_message m = std::move(queue_.front());
        queue_.pop_front();
        bytes_ -= cost(m);
        return m;
    }
    [[nodiscard]] const callout_message& front() const noexcept { return queue_.front(); }
    [[nodiscard]] bool empty() const noexcept { return queue_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return queue_.size(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

  private:
    static std::size_t cost(const callout_message& m) noexcept { return m.payload.size() + m.reply.size() + m.xkey_header.size(); }
    ring_queue<callout_message> queue_;
    std::size_t bytes_ = 0;
};

}  // namespace callgate::flow
