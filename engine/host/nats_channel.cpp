// SPDX-License-Identifier: Apache-2.0
#include "engine/host/nats_channel.hpp"

#include <callgate/nats/subject.hpp>
#include <openssl/rand.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/host/abi_read.hpp"

namespace callgate::host {
namespace {

constexpr std::int64_t default_timeout_ns = 5'000'000'000, max_timeout_ns = 60'000'000'000;
// How soon a request follows the end of its operation.
constexpr std::int64_t look_at_operation_ns = 50'000'000;
// Of one subscription in one turn of the loop.
constexpr int turn = 64;

std::int64_t steady_ns() { return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// 22 characters of base 62, all of it random: who cannot guess it cannot answer in another's place.
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

// What is below $SYS belongs to the servers: requests of the callout with everybody's credentials come that way.
bool systems_own(std::string_view subject) { return subject == "$SYS" || subject.starts_with("$SYS."); }

bool may_publish_to(std::string_view subject) {
    return subject.size() <= CG_NATS_MAX_SUBJECT_BYTES && nats::is_literal_subject(subject) && !systems_own(subject);
}
bool may_subscribe(std::string_view subject) {
    return subject.size() <= CG_NATS_MAX_SUBJECT_BYTES && nats::is_valid_subject(subject) && !systems_own(subject) &&
           subject != "*" && subject != ">" && !subject.starts_with("*.");
}
bool header_name(std::string_view s) {
    return !s.empty() && s.size() <= 256 && std::ranges::all_of(s, [](char c) { return c > 0x20 && c < 0x7f && c != ':'; });
}
bool header_value(std::string_view s) { return s.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos; }

// What the plugin reads; points into `text`.
struct shown_message {
    explicit shown_message(const nats_text& text, std::uint64_t lost = 0) {
        headers.reserve(text.headers.size());
        for (const auto& [name, value] : text.headers) headers.push_back({to_c(name), to_c(value)});
        message.struct_size = sizeof message;
        message.headers_stride = sizeof(cg_nats_header);
        message.subject = to_c(text.subject);
        message.reply = to_c(text.reply);
        message.headers = headers.data();
        message.header_count = headers.size();
        message.payload = {text.payload.data(), text.payload.size()};
        message.lost = lost;
    }
    shown_message(const shown_message&) = delete;
    std::vector<cg_nats_header> headers;
    cg_nats_message message{};
};

}  // namespace

std::optional<nats_text> copy_message(const cg_nats_message* message) {
    cg_nats_message m{};
    if (!read_struct(message, m) || m.header_count > CG_NATS_MAX_HEADERS || m.payload.size > CG_NATS_MAX_PAYLOAD_BYTES) return std::nullopt;
    if ((m.headers == nullptr && m.header_count != 0) || (m.payload.data == nullptr && m.payload.size != 0)) return std::nullopt;
    if (!may_publish_to(view(m.subject)) || (m.reply.size != 0 && !may_publish_to(view(m.reply)))) return std::nullopt;
    nats_text out{std::string(view(m.subject)), std::string(view(m.reply)), {}, {}};
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < m.header_count; ++i) {
        const auto h = read_element(m.headers, i, m.headers_stride);
        if (!header_name(view(h.name)) || (bytes += h.name.size + h.value.size) > CG_NATS_MAX_HEADER_BYTES || !header_value(view(h.value))) return std::nullopt;
        out.headers.emplace_back(view(h.name), view(h.value));
    }
    out.payload.assign(m.payload.data, m.payload.data + m.payload.size);
    return out;
}

nats_channel::nats_channel(std::shared_ptr<control_loop> loop, operation_owner& owner, std::shared_ptr<worker_service> workers, std::string cluster)
    : loop_(std::move(loop)), owner_(owner), workers_(std::move(workers)), cluster_(std::move(cluster)), inbox_(random_inbox()) {
    counts_.cluster = cluster_;
}

result<void> nats_channel::open(const nats_opener& opener, const std::string& instance) {
    if (inbox_.empty()) return make_error(errc::internal, "the system gives no random bytes");
    auto made = opener(instance, *this);
    if (!made) return made.error();
    link_ = std::move(*made);
    return {};
}

cg_status nats_channel::status(cg_nats_status& out) const {
    const std::lock_guard lock(mutex_);
    out.connected = state_.connected ? 1 : 0;
    out.reconnects = state_.reconnects;
    out.max_payload = state_.connected ? state_.max_payload : 0;
    out.lost_in = counts_.lost_in;
    out.lost_out = counts_.lost_out;
    return CG_OK;
}

// ---- out -------------------------------------------------------------------------------------------------

cg_status nats_channel::queue(nats_text&& message, std::uint64_t request) {
    if (closed_) return CG_E_CANCELLED;
    if (!state_.connected) return CG_E_UNAVAILABLE;
    if (state_.max_payload != 0 && message.payload.size() > state_.max_payload) return CG_E_NOSPC;
    const auto bytes = message.bytes();
    if (out_bytes_ + bytes > CG_NATS_MAX_QUEUED_BYTES) return CG_E_BUSY;
    out_bytes_ += bytes;
    out_.push_back({std::move(message), request});
    if (!std::exchange(pumping_, true))
        loop_->post([weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->pump();
        });
    return CG_OK;
}

cg_status nats_channel::publish(nats_text&& message) {
    const std::lock_guard lock(mutex_);
    return queue(std::move(message), 0);
}

void nats_channel::pump() {
    std::vector<outgoing> now;
    {
        const std::lock_guard lock(mutex_);
        pumping_ = false;
        out_bytes_ = 0;
        now.swap(out_);
    }
    if (!link_) return;
    std::uint64_t published = 0, lost = 0;
    std::vector<std::uint64_t> failed;
    for (auto& o : now) {
        if (o.request != 0) {
            {
                const std::lock_guard lock(mutex_);
                if (!requests_.contains(o.request)) continue;  // cancelled before it was sent
            }
            o.text.reply = inbox_ + "." + std::to_string(o.request);
            link_->subscribe(o.request, o.text.reply, {});
        }
        if (link_->publish(o.text)) ++published;
        else if (o.request != 0) failed.push_back(o.request);
        else ++lost;
    }
    link_->flush();
    {
        const std::lock_guard lock(mutex_);
        counts_.published += published;
        counts_.lost_out += lost;
    }
    for (const auto id : failed) finish(id, CG_E_UNAVAILABLE, nullptr);
}

// ---- requests --------------------------------------------------------------------------------------------

cg_status nats_channel::request(const cg_nats_request& wanted, nats_text&& message, std::uint64_t* id) {
    if (wanted.done == nullptr || wanted.timeout_ns < 0 || wanted.timeout_ns > max_timeout_ns || (wanted.flags & ~CG_NATS_ON_WORKER) != 0 ||
        !message.reply.empty())
        return CG_E_INVALID;
    auto left = wanted.timeout_ns == 0 ? default_timeout_ns : wanted.timeout_ns;
    if (wanted.op != 0) left = std::min(left, loop_->table().time_left_ns(owner_, wanted.op));
    if (left <= 0) return CG_E_DEADLINE;
    const std::lock_guard lock(mutex_);
    if (requests_.size() + answers_ >= CG_NATS_MAX_REQUESTS) return CG_E_BUSY;
    const auto number = last_id_ + 1;
    if (const auto status = queue(std::move(message), number); status != CG_OK) return status;
    last_id_ = number;
    ++counts_.requests;
    requests_.emplace(number, open_request{wanted.done, wanted.ctx, (wanted.flags & CG_NATS_ON_WORKER) != 0, wanted.op, steady_ns() + left});
    if (id != nullptr) *id = number;
    loop_->post([weak = weak_from_this(), number] {
        if (const auto self = weak.lock()) self->watch(number);
    });
    return CG_OK;
}

// [control] Ends the request when its time is over; looks again until then.
void nats_channel::watch(std::uint64_t id) {
    cg_op op = 0;
    std::int64_t left = 0;
    {
        const std::lock_guard lock(mutex_);
        const auto it = requests_.find(id);
        if (it == requests_.end()) return;
        op = it->second.op;
        left = it->second.until_ns - steady_ns();
    }
    if (left <= 0) return finish(id, CG_E_DEADLINE, nullptr);
    if (op != 0 && loop_->table().is_cancelled(owner_, op)) return finish(id, loop_->table().time_left_ns(owner_, op) < 0 ? CG_E_DEADLINE : CG_E_CANCELLED, nullptr);
    auto timer = std::make_unique<boost::asio::steady_timer>(loop_->io(), std::chrono::nanoseconds(op == 0 ? left : std::min(left, look_at_operation_ns)));
    timer->async_wait([weak = weak_from_this(), id](const boost::system::error_code& ec) {
        const auto self = weak.lock();
        if (!ec && self) self->watch(id);
    });
    const std::lock_guard lock(mutex_);
    if (const auto it = requests_.find(id); it != requests_.end()) it->second.timer = std::move(timer);
}

void nats_channel::cancel(std::uint64_t id) {
    loop_->post([weak = weak_from_this(), id] {
        if (const auto self = weak.lock()) self->finish(id, CG_E_CANCELLED, nullptr);
    });
}

// [control]
void nats_channel::finish(std::uint64_t id, cg_status status, const nats_text* message) {
    std::unique_lock lock(mutex_);
    const auto node = requests_.extract(id);
    if (node.empty() || closed_) return;
    const auto done = node.mapped().done;
    auto* const ctx = node.mapped().ctx;
    if (status != CG_OK) ++counts_.failed;
    if (link_) link_->unsubscribe(id);
    const auto call = [done, ctx, status](const nats_text* text) {
        cg_nats_answer a{sizeof a, status, nullptr};
        if (text == nullptr) return done(ctx, &a);
        const shown_message shown(*text);
        a.message = &shown.message;
        done(ctx, &a);
    };
    if (!node.mapped().on_worker) {
        lock.unlock();
        return call(message);
    }
    ++answers_;
    lock.unlock();
    auto kept = message == nullptr ? std::nullopt : std::optional<nats_text>(*message);
    run_on_worker([weak = weak_from_this(), call, kept = std::move(kept)] {
        const auto self = weak.lock();
        {
            if (!self) return;
            const std::lock_guard guard(self->mutex_);
            if (self->closed_) return;
        }
        call(kept ? &*kept : nullptr);
        // Counted until it has been told, so that close() finds one that was not.
        const std::lock_guard guard(self->mutex_);
        if (!self->closed_) --self->answers_;
    });
}

// A stop takes away what has not begun, before the plugin hears of it; the plugin still waits for these.
void nats_channel::run_on_worker(std::function<void()> job) {
    workers_->post({job, [weak = weak_from_this(), job] {
                        const auto self = weak.lock();
                        if (!self) return;
                        self->loop_->post([weak, job] {
                            const auto again = weak.lock();
                            if (again && !again->closed_) again->run_on_worker(job);
                        });
                    }});
}

// ---- in --------------------------------------------------------------------------------------------------

cg_status nats_channel::subscribe(const cg_nats_subscription& wanted, std::uint64_t& id) {
    const auto queue_group = view(wanted.queue);
    if (wanted.on_message == nullptr || (wanted.flags & ~CG_NATS_ON_WORKER) != 0 || !may_subscribe(view(wanted.subject)) ||
        (!queue_group.empty() && (queue_group.size() > CG_NATS_MAX_SUBJECT_BYTES || !nats::is_literal_subject(queue_group))))
        return CG_E_INVALID;
    {
        const std::lock_guard lock(mutex_);
        if (closed_ || !delivering_ || !link_) return CG_E_CANCELLED;
        if (subscriptions_.size() >= CG_NATS_MAX_SUBSCRIPTIONS) return CG_E_BUSY;
        id = ++last_id_;
        auto s = std::make_shared<subscription>();
        s->fn = wanted.on_message;
        s->ctx = wanted.ctx;
        s->on_worker = (wanted.flags & CG_NATS_ON_WORKER) != 0;
        subscriptions_.emplace(id, std::move(s));
    }
    link_->subscribe(id, std::string(view(wanted.subject)), std::string(queue_group));
    link_->flush();
    return CG_OK;
}

cg_status nats_channel::unsubscribe(std::uint64_t id) {
    {
        const std::lock_guard lock(mutex_);
        const auto it = subscriptions_.find(id);
        if (it == subscriptions_.end()) return CG_E_NOT_FOUND;
        auto& s = *it->second;
        s.ended = true;
        waiting_ -= s.waiting.size();
        for (const auto& m : s.waiting) waiting_bytes_ -= m.text.bytes();
        s.waiting.clear();
        subscriptions_.erase(it);
    }
    if (link_) {
        link_->unsubscribe(id);
        link_->flush();
    }
    return CG_OK;
}

void nats_channel::on_message(std::uint64_t id, nats_text&& message, bool nobody) {
    std::unique_lock lock(mutex_);
    if (requests_.contains(id)) {
        lock.unlock();
        return finish(id, nobody ? CG_E_NOT_FOUND : CG_OK, nobody ? nullptr : &message);
    }
    const auto it = subscriptions_.find(id);
    if (closed_ || !delivering_ || it == subscriptions_.end()) return;
    auto& s = *it->second;
    ++counts_.received;
    const auto bytes = message.bytes();
    if (waiting_ >= CG_NATS_MAX_QUEUED || waiting_bytes_ + bytes > CG_NATS_MAX_QUEUED_BYTES) {
        ++s.lost;
        ++counts_.lost_in;
        return;
    }
    ++waiting_;
    waiting_bytes_ += bytes;
    s.waiting.push_back({std::move(message), std::exchange(s.lost, 0)});
    schedule(it->second);
}

void nats_channel::schedule(const std::shared_ptr<subscription>& s) {
    if (std::exchange(s->scheduled, true)) return;
    auto run = [weak = weak_from_this(), s] {
        if (const auto self = weak.lock()) self->deliver(s);
    };
    if (s->on_worker) run_on_worker(std::move(run));
    else loop_->post(std::move(run));
}

// [control] or a thread of the pool, one at a time for each subscription.
void nats_channel::deliver(const std::shared_ptr<subscription>& s) {
    for (int left = turn;; --left) {
        subscription::waiting_message m;
        {
            const std::lock_guard lock(mutex_);
            if (closed_ || !delivering_ || s->ended || s->waiting.empty() || left == 0) {
                s->scheduled = false;
                if (left == 0 && !s->waiting.empty()) schedule(s);  // others have their turn
                return;
            }
            m = std::move(s->waiting.front());
            s->waiting.pop_front();
            --waiting_;
            waiting_bytes_ -= m.text.bytes();
        }
        const shown_message shown(m.text, m.lost);
        s->fn(s->ctx, &shown.message);
    }
}

void nats_channel::on_state(const nats_state& now) {
    std::vector<std::uint64_t> lost;
    {
        const std::lock_guard lock(mutex_);
        const bool gone = state_.connected && (!now.connected || now.reconnects != state_.reconnects);
        state_ = now;
        counts_.connected = now.connected;
        // Answers go to a connection that is no more.
        if (gone)
            for (const auto& [id, r] : requests_) lost.push_back(id);
    }
    for (const auto id : lost) finish(id, CG_E_UNAVAILABLE, nullptr);
}

// ---- end -------------------------------------------------------------------------------------------------

void nats_channel::end_delivery() {
    const std::lock_guard lock(mutex_);
    delivering_ = false;
}

std::size_t nats_channel::close() {
    if (link_ && !closed_) pump();  // what was published before stop goes out
    std::map<std::uint64_t, open_request> left;
    std::size_t answers = 0;
    {
        const std::lock_guard lock(mutex_);
        if (std::exchange(closed_, true)) return 0;
        left.swap(requests_);
        answers = std::exchange(answers_, 0);
        subscriptions_.clear();
        out_.clear();
        counts_.connected = false;
        state_.connected = false;
        if (link_) counts_.lost_out += link_->lost();
    }
    link_.reset();
    return left.size() + answers;
}

nats_report nats_channel::report() const {
    const std::lock_guard lock(mutex_);
    auto r = counts_;
    if (link_) r.lost_out += link_->lost();
    return r;
}

}  // namespace callgate::host
