// SPDX-License-Identifier: Apache-2.0
#include "engine/net/link_core.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "engine/base/clock.hpp"
#include "engine/base/log.hpp"

namespace callgate::net {
namespace {

namespace asio = boost::asio;

constexpr std::int64_t second_ns = 1'000'000'000;
// A dead port costs one refused SYN to ask, and serving must be back within 2 s of its coming alive.
constexpr std::int64_t refused_wait_max_ns = second_ns / 2;

std::int64_t now_ns() { return system_clock_source().mono_ns(); }
std::chrono::nanoseconds after(std::int64_t ns) { return std::chrono::nanoseconds(std::max<std::int64_t>(ns, 0)); }
std::int64_t to_ms(std::int64_t ns) { return std::max<std::int64_t>(ns / 1'000'000, 1); }

// cnats checks a subject but not a reply, and a line end in either would forge protocol.
bool token_text(std::string_view s) {
    for (const char c : s)
        if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f) return false;
    return s.size() <= 1024;
}

}  // namespace

link_core::link_core(asio::io_context& loop, link_options options, std::uint32_t index, link_handler& handler)
    : loop_(loop), options_(std::move(options)), index_(index), handler_(&handler), retry_timer_(loop), dial_timer_(loop),
      ping_timer_(loop), stop_timer_(loop), close_timer_(loop), jitter_(std::random_device{}()) {}

void link_core::start() {
    if (started_ || ended_) return;
    started_ = true;
    attempt();
}

void link_core::set_session(std::shared_ptr<session> s) {
    const std::scoped_lock lock(shared_mutex_);
    session_ = std::move(s);
}

void link_core::interrupt() {
    std::shared_ptr<session> s;
    std::shared_ptr<dial_control> d;
    {
        const std::scoped_lock lock(shared_mutex_);
        s = session_;
        d = dialling_;
    }
    if (s) s->interrupt();
    if (d) d->abort(0);
}

void link_core::attempt() {
    if (closing_ || ended_ || dialling_ || session_) return;
    auto control = std::make_shared<dial_control>();
    {
        const std::scoped_lock lock(shared_mutex_);
        dialling_ = control;
    }
    watch_attempt(options_.connect_timeout_ns);
    // The worker is joined before this object's options go (abandon), so it may read them.
    worker_.run([self = shared_from_this(), control, url = url_index_] {
        auto r = std::make_shared<result<dialled>>(dial(self->loop_, self->options_, url, self->index_, *control));
        asio::post(self->loop_, [self, r] { self->on_dialled(std::move(*r)); });
    });
}

void link_core::watch_attempt(std::int64_t after_ns) {
    dial_timer_.expires_after(after(after_ns));
    dial_timer_.async_wait([self = shared_from_this(), watched = dialling_](const boost::system::error_code& ec) {
        if (ec || !watched || self->dialling_ != watched) return;
        self->dialling_->abort(static_cast<std::uint32_t>(to_ms(self->options_.connect_timeout_ns) / 2));
        self->watch_attempt(second_ns);
    });
}

void link_core::on_dialled(result<dialled> r) {
    dial_timer_.cancel();
    std::shared_ptr<dial_control> control;
    {
        const std::scoped_lock lock(shared_mutex_);
        control = std::exchange(dialling_, nullptr);
    }
    if (ended_) {
        if (r) r->connection->close();
        return;
    }
    if (closing_) {
        if (r) r->connection->close();
        return finish_close();
    }
    if (r) return on_connected(std::move(*r));
    error why = r.error();
    // A definite answer that came late says more than that it was late.
    if (control && control->stop().cancelled() && (why.code == errc::cancelled || control->in_cnats()))
        why = make_error(errc::deadline, "no login within " + std::to_string(to_ms(options_.connect_timeout_ns)) + " ms", why.where);
    fail_attempt(why);
}

void link_core::on_connected(dialled d) {
    set_session(d.connection);
    session_->set_reading(reading_);
    // After stop_receiving a link that comes back only sends.
    const std::span<const subscription_request> wanted(options_.subscriptions);
    auto r = session_->start(*this, receiving_stopped_ ? std::span<const subscription_request>() : wanted);
    if (!receiving_stopped_)
        for (auto i = added_.begin(); r && i != added_.end(); ++i) r = session_->subscribe(i->first, i->second);
    if (!r) {
        auto s = session_;
        set_session(nullptr);
        s->close();
        return fail_attempt(r.error());
    }
    session_->write_out();
    connected_at_ns_ = now_ns();
    if (std::exchange(ever_connected_, true)) ++status_.reconnects;
    status_.connected = true;
    status_.url = d.url;
    status_.server_id = d.greeting.server_id;
    status_.server_name = d.greeting.server_name;
    status_.server_version = d.greeting.version;
    status_.max_payload = d.greeting.max_payload;
    status_.last_error.clear();
    logged_text_.clear();
    log::info("connected to nats-server", {{"link", options_.name}, {"url", d.url}, {"server", d.greeting.server_name},
                                          {"version", d.greeting.version}, {"reconnects", status_.reconnects}});
    arm_ping();
    report();
}

