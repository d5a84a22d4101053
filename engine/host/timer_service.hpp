// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/timer.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace callgate::host {

/// timer/1 of one instance: one-shot timers of the control thread.
class timer_service : public std::enable_shared_from_this<timer_service> {
  public:
    static constexpr std::size_t max_armed = 256;

    explicit timer_service(boost::asio::io_context& io) : io_(io) {}
    /// [any]
    cg_status start(std::int64_t after_ns, void (*fn)(void*), void* ctx, std::uint64_t& id);
    cg_status cancel(std::uint64_t id);
    /// [control] Nothing fires any more; returns how many were armed.
    std::size_t close();

    static const cg_timer_api api;

  private:
    struct armed {
        boost::asio::steady_timer timer;
        void (*fn)(void*);
        void* ctx;
    };
    void fire(std::uint64_t id);

    boost::asio::io_context& io_;
    std::mutex mutex_;  // also serialises every use of the asio timers, which are not safe for shared use
    std::map<std::uint64_t, armed> timers_;
    std::uint64_t next_id_ = 1;
    bool closed_ = false;
};

}  // namespace callgate::host
