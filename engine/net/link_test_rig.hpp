// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <nats/nats.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/net/nats_link.hpp"

/// For tests of this room only.
namespace callgate::net::test {

inline constexpr std::chrono::seconds patience{20};  // far above what anything takes, also under TSan

/// Runs the loop until `ready()` or out of patience.
template <class Ready>
bool run_until(boost::asio::io_context& loop, Ready&& ready, std::chrono::nanoseconds limit = patience) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (!ready()) {
        if (std::chrono::steady_clock::now() > until) return false;
        loop.restart();
        loop.run_one_for(std::chrono::milliseconds(20));
    }
    return true;
}

struct received {
    std::string subject, reply, payload, xkey;
};

/// Keeps all it is told; echoes requests when asked to.
struct recorder : link_handler {
    std::vector<received> messages;
    std::vector<link_status> statuses;
    nats_link* echo_over = nullptr;
    std::size_t batches = 0;

    void on_messages(std::span<inbound_message> batch) override {
        ++batches;
        for (const auto& m : batch) {
            messages.push_back({std::string(m.subject), std::string(m.reply),
                                std::string(reinterpret_cast<const char*>(m.payload.data()), m.payload.size()), std::string(m.xkey_header)});
            if (echo_over && !m.reply.empty()) echo_over->publish(m.reply, m.payload);
        }
        if (echo_over) echo_over->flush();
    }
    void on_status(std::uint32_t, const link_status& s) override { statuses.push_back(s); }
};

inline std::span<const std::uint8_t> bytes(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

/// An ordinary client with threads of its own: cnats as its authors meant it, independent of our links.
class peer {
  public:
    explicit peer(const std::string& url) {
        natsStatus s = NATS_ERR;
        for (int tries = 0; tries < 3 && s != NATS_OK; ++tries) s = natsConnection_ConnectTo(&nc_, url.c_str());
        if (s != NATS_OK) throw std::runtime_error("peer cannot connect: " + std::string(natsStatus_GetText(s)));
    }
    ~peer() {
        for (auto* s : subs_) natsSubscription_Destroy(s);
        natsConnection_Destroy(nc_);
    }
    peer(const peer&) = delete;
    peer& operator=(const peer&) = delete;

    void publish(const std::string& subject, std::string_view payload) {
        natsConnection_Publish(nc_, subject.c_str(), payload.data(), static_cast<int>(payload.size()));
    }
    void publish_with_header(const std::string& subject, const char* key, const char* value, std::string_view payload) {
        natsMsg* m = nullptr;
        natsMsg_Create(&m, subject.c_str(), nullptr, payload.data(), static_cast<int>(payload.size()));
        natsMsgHeader_Set(m, key, value);
        natsConnection_PublishMsg(nc_, m);
        natsMsg_Destroy(m);
    }
    void request_to(const std::string& subject, const std::string& reply, std::string_view payload) {
        natsConnection_PublishRequest(nc_, subject.c_str(), reply.c_str(), payload.data(), static_cast<int>(payload.size()));
    }
    std::size_t subscribe(const std::string& subject) {
        natsSubscription* s = nullptr;
        natsConnection_SubscribeSync(&s, nc_, subject.c_str());
        natsSubscription_SetPendingLimits(s, -1, -1);
        subs_.push_back(s);
        flush();
        return subs_.size() - 1;
    }
    bool flush() { return natsConnection_FlushTimeout(nc_, 10'000) == NATS_OK; }
    /// False when nothing comes in time.
    bool next(std::size_t sub, std::string& payload, std::int64_t limit_ms = 10'000) {
        natsMsg* m = nullptr;
        if (natsSubscription_NextMsg(&m, subs_[sub], limit_ms) != NATS_OK) return false;
        payload.assign(natsMsg_GetData(m), static_cast<std::size_t>(natsMsg_GetDataLength(m)));
        natsMsg_Destroy(m);
        return true;
    }
    [[nodiscard]] std::uint64_t client_id() const {
        std::uint64_t id = 0;
        natsConnection_GetClientID(nc_, &id);
        return id;
    }
    [[nodiscard]] bool closed() const {
        const auto s = natsConnection_Status(nc_);
        return s != NATS_CONN_STATUS_CONNECTED;
    }

  private:
    natsConnection* nc_ = nullptr;
    std::vector<natsSubscription*> subs_;
};

/// One loop, one handler, one link.
struct rig {
    boost::asio::io_context loop{1};
    recorder handler;
    std::unique_ptr<nats_link> link;

    explicit rig(link_options options, std::uint32_t index = 0) {
        if (options.name.empty()) options.name = "test";
        auto made = make_link(loop, std::move(options), index, handler);
        if (!made) throw std::runtime_error(made.error().message());
        link = std::move(*made);
        link->start();
    }
    bool until_connected() {
        return run_until(loop, [&] { return link->status().connected; });
    }
    bool until_down() {
        return run_until(loop, [&] { return !link->status().connected; });
    }
    bool until_error(std::string_view part) {
        return run_until(loop, [&] { return link->status().last_error.find(part) != std::string::npos; });
    }
    bool until_messages(std::size_t n) {
        return run_until(loop, [&] { return handler.messages.size() >= n; });
    }
    /// A message to ourselves through the server comes back: everything sent before has been processed. The server reads
    /// two connections in any order, so a first marker may be there before a subscription that was sent earlier.
    bool round_trip(peer& p, const std::string& subject) {
        const auto before = handler.messages.size();
        const auto arrived = [&] { return handler.messages.size() > before; };
        for (std::chrono::milliseconds left = patience; left.count() > 0; left -= std::chrono::milliseconds(500)) {
            p.publish(subject, "marker");
            p.flush();
            if (run_until(loop, arrived, std::chrono::milliseconds(500))) return true;
        }
        return false;
    }
    bool close() {
        bool done = false;
        link->close(5'000'000'000, [&] { done = true; });
        return run_until(loop, [&] { return done; });
    }
};

inline link_options to(const std::string& url, std::vector<subscription_request> subscriptions = {}) {
    link_options o;
    o.urls = {url};
    o.subscriptions = std::move(subscriptions);
    return o;
}

}  // namespace callgate::net::test
