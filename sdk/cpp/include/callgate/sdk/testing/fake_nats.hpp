// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/nats.h>
#include <algorithm>
#include <atomic>
#include <callgate/sdk/value.hpp>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callgate::sdk::test {

struct fake_message {
    std::string subject{}, payload{}, reply{};
    std::vector<std::pair<std::string, std::string>> headers{};
};

/// A request of the plugin that waits for fake_nats::answer().
struct fake_nats_request {
    std::uint64_t id = 0;
    fake_message message{};
    std::int64_t timeout_ns = 0;
    cg_op op = 0;
};

/// nats/1 of a fake_host: no server; the test looks at what was published and says what comes. Callbacks run on the calling
/// thread, those for [worker] too.
class fake_nats {
  public:
    /// What the configuration lists under `uses`, without "nats/".
    void allow(std::string cluster) { allowed_.push_back(std::move(cluster)); }
    /// Of all clusters; they are connected from the beginning.
    void connected(bool now) { connected_ = now; }
    [[nodiscard]] std::vector<fake_message> published() const {
        const std::lock_guard lock(mutex_);
        return published_;
    }
    /// To every subscription whose subject matches; returns how many that were.
    std::size_t deliver(const fake_message& m, std::uint64_t lost = 0) {
        std::vector<std::uint64_t> ids;
        for (const auto& [id, s] : subscriptions_)
            if (matches(s.subject, m.subject)) ids.push_back(id);
        std::size_t told = 0;
        for (const auto id : ids) {
            const auto it = subscriptions_.find(id);
            if (it == subscriptions_.end()) continue;
            const auto s = it->second;
            std::vector<cg_nats_header> headers;
            const auto c = shown(m, headers, lost);
            s.fn(s.ctx, &c);
            ++told;
        }
        return told;
    }
    /// "SUBJECT" or "SUBJECT QUEUE" of each.
    [[nodiscard]] std::vector<std::string> subscribed() const {
        std::vector<std::string> out;
        for (const auto& [id, s] : subscriptions_) out.push_back(s.subject + (s.queue.empty() ? "" : " " + s.queue));
        return out;
    }
    [[nodiscard]] std::vector<fake_nats_request> requests() const {
        const std::lock_guard lock(mutex_);
        std::vector<fake_nats_request> out;
        for (const auto& r : requests_) out.push_back(r.what);
        return out;
    }
    /// False: there is no such request. `m` counts only with CG_OK.
    bool answer(std::uint64_t id, cg_status status, const fake_message& m = {}) {
        open_request r{};
        {
            const std::lock_guard lock(mutex_);
            const auto it = std::find_if(requests_.begin(), requests_.end(), [&](const auto& x) { return x.what.id == id; });
            if (it == requests_.end()) return false;
            r = *it;
            requests_.erase(it);
        }
        std::vector<cg_nats_header> headers;
        const auto c = shown(m, headers, 0);
        auto a = make<cg_nats_answer>();
        a.status = status;
        a.message = status == CG_OK ? &c : nullptr;
        r.done(r.ctx, &a);
        return true;
    }
    /// Ids that the plugin cancelled; each still wants its answer.
    [[nodiscard]] std::vector<std::uint64_t> cancelled() const {
        const std::lock_guard lock(mutex_);
        return cancelled_;
    }

