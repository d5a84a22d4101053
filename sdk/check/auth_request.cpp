// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/auth_request.hpp"

#include <time.h>

#include <boost/json.hpp>
#include <callgate/sdk/value.hpp>
#include <cctype>

#include "sdk/check/recorder.hpp"

namespace callgate::check {
namespace {

constexpr guard_rule request_memory = {"the request", "library.older_host", "operations.request_lifetime"};
constexpr guard_rule string_memory = {"a string of the request", "operations.string_bounds", "operations.request_lifetime"};
constexpr std::size_t max_attributes = std::size_t{64} * 1024;
constexpr std::size_t max_text = 4096;
constexpr std::size_t max_list = 4096;
constexpr std::size_t max_lists = std::size_t{1} << 20;

struct text_field {
    const char* name;
    cg_str cg_auth_request::* member;
};
constexpr text_field text_fields[] = {
    {"correlation_id", &cg_auth_request::correlation_id}, {"server_id", &cg_auth_request::server_id},
    {"server_name", &cg_auth_request::server_name},       {"server_host", &cg_auth_request::server_host},
    {"server_version", &cg_auth_request::server_version}, {"server_cluster", &cg_auth_request::server_cluster},
    {"client_host", &cg_auth_request::client_host},       {"client_user", &cg_auth_request::client_user},
    {"client_name", &cg_auth_request::client_name},       {"client_mqtt_id", &cg_auth_request::client_mqtt_id},
    {"client_nonce", &cg_auth_request::client_nonce},     {"user_nkey", &cg_auth_request::user_nkey},
    {"jwt", &cg_auth_request::jwt},                       {"nkey", &cg_auth_request::nkey},
    {"sig", &cg_auth_request::sig},                       {"auth_token", &cg_auth_request::auth_token},
    {"user", &cg_auth_request::user},                     {"pass", &cg_auth_request::pass},
    {"name", &cg_auth_request::name},                     {"lang", &cg_auth_request::lang},
    {"version", &cg_auth_request::version},               {"tls_version", &cg_auth_request::tls_version},
    {"tls_cipher", &cg_auth_request::tls_cipher},         {"credential", &cg_auth_request::credential},
    {"claims_json", &cg_auth_request::claims_json},
};

// Puts strings into one block or one block each. Sizes are counted first, since a block does not grow.
class string_store {
  public:
    string_store(string_layout layout, std::size_t total, std::vector<std::shared_ptr<guarded_block>>& memory) : layout_(layout), memory_(memory) {
        if (layout_ == string_layout::together && total != 0) {
            shared_ = std::make_shared<guarded_block>(total, string_memory);
            memory_.push_back(shared_);
        }
    }
    cg_str put(const std::string& text) {
        if (text.empty()) return {nullptr, 0};
        std::uint8_t* at = nullptr;
        if (shared_) {
            at = shared_->data() + used_;
            used_ += text.size();
        } else {
            memory_.push_back(std::make_shared<guarded_block>(text.size(), string_memory));
            at = memory_.back()->data();
        }
        std::memcpy(at, text.data(), text.size());
        return {reinterpret_cast<const char*>(at), text.size()};
    }
    cg_str_list put(const std::vector<std::string>& texts) {
        if (texts.empty()) return {nullptr, 0};
        auto block = std::make_shared<guarded_block>(texts.size() * sizeof(cg_str), string_memory);
        auto* items = reinterpret_cast<cg_str*>(block->data());
        for (std::size_t i = 0; i < texts.size(); ++i) items[i] = put(texts[i]);
        memory_.push_back(std::move(block));
        return {items, texts.size()};
    }

