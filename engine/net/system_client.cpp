// SPDX-License-Identifier: Apache-2.0
#include "engine/net/system_client.hpp"

#include <openssl/rand.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json.hpp>
#include <callgate/nats/nkey.hpp>
#include <charconv>
#include <chrono>
#include <map>
#include <utility>

#include "engine/base/clock.hpp"
#include "engine/base/log.hpp"

namespace callgate::net {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::size_t max_outstanding = 1024;
constexpr std::size_t max_servers = 4096;
constexpr std::size_t max_reply = 8u << 20;
constexpr std::int64_t kick_limit_ns = 2'000'000'000;
constexpr std::int64_t connz_limit_ns = 5'000'000'000;
constexpr std::int64_t tick_ns = 100'000'000;
constexpr std::int64_t discover_every_ns = 10'000'000'000;
// A server that was killed says no farewell: it is forgotten when it misses three rounds.
constexpr std::int64_t forget_after_ns = 3 * discover_every_ns + 5'000'000'000;

// 22 characters of base 62, as the field's NUIDs; here all of it is random.
std::string random_inbox() {
    static constexpr char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    std::string out = "_INBOX.";
    while (out.size() < 7 + 22) {
        unsigned char byte = 0;
        if (RAND_bytes(&byte, 1) != 1) return {};
        if (byte < 248) out.push_back(digits[byte % 62]);
    }
    return out;
}

std::string_view view(const json::string& s) { return {s.data(), s.size()}; }

json::value parse_body(std::span<const std::uint8_t> body) {
    if (body.size() > max_reply) return nullptr;
    json::error_code ec;
    json::parse_options limits;
    limits.max_depth = 32;
    auto v = json::parse(json::string_view(reinterpret_cast<const char*>(body.data()), body.size()), ec, {}, limits);
    return ec ? json::value(nullptr) : std::move(v);
}

std::string_view text_of(const json::object& o, std::string_view key) {
    const auto* v = o.if_contains(key);
    const auto* s = v ? v->if_string() : nullptr;
    return s ? view(*s) : std::string_view();
}

class system_client_over_link final : public system_client, private link_handler {
  public:
    explicit system_client_over_link(asio::io_context& loop)
        : loop_(loop), inbox_(random_inbox()), timer_(std::make_shared<asio::steady_timer>(loop)) {}
    ~system_client_over_link() override {
        timer_->cancel();
        link_.reset();
    }

    result<void> make(link_options options) {
        if (inbox_.empty()) return make_error(errc::internal, "the system gives no random bytes");
        options.subscriptions = {{inbox_ + ".>", {}}, {"$SYS.SERVER.*.STATSZ", {}}, {"$SYS.SERVER.*.SHUTDOWN", {}}};
        auto link = make_link(loop_, std::move(options), 0, *this);
        if (!link) return link.error();
        link_ = std::move(*link);
        return {};
    }

    void start() override {
        link_->start();
        tick();
    }
    [[nodiscard]] bool connected() const override { return link_->status().connected; }
    [[nodiscard]] const std::vector<known_server>& servers() const override { return servers_; }
    void on_servers(std::function<void()> changed) override { changed_ = std::move(changed); }

    void kick(std::string_view server_id, std::uint64_t cid, kick_done done) override {
        request(server_id, "KICK", "{\"cid\":" + std::to_string(cid) + "}", kick_limit_ns,
                [done = std::move(done)](const result<std::string>& r) {
                    if (!r) return done(r.error().text);
                    done(server_error(*r));
                });
    }

    void connz(std::string_view server_id, std::string options_json, std::function<void(result<std::string>)> done) override {
        request(server_id, "CONNZ", std::move(options_json), connz_limit_ns, std::move(done));
    }

    void close(std::int64_t limit_ns, std::function<void()> done) override {
        timer_->cancel();
        closing_ = true;
        fail_all(make_error(errc::cancelled, "system connection is closing"));
        link_->close(limit_ns, std::move(done));
    }

  private:
    using answer = std::function<void(result<std::string>)>;
    struct pending {
        std::int64_t until_ns;
        answer done;
        std::string what;
    };

