// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/net/link_core.hpp"
#include "engine/net/nats_link.hpp"

namespace callgate::net {

/// The same core on a loop thread of its own: cnats 3.4.1 blocks inside SSL_read on half a TLS record
/// (review.md 2.6). Messages, status and output cross in batches, one post for each batch.
class threaded_link final : public nats_link {
  public:
    threaded_link(boost::asio::io_context& shard, link_options options, std::uint32_t index, link_handler& handler);
    ~threaded_link() override;

    void start() override;
    bool publish(std::string_view subject, std::span<const std::uint8_t> payload, std::string_view reply, std::string_view headers) override;
    void subscribe(std::uint64_t id, subscription_request wanted) override;
    void unsubscribe(std::uint64_t id) override;
    void flush() override;
    void stop_receiving(std::int64_t limit_ns, std::function<void()> done) override;
    void close(std::int64_t limit_ns, std::function<void()> done) override;
    [[nodiscard]] const link_status& status() const override { return inbox_->status; }
    [[nodiscard]] link_counters counters() const override;

  private:
    /// From the loop thread to the shard. Outlives the link in handlers that are already posted.
    struct inbox : link_handler, std::enable_shared_from_this<inbox> {
        inbox(boost::asio::io_context& s, std::size_t max_bytes) : shard(s), pause_above_bytes(max_bytes) {}
        void on_messages(std::span<inbound_message> batch) override;                       // loop thread
        void on_status(std::uint32_t link, const link_status& now) override;               // loop thread
        void deliver();                                                                    // shard
        void schedule_locked();

        boost::asio::io_context& shard;
        const std::size_t pause_above_bytes;
        std::mutex mutex;
        std::vector<inbound_message> messages;
        std::size_t waiting_bytes = 0;  // of `messages`
        std::vector<link_status> changes;
        bool scheduled = false;
        bool paused = false;
        // Shard's thread only:
        link_handler* handler = nullptr;
        std::uint32_t index = 0;
        std::function<void(bool)> set_reading;  // posts to the loop
        link_status status;
        std::uint64_t messages_in = 0, bytes_in = 0;
    };
    /// One flush: subjects, replies, headers and payloads end to end.
    struct outgoing {
        struct item { std::uint32_t subject, reply, headers, payload; };
        std::uint64_t generation = 0;
        std::vector<item> items;
        std::vector<std::uint8_t> bytes;
    };
    /// From the shard to the loop thread.
    struct outbox {
        std::mutex mutex;
        std::vector<outgoing> batches;
        bool scheduled = false;
        std::atomic<std::size_t> queued_bytes{0};
        std::atomic<std::uint64_t> messages{0}, bytes{0}, dropped{0};
    };
    static void send_batches(outbox& box, link_core& core);
    void watch_loop();

    const std::size_t max_pending_out_;
    const std::int64_t stall_limit_ns_;
    boost::asio::io_context& shard_;
    std::shared_ptr<inbox> inbox_;
    std::shared_ptr<outbox> outbox_;
    outgoing filling_;
    boost::asio::io_context loop_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_;
    std::shared_ptr<link_core> core_;
    std::shared_ptr<std::atomic<std::uint64_t>> heartbeat_;  // bumped by the loop thread
    std::uint64_t heartbeat_asked_ = 0;
    std::int64_t asked_at_ns_ = 0;
    std::shared_ptr<boost::asio::steady_timer> watch_timer_, close_timer_;
    std::thread thread_;
};

}  // namespace callgate::net
