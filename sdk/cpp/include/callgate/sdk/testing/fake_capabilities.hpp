// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/audit.h>
#include <callgate/abi/ext/draft/cache_invalidate.h>
#include <callgate/abi/ext/draft/events.h>
#include <callgate/abi/ext/draft/fd.h>
#include <callgate/abi/ext/draft/instance.h>
#include <callgate/abi/ext/metrics.h>
#include <callgate/abi/ext/draft/secrets.h>
#include <callgate/abi/ext/draft/worker.h>
#include <algorithm>
#include <atomic>
#include <callgate/sdk/testing/fake_nats.hpp>
#include <callgate/sdk/value.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callgate::sdk::test {

struct fake_event {
    std::uint32_t kind = 0;
    std::string subject{}, text{};
    std::uint64_t number = 0;
};

/// A call of the plugin to another instance, as the test sees it; it answers with answer_call().
struct fake_call {
    std::uint64_t id = 0;
    std::string to;        ///< "keys/local", "store/main"
    std::string function;  ///< sign, get, scan, commit
    std::vector<std::string> keys;                             ///< get; commit: deletes; sign: the label
    std::vector<std::pair<std::string, std::string>> puts;     ///< commit
    std::string prefix, cursor, message;                       ///< scan; sign
    std::uint32_t limit = 0, purpose = 0;
    std::uint64_t at_revision = 0;
    std::int64_t timeout_ns = 0;
    void* ctx = nullptr;
    void (*done)(void*, const cg_instance_answer*) = nullptr;
};

/// The draft capabilities of a fake_host: everything waits until the test asks for it.
class fake_capabilities {
  public:
    // ---- metrics/1: rules of names are the real host's business; here only a second kind under one name is refused
    /// Value of a counter or gauge, count of a histogram; labels as "k=v,k=v". nullopt: not defined.
    [[nodiscard]] std::optional<std::int64_t> metric(const std::string& name, const std::string& labels = {}) const {
        const std::lock_guard lock(mutex_);
        for (const auto& m : metrics_)
            if (m.name == name && m.labels == labels) return m.value;
        return std::nullopt;
    }
    /// What the host does when start has completed: definitions are refused from now on.
    void freeze_metrics() { frozen_ = true; }

    // ---- worker/1: jobs run on the thread that calls this, with their `done`; returns how many ran
    std::size_t run_jobs() {
        std::size_t n = 0;
        for (; run_job(); ++n) {}
        return n;
    }
    [[nodiscard]] std::size_t waiting_jobs() const {
        const std::lock_guard lock(mutex_);
        return jobs_.size();
    }

    // ---- fd/1
    /// Calls the watchers of that descriptor for one event; returns how many there were.
    std::size_t ready(int fd, std::uint32_t event) {
        std::vector<std::uint64_t> ids;
        for (const auto& [id, w] : watches_)
            if (w.fd == fd && (w.events & event) != 0) ids.push_back(id);
        for (const auto id : ids)
            if (const auto it = watches_.find(id); it != watches_.end()) {
                const auto w = it->second;
                w.fn(w.ctx, fd, event);
            }
        return ids.size();
    }
    [[nodiscard]] std::size_t watch_count() const noexcept { return watches_.size(); }

    // ---- secrets/1
    /// The handle that belongs into config_json; the value can be changed with change_secret.
    std::string add_secret(std::string value) {
        auto handle = "callgate-secret:" + std::to_string(secrets_.size() + 1);
        const std::lock_guard lock(mutex_);
        secrets_[handle] = std::move(value);
        return handle;
    }
    void change_secret(const std::string& handle, std::string value) {
        {
            const std::lock_guard lock(mutex_);
            secrets_[handle] = std::move(value);
        }
        if (secret_changed_ != nullptr) secret_changed_(secret_ctx_, to_c(handle));
    }

    // ---- events/1
    /// Delivers at once; returns how many subscriptions got it.
    std::size_t publish(const fake_event& e) {
        auto c = make<cg_event>();
        c.kind = e.kind;
        c.subject = to_c(e.subject);
        c.text = to_c(e.text);
        c.number = e.number;
        std::size_t n = 0;
        const auto now = subscriptions_;
        for (const auto& [id, s] : now)
            if ((s.mask & CG_EVENTS_BIT(e.kind)) != 0 && subscriptions_.contains(id)) {
                s.fn(s.ctx, &c);
                ++n;
            }
        return n;
    }

