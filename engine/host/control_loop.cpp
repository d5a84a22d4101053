// SPDX-License-Identifier: Apache-2.0
#include "engine/host/control_loop.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>

namespace callgate::host {

std::shared_ptr<control_loop> control_loop::make(boost::asio::io_context& io, std::uint32_t shards, const clock_source& clock,
                                                 std::function<void(std::uint32_t)> wake) {
    std::shared_ptr<control_loop> loop(new control_loop(io));
    loop->table_ = std::make_unique<operation_table>(
        shards, clock, [weak = std::weak_ptr(loop), wake = std::move(wake), shards](std::uint32_t shard) {
            if (shard < shards) {
                wake(shard);
                return;
            }
            const auto self = weak.lock();
            if (!self) return;
            if (shard > shards) self->wake_lane(shard);
            else
                self->post([self] {
                    self->table_->drain(self->shard());
                    self->arm();
                });
        });
    return loop;
}

result<std::uint32_t> control_loop::open_lane(std::function<void()> wake) {
    const std::lock_guard lock(lanes_mutex_);
    for (std::uint32_t i = 0; i < lanes_.size(); ++i)
        if (!lanes_[i]) {
            lanes_[i] = std::move(wake);
            return shard() + 1 + i;
        }
    return make_error(errc::busy, "there are " + std::to_string(lanes_.size()) + " audit sinks already, those on their way out included; remove some");
}

void control_loop::close_lane(std::uint32_t lane) {
    const std::lock_guard lock(lanes_mutex_);
    lanes_[lane - shard() - 1] = nullptr;
}

void control_loop::wake_lane(std::uint32_t lane) {
    const std::lock_guard lock(lanes_mutex_);
    if (const auto& wake = lanes_[lane - shard() - 1]) wake();
}

void control_loop::post(std::function<void()> f) { boost::asio::post(io_, std::move(f)); }

void control_loop::arm() {
    if (closed_) return;
    const auto next = table_->next_deadline(shard());
    if (next == armed_for_ns_) return;
    armed_for_ns_ = next;
    timer_.cancel();
    if (next == INT64_MAX) return;
    // At least a millisecond: a manual clock does not move by waiting.
    const auto wait = std::max<std::int64_t>(next - table_->clock().mono_ns(), 1'000'000);
    timer_.expires_after(std::chrono::nanoseconds(wait));
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& ec) {
        auto self = weak.lock();
        if (ec || !self) return;
        self->armed_for_ns_ = INT64_MAX;
        self->table_->expire(self->shard(), self->table_->clock().mono_ns());
        self->arm();
    });
}

void control_loop::close() {
    closed_ = true;
    timer_.cancel();
}

}  // namespace callgate::host
