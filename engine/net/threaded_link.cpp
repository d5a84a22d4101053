// SPDX-License-Identifier: Apache-2.0
#include "engine/net/threaded_link.hpp"

#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "engine/base/clock.hpp"
#include "engine/base/log.hpp"

namespace callgate::net {
namespace {

namespace asio = boost::asio;

constexpr std::size_t pause_above = 16384;  // messages that wait for the shard
constexpr std::int64_t watch_every_ns = 1'000'000'000;

}  // namespace

void threaded_link::inbox::schedule_locked() {
    if (std::exchange(scheduled, true)) return;
    asio::post(shard, [self = shared_from_this()] { self->deliver(); });
}

void threaded_link::inbox::on_messages(std::span<inbound_message> batch) {
    bool pause = false;
    {
        const std::scoped_lock lock(mutex);
        for (auto& m : batch) {
            waiting_bytes += m.payload.size();
            messages.push_back(std::move(m));
        }
        if ((messages.size() > pause_above || waiting_bytes > pause_above_bytes) && !paused) pause = paused = true;
        schedule_locked();
    }
    if (pause) set_reading(false);
}

void threaded_link::inbox::on_status(std::uint32_t, const link_status& now) {
    const std::scoped_lock lock(mutex);
    changes.push_back(now);
    schedule_locked();
}

void threaded_link::inbox::deliver() {
    std::vector<inbound_message> batch;
    std::vector<link_status> news;
    bool resume = false;
    {
        const std::scoped_lock lock(mutex);
        scheduled = false;
        batch.swap(messages);
        waiting_bytes = 0;
        news.swap(changes);
        resume = std::exchange(paused, false);
    }
    const auto keep = shared_from_this();
    if (resume && set_reading) set_reading(true);
    // A connection that came up must be known before its messages, one that went down does not undo them.
    for (auto& s : news) {
        status = std::move(s);
        if (handler && status.connected) handler->on_status(index, status);
    }
    messages_in += batch.size();
    for (const auto& m : batch) bytes_in += m.payload.size();
    if (handler && !batch.empty()) handler->on_messages(batch);
    if (handler && !news.empty() && !status.connected) handler->on_status(index, status);
}

threaded_link::threaded_link(asio::io_context& shard, link_options options, std::uint32_t index, link_handler& handler)
    : max_pending_out_(options.max_pending_out),
      stall_limit_ns_(options.ping_limit_ns + options.ping_interval_ns),
      shard_(shard),
      inbox_(std::make_shared<inbox>(shard, options.max_waiting_in)),
      outbox_(std::make_shared<outbox>()),
      guard_(loop_.get_executor()),
      heartbeat_(std::make_shared<std::atomic<std::uint64_t>>(0)),
      watch_timer_(std::make_shared<asio::steady_timer>(shard)),
      close_timer_(std::make_shared<asio::steady_timer>(shard)) {
    inbox_->handler = &handler;
    inbox_->index = index;
    core_ = std::make_shared<link_core>(loop_, std::move(options), index, *inbox_);
    inbox_->set_reading = [this](bool on) { asio::post(loop_, [core = core_, on] { core->set_reading(on); }); };
    thread_ = std::thread([this] { loop_.run(); });
}

threaded_link::~threaded_link() {
    watch_timer_->cancel();
    close_timer_->cancel();
    inbox_->handler = nullptr;
    core_->interrupt();  // the loop may sit inside SSL_read
    asio::post(loop_, [core = core_] { core->abandon(); });
    guard_.reset();
    thread_.join();
    inbox_->set_reading = nullptr;
}

void threaded_link::start() {
    asio::post(loop_, [core = core_] { core->start(); });
    watch_loop();
}

// cnats waits for the rest of a TLS record, or for room to write one, without a limit.
void threaded_link::watch_loop() {
    const auto now = system_clock_source().mono_ns();
    if (heartbeat_->load(std::memory_order_acquire) == heartbeat_asked_) {
        ++heartbeat_asked_;
        asked_at_ns_ = now;
        asio::post(loop_, [beat = heartbeat_] { beat->fetch_add(1, std::memory_order_release); });
    } else if (stall_limit_ns_ > 0 && now - asked_at_ns_ > stall_limit_ns_) {
        log::warn("TLS connection stands still in the middle of a record; dropping it", {{"link", inbox_->index}});
        core_->interrupt();
        asked_at_ns_ = now;
    }
    watch_timer_->expires_after(std::chrono::nanoseconds(watch_every_ns));
    watch_timer_->async_wait([this, keep = watch_timer_](const boost::system::error_code& ec) {
        if (!ec && keep.use_count() > 1) watch_loop();
    });
}

void threaded_link::subscribe(std::uint64_t id, subscription_request wanted) {
    flush();  // in the order of the calls
    asio::post(loop_, [core = core_, id, wanted = std::move(wanted)]() mutable {
        core->subscribe(id, std::move(wanted));
        core->flush();
    });
}

void threaded_link::unsubscribe(std::uint64_t id) {
    flush();
    asio::post(loop_, [core = core_, id] {
        core->unsubscribe(id);
        core->flush();
    });
}

bool threaded_link::publish(std::string_view subject, std::span<const std::uint8_t> payload, std::string_view reply, std::string_view headers) {
    const auto size = subject.size() + reply.size() + headers.size() + payload.size();
    if (!inbox_->status.connected || outbox_->queued_bytes.load(std::memory_order_relaxed) + filling_.bytes.size() + size > max_pending_out_) {
        outbox_->dropped.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    filling_.items.push_back({static_cast<std::uint32_t>(subject.size()), static_cast<std::uint32_t>(reply.size()),
                              static_cast<std::uint32_t>(headers.size()), static_cast<std::uint32_t>(payload.size())});
    filling_.bytes.insert(filling_.bytes.end(), subject.begin(), subject.end());
    filling_.bytes.insert(filling_.bytes.end(), reply.begin(), reply.end());
    filling_.bytes.insert(filling_.bytes.end(), headers.begin(), headers.end());
    filling_.bytes.insert(filling_.bytes.end(), payload.begin(), payload.end());
    return true;
}

void threaded_link::flush() {
    if (filling_.items.empty()) return;
    filling_.generation = inbox_->status.reconnects;
    outbox_->queued_bytes.fetch_add(filling_.bytes.size(), std::memory_order_relaxed);
    bool post = false;
    {
        const std::scoped_lock lock(outbox_->mutex);
        outbox_->batches.push_back(std::exchange(filling_, {}));
        post = !std::exchange(outbox_->scheduled, true);
    }
    if (post) asio::post(loop_, [box = outbox_, core = core_] { send_batches(*box, *core); });
}

void threaded_link::send_batches(outbox& box, link_core& core) {
    std::vector<outgoing> batches;
    {
        const std::scoped_lock lock(box.mutex);
        box.scheduled = false;
        batches.swap(box.batches);
    }
    for (const auto& b : batches) {
        box.queued_bytes.fetch_sub(b.bytes.size(), std::memory_order_relaxed);
        // Made for an earlier connection: its reply inboxes are gone.
        const bool current = core.status().connected && core.status().reconnects == b.generation;
        const auto* at = b.bytes.data();
        for (const auto& i : b.items) {
            const std::string_view subject(reinterpret_cast<const char*>(at), i.subject);
            const std::string_view reply(reinterpret_cast<const char*>(at) + i.subject, i.reply);
            const std::string_view headers(reinterpret_cast<const char*>(at) + i.subject + i.reply, i.headers);
            const std::span<const std::uint8_t> payload(at + i.subject + i.reply + i.headers, i.payload);
            at += i.subject + i.reply + i.headers + i.payload;
            if (current && core.publish(subject, payload, reply, headers)) {
                box.messages.fetch_add(1, std::memory_order_relaxed);
                box.bytes.fetch_add(payload.size(), std::memory_order_relaxed);
            } else {
                box.dropped.fetch_add(1, std::memory_order_relaxed);
            }
        }
    }
    core.flush();
}

void threaded_link::stop_receiving(std::int64_t limit_ns, std::function<void()> done) {
    flush();
    asio::post(loop_, [core = core_, in = inbox_, limit_ns, done = std::move(done)]() mutable {
        core->stop_receiving(limit_ns, [in, done = std::move(done)]() mutable {
            // Behind the deliveries that are already posted, so after the last message.
            asio::post(in->shard, [in, done = std::move(done)] {
                if (in->handler) done();
            });
        });
    });
}

void threaded_link::close(std::int64_t limit_ns, std::function<void()> done) {
    flush();
    watch_timer_->cancel();
    close_timer_->expires_after(std::chrono::nanoseconds(limit_ns));
    // A loop that is blocked cannot keep the limit by itself.
    close_timer_->async_wait([core = core_](const boost::system::error_code& ec) {
        if (!ec) core->interrupt();
    });
    asio::post(loop_, [core = core_, in = inbox_, timer = close_timer_, limit_ns, done = std::move(done)]() mutable {
        core->close(limit_ns, [in, timer, done = std::move(done)]() mutable {
            asio::post(in->shard, [in, timer, done = std::move(done)] {
                timer->cancel();
                if (!in->handler) return;  // the link itself is gone
                in->handler = nullptr;
                in->status.connected = false;
                done();
            });
        });
    });
}

link_counters threaded_link::counters() const {
    link_counters c;
    c.messages_in = inbox_->messages_in;
    c.bytes_in = inbox_->bytes_in;
    c.messages_out = outbox_->messages.load(std::memory_order_relaxed);
    c.bytes_out = outbox_->bytes.load(std::memory_order_relaxed);
    c.dropped_out = outbox_->dropped.load(std::memory_order_relaxed);
    return c;
}

}  // namespace callgate::net