std::int64_t link_core::backoff_ns(std::int64_t cap_ns) {
    const auto round = static_cast<std::uint32_t>(failures_ / options_.urls.size());
    std::int64_t wait = options_.reconnect_wait_ns;
    for (std::uint32_t i = 1; i < round && wait < cap_ns; ++i) wait *= 2;
    wait = std::min(wait, cap_ns);
    return wait / 2 + static_cast<std::int64_t>(static_cast<double>(jitter_()) / static_cast<double>(std::minstd_rand::max()) *
                                                static_cast<double>(wait / 2));
}

void link_core::fail_attempt(const error& why) {
    url_index_ = (url_index_ + 1) % options_.urls.size();
    ++failures_;
    retry_after(why);
}

void link_core::retry_after(const error& why) {
    const auto text = why.message();
    log_failure(text);
    const bool changed = status_.last_error != text;
    status_.last_error = text;
    const bool gone = why.code == errc::unavailable || why.code == errc::deadline;
    const auto cap = gone ? std::min(options_.reconnect_wait_max_ns, refused_wait_max_ns) : options_.reconnect_wait_max_ns;
    // The other URLs are tried at once; a whole round without success waits.
    const bool round_over = failures_ > 0 && failures_ % options_.urls.size() == 0;
    retry_timer_.expires_after(after(round_over ? backoff_ns(cap) : 0));
    retry_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
        if (!ec) self->attempt();
    });
    if (changed) report();
}

void link_core::log_failure(const std::string& text) {
    const auto now = now_ns();
    if (text == logged_text_ && now - logged_at_ns_ < 30 * second_ns) return;
    logged_text_ = text;
    logged_at_ns_ = now;
    log::warn("not connected to nats-server, will go on trying", {{"link", options_.name}, {"reason", text}});
}

void link_core::report() {
    if (handler_) handler_->on_status(index_, status_);
}

void link_core::on_batch(std::span<inbound_message> batch) {
    counters_.messages_in += batch.size();
    for (const auto& m : batch) counters_.bytes_in += m.payload.size();
    if (handler_) handler_->on_messages(batch);
}

void link_core::on_server_error(const std::string& text) {
    status_.last_error = text;
    log::warn("nats-server reports an error", {{"link", options_.name}, {"error", text}});
    report();
}

void link_core::on_closed(const std::string& reason) {
    lose(drop_reason_.empty() ? reason : std::exchange(drop_reason_, {}));
}

void link_core::lose(const std::string& reason) {
    set_session(nullptr);
    ping_timer_.cancel();
    status_.connected = false;
    if (auto done = std::exchange(stop_done_, nullptr)) done();
    if (closing_) return finish_close();
    if (ended_) return;
    // At once for the first time; one that is dropped as soon as it stands is not asked in a hot loop.
    failures_ = now_ns() - connected_at_ns_ >= second_ns ? 0 : failures_ + 1;
    status_.last_error.clear();
    retry_after(make_error(errc::unavailable, "connection lost: " + reason, status_.url));
}

void link_core::arm_ping() {
    if (options_.ping_interval_ns <= 0) return;
    ping_timer_.expires_after(after(options_.ping_interval_ns));
    ping_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
        if (!ec) self->ping();
    });
}

void link_core::ping() {
    if (!session_ || ping_out_) return;
    ping_out_ = true;
    worker_.run([self = shared_from_this(), s = session_] {
        const bool answered = s->round_trip(to_ms(self->options_.ping_limit_ns));
        asio::post(self->loop_, [self, s, answered] {
            self->ping_out_ = false;
            if (s != self->session_ || s->closed()) {
                if (self->session_) self->arm_ping();
                return;
            }
            if (answered || !self->reading_) return self->arm_ping();
            self->drop_reason_ = "no PONG within " + std::to_string(to_ms(self->options_.ping_limit_ns)) + " ms";
            s->interrupt();
        });
    });
}

void link_core::subscribe(std::uint64_t id, subscription_request wanted) {
    const auto& kept = added_.insert_or_assign(id, std::move(wanted)).first->second;
    if (!session_ || receiving_stopped_) return;
    if (const auto r = session_->subscribe(id, kept); !r) log_failure(r.error().message());
}