    // ---- what the table calls
    cg_status open(cg_str cluster, cg_nats* out) {
        const auto name = std::string(view(cluster));
        if (std::find(allowed_.begin(), allowed_.end(), name) == allowed_.end()) return CG_E_PERMISSION;
        const auto at = std::find(opened_.begin(), opened_.end(), name);
        *out = static_cast<cg_nats>(at - opened_.begin() + 1);
        if (at == opened_.end()) opened_.push_back(name);
        return CG_OK;
    }
    cg_status status(cg_nats nats, cg_nats_status* out) const {
        if (!known(nats)) return CG_E_INVALID;
        out->connected = connected_ ? 1 : 0;
        out->max_payload = connected_ ? CG_NATS_MAX_PAYLOAD_BYTES : 0;
        return CG_OK;
    }
    cg_status publish(cg_nats nats, const cg_nats_message* theirs) {
        const auto m = copied(theirs);
        if (!known(nats) || m.subject.empty()) return CG_E_INVALID;
        if (!connected_) return CG_E_UNAVAILABLE;
        const std::lock_guard lock(mutex_);
        published_.push_back(m);
        return CG_OK;
    }
    cg_status subscribe(cg_nats nats, const cg_nats_subscription* theirs, std::uint64_t* id) {
        const auto s = copy_in(theirs);
        if (!known(nats) || s.on_message == nullptr || s.subject.size == 0) return CG_E_INVALID;
        if (subscriptions_.size() >= CG_NATS_MAX_SUBSCRIPTIONS) return CG_E_BUSY;
        subscriptions_[*id = ++last_id_] = {std::string(view(s.subject)), std::string(view(s.queue)), s.on_message, s.ctx};
        return CG_OK;
    }
    cg_status unsubscribe(std::uint64_t id) { return subscriptions_.erase(id) != 0 ? CG_OK : CG_E_NOT_FOUND; }
    cg_status request(cg_nats nats, const cg_nats_request* theirs, std::uint64_t* id) {
        const auto r = copy_in(theirs);
        const auto m = copied(r.message);
        if (!known(nats) || r.done == nullptr || m.subject.empty() || !m.reply.empty()) return CG_E_INVALID;
        if (!connected_) return CG_E_UNAVAILABLE;
        const std::lock_guard lock(mutex_);
        if (requests_.size() >= CG_NATS_MAX_REQUESTS) return CG_E_BUSY;
        requests_.push_back({{++last_id_, m, r.timeout_ns, r.op}, r.done, r.ctx});
        if (id != nullptr) *id = last_id_;
        return CG_OK;
    }
    void cancel(std::uint64_t id) {
        const std::lock_guard lock(mutex_);
        cancelled_.push_back(id);
    }

  private:
    struct subscription {
        std::string subject, queue;
        void (*fn)(void*, const cg_nats_message*);
        void* ctx;
    };
    struct open_request {
        fake_nats_request what;
        void (*done)(void*, const cg_nats_answer*);
        void* ctx;
    };
    [[nodiscard]] bool known(cg_nats n) const noexcept { return n != 0 && n <= opened_.size(); }
    static bool matches(std::string_view pattern, std::string_view subject) {
        for (;;) {
            if (pattern == ">") return !subject.empty();
            const auto p = pattern.find('.'), s = subject.find('.');
            if (pattern.substr(0, p) != "*" && pattern.substr(0, p) != subject.substr(0, s)) return false;
            if (p == std::string_view::npos || s == std::string_view::npos) return p == s;
            pattern.remove_prefix(p + 1);
            subject.remove_prefix(s + 1);
        }
    }
    static fake_message copied(const cg_nats_message* theirs) {
        const auto c = copy_in(theirs);
        const auto body = view(c.payload);
        fake_message m{std::string(view(c.subject)), std::string(body.begin(), body.end()), std::string(view(c.reply)), {}};
        for (std::size_t i = 0; i < c.header_count; ++i) {
            const auto& h = *reinterpret_cast<const cg_nats_header*>(reinterpret_cast<const unsigned char*>(c.headers) + i * c.headers_stride);
            m.headers.emplace_back(view(h.name), view(h.value));
        }
        return m;
    }
    static cg_nats_message shown(const fake_message& m, std::vector<cg_nats_header>& headers, std::uint64_t lost) {
        for (const auto& [name, value] : m.headers) headers.push_back({to_c(name), to_c(value)});
        auto c = make<cg_nats_message>();
        c.headers_stride = sizeof(cg_nats_header);
        c.subject = to_c(m.subject);
        c.reply = to_c(m.reply);
        c.headers = headers.data();
        c.header_count = headers.size();
        c.payload = {reinterpret_cast<const std::uint8_t*>(m.payload.data()), m.payload.size()};
        c.lost = lost;
        return c;
    }

    mutable std::mutex mutex_;  // guards what [any] functions touch
    std::vector<std::string> allowed_, opened_;
    std::atomic<bool> connected_{true};
    std::vector<fake_message> published_;
    std::map<std::uint64_t, subscription> subscriptions_;
    std::vector<open_request> requests_;
    std::vector<std::uint64_t> cancelled_;
    std::uint64_t last_id_ = 0;
};

}  // namespace callgate::sdk::test
