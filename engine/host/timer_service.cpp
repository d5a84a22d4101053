// SPDX-License-Identifier: Apache-2.0
#include "engine/host/timer_service.hpp"

#include <chrono>

#include "engine/host/services.hpp"

namespace callgate::host {

cg_status timer_service::start(std::int64_t after_ns, void (*fn)(void*), void* ctx, std::uint64_t& id) {
    if (after_ns < 0 || fn == nullptr) return CG_E_INVALID;
    const std::lock_guard lock(mutex_);
    if (closed_) return CG_E_CANCELLED;
    if (timers_.size() >= max_armed) return CG_E_BUSY;
    id = next_id_++;  // under the lock, so before the function can run and look at it
    auto& t = timers_.emplace(id, armed{boost::asio::steady_timer(io_), fn, ctx}).first->second;
    // A century is as good as never and keeps the sum inside the clock's range.
    constexpr std::int64_t century_ns = 100LL * 365 * 24 * 3600 * 1'000'000'000;
    t.timer.expires_after(std::chrono::nanoseconds(after_ns < century_ns ? after_ns : century_ns));
    t.timer.async_wait([weak = weak_from_this(), id_ = id](const boost::system::error_code& ec) {
        if (ec) return;
        if (auto self = weak.lock()) self->fire(id_);
    });
    return CG_OK;
}

void timer_service::fire(std::uint64_t id) {
    void (*fn)(void*) = nullptr;
    void* ctx = nullptr;
    {
        const std::lock_guard lock(mutex_);
        const auto it = timers_.find(id);
        if (it == timers_.end()) return;  // cancelled when the expiry was on its way already
        fn = it->second.fn;
        ctx = it->second.ctx;
        timers_.erase(it);
    }
    fn(ctx);
}

cg_status timer_service::cancel(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    return timers_.erase(id) == 1 ? CG_OK : CG_E_NOT_FOUND;
}

std::size_t timer_service::close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    const auto left = timers_.size();
    timers_.clear();
    return left;
}

const cg_timer_api timer_service::api = {
    sizeof(cg_timer_api), 0,
    [](const cg_host* host, std::int64_t after_ns, void (*fn)(void*), void* ctx, std::uint64_t* id) -> cg_status {
        return id == nullptr ? CG_E_INVALID : services::of(host).timers().start(after_ns, fn, ctx, *id);
    },
    [](const cg_host* host, std::uint64_t id) -> cg_status { return services::of(host).timers().cancel(id); }};

}  // namespace callgate::host