void link_core::unsubscribe(std::uint64_t id) {
    if (added_.erase(id) != 0 && session_) session_->unsubscribe(id);
}

bool link_core::publish(std::string_view subject, std::span<const std::uint8_t> payload, std::string_view reply, std::string_view headers) {
    const auto refuse = [this] {
        ++counters_.dropped_out;
        return false;
    };
    if (!status_.connected || !session_ || subject.empty()) return refuse();
    if (session_->pending() + payload.size() + headers.size() > options_.max_pending_out) return refuse();
    if (!token_text(subject) || !token_text(reply)) return refuse();
    subject_.assign(subject);
    reply_.assign(reply);
    if (!session_->publish(subject_.c_str(), reply.empty() ? nullptr : reply_.c_str(), payload, headers)) return refuse();
    ++counters_.messages_out;
    counters_.bytes_out += payload.size();
    return true;
}

void link_core::flush() {
    if (session_) session_->write_out();
}

void link_core::set_reading(bool on) {
    reading_ = on;
    if (session_) session_->set_reading(on);
}

void link_core::stop_receiving(std::int64_t limit_ns, std::function<void()> done) {
    receiving_stopped_ = true;
    if (!session_) {
        asio::post(loop_, std::move(done));
        return;
    }
    if (stop_done_) {  // under way already: both are told when it ends
        stop_done_ = [first = std::move(stop_done_), second = std::move(done)] {
            first();
            second();
        };
        return;
    }
    stop_done_ = std::move(done);
    const auto finish = [self = shared_from_this()] {
        self->stop_timer_.cancel();
        if (auto d = std::exchange(self->stop_done_, nullptr)) d();
    };
    stop_timer_.expires_after(after(limit_ns));
    stop_timer_.async_wait([finish](const boost::system::error_code& ec) {
        if (!ec) finish();
    });
    session_->unsubscribe_softly(to_ms(limit_ns));
    // The server works in order: its PONG follows everything it sent before it saw the UNSUB. A blocking flush
    // waits for a PONG that this thread must read, so the worker waits.
    worker_.run([self = shared_from_this(), s = session_, limit_ns, finish] {
        (void)s->round_trip(to_ms(limit_ns));
        asio::post(self->loop_, [s, finish] { finish(); });
    });
}

void link_core::close(std::int64_t limit_ns, std::function<void()> done) {
    if (ended_ || closing_) {
        asio::post(loop_, std::move(done));
        return;
    }
    closing_ = true;
    close_done_ = std::move(done);
    retry_timer_.cancel();
    ping_timer_.cancel();
    close_timer_.expires_after(after(limit_ns));
    close_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
        if (!ec) self->finish_close();
    });
    if (dialling_) {
        dialling_->abort(0);  // on_dialled goes on
        return;
    }
    if (!session_ || session_->closed()) return finish_close();
    // Written is not received: closing a socket with something unread in it resets the connection, and the
    // server then drops what it has not read. Its PONG says that it has.
    session_->set_reading(true);
    flush();
    worker_.run([self = shared_from_this(), s = session_, limit_ns] {
        (void)s->round_trip(to_ms(limit_ns));
        asio::post(self->loop_, [self, s] { self->finish_close(); });
    });
}

void link_core::finish_close() {
    if (ended_) return;
    ended_ = true;
    auto self = shared_from_this();
    close_timer_.cancel();
    stop_timer_.cancel();
    if (dialling_) dialling_->abort(0);
    if (auto s = session_) {
        set_session(nullptr);
        s->close();
    }
    status_.connected = false;
    if (auto d = std::exchange(stop_done_, nullptr)) asio::post(loop_, std::move(d));
    if (auto d = std::exchange(close_done_, nullptr)) asio::post(loop_, std::move(d));
}

void link_core::abandon() {
    ended_ = true;
    handler_ = nullptr;
    stop_done_ = nullptr;
    close_done_ = nullptr;
    for (auto* t : {&retry_timer_, &dial_timer_, &ping_timer_, &stop_timer_, &close_timer_}) t->cancel();
    if (auto s = session_) {
        set_session(nullptr);
        s->close();
    }
    // cnats may open its socket between two looks; it notices its end only by that socket.
    std::shared_ptr<dial_control> control;
    {
        const std::scoped_lock lock(shared_mutex_);
        control = dialling_;
    }
    if (control) control->abort(0);
    worker_.stop_with([&] {
        if (control) control->abort(0);
    });
    const std::scoped_lock lock(shared_mutex_);
    dialling_ = nullptr;
}

}  // namespace callgate::net
