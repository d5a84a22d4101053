// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <callgate/abi/auth_backend.h>
#include <callgate/sdk/op.hpp>
#include <forward_list>
#include <initializer_list>
#include <vector>

namespace callgate::sdk {

/// Builds the answer of an auth backend. Borrows every string until send(); what has no owner that long
/// goes through keep(). Without a verdict send() answers UNAVAILABLE. One thread.
class reply_builder {
  public:
    /// Definitely this subject, which must not be empty.
    reply_builder& allow(std::string_view subject) noexcept {
        identity_.subject = to_c(subject);
        return verdict(CG_VERDICT_ALLOW, {}, {});
    }
    /// `reason_id` is stable, [a-z0-9_]{1,40}; `reason` is for the operator, never a secret.
    reply_builder& deny(std::string_view reason_id, std::string_view reason = {}) noexcept { return verdict(CG_VERDICT_DENY, reason_id, reason); }
    reply_builder& abstain(std::string_view reason_id, std::string_view reason = {}) noexcept { return verdict(CG_VERDICT_ABSTAIN, reason_id, reason); }
    reply_builder& unavailable(std::string_view reason_id, std::string_view reason = {}) noexcept { return verdict(CG_VERDICT_UNAVAILABLE, reason_id, reason); }

    reply_builder& issuer(std::string_view v) noexcept { identity_.issuer = to_c(v); return *this; }
    /// A JSON object of at most 64 KiB.
    reply_builder& attributes_json(std::string_view v) noexcept { identity_.attributes_json = to_c(v); return *this; }
    reply_builder& credential_exp(std::int64_t unix_s) noexcept { identity_.credential_exp_unix_s = unix_s; return *this; }
    reply_builder& credential_iat(std::int64_t unix_s) noexcept { identity_.credential_iat_unix_s = unix_s; return *this; }
    /// jti or a keyed fingerprint; never the credential.
    reply_builder& credential_id(std::string_view v) noexcept { identity_.credential_id = to_c(v); return *this; }
    reply_builder& revocation_handle(std::string_view v) { handles_.push_back(to_c(v)); return *this; }

    /// A complete grant; without these calls the policy maps the identity.
    reply_builder& grant_account(std::string_view v) noexcept { grant_.account = to_c(v); has_grant_ = true; return *this; }
    reply_builder& grant_role(std::string_view v) noexcept { grant_.role = to_c(v); has_grant_ = true; return *this; }
    reply_builder& pub_allow(std::string_view v) { return add(pub_allow_, v); }
    reply_builder& pub_deny(std::string_view v) { return add(pub_deny_, v); }
    reply_builder& sub_allow(std::string_view v) { return add(sub_allow_, v); }
    reply_builder& sub_deny(std::string_view v) { return add(sub_deny_, v); }
    reply_builder& grant_tag(std::string_view v) { return add(tags_, v); }
    reply_builder& allow_responses(std::int64_t max, std::int64_t ttl_ns) noexcept {
        grant_.has_resp = 1;
        grant_.resp_max = max;
        grant_.resp_ttl_ns = ttl_ns;
        has_grant_ = true;
        return *this;
    }
    reply_builder& grant_exp(std::int64_t unix_s) noexcept { grant_.exp_unix_s = unix_s; has_grant_ = true; return *this; }

    reply_builder& cache_for(std::uint32_t seconds) noexcept { cache_ttl_s_ = seconds; return *this; }
    /// One step of how the decision was found; the 17th and later ones are dropped.
    reply_builder& explain(std::string_view what, std::string_view outcome) noexcept {
        if (steps_ < explain_.size()) explain_[steps_++] = {to_c(what), to_c(outcome)};
        return *this;
    }
    /// Owns `text` until this builder is gone.
    std::string_view keep(std::string text) {
        kept_.push_front(std::move(text));
        return kept_.front();
    }

    void send(op_handle& op) noexcept {
        identity_.struct_size = sizeof identity_;
        identity_.revocation_handles = list(handles_);
        grant_.struct_size = sizeof grant_;
        grant_.pub_allow = list(pub_allow_);
        grant_.pub_deny = list(pub_deny_);
        grant_.sub_allow = list(sub_allow_);
        grant_.sub_deny = list(sub_deny_);
        grant_.tags = list(tags_);
        auto r = make<cg_auth_reply>();
        r.verdict = verdict_;
        r.reason_id = to_c(reason_id_);
        r.reason = to_c(reason_);
        r.identity = identity_.subject.size != 0 ? &identity_ : nullptr;
        r.grant = has_grant_ ? &grant_ : nullptr;
        r.cache_ttl_s = cache_ttl_s_;
        r.explain_stride = sizeof(cg_explain_step);
        r.explain = explain_.data();
        r.explain_count = steps_;
        op.succeed(&r);
    }
    void send(op_handle&& op) noexcept {
        op_handle mine = std::move(op);
        send(mine);
    }

  private:
    reply_builder& verdict(std::uint32_t v, std::string_view id, std::string_view why) noexcept {
        verdict_ = v;
        reason_id_ = id;
        reason_ = why;
        return *this;
    }
    reply_builder& add(std::vector<cg_str>& to, std::string_view v) {
        to.push_back(to_c(v));
        has_grant_ = true;
        return *this;
    }
    static cg_str_list list(const std::vector<cg_str>& v) noexcept { return {v.data(), v.size()}; }

    std::uint32_t verdict_ = CG_VERDICT_UNAVAILABLE;
    std::uint32_t cache_ttl_s_ = 0;
    bool has_grant_ = false;
    std::string_view reason_id_ = "no_verdict";
    std::string_view reason_;
    cg_identity identity_{};
    cg_grant grant_{};
    std::vector<cg_str> handles_, pub_allow_, pub_deny_, sub_allow_, sub_deny_, tags_;
    std::array<cg_explain_step, 16> explain_{};
    std::size_t steps_ = 0;
    std::forward_list<std::string> kept_;
};

}  // namespace callgate::sdk
