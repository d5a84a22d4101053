// SPDX-License-Identifier: Apache-2.0
// The other half of the backend: its life, and how keys stay fresh while shards judge tokens.
#include <algorithm>
#include <callgate/crypto/random.hpp>
#include <cmath>

#include "plugins/auth_oidc/auth_oidc.hpp"

namespace callgate::auth_oidc {
namespace {

constexpr std::size_t max_waiters = 1024;
constexpr std::string_view fetches = "issuer_key_fetches_total", fetches_help = "Attempts to get an issuer's keys.";

/// The issuer as its tokens name it, where a label's value may be that: short and printable.
std::string metric_label(const std::string& issuer, std::size_t nth) {
    const bool fits = issuer.size() <= 100 && std::all_of(issuer.begin(), issuer.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
    return fits ? issuer : "issuers[" + std::to_string(nth) + "]";
}

}  // namespace

backend::issuer_state::issuer_state(backend& of, const issuer_options& o, std::string_view label)
    : owner(of),
      options(o),
      keys(of.host()),
      fetcher(of.host(), options, of.options_.fetch_timeout, [this](fetch_outcome outcome) { owner.on_fetched(*this, std::move(outcome)); }),
      timer(of.host()),
      key_count(of.host(), "issuer_keys", "Usable keys of the issuer, as fetched last.", {{"issuer", label}}),
      fetched(of.host(), fetches, fetches_help, {{"issuer", label}, {"outcome", "ok"}}),
      fetch_failed(of.host(), fetches, fetches_help, {{"issuer", label}, {"outcome", "failed"}}) {}

backend::backend(sdk::host_ref host, options o) : auth_backend(host), options_(std::move(o)), jitter_(std::random_device{}()) {
    crypto::init();
    crypto::random_bytes(fingerprint_key_);
    for (const auto& i : options_.issuers) {
        if (i.origin != key_origin::file) static_cast<void>(host.require<sdk::ext::http_client>());
        issuers_.push_back(std::make_unique<issuer_state>(*this, i, metric_label(i.issuer, issuers_.size())));
    }
}

bool backend::usable(const issuer_state& s) const noexcept {
    const auto fresh = s.fresh_ns.load(std::memory_order_relaxed);
    return fresh != 0 && host().now_ns() - fresh <= options_.max_stale.count();
}

void backend::start(sdk::op_handle&& op) {
    {
        const std::lock_guard lock(mutex_);
        start_op_ = std::move(op);
    }
    for (auto& i : issuers_) begin_fetch(*i);
}

void backend::begin_fetch(issuer_state& s) {
    {
        const std::lock_guard lock(mutex_);
        s.nudge = 0;
        if (stopping_ || s.fetcher.busy()) return;
        s.fetching = true;
        s.last_fetch_ns = host().now_ns();
    }
    s.timer.cancel();
    s.fetcher.fetch();
}

void backend::record(issuer_state& s, const fetch_outcome& outcome) {
    const auto& name = s.options.issuer;
    for (const auto& why : outcome.skipped) host().log(sdk::log_level::warn, "a key of the issuer is not used", {{"issuer", name}, {"reason", why}});
    if (!outcome.fault.empty()) {
        if (s.fault.empty()) {
            s.failing_since_unix_s = host().wall_unix_s();
            host().log(sdk::log_level::error, "the issuer's keys cannot be fetched; those at hand stay in use until max_stale",
                       {{"issuer", name}, {"reason", outcome.fault}});
        }
    } else if (!s.fault.empty()) {
        host().log(sdk::log_level::info, "the issuer's keys are fresh again", {{"issuer", name}});
    }
    s.fault = outcome.fault;
}

void backend::schedule(issuer_state& s, bool failed, std::optional<std::chrono::seconds> fresh_for) {
    auto next = options_.refresh;
    if (fresh_for) next = std::clamp<std::chrono::nanoseconds>(*fresh_for, options_.refresh_min, options_.refresh_max);
    if (failed) {
        s.backoff = s.backoff.count() == 0 ? options_.min_refresh_interval : std::min(2 * s.backoff, options_.refresh);
        next = std::min(s.backoff, options_.refresh);
    } else {
        s.backoff = {};
    }
    // A tenth up or down, so that replicas do not ask the issuer all at once.
    const double factor = std::uniform_real_distribution<double>(0.9, 1.1)(jitter_);
    s.timer.arm(std::chrono::nanoseconds(std::llround(static_cast<double>(next.count()) * factor)), [this, &s] { begin_fetch(s); });
}

void backend::on_fetched(issuer_state& s, fetch_outcome outcome) {
    const bool failed = !outcome.fault.empty();
    record(s, outcome);
    (failed ? s.fetch_failed : s.fetched).add();
    if (outcome.keys) {
        s.key_count.set(static_cast<std::int64_t>(outcome.keys->keys().size()));
        host().log(sdk::log_level::info, "keys loaded", {{"issuer", s.options.issuer}, {"keys", std::to_string(outcome.keys->keys().size())}});
        s.keys.publish(std::move(outcome.keys));
    }
    const auto now = host().now_ns();
    if (!failed) s.fresh_ns.store(now, std::memory_order_relaxed);
    s.attempted = true;

    std::vector<waiter> waiters;
    bool stopping = false;
    {
        const std::lock_guard lock(mutex_);
        s.fetching = false;
        s.failed = failed;
        if (!failed) s.expected_ns = std::max<std::int64_t>(1'000'000, now - s.last_fetch_ns);
        waiters.swap(s.waiters);
        stopping = stopping_;
    }
    for (auto& w : waiters) {
        auto j = judge(control_judge_, credential_of(w.request), w.request.now_unix_s());
        if (failed && j.issuer != nullptr) j = {CG_VERDICT_UNAVAILABLE, "keys_unavailable", "the kid is unknown and the issuer's keys cannot be fetched", nullptr};
        answer(control_judge_, j, w.op);
    }
    {
        const std::lock_guard lock(mutex_);
        waiting_ -= waiters.size();
    }
    if (!stopping) schedule(s, failed, outcome.fresh_for);
    finish_start();
    finish_drain();
    finish_stop();
}

void backend::finish_start() {
    if (!std::all_of(issuers_.begin(), issuers_.end(), [](const auto& i) { return i->attempted; })) return;
    sdk::op_handle op;
    {
        const std::lock_guard lock(mutex_);
        op = std::move(start_op_);
    }
    if (!op) return;
    for (const auto& i : issuers_) {
        if (i->fault.empty()) continue;
        // A file is ours to have in order; somebody else's server may come up after us.
        if (i->options.origin == key_origin::file) {
            op.fail(CG_E_INVALID, "no keys for issuer " + i->options.issuer + ": " + i->fault, i->options.jwks);
            return;
        }
        host().log(sdk::log_level::warn, "starting without the issuer's keys; its logins are UNAVAILABLE until they come",
                   {{"issuer", i->options.issuer}, {"reason", i->fault}});
    }
    op.succeed();
}

bool backend::nudge(issuer_state& s) {
    if (s.fetching) return true;
    const auto now = host().now_ns();
    if (stopping_ || now - s.last_fetch_ns < options_.min_refresh_interval.count()) return false;
    const auto* timers = host().query<sdk::ext::timer>();
    const auto fire = [](void* ctx) noexcept {
        auto& issuer = *static_cast<issuer_state*>(ctx);
        sdk::detail::guard_callback(issuer.owner.host(), "refresh", [&] { issuer.owner.begin_fetch(issuer); });
    };
    if (timers == nullptr || timers->start(host().get(), 0, fire, &s, &s.nudge) != CG_OK) return false;
    s.fetching = true;
    s.last_fetch_ns = now;
    return true;
}

backend::judgement backend::wait_for_keys(judgement j, std::optional<std::int64_t> iat, sdk::op_handle& op,
                                                const sdk::request_view& request) {
    // A simulation must not make the daemon talk to anybody.
    if (request.simulated()) return j;
    const std::lock_guard lock(mutex_);
    const bool coming = nudge(*j.issuer);
    if (j.verdict == CG_VERDICT_UNAVAILABLE) return j;
    // Throttled. The set is an answer only if it is the issuer's latest, as far as anybody could know.
    if (!coming && j.issuer->failed) return {CG_VERDICT_UNAVAILABLE, "keys_unavailable", "the kid is unknown and the issuer's keys cannot be fetched", nullptr};
    if (!coming) {
        // Somebody's made-up kids may have used up the fetch: a token younger than the set may be signed with a key
        // that is younger as well, and DENY would make its client give up.
        const auto age_s = (host().now_ns() - j.issuer->last_fetch_ns) / 1'000'000'000;
        const auto fetched_unix_s = request.now_unix_s() - age_s;
        if (iat && *iat >= fetched_unix_s - j.issuer->options.leeway.count())
            return {CG_VERDICT_UNAVAILABLE, "unknown_kid_throttled", "the kid is unknown, the token younger than the keys, and the next fetch not yet due", nullptr};
        return j;
    }
    const bool in_time = op.time_left_ns() > j.issuer->last_fetch_ns + j.issuer->expected_ns - host().now_ns();
    if (!in_time || j.issuer->waiters.size() >= max_waiters)
        return {CG_VERDICT_UNAVAILABLE, "keys_being_fetched", "the kid is unknown and its keys will not be there in time", nullptr};
    j.issuer->waiters.push_back({std::move(op), request});
    ++waiting_;
    return j;
}

void backend::cancel(cg_op op, std::int32_t) {
    sdk::op_handle start;
    std::vector<waiter> gone;
    {
        const std::lock_guard lock(mutex_);
        if (start_op_ && start_op_.id() == op) start = std::move(start_op_);
        for (auto& i : issuers_) {
            const auto w = std::find_if(i->waiters.begin(), i->waiters.end(), [&](const waiter& x) { return x.op.id() == op; });
            if (w == i->waiters.end()) continue;
            gone.push_back(std::move(*w));
            i->waiters.erase(w);
            --waiting_;
            break;
        }
    }
    if (start) start.fail(CG_E_CANCELLED, "cancelled while the issuers' keys were being fetched");
    for (auto& w : gone) sdk::reply_builder{}.unavailable("keys_not_in_time", "gave up waiting for the issuer's keys").send(w.op);
    finish_drain();
}

void backend::drain(sdk::op_handle&& op) {
    {
        const std::lock_guard lock(mutex_);
        drain_op_ = std::move(op);
    }
    finish_drain();
}

void backend::stop(sdk::op_handle&& op) {
    sdk::op_handle start;
    std::vector<waiter> left;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        stop_op_ = std::move(op);
        start = std::move(start_op_);
        for (auto& i : issuers_) {
            if (i->nudge != 0) {
                if (const auto* timers = host().query<sdk::ext::timer>()) timers->cancel(host().get(), i->nudge);
                i->nudge = 0;
            }
            for (auto& w : i->waiters) left.push_back(std::move(w));
            i->waiters.clear();
        }
        waiting_ = 0;
    }
    if (start) start.fail(CG_E_CANCELLED, "stopped while the issuers' keys were being fetched");
    for (auto& w : left) sdk::reply_builder{}.unavailable("shutting_down").send(w.op);
    for (auto& i : issuers_) {
        i->timer.cancel();
        i->fetcher.cancel();
    }
    finish_drain();
    finish_stop();
}

void backend::finish_drain() {
    sdk::op_handle drained;
    {
        const std::lock_guard lock(mutex_);
        if (waiting_ == 0) drained = std::move(drain_op_);
    }
    if (drained) drained.succeed();
}

void backend::finish_stop() {
    sdk::op_handle stopped;
    {
        const std::lock_guard lock(mutex_);
        const bool quiet = std::none_of(issuers_.begin(), issuers_.end(), [](const auto& i) { return i->fetcher.busy(); });
        if (quiet) stopped = std::move(stop_op_);
    }
    if (stopped) stopped.succeed();
}

sdk::health backend::current_health() {
    sdk::health h;
    std::size_t serving = 0;
    for (const auto& i : issuers_) {
        serving += usable(*i);
        if (i->fault.empty() && usable(*i)) continue;
        h.state = CG_HEALTH_DEGRADED;
        if (!h.text.empty()) h.text += "; ";
        h.text += i->options.issuer + (usable(*i) ? ": keys not refreshed since " : ": no keys since ") +
                  std::to_string(i->failing_since_unix_s) + " (" + i->fault + ")";
    }
    if (serving == 0) h.state = CG_HEALTH_DOWN;
    return h;
}

}  // namespace callgate::auth_oidc
