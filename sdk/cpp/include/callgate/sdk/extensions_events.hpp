// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/cache_invalidate.h>
#include <callgate/abi/ext/draft/events.h>
#include <callgate/sdk/extensions.hpp>
#include <functional>
#include <initializer_list>
#include <utility>

/// events/1 and cache-invalidate/1 (draft): what the host tells, and what it is told.
namespace callgate::sdk {

namespace ext {
struct events {
    using api = cg_events_api;
    static constexpr std::string_view id = CG_EXT_EVENTS;
};
struct cache_invalidate {
    using api = cg_cache_invalidate_api;
    static constexpr std::string_view id = CG_EXT_CACHE_INVALIDATE;
};
}  // namespace ext

/// One event; its texts live during the callback. See CG_EVENT_* for the meaning of the fields.
struct host_event {
    std::uint32_t kind = 0;
    std::string_view subject, text;
    std::uint64_t number = 0;
    std::int64_t at_unix_s = 0;
    std::uint64_t lost = 0;
};

/// A subscription as long as it lives. [control]; ended before the instance's stop is answered or by it.
class event_subscription {
  public:
    /// `kinds`: CG_EVENT_*. Throws status_error when the host has no events or no room.
    event_subscription(host_ref host, std::initializer_list<std::uint32_t> kinds, std::function<void(const host_event&)> fn)
        : host_(host), api_(&host.require<ext::events>()), fn_(std::move(fn)) {
        std::uint32_t mask = 0;
        for (const auto k : kinds) mask |= CG_EVENTS_BIT(k);
        const auto s = api_->subscribe(host_.get(), mask, [](void* ctx, const cg_event* theirs) noexcept {
            const auto& self = *static_cast<event_subscription*>(ctx);
            const auto e = copy_in(theirs);
            detail::guard_callback(self.host_, "event", [&] {
                self.fn_({e.kind, view(e.subject), view(e.text), e.number, e.at_unix_s, e.lost});
            });
        }, this, &id_);
        if (s != CG_OK) throw status_error(s, "the host takes no subscription to its events");
    }
    event_subscription(const event_subscription&) = delete;
    event_subscription& operator=(const event_subscription&) = delete;
    ~event_subscription() { (void)api_->unsubscribe(host_.get(), id_); }

  private:
    host_ref host_;
    const cg_events_api* api_;
    std::function<void(const host_event&)> fn_;
    std::uint64_t id_ = 0;
};

/// Voids cached verdicts of this instance; all [any]. A host without the capability caches nothing, so nothing is to be done.
class verdict_cache {
  public:
    explicit verdict_cache(host_ref host) : host_(host), api_(host.query<ext::cache_invalidate>()) {}
    void forget_all() const noexcept { say(CG_CACHE_ALL, {}, {}, {}); }
    /// An empty issuer: of every issuer.
    void forget_subject(std::string_view issuer, std::string_view subject) const noexcept { say(CG_CACHE_SUBJECT, issuer, subject, {}); }
    void forget_credential(std::string_view credential_id) const noexcept { say(CG_CACHE_CREDENTIAL, {}, {}, credential_id); }

  private:
    void say(std::uint32_t kind, std::string_view issuer, std::string_view subject, std::string_view credential) const noexcept {
        if (api_ == nullptr) return;
        auto scope = make<cg_cache_scope>();
        scope.kind = kind;
        scope.issuer = to_c(issuer);
        scope.subject = to_c(subject);
        scope.credential_id = to_c(credential);
        // Too much is safe, too little is not.
        if (api_->invalidate(host_.get(), &scope) != CG_OK && kind != CG_CACHE_ALL) say(CG_CACHE_ALL, {}, {}, {});
    }
    host_ref host_;
    const cg_cache_invalidate_api* api_;
};

}  // namespace callgate::sdk
