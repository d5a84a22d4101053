// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/nats.h>

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/host/control_loop.hpp"
#include "engine/host/nats_port.hpp"
#include "engine/host/nats_service.hpp"
#include "engine/host/worker_pool.hpp"

namespace callgate::host {

/// Copies what a plugin wants to send. Null: a rule of nats.h is broken.
[[nodiscard]] std::optional<nats_text> copy_message(const cg_nats_message* message);

/// One connection of one instance: what waits in either direction, its subscriptions, its requests. [any] unless tagged.
class nats_channel final : public nats_listener, public std::enable_shared_from_this<nats_channel> {
  public:
    nats_channel(std::shared_ptr<control_loop> loop, operation_owner& owner, std::shared_ptr<worker_service> workers, std::string cluster);

    /// [control] Once, before anything else.
    result<void> open(const nats_opener& opener, const std::string& instance);

    cg_status status(cg_nats_status& out) const;
    cg_status publish(nats_text&& message);
    /// [control]
    cg_status subscribe(const cg_nats_subscription& wanted, std::uint64_t& id);
    /// [control]
    cg_status unsubscribe(std::uint64_t id);
    cg_status request(const cg_nats_request& wanted, nats_text&& message, std::uint64_t* id);
    void cancel(std::uint64_t id);

    /// [control] As in nats_service.
    void end_delivery();
    std::size_t close();
    [[nodiscard]] nats_report report() const;
    [[nodiscard]] const std::string& cluster() const noexcept { return cluster_; }

    void on_message(std::uint64_t subscription, nats_text&& message, bool nobody) override;
    void on_state(const nats_state& now) override;

  private:
    struct subscription {
        void (*fn)(void*, const cg_nats_message*);
        void* ctx;
        bool on_worker;
        // Under the channel's lock:
        struct waiting_message {
            nats_text text;
            std::uint64_t lost;
        };
        std::deque<waiting_message> waiting;
        std::uint64_t lost = 0;      // since the last one that was queued
        bool scheduled = false, ended = false;
    };
    struct open_request {
        void (*done)(void*, const cg_nats_answer*);
        void* ctx;
        bool on_worker;
        cg_op op;
        std::int64_t until_ns;  // steady clock
        std::unique_ptr<boost::asio::steady_timer> timer{};
    };
    struct outgoing {
        nats_text text;
        std::uint64_t request = 0;  // 0: none
    };

    [[nodiscard]] cg_status queue(nats_text&& message, std::uint64_t request);  // under the lock
    void pump();
    void watch(std::uint64_t id);
    void finish(std::uint64_t id, cg_status status, const nats_text* message);
    void schedule(const std::shared_ptr<subscription>& s);  // under the lock
    void deliver(const std::shared_ptr<subscription>& s);
    void run_on_worker(std::function<void()> job);

    const std::shared_ptr<control_loop> loop_;
    operation_owner& owner_;
    const std::shared_ptr<worker_service> workers_;
    const std::string cluster_, inbox_;
    // [control]
    std::unique_ptr<nats_connection> link_;

    mutable std::mutex mutex_;  // guards the rest
    nats_state state_;
    std::map<std::uint64_t, std::shared_ptr<subscription>> subscriptions_;
    std::map<std::uint64_t, open_request> requests_;
    std::vector<outgoing> out_;
    std::size_t out_bytes_ = 0, waiting_ = 0, waiting_bytes_ = 0, answers_ = 0;  // answers_: on their way to [worker]
    std::uint64_t last_id_ = 0;  // of subscriptions and requests: each request has a subscription of its own
    nats_report counts_;
    bool pumping_ = false, delivering_ = true, closed_ = false;
};

}  // namespace callgate::host
