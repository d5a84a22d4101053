// SPDX-License-Identifier: Apache-2.0
// Audit sink plugins behind their queue. The thread is a lane of the operation table: it begins operations and takes their
// answers itself, so that neither a shard nor the control thread waits for a sink.
#include "engine/host/audit_sink.hpp"

#include <pthread.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>
#include <vector>

#include "engine/base/log.hpp"
#include "engine/host/abi_read.hpp"

namespace callgate::host {
namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::size_t max_fault_text = 1024;
constexpr unsigned told_stalled = 1, told_closing = 2;

error read_failure(const cg_completion& c, std::int64_t& retry_ns) {
    cg_error e{};
    if (!read_struct(c.error, e)) return make_error(to_errc(c.status), "failed with " + std::string(status_name(c.status)));
    retry_ns = std::int64_t{std::min(e.retry_after_ms, 60'000u)} * 1'000'000;
    return make_error(to_errc(c.status), bounded(e.text, max_fault_text), bounded(e.where, max_fault_text));
}

cg_audit_event event_to_c(const audit_event& e, std::uint64_t lost) {
    const auto& r = e.record;
    cg_audit_event c{};
    c.struct_size = sizeof c;
    c.kind = e.kind;
    c.line = to_c(e.line);
    c.at_unix_ms = r.unix_ms;
    c.lost = lost;
    c.source = to_c(e.source);
    c.action = to_c(e.action);
    c.verdict = to_c(r.verdict);
    c.reason_id = to_c(r.reason_id);
    c.reason = to_c(r.reason);
    c.identity = to_c(r.identity);
    c.issuer = to_c(r.issuer);
    c.backend = to_c(r.backend);
    c.route = to_c(r.route);
    c.rule = to_c(r.rule);
    c.account = to_c(r.account);
    c.permissions_hash = to_c(r.permissions_hash);
    c.client_host = to_c(r.client_host);
    c.client_kind = to_c(r.client_kind);
    c.server_id = to_c(r.server_id);
    c.server_name = to_c(r.server_name);
    c.user_nkey = to_c(r.user_nkey);
    c.correlation_id = to_c(r.correlation_id);
    c.client_id = r.client_id;
    c.exp_unix_s = r.exp_unix_s;
    c.latency_us = r.latency_us;
    return c;
}

}  // namespace

std::size_t audit_event::bytes() const noexcept {
    // The line holds every text of the record once more.
    return sizeof(audit_event) + 2 * line.size() + source.size() + action.size();
}

// Destroyed when the plugin has completed, on the sink's thread; the next call waits for that.
class audit_sink::open_call : public operation_body {
  public:
    open_call(audit_sink& sink, std::function<void(result<void>)> then) : sink_(sink.shared_from_this()), then_(std::move(then)) {}
    ~open_call() override {
        sink_->owed_ = false;
        sink_->open_since_ns_.store(0, std::memory_order_relaxed);
    }
    taken take(const cg_completion& c) override {
        if (c.status == CG_OK) return taken::ok;
        std::int64_t ignored = 0;
        outcome_ = read_failure(c, ignored);
        return taken::failed;
    }
    void deliver() override { then_(std::move(outcome_)); }
    void fail(cg_status status) override {
        then_(make_error(to_errc(status), status == CG_E_DEADLINE ? "did not answer in time" : "was refused by the plugin with " + std::string(status_name(status))));
    }

  private:
    const std::shared_ptr<audit_sink> sink_;
    const std::function<void(result<void>)> then_;
    result<void> outcome_{};
};

class audit_sink::open_write final : public operation_body {
  public:
    open_write(audit_sink& sink, std::vector<waiting> events) : sink_(sink.shared_from_this()), events_(std::move(events)) {
        c_.reserve(events_.size());
        for (const auto& w : events_) c_.push_back(event_to_c(*w.event, w.lost_before));
        batch_.struct_size = sizeof batch_;
        batch_.stride = sizeof(cg_audit_event);
        batch_.events = c_.data();
        batch_.count = c_.size();
    }
    ~open_write() override {
        sink_->owed_ = false;
        sink_->open_since_ns_.store(0, std::memory_order_relaxed);
    }
    [[nodiscard]] const cg_audit_batch* batch() const noexcept { return &batch_; }
    taken take(const cg_completion& c) override {
        if (c.status != CG_OK) {
            outcome_ = read_failure(c, retry_ns_);
            return taken::failed;
        }
        cg_audit_taken t{};
        if (!read_struct(static_cast<const cg_audit_taken*>(c.result), t) || t.count > c_.size()) {
            outcome_ = make_error(errc::abi, "completed a write without a sound number of what it took");
            return taken::fault;
        }
        taken_ = t.count;
        return taken::ok;
    }
    void deliver() override { sink_->wrote(events_.size(), taken_, outcome_, retry_ns_); }
    void fail(cg_status status) override {
        sink_->wrote(events_.size(), 0, make_error(to_errc(status), "the plugin refused a write with " + std::string(status_name(status))), 0);
    }

  private:
    const std::shared_ptr<audit_sink> sink_;
    const std::vector<waiting> events_;
    std::vector<cg_audit_event> c_;
    cg_audit_batch batch_{};
    std::uint64_t taken_ = 0;
    std::int64_t retry_ns_ = 0;
    result<void> outcome_{};
};

result<std::shared_ptr<audit_sink>> audit_sink::open(std::shared_ptr<instance> owner, options o) {
    cg_audit_sink_api api{};
    if (owner->kind() != CG_KIND_AUDIT_SINK || !read_struct(static_cast<const cg_audit_sink_api*>(owner->api()), api) || api.write == nullptr)
        return make_error(errc::abi, "plugin instance \"" + owner->name() + "\" (" + owner->library().plugin_id + "): it is no audit sink with a write function");
    std::shared_ptr<audit_sink> sink(new audit_sink(owner, api, o));
    auto lane = owner->open_lane([weak = std::weak_ptr(sink)] {
        if (const auto self = weak.lock()) {
            const std::lock_guard lock(self->mutex_);
            self->woken_ = true;
            self->wake_.notify_one();
        }
    });
    if (!lane) return lane.error();
    sink->lane_ = *lane;
    sink->thread_ = std::thread([sink] {
        ::pthread_setname_np(::pthread_self(), "audit");
        sink->loop();
    });
    return sink;
}

audit_sink::~audit_sink() {
    if (thread_.joinable()) thread_.detach();
}

bool audit_sink::reserve(std::size_t bytes, bool strict) {
    const std::lock_guard lock(mutex_);
    if (!closing_ && bytes_ + bytes <= queue_bytes_ && !(strict && !fault(owner_->table().clock().mono_ns()).empty())) {
        bytes_ += bytes;
        return true;
    }
    ++lost_;
    ++lost_since_;
    return false;
}

void audit_sink::give_back(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    bytes_ -= bytes;
}

void audit_sink::push(audit_event_ptr event) {
    const std::lock_guard lock(mutex_);
    if (ended_) {
        bytes_ -= event->bytes();
        ++lost_;
        return;
    }
    queue_.push_back({std::move(event), std::exchange(lost_since_, 0)});
    if (queue_.size() == 1) wake_.notify_one();
}

std::string audit_sink::stalled_text() const { return "stalled: it has taken nothing for " + std::to_string(options_.stall_ns / 1'000'000) + " ms and more"; }

// Under the lock.
std::string audit_sink::fault(std::int64_t now_ns) const {
    const auto since = open_since_ns_.load(std::memory_order_relaxed);
    if (since != 0 && now_ns - since >= options_.stall_ns) return stalled_text();
    return failure_;
}

audit_sink::report audit_sink::state() const {
    const std::lock_guard lock(mutex_);
    return {written_, lost_, queue_.size(), bytes_, fault(owner_->table().clock().mono_ns())};
}

void audit_sink::announce() {
    std::string now;
    std::uint64_t lost = 0;
    {
        const std::lock_guard lock(mutex_);
        now = fault(owner_->table().clock().mono_ns());
        if (now.empty() == announced_.empty()) return;
        if (!now.empty()) lost_announced_ = lost_;
        else lost = lost_ - lost_announced_;
        announced_ = now;
    }
    if (now.empty()) log::info("audit sink takes records again", {{"instance", name()}, {"lost", lost}});
    else log::error("audit sink takes no records; they wait and are lost when its queue is full", {{"instance", name()}, {"reason", now}});
}

void audit_sink::reopen(instance::done then) {
    auto on_control = [loop = owner_->loop(), then = std::move(then)](result<void> r) {
        loop->post([then, r = std::move(r)] { then(r); });
    };
    const std::lock_guard lock(mutex_);
    if (ended_ || !fault(owner_->table().clock().mono_ns()).empty()) {
        // A sink in trouble must not hold up a reload, which may be its cure; it is told as soon as it listens.
        on_control({});
        reopen_wanted_ = [](const result<void>&) {};
    } else {
        if (reopen_wanted_) reopen_wanted_({});
        reopen_wanted_ = std::move(on_control);
    }
    wake_.notify_one();
}

void audit_sink::close(std::int64_t limit_ns, std::function<void(bool)> then) {
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
        close_at_ns_ = owner_->table().clock().mono_ns() + limit_ns;
        closed_ = std::move(then);
        wake_.notify_one();
    }
    // In case the thread is inside the plugin and never comes out.
    auto timer = std::make_shared<boost::asio::steady_timer>(owner_->loop()->io(), std::chrono::nanoseconds(limit_ns + 2 * second));
    // The thread holds the sink for as long as this is of any use.
    timer->async_wait([weak = weak_from_this(), timer](const boost::system::error_code& ec) {
        const auto self = weak.lock();
        if (!self) return;
        std::function<void(bool)> closed;
        {
            const std::lock_guard lock(self->mutex_);
            if (self->ended_ || ec) return;
            closed = std::exchange(self->closed_, nullptr);
            self->lost_ += self->queue_.size();
            self->queue_.clear();
        }
        log::error("audit sink does not return from a call; its thread is left behind", {{"instance", self->name()}});
        if (closed) closed(false);
    });
}

void audit_sink::loop() {
    std::unique_lock lock(mutex_);
    while (step(lock)) {}
    // What is still owed stays with the operation table until the instance ends.
    const auto left = queue_.size();
    lost_ += left;
    queue_.clear();
    bytes_ = 0;
    ended_ = true;
    auto closed = std::exchange(closed_, nullptr);
    auto reopened = std::exchange(reopen_wanted_, nullptr);
    lock.unlock();
    if (reopened) reopened({});
    if (left != 0) log::error("audit records are lost: the sink did not take them before the end", {{"instance", name()}, {"lost", left}});
    owner_->loop()->post([self = shared_from_this(), closed = std::move(closed)] {
        self->thread_.join();
        if (closed) closed(true);
    });
}

// Does what is due, or waits for it. False: the end.
bool audit_sink::step(std::unique_lock<std::mutex>& lock) {
    auto& table = owner_->table();
    const auto now = table.clock().mono_ns();
    const auto unlocked = [&](auto&& f) {
        lock.unlock();
        f();
        lock.lock();
        return true;
    };
    if (std::exchange(woken_, false)) return unlocked([&] { table.drain(lane_); });
    if (table.next_deadline(lane_) <= now) return unlocked([&] { table.expire(lane_, now); });
    if (announced_.empty() != fault(now).empty()) return unlocked([&] { announce(); });
    const bool late = closing_ && now >= close_at_ns_;
    if (owed_) {
        const auto tell = [&](unsigned bit, std::int32_t reason) {
            cancelled_ |= bit;
            return unlocked([&] { table.cancel_all(lane_, owner_->owner(), reason); });
        };
        if (late && (cancelled_ & told_closing) == 0) return tell(told_closing | told_stalled, CG_CANCEL_SHUTDOWN);
        if (late && now >= close_at_ns_ + second) return false;
        if (cancelled_ == 0 && now - open_since_ns_.load(std::memory_order_relaxed) >= options_.stall_ns) return tell(told_stalled, CG_CANCEL_DEADLINE);
    } else if (reopen_wanted_) {
        begin(lock, api_.reopen, options_.reopen_ns, std::exchange(reopen_wanted_, nullptr));
        return true;
    } else if (!queue_.empty() && now >= retry_at_ns_ && !late) {
        begin_write(lock);
        return true;
    } else if (closing_ && (queue_.empty() || late)) {
        if (std::exchange(flushed_, true)) return false;
        begin(lock, api_.flush, std::max<std::int64_t>(close_at_ns_ - now, second / 4), [this](const result<void>& r) {
            if (!r) log::warn("audit sink did not flush at its end", {{"instance", name()}, {"reason", r.error().message()}});
        });
        return true;
    }
    const auto next = next_ns();
    if (next == INT64_MAX) wake_.wait(lock);
    // Not beyond 100 ms: a manual clock does not move by waiting.
    else if (next > now) wake_.wait_for(lock, std::chrono::nanoseconds(std::min<std::int64_t>(next - now, second / 10)));
    return true;
}

std::int64_t audit_sink::next_ns() const {
    auto next = owner_->table().next_deadline(lane_);
    if (owed_) {
        if (cancelled_ == 0) next = std::min(next, open_since_ns_.load(std::memory_order_relaxed) + options_.stall_ns);
        if (closing_) next = std::min(next, (cancelled_ & told_closing) == 0 ? close_at_ns_ : close_at_ns_ + second);
    } else {
        if (!queue_.empty()) next = std::min(next, retry_at_ns_);
        if (closing_) next = std::min(next, close_at_ns_);
    }
    return next;
}

void audit_sink::begin_write(std::unique_lock<std::mutex>& lock) {
    std::vector<waiting> events;
    std::size_t bytes = 0;
    for (const auto& w : queue_) {
        bytes += w.event->line.size();
        if (events.size() == CG_AUDIT_MAX_BATCH_EVENTS || (!events.empty() && bytes > CG_AUDIT_MAX_BATCH_BYTES)) break;
        events.push_back(w);
    }
    owed_ = true;
    cancelled_ = 0;
    auto& table = owner_->table();
    open_since_ns_.store(table.clock().mono_ns(), std::memory_order_relaxed);
    lock.unlock();
    auto body = std::make_unique<open_write>(*this, std::move(events));
    const auto* batch = body->batch();
    // By value: a plugin that may block is entered later, on the pool.
    const auto call = [this, batch](cg_op op) {
        return owner_->enter(op, [write = api_.write, owner = owner_.get(), op, batch] { return write(owner->plugin(), op, batch); });
    };
    const auto offered = batch->count;
    if (!table.run(lane_, owner_->owner(), INT64_MAX, operation_table::weight::free, std::move(body), call))
        wrote(offered, 0, make_error(errc::busy, "too many operations"), 0);
    lock.lock();
}

void audit_sink::begin(std::unique_lock<std::mutex>& lock, cg_status (*function)(cg_instance*, cg_op), std::int64_t limit_ns,
                       std::function<void(result<void>)> then) {
    lock.unlock();
    if (function == nullptr) {
        then({});
    } else {
        owed_ = true;
        cancelled_ = 0;
        auto& table = owner_->table();
        const auto now = table.clock().mono_ns();
        open_since_ns_.store(now, std::memory_order_relaxed);
        const auto call = [this, function](cg_op op) {
            return owner_->enter(op, [function, owner = owner_.get(), op] { return function(owner->plugin(), op); });
        };
        if (!table.run(lane_, owner_->owner(), now + limit_ns, operation_table::weight::free, std::make_unique<open_call>(*this, then), call))
            then(make_error(errc::busy, "too many operations"));
    }
    lock.lock();
}

// [audit] What a write came to.
void audit_sink::wrote(std::size_t offered, std::uint64_t taken, const result<void>& outcome, std::int64_t retry_ns) {
    const std::lock_guard lock(mutex_);
    const auto now = owner_->table().clock().mono_ns();
    written_ += taken;
    const bool some = taken != 0;
    for (; taken != 0 && !queue_.empty(); --taken, --offered) {
        bytes_ -= queue_.front().event->bytes();
        queue_.pop_front();
    }
    if (outcome) {
        if (some) failure_.clear();
        // Else it would look well for as long as the next write is open.
        else if ((cancelled_ & told_stalled) != 0) failure_ = stalled_text();
        retry_at_ns_ = offered != 0 ? now + options_.full_ns : 0;
    } else {
        failure_ = outcome.error().message();
        retry_at_ns_ = now + (retry_ns != 0 ? retry_ns : options_.retry_ns);
    }
}

}  // namespace callgate::host
