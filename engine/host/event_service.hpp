// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/events.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/host/control_loop.hpp"

namespace callgate::host {

class event_service;

/// What happened; see CG_EVENT_* for the meaning of the fields.
struct host_event {
    std::uint32_t kind = 0;
    std::string subject{}, text{};
    std::uint64_t number = 0;
};

/// From the runtime to every instance that subscribed. [any]
class event_hub {
  public:
    void publish(const host_event& e);
    void join(std::weak_ptr<event_service> member);

  private:
    std::mutex mutex_;
    std::vector<std::weak_ptr<event_service>> members_;
};

/// events/1 of one instance. [control] unless tagged.
class event_service : public std::enable_shared_from_this<event_service> {
  public:
    static constexpr std::size_t max_queued = CG_EVENTS_MAX_QUEUED, max_subscriptions = CG_EVENTS_MAX_SUBSCRIPTIONS;
    using function = void (*)(void*, const cg_event*);

    event_service(std::shared_ptr<control_loop> loop, std::shared_ptr<event_hub> hub) : loop_(std::move(loop)), hub_(std::move(hub)) {}

    cg_status subscribe(std::uint32_t mask, function fn, void* ctx, std::uint64_t& id);
    cg_status unsubscribe(std::uint64_t id) { return subscriptions_.erase(id) == 1 ? CG_OK : CG_E_NOT_FOUND; }
    /// [any] From the hub.
    void offer(const host_event& e);
    /// [any] Events that were dropped because too many waited.
    [[nodiscard]] std::uint64_t lost() const;
    void close();

    static const cg_events_api api;

  private:
    struct queued {
        host_event what;
        std::int64_t at_unix_s;
        std::uint64_t lost_before;
    };
    struct subscription {
        std::uint32_t mask;
        function fn;
        void* ctx;
    };
    void deliver();

    const std::shared_ptr<control_loop> loop_;
    const std::shared_ptr<event_hub> hub_;
    std::map<std::uint64_t, subscription> subscriptions_;
    std::uint64_t next_id_ = 1;
    bool joined_ = false;
    mutable std::mutex mutex_;  // guards the rest
    std::deque<queued> queue_;
    std::uint32_t wanted_ = 0;
    std::uint64_t lost_now_ = 0, lost_ = 0;
    bool posted_ = false, closed_ = false;
};

}  // namespace callgate::host
