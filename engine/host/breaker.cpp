// SPDX-License-Identifier: Apache-2.0
#include "engine/host/breaker.hpp"

#include <algorithm>

namespace callgate::host {

bool circuit_breaker::admit(std::int64_t now_ns) noexcept {
    if (state_.load(std::memory_order_acquire) == breaker_state::closed) return true;
    const std::lock_guard lock(mutex_);
    switch (state_.load(std::memory_order_relaxed)) {
        case breaker_state::closed: return true;
        case breaker_state::open:
            if (now_ns < open_until_ns_) return false;
            state_.store(breaker_state::half_open, std::memory_order_release);
            probing_ = true;
            return true;
        case breaker_state::half_open:
            if (probing_) return false;
            probing_ = true;
            return true;
    }
    return false;
}

void circuit_breaker::not_started() noexcept {
    if (state_.load(std::memory_order_acquire) == breaker_state::closed) return;
    const std::lock_guard lock(mutex_);
    probing_ = false;
}

void circuit_breaker::succeeded() noexcept {
    if (state_.load(std::memory_order_acquire) == breaker_state::closed) {
        if (failures_.load(std::memory_order_relaxed) != 0) failures_.store(0, std::memory_order_relaxed);
        return;
    }
    const std::lock_guard lock(mutex_);
    // An answer to an operation of before the opening says little about now, but it is an answer.
    state_.store(breaker_state::closed, std::memory_order_release);
    failures_.store(0, std::memory_order_relaxed);
    pause_ns_ = options_.open_ns;
    probing_ = false;
}

void circuit_breaker::failed(std::int64_t now_ns) noexcept {
    const auto in_a_row = failures_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (state_.load(std::memory_order_acquire) == breaker_state::closed && (options_.failures == 0 || in_a_row < options_.failures)) return;
    open(now_ns);
}

void circuit_breaker::trip(std::int64_t now_ns) noexcept { open(now_ns); }

void circuit_breaker::open(std::int64_t now_ns) noexcept {
    const std::lock_guard lock(mutex_);
    switch (state_.load(std::memory_order_relaxed)) {
        case breaker_state::closed: break;
        case breaker_state::open: return;  // stragglers of before the opening
        case breaker_state::half_open:
            pause_ns_ = std::min(pause_ns_ * 2, options_.longest_open_ns);
            break;
    }
    opened_.fetch_add(1, std::memory_order_relaxed);
    state_.store(breaker_state::open, std::memory_order_release);
    open_until_ns_ = now_ns + pause_ns_;
    probing_ = false;
}

}  // namespace callgate::host
