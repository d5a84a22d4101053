// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <array>
#include <functional>
#include <memory>
#include <mutex>

#include "engine/base/error.hpp"
#include "engine/host/operations.hpp"

namespace callgate::host {

/// The control thread as a shard of the operation table: its inbox is drained and its deadlines are kept by
/// the control io_context, which one thread runs.
class control_loop : public std::enable_shared_from_this<control_loop> {
  public:
    /// `wake` as in operation_table, for shards 0..shards-1.
    static std::shared_ptr<control_loop> make(boost::asio::io_context& io, std::uint32_t shards, const clock_source& clock,
                                              std::function<void(std::uint32_t)> wake);

    [[nodiscard]] boost::asio::io_context& io() noexcept { return io_; }
    [[nodiscard]] operation_table& table() noexcept { return *table_; }
    [[nodiscard]] std::uint32_t shard() const noexcept { return table_->control_shard(); }
    /// [any] Runs f on the control thread, never inside this call.
    void post(std::function<void()> f);
    /// [control] After an operation with a deadline was begun.
    void arm();
    /// [control] Index of a free lane of the table; its thread is woken by `wake` [any]. Error busy when all are taken.
    result<std::uint32_t> open_lane(std::function<void()> wake);
    /// [control] When no operation of the lane is left.
    void close_lane(std::uint32_t lane);
    /// [control] No timer keeps io_context::run() going any more.
    void close();

  private:
    explicit control_loop(boost::asio::io_context& io) : io_(io), timer_(io) {}

    void wake_lane(std::uint32_t lane);

    boost::asio::io_context& io_;
    boost::asio::steady_timer timer_;
    std::mutex lanes_mutex_;
    std::array<std::function<void()>, operation_table::max_lanes> lanes_;  // of which thread; empty = free
    std::unique_ptr<operation_table> table_;
    std::int64_t armed_for_ns_ = INT64_MAX;
    bool closed_ = false;
};

}  // namespace callgate::host
