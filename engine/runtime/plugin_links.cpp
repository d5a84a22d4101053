// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/plugin_links.hpp"

#include <callgate/abi/ext/draft/nats.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "engine/runtime/supervisor.hpp"

namespace callgate::runtime {

namespace asio = boost::asio;

namespace {

constexpr std::int64_t close_limit_ns = 1'000'000'000;
constexpr std::string_view prefix = "nats/";

const net::link_options* link_of(std::string_view use, const config& c) {
    if (!use.starts_with(prefix)) return nullptr;
    const auto n = std::ranges::find(c.nats, use.substr(prefix.size()), &nats_options::name);
    return n == c.nats.end() || !n->plugin_link ? nullptr : &*n->plugin_link;
}

class idle_connection final : public host::nats_connection {
  public:
    bool publish(const host::nats_text&) override { return false; }
    void flush() override {}
    void subscribe(std::uint64_t, const std::string&, const std::string&) override {}
    void unsubscribe(std::uint64_t) override {}
    [[nodiscard]] std::uint64_t lost() const override { return 0; }
};

}  // namespace

// What the link calls; outlives the connection while the link closes.
struct plugin_links::kept_link final : net::link_handler {
    host::nats_listener* listener = nullptr;
    std::unique_ptr<net::nats_link> link;
    std::uint64_t refused = 0;  // that publish() did not take

    void on_messages(std::span<net::inbound_message> batch) override {
        for (const auto& m : batch) {
            if (listener == nullptr) return;
            host::nats_text t;
            t.subject = m.subject;
            t.reply = m.reply;
            for (auto& h : net::headers_of(m)) t.headers.emplace_back(std::move(h.name), std::move(h.value));
            t.payload.assign(m.payload.begin(), m.payload.end());
            listener->on_message(m.subscription, std::move(t), net::says_no_responders(m));
        }
    }
    void on_status(std::uint32_t, const net::link_status& s) override {
        if (listener != nullptr)
            listener->on_state({s.connected, s.reconnects, s.max_payload > 0 ? static_cast<std::uint64_t>(s.max_payload) : 0});
    }
};

class plugin_connection final : public host::nats_connection {
  public:
    plugin_connection(std::shared_ptr<plugin_links> home, std::shared_ptr<plugin_links::kept_link> link) : home_(std::move(home)), link_(std::move(link)) {}
    ~plugin_connection() override {
        link_->listener = nullptr;
        home_->retire(std::move(link_));
    }
    bool publish(const host::nats_text& m) override {
        std::vector<net::message_header> headers;
        headers.reserve(m.headers.size());
        for (const auto& [name, value] : m.headers) headers.push_back({name, value});
        if (link_->link->publish(m.subject, m.payload, m.reply, net::flat_headers(headers))) return true;
        ++link_->refused;
        return false;
    }
    void flush() override { link_->link->flush(); }
    void subscribe(std::uint64_t id, const std::string& subject, const std::string& queue) override { link_->link->subscribe(id, {subject, queue}); }
    void unsubscribe(std::uint64_t id) override { link_->link->unsubscribe(id); }
    [[nodiscard]] std::uint64_t lost() const override {
        const auto dropped = link_->link->counters().dropped_out;
        return dropped > link_->refused ? dropped - link_->refused : 0;
    }

  private:
    const std::shared_ptr<plugin_links> home_;
    std::shared_ptr<plugin_links::kept_link> link_;
};

std::map<std::string, host::nats_opener> plugin_links::openers(const instance_options& o, const config& c) {
    std::map<std::string, host::nats_opener> out;
    for (const auto& use : o.uses) {
        const auto* found = link_of(use, c);
        if (found == nullptr) continue;
        const auto cluster = use.substr(prefix.size());
        out[cluster] = [home = shared_from_this(), options = *found, cluster](const std::string& instance,
                                                                              host::nats_listener& listener) -> result<std::unique_ptr<host::nats_connection>> {
            auto mine = options;
            mine.name = "callgate/" + cluster + "/plugin/" + instance;
            mine.own_thread = true;
            mine.no_responders = true;
            mine.max_payload_in = CG_NATS_MAX_PAYLOAD_BYTES;
            mine.max_waiting_in = mine.max_pending_out = CG_NATS_MAX_QUEUED_BYTES;
            auto kept = std::make_shared<kept_link>();
            kept->listener = &listener;
            auto link = net::make_link(home->control_, std::move(mine), 0, *kept);
            if (!link) return link.error();
            kept->link = std::move(*link);
            kept->link->start();
            return std::unique_ptr<host::nats_connection>(std::make_unique<plugin_connection>(home, std::move(kept)));
        };
    }
    return out;
}

void plugin_links::retire(std::shared_ptr<kept_link> link) {
    closing_.push_back(link);
    link->link->close(close_limit_ns, [weak = weak_from_this(), raw = link.get()] {
        const auto self = weak.lock();
        if (!self) return;
        // Not from inside its own callback.
        asio::post(self->control_, [self, raw] {
            std::erase_if(self->closing_, [raw](const auto& l) { return l.get() == raw; });
            if (self->closing_.empty() && self->then_) std::exchange(self->then_, nullptr)();
        });
    });
}

void plugin_links::when_closed(std::int64_t limit_ns, std::function<void()> then) {
    if (closing_.empty()) return then();
    then_ = std::move(then);
    auto t = std::make_shared<asio::steady_timer>(control_, std::chrono::nanoseconds(limit_ns));
    t->async_wait([t, self = shared_from_this()](const boost::system::error_code& ec) {
        if (!ec && self->then_) std::exchange(self->then_, nullptr)();
    });
}

std::map<std::string, host::nats_opener> idle_openers(const instance_options& o) {
    std::map<std::string, host::nats_opener> out;
    for (const auto& use : o.uses)
        if (use.starts_with(prefix))
            out[use.substr(prefix.size())] = [](const std::string&, host::nats_listener&) -> result<std::unique_ptr<host::nats_connection>> {
                return std::unique_ptr<host::nats_connection>(std::make_unique<idle_connection>());
            };
    return out;
}

std::string plugin_links_fingerprint(const instance_options& o, const config& c) {
    std::string out;
    for (const auto& use : o.uses)
        if (const auto* link = link_of(use, c)) out += use + "=" + fingerprint(*link) + ";";
    return out;
}

}  // namespace callgate::runtime