    // ---- cache-invalidate/1: "all", "subject ISSUER SUBJECT", "credential ID"
    [[nodiscard]] std::vector<std::string> invalidated() const {
        const std::lock_guard lock(mutex_);
        return invalidated_;
    }

    // ---- audit/1: "ACTION OUTCOME IDENTITY NAME=VALUE ..."; rules of names are the real host's business
    [[nodiscard]] std::vector<std::string> audited() const {
        const std::lock_guard lock(mutex_);
        return audited_;
    }

    // ---- nats/1
    [[nodiscard]] fake_nats& nats() noexcept { return nats_; }

    // ---- instance/1
    /// What the configuration lists under `uses`: "keys/local", "store/main".
    void allow(std::string use) { uses_.push_back(std::move(use)); }
    [[nodiscard]] std::vector<fake_call> calls() const {
        const std::lock_guard lock(mutex_);
        return calls_;
    }
    /// `result` is the struct that the call's function names; ignored unless status is CG_OK. False: there is no such call.
    bool answer_call(std::uint64_t id, cg_status status, const void* result, std::string_view error = {}) {
        fake_call c;
        {
            const std::lock_guard lock(mutex_);
            const auto it = std::find_if(calls_.begin(), calls_.end(), [&](const auto& x) { return x.id == id; });
            if (it == calls_.end()) return false;
            c = *it;
            calls_.erase(it);
        }
        auto a = make<cg_instance_answer>();
        a.status = status;
        a.result = status == CG_OK ? result : nullptr;
        a.error = to_c(error);
        c.done(c.ctx, &a);
        return true;
    }

  protected:
    fake_capabilities() = default;
    ~fake_capabilities() = default;
    /// Table of a draft capability; nullptr when it is none of these.
    static const void* find_draft(std::string_view id) noexcept;

  private:
    struct defined {
        std::string name, labels;
        std::uint32_t kind;
        std::int64_t value = 0;
        std::map<std::uint32_t, std::int64_t> parts{};
    };
    struct job {
        void (*fn)(void*);
        void (*done)(void*);
        void* ctx;
    };
    struct watch_entry {
        int fd;
        std::uint32_t events;
        void (*fn)(void*, std::int32_t, std::uint32_t);
        void* ctx;
    };
    struct subscription {
        std::uint32_t mask;
        void (*fn)(void*, const cg_event*);
        void* ctx;
    };
    struct tables;
    friend struct tables;
    static fake_capabilities& self(const cg_host* h) noexcept { return *static_cast<fake_capabilities*>(h->impl); }

    bool run_job() {
        job j{};
        {
            const std::lock_guard lock(mutex_);
            if (jobs_.empty()) return false;
            j = jobs_.front();
            jobs_.erase(jobs_.begin());
        }
        j.fn(j.ctx);
        if (j.done != nullptr) j.done(j.ctx);
        return true;
    }
    cg_status define(const cg_metric_definition& d, cg_metric* metric) {
        if (frozen_) return CG_E_PERMISSION;
        std::string labels;
        for (std::size_t i = 0; i < d.label_count; ++i) {
            const auto& l = *reinterpret_cast<const cg_metric_label*>(reinterpret_cast<const unsigned char*>(d.labels) + i * d.labels_stride);
            labels += (labels.empty() ? "" : ",") + std::string(view(l.name)) + "=" + std::string(view(l.value));
        }
        const std::lock_guard lock(mutex_);
        for (std::size_t i = 0; i < metrics_.size(); ++i)
            if (auto& m = metrics_[i]; m.name == view(d.name) && m.labels == labels) {
                if (m.kind != d.kind) return CG_E_INVALID;
                // The next instance that a test makes on this host begins anew.
                m.value = 0;
                m.parts.clear();
                *metric = static_cast<cg_metric>(i + 1);
                return CG_OK;
            }
        metrics_.push_back({std::string(view(d.name)), labels, d.kind});
        *metric = static_cast<cg_metric>(metrics_.size());
        return CG_OK;
    }
    template <class F>
    void with_metric(cg_metric m, std::uint32_t kind, F&& f) {
        const std::lock_guard lock(mutex_);
        if (m != 0 && m <= metrics_.size() && metrics_[m - 1].kind == kind) f(metrics_[m - 1]);
    }
    cg_status call(const cg_instance_call* theirs, const char* kind, fake_call c) {
        const auto mine = copy_in(theirs);
        const std::lock_guard lock(mutex_);
        if (mine.target == 0 || mine.target > targets_.size() || !targets_[mine.target - 1].starts_with(kind) || mine.done == nullptr) return CG_E_INVALID;
        if (calls_.size() >= CG_INSTANCE_MAX_CALLS) return CG_E_BUSY;
        c.id = ++last_call_;
        c.to = targets_[mine.target - 1];
        c.timeout_ns = mine.timeout_ns;
        c.ctx = mine.ctx;
        c.done = mine.done;
        calls_.push_back(std::move(c));
        return CG_OK;
    }