  private:
    string_layout layout_;
    std::vector<std::shared_ptr<guarded_block>>& memory_;
    std::shared_ptr<guarded_block> shared_;
    std::size_t used_ = 0;
};

void refuse(const char* check, const std::string& text) { recorder::violated(check, text + "; the engine reads such a reply as UNAVAILABLE"); }

std::vector<std::string> read_list(cg_str_list l, std::size_t& entries, std::size_t& bytes) {
    std::vector<std::string> out;
    if (l.items == nullptr) return out;
    for (std::size_t i = 0; i < std::min(l.count, max_list + 1); ++i) {
        ++entries;
        bytes += l.items[i].size;
        if (bytes > max_lists) break;
        out.emplace_back(sdk::view(l.items[i]));
    }
    return out;
}

std::string bounded(cg_str s, const char* field, std::size_t limit) {
    if (s.size > limit) {
        refuse("auth.size_limits", std::string(field) + " has " + std::to_string(s.size) + " bytes; at most " + std::to_string(limit) + " are taken");
        return {};
    }
    return std::string(sdk::view(s));
}

bool good_reason_id(std::string_view id) {
    if (id.size() > 40) return false;
    for (const char c : id)
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_') return false;
    return true;
}

void judge_identity(const cg_auth_reply& r, auth_value& v, std::string& text) {
    const auto i = read_checked(r.identity, "cg_identity");
    v.subject = bounded(i.subject, "identity.subject", max_text);
    v.issuer = bounded(i.issuer, "identity.issuer", max_text);
    const auto attributes = bounded(i.attributes_json, "identity.attributes_json", max_attributes);
    if (!attributes.empty()) {
        boost::system::error_code ec;
        const auto parsed = boost::json::parse(attributes, ec);
        if (ec || !parsed.is_object())
            refuse("auth.attributes_json", "identity.attributes_json is not a JSON object" + (ec ? " (" + ec.message() + ")" : std::string()) +
                                               ": policy rules read claims from it; leave it empty when there are none");
    }
    std::size_t entries = 0, bytes = 0;
    const auto handles = read_list(i.revocation_handles, entries, bytes);
    if (entries > max_list || bytes > max_lists) refuse("auth.size_limits", "identity.revocation_handles is larger than 4,096 entries or 1 MiB");
    text += "|" + v.subject + "|" + v.issuer + "|" + attributes + "|" + bounded(i.credential_id, "identity.credential_id", max_text);
    for (const auto& h : handles) text += "|" + h;
}

void judge_grant(const cg_auth_reply& r, std::string& text) {
    const auto g = read_checked(r.grant, "cg_grant");
    const auto account = bounded(g.account, "grant.account", max_text);
    const auto role = bounded(g.role, "grant.role", max_text);
    if (account.empty()) refuse("auth.grant", "the grant names no account");
    std::size_t entries = 0, bytes = 0;
    std::size_t permissions = 0;
    for (const auto list : {g.pub_allow, g.pub_deny, g.sub_allow, g.sub_deny}) {
        const auto items = read_list(list, entries, bytes);
        permissions += items.size();
        for (const auto& s : items) text += "|" + s;
    }
    for (const auto& s : read_list(g.tags, entries, bytes)) text += "|" + s;
    if (entries > max_list || bytes > max_lists) refuse("auth.size_limits", "the grant's lists have more than 4,096 entries or 1 MiB in sum");
    if (!role.empty() && permissions != 0) refuse("auth.grant", "the grant has a role and permissions; a scoped signing key needs them to be empty");
    text += "|" + account + "|" + role;
}

}  // namespace

const std::vector<std::string>& request_text_fields() {
    static const auto names = [] {
        std::vector<std::string> out;
        for (const auto& f : text_fields) out.emplace_back(f.name);
        return out;
    }();
    return names;
}

request_fields plain_request(const std::string& user, const std::string& pass) {
    request_fields f;
    f.text = {{"correlation_id", "check-1"},
              {"server_id", "NAJ7KG2DGKNRSVLNJWKNS6Q3SVTQ5N4U7YR2GZ3JF3ZUNZTHVAUPWQJD"},
              {"server_name", "server-1"},
              {"server_host", "192.0.2.1"},
              {"server_version", "2.10.27"},
              {"client_host", "192.0.2.7"},
              {"client_name", "callgate-plugin-check"},
              {"client_nonce", "vmy2dXzPQmzk3A4"},
              {"user", user},
              {"pass", pass},
              {"lang", "c"},
              {"version", "1.0"},
              {"claims_json", "{}"}};
    return f;
}

built_request build(const request_fields& fields, std::uint32_t shard, string_layout layout, host_shape shape) {
    built_request out;
    std::size_t total = 0;
    for (const auto& [name, value] : fields.text) total += value.size();
    for (const auto* list : {&fields.server_tags, &fields.client_tags, &fields.tls_chain_pem, &fields.earlier})
        for (const auto& s : *list) total += s.size();
    string_store strings(layout, total, out.memory);
    auto r = sdk::make<cg_auth_request>();
    r.flags = fields.flags;
    r.trust = fields.trust;
    r.shard = shard;
    r.arrival_ns = now_ns();
    r.deadline_ns = fields.left_ns == no_deadline ? no_deadline : now_ns() + fields.left_ns;
    r.now_unix_s = ::time(nullptr);
    r.client_id = 42;
    r.client_kind = fields.client_kind;
    r.tls = fields.tls;
    r.credential_source = fields.credential_source;
    for (const auto& f : text_fields)
        if (const auto i = fields.text.find(f.name); i != fields.text.end()) r.*f.member = strings.put(i->second);
    r.server_tags = strings.put(fields.server_tags);
    r.client_tags = strings.put(fields.client_tags);
    r.tls_chain_pem = strings.put(fields.tls_chain_pem);
    if (!fields.earlier.empty()) {
        // A newer host's elements are longer: only the stride leads from one to the next.
        const std::size_t stride = sizeof(cg_identity) + (shape == host_shape::newer ? 32 : 0);
        auto block = std::make_shared<guarded_block>(stride * fields.earlier.size(), request_memory);
        std::memset(block->data(), 0xee, block->size());
        for (std::size_t i = 0; i < fields.earlier.size(); ++i) {
            auto identity = sdk::make<cg_identity>();
            identity.struct_size = static_cast<std::uint32_t>(stride);
            identity.subject = strings.put(fields.earlier[i]);
            std::memcpy(block->data() + i * stride, &identity, sizeof identity);
        }
        r.earlier = reinterpret_cast<const cg_identity*>(block->data());
        r.earlier_count = fields.earlier.size();
        r.earlier_stride = static_cast<std::uint32_t>(stride);
        out.memory.push_back(std::move(block));
    }
    std::unique_ptr<guarded_block> block;
    out.request = place(r, offsetof(cg_auth_request, claims_json), shape, request_memory, block);
    out.memory.push_back(std::move(block));
    return out;
}

std::string verdict_name(std::uint32_t verdict) {
    switch (verdict) {
        case CG_VERDICT_ALLOW: return "allow";
        case CG_VERDICT_DENY: return "deny";
        case CG_VERDICT_ABSTAIN: return "abstain";
        case CG_VERDICT_UNAVAILABLE: return "unavailable";
        default: return "verdict " + std::to_string(verdict);
    }
}

result_reader auth_result() {
    return [](const void* result) {
        auto value = std::make_shared<auth_value>();
        read_result out;
        if (result == nullptr) {
            refuse("auth.verdict", "authenticate was completed with CG_OK and no cg_auth_reply");
            out.value = std::move(value);
            return out;
        }
        const auto r = read_checked(static_cast<const cg_auth_reply*>(result), "cg_auth_reply");
        value->verdict = r.verdict;
        if (r.verdict < CG_VERDICT_ALLOW || r.verdict > CG_VERDICT_UNAVAILABLE)
            refuse("auth.verdict", "the reply's verdict is " + std::to_string(r.verdict) + ", which is none of CG_VERDICT_*");
        value->reason_id = bounded(r.reason_id, "reason_id", max_text);
        if (!good_reason_id(value->reason_id) || (value->reason_id.empty() && r.verdict != CG_VERDICT_ALLOW))
            refuse("auth.reason_id", "reason_id \"" + value->reason_id.substr(0, 60) + "\" does not fit [a-z0-9_]{1,40}: it is a label of metrics and audit, stable and without data of "
                                                                                        "the request; sentences go into reason");
        out.text = verdict_name(r.verdict) + "|" + value->reason_id + "|" + std::string(sdk::view(r.reason)).substr(0, max_text);
        if (r.identity != nullptr) judge_identity(r, *value, out.text);
        if (r.verdict == CG_VERDICT_ALLOW && value->subject.empty())
            refuse("auth.allow_names_subject", "ALLOW without identity.subject: say who it is; audit and revocation work on it");
        value->has_grant = r.grant != nullptr;
        if (r.grant != nullptr) judge_grant(r, out.text);
        if (r.explain_count != 0 && (r.explain == nullptr || r.explain_stride < sizeof(cg_explain_step)))
            recorder::violated("library.struct_sizes", "explain_stride is " + std::to_string(r.explain_stride) + "; set it to sizeof(cg_explain_step)");
        else
            for (std::size_t i = 0; i < std::min<std::size_t>(r.explain_count, 64); ++i) {
                cg_explain_step step{};
                std::memcpy(&step, reinterpret_cast<const char*>(r.explain) + i * r.explain_stride, sizeof step);
                out.text += "|" + std::string(sdk::view(step.what)) + "=" + std::string(sdk::view(step.outcome));
            }
        out.value = std::move(value);
        return out;
    };
}

cg_op authenticate(instance& i, std::uint32_t shard, const request_fields& fields, string_layout layout, bool cancelled) {
    const auto api = i.api<cg_auth_backend_api>("cg_auth_backend_api");
    if (api.authenticate == nullptr) {
        recorder::violated("library.struct_sizes", "cg_auth_backend_api has no authenticate function");
        throw cannot_judge("library.struct_sizes", "nothing can be asked");
    }
    auto built = build(fields, shard, layout, i.shape());
    return i.begin(
        "authenticate", auth_result(), fields.left_ns, std::move(built.memory), [&](cg_op op) { return api.authenticate(i.c(), i.shard_state(shard), op, built.request); },
        cancelled);
}

auth_value authenticate_and_wait(instance& i, std::uint32_t shard, const request_fields& fields) {
    cg_op op = 0;
    i.on_shard(shard, [&] { op = authenticate(i, shard, fields); });
    i.must_complete({op});
    const auto a = i.host().take(op);
    if (!a || a->status != CG_OK || !a->result.value) {
        auth_value v;
        v.verdict = CG_VERDICT_UNAVAILABLE;
        return v;
    }
    return a->as<auth_value>();
}

}  // namespace callgate::check
