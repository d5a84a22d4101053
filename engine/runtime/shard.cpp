// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/shard.hpp"

#include <pthread.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <future>

#include "engine/base/log.hpp"

namespace callgate::runtime {

namespace asio = boost::asio;

namespace {

// The message stays where cnats put it; whoever still reads it (a plugin may, after the request is long
// answered) keeps it alive through this.
class message_memory final : public flow::pinned {
  public:
    explicit message_memory(net::inbound_message&& m) : message(std::move(m)) {}
    net::inbound_message message;
};

}  // namespace

shard::shard(std::uint32_t index, const clock_source& clock, std::shared_ptr<flow::replay_set> replays, hooks h,
             std::shared_ptr<flow::key_tables> tables)
    : index_(index),
      clock_(clock),
      hooks_(std::move(h)),
      guard_(asio::make_work_guard(io_)),
      timer_(io_),
      engine_(flow::shard_engine::make(index, clock, *this, *this, metrics_, std::move(replays), std::move(tables))) {}

shard::~shard() { stop(); }

void shard::start() {
    thread_ = std::thread([this] {
        ::pthread_setname_np(::pthread_self(), ("shard" + std::to_string(index_)).c_str());
        io_.run();
    });
}

void shard::stop() {
    if (!thread_.joinable()) return;
    asio::post(io_, [this] { timer_.cancel(); });
    guard_.reset();
    io_.stop();
    thread_.join();
}

void shard::post(std::function<void()> work) { asio::post(io_, std::move(work)); }

void shard::run_and_wait(const std::function<void()>& work) {
    std::promise<void> done;
    asio::post(io_, [&] {
        work();
        done.set_value();
    });
    done.get_future().wait();
}

void shard::wake() {
    // One post for any number of completions: the flag falls before the inbox is read, so a completion that
    // arrives during the drain posts again.
    if (woken_.exchange(true, std::memory_order_acq_rel)) return;
    asio::post(io_, [this] {
        woken_.store(false, std::memory_order_release);
        if (hooks_.drain_completions) hooks_.drain_completions(index_);
        pump();
    });
}

void shard::use(std::shared_ptr<const flow::flow_config> config) {
    has_config_ = true;
    engine_->use(std::move(config));
}

void shard::set_audit(std::shared_ptr<const audit_trail> trail) { audit_ = std::move(trail); }

void shard::set_cluster_view(const std::string& cluster, std::shared_ptr<const cluster_view> view) {
    views_[cluster] = std::move(view);
}

result<std::uint32_t> shard::open_links(const std::string& cluster, const net::link_options& options, std::uint32_t count) {
    const auto group = next_group_++;
    // The cold link takes the first reply into an account: nats-server may spend seconds fetching that
    // account inside the reader of the connection the reply came on (protocol.md 3.4).
    for (std::uint32_t i = 0; i <= count; ++i) {
        const bool cold = i == count;
        auto o = options;
        o.name = "callgate/" + cluster + "/shard" + std::to_string(index_) + (cold ? "/cold" : "/" + std::to_string(i));
        if (cold) o.subscriptions.clear();
        const auto id = next_link_++;
        auto link = net::make_link(io_, o, id, *this);
        if (!link) {
            close_links(group, 0, [] {});
            return link.error();
        }
        {
            const std::lock_guard lock(report_mutex_);
            auto& r = reports_[id];
            r.shard = index_;
            r.cluster = cluster;
            r.name = o.name;
            r.cold = cold;
        }
        auto& slot = links_[id];
        slot.link = std::move(*link);
        slot.cluster = cluster;
        slot.group = group;
        slot.cold = cold;
        slot.link->start();
    }
    return group;
}

bool shard::group_connected(std::uint32_t group) const {
    return std::any_of(links_.begin(), links_.end(), [&](const auto& l) {
        return l.second.group == group && !l.second.cold && l.second.link->status().connected;
    });
}

void shard::stop_receiving(std::uint32_t group, std::int64_t limit_ns, std::function<void()> done) {
    auto left = std::make_shared<std::size_t>(1);
    auto one_less = [left, done = std::move(done)] {
        if (--*left == 0) done();
    };
    for (auto& [id, slot] : links_) {
        if ((group != every_group && slot.group != group) || slot.cold || slot.closing) continue;
        ++*left;
        slot.link->stop_receiving(limit_ns, one_less);
    }
    one_less();
}

void shard::close_links(std::uint32_t group, std::int64_t limit_ns, std::function<void()> done) {
    auto left = std::make_shared<std::size_t>(1);
    auto one_less = [left, done = std::move(done)] {
        if (--*left == 0) done();
    };
    for (auto& [id, slot] : links_) {
        if (group != every_group && slot.group != group) continue;
        ++*left;
        slot.closed.push_back(one_less);
        if (slot.closing) continue;
        slot.closing = true;
        slot.link->close(limit_ns, [this, id = id] {
            // The link may be calling from inside itself: destroy it in a turn of its own.
            asio::post(io_, [this, id] {
                const auto told = std::move(links_.at(id).closed);
                gone_[id] = std::move(links_.at(id).cluster);
                if (gone_.size() > max_gone) gone_.erase(gone_.begin());
                links_.erase(id);
                {
                    const std::lock_guard lock(report_mutex_);
                    reports_.erase(id);
                }
                for (const auto& f : told) f();
            });
        });
    }
    one_less();
}

void shard::when_idle(std::int64_t limit_ns, std::function<void()> done) {
    idle_waiters_.push_back({clock_.mono_ns() + limit_ns, std::move(done)});
    pump();
}

void shard::check_idle() {
    if (idle_waiters_.empty()) return;
    const auto pending = engine_->pending();
    const auto now = clock_.mono_ns();
    std::vector<idle_waiter> ready;
    std::erase_if(idle_waiters_, [&](idle_waiter& w) {
        if (pending != 0 && now < w.limit_ns) return false;
        ready.push_back(std::move(w));
        return true;
    });
    if (pending != 0 && !ready.empty())
        log::warn("requests were still in flight when the drain limit passed; their clients will try again",
                  {{"shard", index_}, {"requests", pending}});
    for (auto& w : ready) w.done();
}

std::vector<link_report> shard::links() const {
    const std::lock_guard lock(report_mutex_);
    std::vector<link_report> out;
    out.reserve(reports_.size());
    for (const auto& [id, r] : reports_) out.push_back(r);
    return out;
}

void shard::refresh_counters(std::function<void()> done) {
    asio::post(io_, [this, done = std::move(done)] {
        {
            const std::lock_guard lock(report_mutex_);
            for (auto& [id, slot] : links_)
                if (auto it = reports_.find(id); it != reports_.end()) it->second.counters = slot.link->counters();
        }
        done();
    });
}

void shard::on_messages(std::span<net::inbound_message> batch) {
    if (has_config_) {
        for (auto& m : batch) {
            flow::callout_message c;
            flow::pinned_ptr memory(new message_memory(std::move(m)));
            const auto& kept = static_cast<const message_memory&>(*memory).message;
            c.reply = kept.reply;
            c.payload = kept.payload;
            c.xkey_header = kept.xkey_header;
            c.arrival_ns = kept.arrival_ns;
            c.link = kept.link;
            c.memory = std::move(memory);
            engine_->offer(std::move(c));
        }
    }
    pump();
}

void shard::on_status(std::uint32_t link, const net::link_status& status) {
    {
        const std::lock_guard lock(report_mutex_);
        if (auto it = reports_.find(link); it != reports_.end()) it->second.status = status;
    }
    if (hooks_.link_changed) hooks_.link_changed();
}

bool shard::leads_to(std::uint32_t link, std::string_view server_id) const {
    const auto it = links_.find(link);
    return it != links_.end() && it->second.link->status().server_id == server_id;
}

bool shard::send_reply(std::uint32_t link, bool cold, std::string_view subject, std::span<const std::uint8_t> payload) {
    auto it = links_.find(link);
    const link_slot* target = nullptr;
    if (it != links_.end()) {
        target = &it->second;
        if (cold) {
            for (const auto& [id, slot] : links_)
                if (slot.group == target->group && slot.cold && slot.link->status().connected &&
                    slot.link->status().server_id == it->second.link->status().server_id)
                    target = &slot;
        }
    }
    if (target == nullptr || !target->link->status().connected) {
        // The link that brought the request is gone; any other link of the cluster reaches the same inbox.
        // Never a link of another cluster: what is published there is shown to whoever listens there.
        const auto gone = gone_.find(link);
        if (it == links_.end() && gone == gone_.end()) return false;
        const auto& cluster = it == links_.end() ? gone->second : it->second.cluster;
        target = nullptr;
        for (const auto& [id, slot] : links_)
            if (slot.cluster == cluster && slot.link->status().connected) {
                target = &slot;
                break;
            }
    }
    return target != nullptr && target->link->publish(subject, payload);
}

const cluster_view* shard::view_of(std::uint32_t link) const {
    const auto it = links_.find(link);
    if (it == links_.end()) return nullptr;
    const auto v = views_.find(it->second.cluster);
    return v == views_.end() ? nullptr : v->second.get();
}

void shard::kick(std::uint32_t link, std::string_view server_id, std::uint64_t cid) {
    const auto it = links_.find(link);
    if (it != links_.end() && hooks_.kick) hooks_.kick(it->second.cluster, std::string(server_id), cid);
}

bool shard::can_kick(std::uint32_t link) const {
    const auto* v = view_of(link);
    return v != nullptr && v->can_kick;
}

bool shard::is_pinned(std::uint32_t link, std::string_view server_id) const {
    const auto* v = view_of(link);
    if (v == nullptr) return false;
    if (v->pinned.find(server_id) != v->pinned.end()) return true;
    if (!v->trust_own_servers) return false;
    const auto& cluster = links_.find(link)->second.cluster;
    return std::any_of(links_.begin(), links_.end(), [&](const auto& l) {
        const auto& status = l.second.link->status();
        return l.second.cluster == cluster && status.connected && status.server_id == server_id;
    });
}

bool shard::record(flow::audit_record&& r) {
    if (!audit_) return true;
    return audit_->record(std::move(r)) != audit_trail::outcome::refused;
}

void shard::pump() {
    if (hooks_.expire_operations) hooks_.expire_operations(index_);
    const bool more = engine_->run();
    for (auto& [id, slot] : links_) slot.link->flush();
    check_idle();
    if (more && !pump_posted_) {
        pump_posted_ = true;
        asio::post(io_, [this] {
            pump_posted_ = false;
            pump();
        });
    }
    arm_timer();
}

void shard::arm_timer() {
    auto at = engine_->next_deadline_ns();
    if (hooks_.next_operation_deadline) at = std::min(at, hooks_.next_operation_deadline(index_));
    for (const auto& w : idle_waiters_) at = std::min(at, w.limit_ns);
    if (at == INT64_MAX) return;
    // A timer that fires early only finds nothing to do; one that fires late misses deadlines.
    if (timer_at_ns_ <= at && timer_at_ns_ > clock_.mono_ns()) return;
    timer_at_ns_ = at;
    const auto wait = std::max<std::int64_t>(at - clock_.mono_ns(), 1'000'000);
    timer_.expires_after(std::chrono::nanoseconds(wait));
    timer_.async_wait([this](const boost::system::error_code& ec) {
        if (ec) return;
        timer_at_ns_ = INT64_MAX;
        pump();
    });
}

}  // namespace callgate::runtime