    // A reply without `error` member means done (protocol.md 4.6).
    static std::string server_error(const std::string& body) {
        const auto v = parse_body({reinterpret_cast<const std::uint8_t*>(body.data()), body.size()});
        const auto* o = v.if_object();
        if (!o) return "the server's answer is not a JSON object";
        const auto* e = o->if_contains("error");
        if (!e) return {};
        const auto* detail = e->if_object();
        const auto text = detail ? text_of(*detail, "description") : std::string_view();
        return text.empty() ? "the server refused without a reason" : std::string(text.substr(0, 512));
    }

    // The callback never runs inside the call: callers may hold their own state half changed.
    void refuse(answer done, error why) {
        asio::post(loop_, [done = std::move(done), why = std::move(why)] { done(why); });
    }

    void request(std::string_view server_id, std::string_view what, std::string body, std::int64_t limit_ns, answer done) {
        // An id from the wire becomes part of a subject.
        if (!nats::is_public(server_id, nats::key_type::server))
            return refuse(std::move(done), make_error(errc::invalid, "server id is not a public server key (N...)"));
        if (closing_ || !connected()) return refuse(std::move(done), make_error(errc::unavailable, "system connection is down"));
        if (outstanding_.size() >= max_outstanding)
            return refuse(std::move(done), make_error(errc::busy, "1024 requests to servers wait for an answer already"));
        const auto number = ++last_request_;
        const auto subject = "$SYS.REQ.SERVER." + std::string(server_id) + "." + std::string(what);
        const std::span<const std::uint8_t> bytes(reinterpret_cast<const std::uint8_t*>(body.data()), body.size());
        if (!link_->publish(subject, bytes, inbox_ + "." + std::to_string(number)))
            return refuse(std::move(done), make_error(errc::unavailable, "system connection takes no more output"));
        link_->flush();
        outstanding_.emplace(number, pending{clock_.mono_ns() + limit_ns, std::move(done), std::string(what)});
    }

    void fail_all(const error& why) {
        auto all = std::exchange(outstanding_, {});
        for (auto& [number, p] : all) refuse(std::move(p.done), why);
    }

    void tick() {
        if (closing_) return;
        const auto now = clock_.mono_ns();
        std::vector<pending> late;
        for (auto i = outstanding_.begin(); i != outstanding_.end();) {
            if (i->second.until_ns > now) {
                ++i;
                continue;
            }
            late.push_back(std::move(i->second));
            i = outstanding_.erase(i);
        }
        if (connected() && now >= next_discovery_ns_) discover();
        forget_silent(now);
        timer_->expires_after(std::chrono::nanoseconds(tick_ns));
        timer_->async_wait([this, keep = timer_](const boost::system::error_code& ec) {
            if (!ec && keep.use_count() > 1) tick();
        });
        // Last: a callback may destroy this object.
        for (auto& p : late) p.done(make_error(errc::deadline, "no answer to " + p.what + " in time; is the server gone, or does the system user lack the permission?"));
    }

    void discover() {
        next_discovery_ns_ = clock_.mono_ns() + discover_every_ns;
        if (link_->publish("$SYS.REQ.SERVER.PING.IDZ", {}, inbox_ + ".idz")) link_->flush();
    }

    void on_status(std::uint32_t, const link_status& status) override {
        if (status.connected == was_connected_) return;
        was_connected_ = status.connected;
        if (status.connected) {
            connected_at_ns_ = clock_.mono_ns();
            discover();
        } else {
            fail_all(make_error(errc::unavailable, "system connection was lost"));
        }
    }

    void on_messages(std::span<inbound_message> batch) override {
        bool changed = false;
        std::vector<std::pair<answer, std::string>> answered;
        for (const auto& m : batch) {
            if (m.subject.starts_with(inbox_)) {
                const auto tail = m.subject.substr(std::min(inbox_.size() + 1, m.subject.size()));
                if (tail == "idz") changed |= heard_of(m.payload, {});
                else if (auto p = take(tail)) answered.emplace_back(std::move(p), std::string(reinterpret_cast<const char*>(m.payload.data()), m.payload.size()));
            } else if (m.subject.ends_with(".STATSZ")) {
                changed |= heard_of(m.payload, id_of(m.subject));
            } else if (m.subject.ends_with(".SHUTDOWN")) {
                changed |= forget(id_of(m.subject));
            }
        }
        if (changed && changed_) changed_();
        for (auto& [done, body] : answered) done(std::move(body));
    }