    mutable std::mutex mutex_;
    std::vector<defined> metrics_;
    std::atomic<bool> frozen_{false};
    std::vector<job> jobs_;
    std::map<std::uint64_t, watch_entry> watches_;
    std::map<std::string, std::string, std::less<>> secrets_;
    void (*secret_changed_)(void*, cg_str) = nullptr;
    void* secret_ctx_ = nullptr;
    std::map<std::uint64_t, subscription> subscriptions_;
    std::uint64_t last_id_ = 0;
    std::vector<std::string> invalidated_, audited_;
    std::vector<std::string> uses_, targets_;
    fake_nats nats_;
    std::vector<fake_call> calls_;
    std::uint64_t last_call_ = 0;
};

/// The C tables. noexcept, since the plugin under test may be C.
struct fake_capabilities::tables {
    static constexpr cg_metrics_api metrics = {
        sizeof(cg_metrics_api), 0,
        [](const cg_host* h, const cg_metric_definition* d, cg_metric* m, cg_errbuf*) noexcept { return self(h).define(copy_in(d), m); },
        [](const cg_host* h, cg_metric m, std::uint32_t, std::uint64_t n) noexcept {
            self(h).with_metric(m, CG_METRIC_COUNTER, [&](defined& x) { x.value += static_cast<std::int64_t>(n); });
        },
        [](const cg_host* h, cg_metric m, std::uint32_t shard, std::int64_t v) noexcept {
            self(h).with_metric(m, CG_METRIC_GAUGE, [&](defined& x) { x.value += v - std::exchange(x.parts[shard], v); });
        },
        [](const cg_host* h, cg_metric m, std::uint32_t shard, std::int64_t v) noexcept {
            self(h).with_metric(m, CG_METRIC_GAUGE, [&](defined& x) { x.value += v, x.parts[shard] += v; });
        },
        [](const cg_host* h, cg_metric m, std::uint32_t, std::int64_t) noexcept {
            self(h).with_metric(m, CG_METRIC_HISTOGRAM, [](defined& x) { ++x.value; });
        }};
    static constexpr cg_worker_api worker = {
        sizeof(cg_worker_api), 0, [](const cg_host* h, void (*fn)(void*), void (*done)(void*), void* ctx) noexcept -> cg_status {
            auto& me = self(h);
            const std::lock_guard lock(me.mutex_);
            if (me.jobs_.size() >= CG_WORKER_MAX_JOBS) return CG_E_BUSY;
            me.jobs_.push_back({fn, done, ctx});
            return CG_OK;
        }};
    static constexpr cg_fd_api fd = {
        sizeof(cg_fd_api), 0,
        [](const cg_host* h, std::int32_t fd, std::uint32_t events, void (*fn)(void*, std::int32_t, std::uint32_t), void* ctx,
           std::uint64_t* id) noexcept -> cg_status {
            auto& me = self(h);
            if (fd < 0 || events == 0) return CG_E_INVALID;
            if (me.watches_.size() >= CG_FD_MAX_WATCHES) return CG_E_BUSY;
            me.watches_[*id = ++me.last_id_] = {fd, events, fn, ctx};
            return CG_OK;
        },
        [](const cg_host* h, std::uint64_t id) noexcept -> cg_status { return self(h).watches_.erase(id) != 0 ? CG_OK : CG_E_NOT_FOUND; }};
    static constexpr cg_secrets_api secrets = {
        sizeof(cg_secrets_api), 0,
        [](const cg_host* h, cg_str handle, cg_outbuf* out) noexcept -> cg_status {
            auto& me = self(h);
            const std::lock_guard lock(me.mutex_);
            const auto it = me.secrets_.find(view(handle));
            if (it == me.secrets_.end()) return CG_E_NOT_FOUND;
            out->size = it->second.size();
            if (out->size > out->cap) return CG_E_NOSPC;
            std::copy(it->second.begin(), it->second.end(), out->data);
            return CG_OK;
        },
        [](const cg_host* h, void (*changed)(void*, cg_str), void* ctx) noexcept -> cg_status {
            self(h).secret_changed_ = changed;
            self(h).secret_ctx_ = ctx;
            return CG_OK;
        }};
    static constexpr cg_events_api events = {
        sizeof(cg_events_api), 0,
        [](const cg_host* h, std::uint32_t mask, void (*fn)(void*, const cg_event*), void* ctx, std::uint64_t* id) noexcept -> cg_status {
            auto& me = self(h);
            if (me.subscriptions_.size() >= CG_EVENTS_MAX_SUBSCRIPTIONS) return CG_E_BUSY;
            me.subscriptions_[*id = ++me.last_id_] = {mask, fn, ctx};
            return CG_OK;
        },
        [](const cg_host* h, std::uint64_t id) noexcept -> cg_status { return self(h).subscriptions_.erase(id) != 0 ? CG_OK : CG_E_NOT_FOUND; }};
    static constexpr cg_cache_invalidate_api caches = {
        sizeof(cg_cache_invalidate_api), 0, [](const cg_host* h, const cg_cache_scope* theirs) noexcept -> cg_status {
            auto& me = self(h);
            const auto s = copy_in(theirs);
            const std::lock_guard lock(me.mutex_);
            if (s.kind == CG_CACHE_ALL) me.invalidated_.emplace_back("all");
            else if (s.kind == CG_CACHE_SUBJECT) me.invalidated_.push_back("subject " + std::string(view(s.issuer)) + " " + std::string(view(s.subject)));
            else if (s.kind == CG_CACHE_CREDENTIAL) me.invalidated_.push_back("credential " + std::string(view(s.credential_id)));
            else return CG_E_INVALID;
            return CG_OK;
        }};
    static constexpr cg_audit_api audit = {
        sizeof(cg_audit_api), 0, [](const cg_host* h, const cg_audit_note* theirs) noexcept -> cg_status {
            auto& me = self(h);
            const auto n = copy_in(theirs);
            if (n.action.size == 0 || n.field_count > CG_AUDIT_MAX_FIELDS) return CG_E_INVALID;
            std::string text = std::string(view(n.action)) + " " + std::string(view(n.outcome)) + " " + std::string(view(n.identity));
            for (std::size_t i = 0; i < n.field_count; ++i) {
                const auto& f = *reinterpret_cast<const cg_audit_field*>(reinterpret_cast<const unsigned char*>(n.fields) + i * n.fields_stride);
                text += " " + std::string(view(f.name)) + "=" + std::string(view(f.value));
            }
            const std::lock_guard lock(me.mutex_);
            me.audited_.push_back(std::move(text));
            return CG_OK;
        }};
    static constexpr cg_nats_api nats = {
        sizeof(cg_nats_api), 0,
        [](const cg_host* h, cg_str cluster, cg_nats* n, cg_errbuf*) noexcept -> cg_status { return self(h).nats_.open(cluster, n); },
        [](const cg_host* h, cg_nats n, cg_nats_status* s) noexcept -> cg_status { return self(h).nats_.status(n, s); },
        [](const cg_host* h, cg_nats n, const cg_nats_message* m) noexcept -> cg_status { return self(h).nats_.publish(n, m); },
        [](const cg_host* h, cg_nats n, const cg_nats_subscription* s, std::uint64_t* id) noexcept -> cg_status { return self(h).nats_.subscribe(n, s, id); },
        [](const cg_host* h, cg_nats, std::uint64_t id) noexcept -> cg_status { return self(h).nats_.unsubscribe(id); },
        [](const cg_host* h, cg_nats n, const cg_nats_request* r, std::uint64_t* id) noexcept -> cg_status { return self(h).nats_.request(n, r, id); },
        [](const cg_host* h, cg_nats, std::uint64_t id) noexcept { self(h).nats_.cancel(id); }};
    static constexpr cg_instance_api instances = {
        sizeof(cg_instance_api), 0,
        [](const cg_host* h, std::uint32_t kind, cg_str name, cg_target* target) noexcept -> cg_status {
            auto& me = self(h);
            const auto use = std::string(kind == CG_KIND_KEY_PROVIDER ? "keys/" : kind == CG_KIND_CLAIM_STORE ? "store/" : "?/") + std::string(view(name));
            if (std::find(me.uses_.begin(), me.uses_.end(), use) == me.uses_.end()) return CG_E_PERMISSION;
            me.targets_.push_back(use);
            *target = static_cast<cg_target>(me.targets_.size());
            return CG_OK;
        },
        [](const cg_host* h, const cg_instance_call* call, const cg_instance_sign* theirs) noexcept -> cg_status {
            const auto r = copy_in(theirs);
            fake_call c;
            c.function = "sign";
            c.keys.emplace_back(view(r.label));
            c.purpose = r.purpose;
            for (const auto b : view(r.message)) c.message.push_back(static_cast<char>(b));
            return self(h).call(call, "keys/", std::move(c));
        },
        [](const cg_host* h, const cg_instance_call* call, const cg_claim_get* theirs) noexcept -> cg_status {
            fake_call c;
            c.function = "get";
            for (const auto& k : view(copy_in(theirs).keys)) c.keys.emplace_back(view(k));
            return self(h).call(call, "store/", std::move(c));
        },
        [](const cg_host* h, const cg_instance_call* call, const cg_claim_scan* theirs) noexcept -> cg_status {
            const auto r = copy_in(theirs);
            fake_call c;
            c.function = "scan";
            c.prefix = view(r.prefix);
            for (const auto b : view(r.cursor)) c.cursor.push_back(static_cast<char>(b));
            c.limit = r.limit;
            c.at_revision = r.at_revision;
            return self(h).call(call, "store/", std::move(c));
        },
        [](const cg_host* h, const cg_instance_call* call, const cg_claim_commit* theirs) noexcept -> cg_status {
            const auto r = copy_in(theirs);
            fake_call c;
            c.function = "commit";
            for (const auto& k : view(r.deletes)) c.keys.emplace_back(view(k));
            for (std::size_t i = 0; i < r.put_count; ++i) {
                const auto& p = *reinterpret_cast<const cg_claim_put*>(reinterpret_cast<const unsigned char*>(r.puts) + i * r.put_stride);
                const auto v = view(p.value);
                c.puts.emplace_back(view(p.key), std::string(v.begin(), v.end()));
            }
            return self(h).call(call, "store/", std::move(c));
        }};
};

inline const void* fake_capabilities::find_draft(std::string_view id) noexcept {
    if (id == CG_EXT_METRICS) return &tables::metrics;
    if (id == CG_EXT_WORKER) return &tables::worker;
    if (id == CG_EXT_FD) return &tables::fd;
    if (id == CG_EXT_SECRETS) return &tables::secrets;
    if (id == CG_EXT_EVENTS) return &tables::events;
    if (id == CG_EXT_CACHE_INVALIDATE) return &tables::caches;
    if (id == CG_EXT_INSTANCE) return &tables::instances;
    if (id == CG_EXT_AUDIT) return &tables::audit;
    if (id == CG_EXT_NATS) return &tables::nats;
    return nullptr;
}

}  // namespace callgate::sdk::test
