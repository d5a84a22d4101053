// SPDX-License-Identifier: Apache-2.0
#include "engine/host/event_service.hpp"

#include <algorithm>
#include <utility>

#include "engine/host/abi_read.hpp"
#include "engine/host/services.hpp"

namespace callgate::host {

void event_hub::publish(const host_event& e) {
    std::vector<std::shared_ptr<event_service>> alive;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& m : members_)
            if (auto s = m.lock()) alive.push_back(std::move(s));
    }
    for (const auto& m : alive) m->offer(e);
}

void event_hub::join(std::weak_ptr<event_service> member) {
    const std::lock_guard lock(mutex_);
    std::erase_if(members_, [](const auto& m) { return m.expired(); });
    members_.push_back(std::move(member));
}

cg_status event_service::subscribe(std::uint32_t mask, function fn, void* ctx, std::uint64_t& id) {
    if (fn == nullptr || mask == 0) return CG_E_INVALID;
    if (subscriptions_.size() >= max_subscriptions) return CG_E_BUSY;
    {
        const std::lock_guard lock(mutex_);
        if (closed_) return CG_E_CANCELLED;
        wanted_ |= mask;
    }
    id = next_id_++;
    subscriptions_.emplace(id, subscription{mask, fn, ctx});
    if (!std::exchange(joined_, true)) hub_->join(weak_from_this());
    return CG_OK;
}

void event_service::offer(const host_event& e) {
    const std::lock_guard lock(mutex_);
    if (closed_ || e.kind >= 32 || (wanted_ & CG_EVENTS_BIT(e.kind)) == 0) return;
    if (queue_.size() >= max_queued) {
        ++lost_now_;
        ++lost_;
        return;
    }
    queue_.push_back({e, loop_->table().clock().wall_s(), std::exchange(lost_now_, 0)});
    if (!std::exchange(posted_, true))
        loop_->post([weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->deliver();
        });
}

void event_service::deliver() {
    std::deque<queued> now;
    {
        const std::lock_guard lock(mutex_);
        posted_ = false;
        now = std::exchange(queue_, {});
    }
    for (const auto& q : now) {
        cg_event e{};
        e.struct_size = sizeof e;
        e.kind = q.what.kind;
        e.subject = to_c(q.what.subject);
        e.text = to_c(q.what.text);
        e.number = q.what.number;
        e.at_unix_s = q.at_unix_s;
        e.lost = q.lost_before;
        // A function may take away any subscription, also its own.
        std::vector<std::uint64_t> ids;
        for (const auto& [id, s] : subscriptions_)
            if ((s.mask & CG_EVENTS_BIT(e.kind)) != 0) ids.push_back(id);
        for (const auto id : ids)
            if (const auto it = subscriptions_.find(id); it != subscriptions_.end()) {
                const auto s = it->second;
                s.fn(s.ctx, &e);
            }
    }
}

std::uint64_t event_service::lost() const {
    const std::lock_guard lock(mutex_);
    return lost_;
}

void event_service::close() {
    subscriptions_.clear();
    const std::lock_guard lock(mutex_);
    closed_ = true;
    queue_.clear();
}

const cg_events_api event_service::api = {
    sizeof(cg_events_api), 0,
    [](const cg_host* host, std::uint32_t mask, event_service::function fn, void* ctx, std::uint64_t* id) noexcept -> cg_status {
        return id == nullptr ? CG_E_INVALID : services::of(host).events().subscribe(mask, fn, ctx, *id);
    },
    [](const cg_host* host, std::uint64_t id) noexcept -> cg_status { return services::of(host).events().unsubscribe(id); }};

}  // namespace callgate::host