    answer take(std::string_view number_text) {
        std::uint64_t number = 0;
        const auto* end = number_text.data() + number_text.size();
        const auto r = std::from_chars(number_text.data(), end, number);
        const auto at = r.ec == std::errc{} && r.ptr == end ? outstanding_.find(number) : outstanding_.end();
        if (at == outstanding_.end()) return nullptr;
        auto done = std::move(at->second.done);
        outstanding_.erase(at);
        return done;
    }

    // "$SYS.SERVER.<id>.<event>"
    static std::string_view id_of(std::string_view subject) {
        subject.remove_prefix(std::min<std::size_t>(subject.size(), 12));
        return subject.substr(0, subject.find('.'));
    }

    // IDZ answers {"id","name"} bare, STATSZ inside "server"; the subject says who an event is about.
    bool heard_of(std::span<const std::uint8_t> body, std::string_view expected_id) {
        const auto v = parse_body(body);
        const auto* o = v.if_object();
        if (!o) return false;
        if (const auto* inner = o->if_contains("server"); inner && inner->is_object()) o = &inner->get_object();
        const auto id = text_of(*o, "id");
        const auto name = text_of(*o, "name").substr(0, 256);
        if (!nats::is_public(id, nats::key_type::server) || (!expected_id.empty() && id != expected_id)) return false;
        const auto now = clock_.mono_ns();
        for (std::size_t i = 0; i < servers_.size(); ++i) {
            if (servers_[i].id != id) continue;
            heard_at_ns_[i] = now;
            if (servers_[i].name == name) return false;
            servers_[i].name = name;
            return true;
        }
        if (servers_.size() >= max_servers) return false;
        servers_.push_back({std::string(id), std::string(name)});
        heard_at_ns_.push_back(now);
        log::info("learned of a nats-server", {{"id", id}, {"name", name}});
        return true;
    }

    bool forget(std::string_view id) {
        for (std::size_t i = 0; i < servers_.size(); ++i) {
            if (servers_[i].id != id) continue;
            servers_.erase(servers_.begin() + static_cast<std::ptrdiff_t>(i));
            heard_at_ns_.erase(heard_at_ns_.begin() + static_cast<std::ptrdiff_t>(i));
            return true;
        }
        return false;
    }

    void forget_silent(std::int64_t now) {
        // While we are away nobody can be heard; give everybody three rounds after coming back.
        if (!connected() || now - connected_at_ns_ < forget_after_ns) return;
        bool changed = false;
        for (std::size_t i = servers_.size(); i-- > 0;)
            if (now - heard_at_ns_[i] > forget_after_ns) changed |= forget(std::string(servers_[i].id));
        if (changed && changed_) changed_();
    }

    asio::io_context& loop_;
    const std::string inbox_;
    const system_clock_source clock_;
    std::unique_ptr<nats_link> link_;
    std::shared_ptr<asio::steady_timer> timer_;
    std::map<std::uint64_t, pending> outstanding_;
    std::vector<known_server> servers_;
    std::vector<std::int64_t> heard_at_ns_;  // beside servers_
    std::function<void()> changed_;
    std::uint64_t last_request_ = 0;
    std::int64_t next_discovery_ns_ = 0, connected_at_ns_ = 0;
    bool was_connected_ = false, closing_ = false;
};

}  // namespace

result<std::unique_ptr<system_client>> make_system_client(asio::io_context& loop, link_options options) {
    auto client = std::make_unique<system_client_over_link>(loop);
    if (auto r = client->make(std::move(options)); !r) return r.error();
    return std::unique_ptr<system_client>(std::move(client));
}

}  // namespace callgate::net
