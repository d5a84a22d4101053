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
            if (shard != shards) {
                wake(shard);
                return;
            }
            if (auto self = weak.lock())
                self->post([self] {
                    self->table_->drain(self->shard());
                    self->arm();
                });
        });
    return loop;
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
