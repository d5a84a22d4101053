// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/instance.h>
#include <callgate/sdk/extensions.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

/// instance/1 (draft): calls to key providers and claim stores that the configuration lists under `uses`.
namespace callgate::sdk {

namespace ext {
struct instance_calls {
    using api = cg_instance_api;
    static constexpr std::string_view id = CG_EXT_INSTANCE;
};
}  // namespace ext

/// Answer of a call; valid during the callback. `result` is nullptr unless status is CG_OK.
template <class Result>
struct call_answer {
    cg_status status = CG_E_INTERNAL;
    const Result* result = nullptr;
    std::string_view error;
};
template <class Result>
using call_done = std::function<void(const call_answer<Result>&)>;

namespace detail {
/// The calling end of one other instance. `done` runs exactly once on [control] for each call that did not throw; whoever captures
/// its own `this` answers `stop` only after that.
class call_target {
  protected:
    /// [control] Throws status_error: CG_E_PERMISSION when the configuration does not list it under `uses`.
    call_target(host_ref host, std::uint32_t kind, std::string_view name) : host_(host), api_(&host.require<ext::instance_calls>()) {
        if (const auto s = api_->find(host_.get(), kind, to_c(name), &target_); s != CG_OK)
            throw status_error(s, s == CG_E_PERMISSION ? "this instance may not use \"" + std::string(name) + "\"; list it under `uses` in the configuration"
                                                       : "the host gives no access to \"" + std::string(name) + "\"");
    }
    template <class Result, class Request>
    void ask(cg_status (*function)(const cg_host*, const cg_instance_call*, const Request*), const Request& request, std::chrono::nanoseconds timeout,
             call_done<Result> done) const {
        struct pending {
            host_ref host;
            call_done<Result> done;
        };
        auto ctx = std::make_unique<pending>(pending{host_, std::move(done)});
        auto c = make<cg_instance_call>();
        c.target = target_;
        c.timeout_ns = timeout.count();
        c.ctx = ctx.get();
        c.done = [](void* p, const cg_instance_answer* theirs) noexcept {
            const std::unique_ptr<pending> self(static_cast<pending*>(p));
            const auto a = copy_in(theirs);
            guard_callback(self->host, "instance", [&] {
                if (a.status != CG_OK || a.result == nullptr) return self->done({a.status, nullptr, view(a.error)});
                const auto r = copy_in(static_cast<const Result*>(a.result));
                self->done({CG_OK, &r, {}});
            });
        };
        if (const auto s = function(host_.get(), &c, &request); s != CG_OK)
            throw status_error(s, s == CG_E_BUSY ? "too many calls to other instances" : "the host did not take the call");
        static_cast<void>(ctx.release());  // `done` owns it
    }
    host_ref host_;
    const cg_instance_api* api_;
    cg_target target_ = 0;
};
}  // namespace detail

/// Keys of another instance. Calls are [any]; timeout 0 = 5 s.
class key_user : public detail::call_target {
  public:
    key_user(host_ref host, std::string_view name) : call_target(host, CG_KIND_KEY_PROVIDER, name) {}
    void sign(std::string_view label, std::uint32_t purpose, std::span<const std::uint8_t> message, call_done<cg_instance_signature> done,
              std::chrono::nanoseconds timeout = {}) const {
        auto r = make<cg_instance_sign>();
        r.purpose = purpose;
        r.label = to_c(label);
        r.message = to_c(message);
        ask(api_->sign, r, timeout, std::move(done));
    }
};

/// A claim store of another instance. Calls are [any]; timeout 0 = 5 s.
class store_user : public detail::call_target {
  public:
    store_user(host_ref host, std::string_view name) : call_target(host, CG_KIND_CLAIM_STORE, name) {}
    void get(const std::vector<std::string>& keys, call_done<cg_claim_values> done, std::chrono::nanoseconds timeout = {}) const {
        std::vector<cg_str> list;
        for (const auto& k : keys) list.push_back(to_c(k));
        auto r = make<cg_claim_get>();
        r.keys = {list.data(), list.size()};
        ask(api_->get, r, timeout, std::move(done));
    }
    void scan(std::string_view prefix, std::string_view cursor, std::uint32_t limit, std::uint64_t at_revision, call_done<cg_claim_page> done,
              std::chrono::nanoseconds timeout = {}) const {
        auto r = make<cg_claim_scan>();
        r.limit = limit;
        r.prefix = to_c(prefix);
        r.cursor = {reinterpret_cast<const std::uint8_t*>(cursor.data()), cursor.size()};
        r.at_revision = at_revision;
        ask(api_->scan, r, timeout, std::move(done));
    }
    /// `r` as in draft/claim_store.h; copied before this returns.
    void commit(const cg_claim_commit& r, call_done<cg_claim_committed> done, std::chrono::nanoseconds timeout = {}) const {
        ask(api_->commit, r, timeout, std::move(done));
    }
};

}  // namespace callgate::sdk
