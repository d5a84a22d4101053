// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <callgate/abi/auth_backend.h>
#include <callgate/abi/draft/audit_sink.h>
#include <callgate/abi/draft/claim_store.h>
#include <callgate/abi/ext/draft/admin_http.h>
#include <callgate/abi/key_provider.h>
#include <callgate/sdk/value.hpp>
#include <string>
#include <utility>
#include <vector>

/// Deep copies of what a plugin answered, so that a test may look at them later.
namespace callgate::sdk::test {

enum class result_kind : std::uint8_t { none, auth_reply, health, key_page, shared_key, claim_values, claim_page, claim_committed, claim_watching, claim_transfer, admin_response, audit_taken };

struct captured_entry {
    std::string key, value;
    std::uint64_t revision = 0;
    friend bool operator==(const captured_entry&, const captured_entry&) = default;
};

struct captured_key {
    cg_key key = 0;
    std::uint32_t algorithm = 0;
    std::uint32_t flags = 0;
    std::string nkey, label;
};

struct captured_grant {
    std::string account, role;
    std::vector<std::string> pub_allow, pub_deny, sub_allow, sub_deny, tags;
    std::int64_t exp_unix_s = 0;
};

struct completion {
    cg_status status = CG_E_INTERNAL;
    std::string error, where;
    // auth reply
    std::uint32_t verdict = 0;
    std::string reason_id, reason;
    bool has_identity = false;
    std::string issuer, subject, attributes_json, credential_id;
    std::int64_t credential_exp = 0, credential_iat = 0;
    std::uint32_t cache_ttl_s = 0;
    std::vector<std::string> revocation_handles;
    bool has_grant = false;
    captured_grant grant;
    std::vector<std::pair<std::string, std::string>> explain;
    // health
    std::uint32_t health_state = 0;
    std::string health_text;
    // keys
    std::vector<captured_key> keys;
    std::string next;
    std::array<std::uint8_t, 32> shared_key{};
    // claim store
    std::vector<captured_entry> entries;
    std::uint64_t revision = 0;
    cg_status outcome = CG_E_INTERNAL;
    bool replayed = false;
    std::string conflict_key;
    std::uint64_t conflict_revision = 0, transferred_entries = 0, transferred_bytes = 0;
    // admin listener
    std::uint32_t http_status = 0;
    std::string content_type, body;
    bool streamed = false;
    // audit sink
    std::uint64_t taken = 0;
};

namespace detail {
inline std::vector<std::string> strings(cg_str_list l) {
    std::vector<std::string> out;
    for (const auto& s : view(l)) out.emplace_back(view(s));
    return out;
}
inline void capture_reply(completion& out, const cg_auth_reply* result) {
    const auto r = copy_in(result);
    out.verdict = r.verdict;
    out.reason_id = view(r.reason_id);
    out.reason = view(r.reason);
    out.cache_ttl_s = r.cache_ttl_s;
    if (r.identity != nullptr) {
        const auto i = copy_in(r.identity);
        out.has_identity = true;
        out.issuer = view(i.issuer);
        out.subject = view(i.subject);
        out.attributes_json = view(i.attributes_json);
        out.credential_exp = i.credential_exp_unix_s;
        out.credential_iat = i.credential_iat_unix_s;
        out.credential_id = view(i.credential_id);
        out.revocation_handles = strings(i.revocation_handles);
    }
    if (r.grant != nullptr) {
        const auto g = copy_in(r.grant);
        out.has_grant = true;
        out.grant = {std::string(view(g.account)), std::string(view(g.role)), strings(g.pub_allow), strings(g.pub_deny),
                     strings(g.sub_allow), strings(g.sub_deny), strings(g.tags), g.exp_unix_s};
    }
    for (std::size_t i = 0; i < r.explain_count; ++i) {
        const auto& s = *reinterpret_cast<const cg_explain_step*>(reinterpret_cast<const unsigned char*>(r.explain) + i * r.explain_stride);
        out.explain.emplace_back(view(s.what), view(s.outcome));
    }
}
inline void capture_entries(completion& out, const cg_claim_entry* entries, std::size_t count, std::size_t stride) {
    for (std::size_t i = 0; i < count; ++i) {
        const auto& e = *reinterpret_cast<const cg_claim_entry*>(reinterpret_cast<const unsigned char*>(entries) + i * stride);
        const auto value = view(e.value);
        out.entries.push_back({std::string(view(e.key)), std::string(value.begin(), value.end()), e.revision});
    }
}
inline void capture_claims(result_kind kind, completion& out, const void* result) {
    if (kind == result_kind::claim_values) {
        const auto r = copy_in(static_cast<const cg_claim_values*>(result));
        capture_entries(out, r.entries, r.count, r.stride);
        out.revision = r.revision;
    } else if (kind == result_kind::claim_page) {
        const auto r = copy_in(static_cast<const cg_claim_page*>(result));
        capture_entries(out, r.entries, r.count, r.stride);
        const auto next = view(r.next);
        out.next.assign(next.begin(), next.end());
        out.revision = r.revision;
    } else if (kind == result_kind::claim_committed) {
        const auto r = copy_in(static_cast<const cg_claim_committed*>(result));
        out.outcome = r.outcome;
        out.revision = r.revision;
        out.replayed = r.replayed != 0;
        out.conflict_key = view(r.conflict_key);
        out.conflict_revision = r.conflict_revision;
    } else if (kind == result_kind::claim_watching) {
        out.revision = copy_in(static_cast<const cg_claim_watching*>(result)).revision;
    } else {
        const auto r = copy_in(static_cast<const cg_claim_transfer*>(result));
        out.revision = r.revision;
        out.transferred_entries = r.entries;
        out.transferred_bytes = r.bytes;
    }
}
inline void capture_keys(completion& out, const cg_key_page* result) {
    const auto p = copy_in(result);
    for (std::size_t i = 0; i < p.count; ++i) {
        const auto k = copy_in(reinterpret_cast<const cg_key_info*>(reinterpret_cast<const unsigned char*>(p.keys) + i * p.stride));
        out.keys.push_back({k.key, k.algorithm, k.flags, std::string(view(k.nkey)), std::string(view(k.label))});
    }
    out.next.assign(reinterpret_cast<const char*>(p.next.data), p.next.data == nullptr ? 0 : p.next.size);
}
}  // namespace detail

[[nodiscard]] inline completion capture(result_kind kind, const cg_completion& c) {
    completion out;
    out.status = c.status;
    if (c.error != nullptr) {
        const auto e = copy_in(c.error);
        out.error = view(e.text);
        out.where = view(e.where);
    }
    if (c.status != CG_OK || c.result == nullptr) return out;
    switch (kind) {
        case result_kind::none: break;
        case result_kind::auth_reply: detail::capture_reply(out, static_cast<const cg_auth_reply*>(c.result)); break;
        case result_kind::key_page: detail::capture_keys(out, static_cast<const cg_key_page*>(c.result)); break;
        case result_kind::claim_values:
        case result_kind::claim_page:
        case result_kind::claim_committed:
        case result_kind::claim_watching:
        case result_kind::claim_transfer: detail::capture_claims(kind, out, c.result); break;
        case result_kind::health: {
            const auto h = copy_in(static_cast<const cg_health*>(c.result));
            out.health_state = h.state;
            out.health_text = view(h.text);
            break;
        }
        case result_kind::shared_key: {
            const auto k = copy_in(static_cast<const cg_shared_key*>(c.result));
            std::copy(std::begin(k.key), std::end(k.key), out.shared_key.begin());
            break;
        }
        case result_kind::audit_taken: out.taken = copy_in(static_cast<const cg_audit_taken*>(c.result)).count; break;
        case result_kind::admin_response: {
            const auto r = copy_in(static_cast<const cg_admin_response*>(c.result));
            out.http_status = r.http_status;
            out.content_type = view(r.content_type);
            out.body.assign(reinterpret_cast<const char*>(r.body.data), r.body.size);
            out.streamed = (r.flags & CG_ADMIN_STREAMED) != 0;
            break;
        }
    }
    return out;
}

}  // namespace callgate::sdk::test
