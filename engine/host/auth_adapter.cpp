// SPDX-License-Identifier: Apache-2.0
// Auth backend plugins as flow::auth_port.
#include <algorithm>
#include <utility>

#include "engine/host/abi_read.hpp"
#include "engine/host/instance.hpp"

namespace callgate::host {
namespace {

constexpr std::size_t max_reason = 1024;
constexpr std::size_t max_text = 4096;  // subject, issuer, account, one permission
constexpr std::size_t max_attributes = 64 * 1024;
constexpr std::size_t max_list = 4096;
constexpr std::size_t max_list_bytes = std::size_t{1} << 20;
constexpr std::size_t max_explain = 64;

flow::auth_result unavailable(std::string reason_id, std::string reason) {
    flow::auth_result r;
    r.verdict = CG_VERDICT_UNAVAILABLE;
    r.reason_id = std::move(reason_id);
    r.reason = std::move(reason);
    return r;
}

bool is_reason_id(std::string_view s) {
    return !s.empty() && s.size() <= 40 &&
           std::all_of(s.begin(), s.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

// Values that decide must arrive whole: cutting one short would change who is meant.
class reader {
  public:
    std::string text(cg_str s, std::size_t limit, const char* what) {
        if (s.size > limit || (s.data == nullptr && s.size != 0)) broken(what);
        return bounded(s, limit);
    }
    std::vector<std::string> list(const cg_str_list& l, const char* what) {
        std::vector<std::string> out;
        if (l.count > max_list || (l.items == nullptr && l.count != 0)) {
            broken(what);
            return out;
        }
        out.reserve(l.count);
        for (std::size_t i = 0; i < l.count; ++i) {
            list_bytes_ += l.items[i].size;
            if (list_bytes_ > max_list_bytes) {
                broken(what);
                return {};
            }
            out.push_back(text(l.items[i], max_text, what));
        }
        return out;
    }
    void broken(const char* what) {
        if (fault_.empty()) fault_ = std::string("reply of the backend is unusable: ") + what;
    }
    [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

  private:
    std::string fault_;
    std::size_t list_bytes_ = 0;
};

flow::auth_result copy_reply(const cg_auth_reply& theirs, const std::string& backend, std::string& fault) {
    reader in;
    flow::auth_result out;
    out.verdict = theirs.verdict;
    if (out.verdict < CG_VERDICT_ALLOW || out.verdict > CG_VERDICT_UNAVAILABLE) in.broken("verdict");
    out.reason_id = bounded(theirs.reason_id, 41);
    if (!out.reason_id.empty() && !is_reason_id(out.reason_id)) in.broken("reason_id, which must be 1 to 40 of a-z, 0-9 and _");
    out.reason = bounded(theirs.reason, max_reason);
    out.cache_ttl_s = theirs.cache_ttl_s;

    cg_identity who{};
    if (read_struct(theirs.identity, who)) {
        policy::identity id;
        id.backend = backend;
        id.issuer = in.text(who.issuer, max_text, "identity.issuer");
        id.subject = in.text(who.subject, max_text, "identity.subject");
        id.attributes_json = in.text(who.attributes_json, max_attributes, "identity.attributes_json");
        if (id.attributes_json.empty()) id.attributes_json = "{}";
        id.credential_exp = who.credential_exp_unix_s;
        id.credential_iat = who.credential_iat_unix_s;
        id.credential_id = in.text(who.credential_id, max_text, "identity.credential_id");
        id.revocation_handles = in.list(who.revocation_handles, "identity.revocation_handles");
        out.who = std::move(id);
    }
    if (out.verdict == CG_VERDICT_ALLOW && (!out.who || out.who->subject.empty())) in.broken("ALLOW without identity.subject");

    cg_grant what{};
    if (read_struct(theirs.grant, what)) {
        policy::backend_grant g;
        g.what.account = in.text(what.account, max_text, "grant.account");
        g.what.role = in.text(what.role, max_text, "grant.role");
        g.what.pub_allow = in.list(what.pub_allow, "grant.pub_allow");
        g.what.pub_deny = in.list(what.pub_deny, "grant.pub_deny");
        g.what.sub_allow = in.list(what.sub_allow, "grant.sub_allow");
        g.what.sub_deny = in.list(what.sub_deny, "grant.sub_deny");
        if (what.has_resp != 0) g.what.resp = policy::response_permission{what.resp_max, what.resp_ttl_ns};
        g.what.exp = what.exp_unix_s;
        g.what.tags = in.list(what.tags, "grant.tags");
        if (g.what.account.empty()) in.broken("grant without account");
        out.grant = std::move(g);
    }
    const auto steps = theirs.explain == nullptr ? 0 : std::min(theirs.explain_count, max_explain);
    for (std::size_t i = 0; i < steps; ++i) {
        const auto step = read_element(theirs.explain, i, theirs.explain_stride);
        out.explain.emplace_back(bounded(step.what, 128), bounded(step.outcome, 512));
    }
    fault = in.fault();
    return out;
}

class auth_body final : public operation_body {
  public:
    auth_body(const instance& owner, flow::pinned_ptr memory, flow::request_tag tag, flow::completion_sink& sink)
        : owner_(owner), memory_(std::move(memory)), tag_(tag), sink_(sink) {}

    taken take(const cg_completion& c) override {
        if (c.status != CG_OK) {
            cg_error e{};
            const bool explained = read_struct(c.error, e);
            result_ = unavailable("backend_error", std::string(status_name(c.status)) + (explained ? ": " + bounded(e.text, max_reason) : ""));
            return taken::failed;
        }
        cg_auth_reply reply{};
        if (!read_struct(static_cast<const cg_auth_reply*>(c.result), reply)) {
            result_ = unavailable("backend_contract", "the backend completed without a reply");
            return taken::fault;
        }
        std::string fault;
        result_ = copy_reply(reply, owner_.name(), fault);
        if (fault.empty()) return taken::ok;
        result_ = unavailable("backend_contract", std::move(fault));
        return taken::fault;
    }
    void deliver() override { sink_.on_auth(tag_, std::move(result_)); }
    void fail(cg_status status) override {
        if (status == CG_E_DEADLINE) sink_.on_auth(tag_, unavailable("backend_timeout", "the backend did not answer in time"));
        else sink_.on_auth(tag_, unavailable("backend_refused", "the backend refused the request: " + std::string(status_name(status))));
    }

  private:
    const instance& owner_;
    flow::pinned_ptr memory_;
    flow::request_tag tag_;
    flow::completion_sink& sink_;
    flow::auth_result result_;
};

class auth_adapter final : public flow::auth_port {
  public:
    auth_adapter(instance& owner, const cg_auth_backend_api& api) : owner_(owner), api_(api) {}

    [[nodiscard]] std::string_view name() const override { return owner_.name(); }

    void authenticate(std::uint32_t shard, const cg_auth_request& request, flow::pinned_ptr memory, std::int64_t deadline_ns,
                      flow::request_tag tag, flow::completion_sink& sink) override {
        std::unique_ptr<operation_body> body = std::make_unique<auth_body>(owner_, std::move(memory), tag, sink);
        const auto why = owner_.begin(shard, deadline_ns, body, [this, r = &request](cg_op op, void* state) {
            return api_.authenticate(owner_.plugin(), state, op, r);
        });
        if (why == refusal::none) return;
        const char* id = why == refusal::busy ? "backend_busy" : why == refusal::no_time ? "backend_timeout" : "backend_unavailable";
        sink.on_auth(tag, unavailable(id, "the backend " + std::string(to_string(why))));
    }

  private:
    instance& owner_;
    const cg_auth_backend_api api_;
};

}  // namespace

std::unique_ptr<flow::auth_port> make_auth_port(instance& owner, const cg_auth_backend_api& api) {
    return std::make_unique<auth_adapter>(owner, api);
}

}  // namespace callgate::host
