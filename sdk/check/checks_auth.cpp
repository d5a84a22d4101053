// SPDX-License-Identifier: Apache-2.0
// Group "auth": what an auth backend answers.
#include "sdk/check/auth_request.hpp"
#include "sdk/check/registry.hpp"

namespace callgate::check {
namespace {

constexpr std::uint32_t sources[] = {CG_CREDENTIAL_NONE, CG_CREDENTIAL_AUTH_TOKEN, CG_CREDENTIAL_PASS, CG_CREDENTIAL_JWT, CG_CREDENTIAL_USER, CG_CREDENTIAL_NKEY};

request_fields from_case(const auth_case& c) {
    auto f = plain_request();
    // A case says all there is about the credential.
    for (const char* name : {"user", "pass", "client_nonce"}) f.text.erase(name);
    for (const auto& [k, v] : c.request) f.text[k] = v;
    f.credential_source = c.credential_source;
    f.left_ns = 10'000'000'000;
    return f;
}

// Requests of every kind: those of the truth table, and all sources of a credential that nobody has.
std::vector<std::pair<std::string, request_fields>> requests(const settings& s) {
    std::vector<std::pair<std::string, request_fields>> out;
    for (const auto& c : s.cases) out.emplace_back("case \"" + c.name + "\"", from_case(c));
    for (const auto source : sources) {
        auto f = plain_request("nobody", "no such password");
        f.credential_source = source;
        f.text["credential"] = "no such credential";
        f.text["auth_token"] = "no such credential";
        out.emplace_back("a wrong credential of source " + std::to_string(source), f);
    }
    auto nothing = plain_request();
    nothing.text.erase("user");
    nothing.text.erase("pass");
    out.emplace_back("a client without credentials", nothing);
    auto later = plain_request();
    later.earlier = {"found-by-an-earlier-backend"};
    out.emplace_back("a client that an earlier backend of the chain knows", later);
    auto certificate = plain_request();
    certificate.tls = CG_TLS_VERIFIED;
    certificate.tls_chain_pem = {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"};
    out.emplace_back("a client with a damaged certificate", certificate);
    return out;
}

// The reply's own rules are judged wherever one is read; here every kind of request is made once.
void replies(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    i.up();
    for (const auto& [name, f] : requests(s)) (void)authenticate_and_wait(i, 0, f);
    i.down();
}

void truth_table(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    i.up();
    for (const auto& c : s.cases) {
        const auto v = authenticate_and_wait(i, 0, from_case(c));
        const auto at = c.file + ": case \"" + c.name + "\" ";
        if (c.verdict != 0 && v.verdict != c.verdict)
            recorder::violated("auth.truth_table", at + "expects " + verdict_name(c.verdict) + ", the plugin says " + verdict_name(v.verdict) + " (" + v.reason_id + ")" + i.host().last_logs());
        else if (!c.subject.empty() && v.subject != c.subject)
            recorder::violated("auth.truth_table", at + "expects the subject " + c.subject + ", the plugin says \"" + v.subject + "\"");
        else if (!c.reason_id.empty() && v.reason_id != c.reason_id)
            recorder::violated("auth.truth_table", at + "expects the reason_id " + c.reason_id + ", the plugin says \"" + v.reason_id + "\"");
    }
    i.down();
}

bool same(const auth_value& a, const auth_value& b) { return a.verdict == b.verdict && a.subject == b.subject; }
bool definite(const auth_value& v) { return v.verdict != CG_VERDICT_UNAVAILABLE; }

void same_answer_again(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    i.up();
    for (const auto& [name, f] : requests(s)) {
        const auto first = authenticate_and_wait(i, 0, f);
        const auto second = authenticate_and_wait(i, i.shards() - 1, f);
        if (definite(first) && definite(second) && !same(first, second))
            recorder::violated("auth.same_answer_again", name + " is answered " + verdict_name(first.verdict) + " \"" + first.subject + "\" and then " + verdict_name(second.verdict) + " \"" +
                                                             second.subject + "\": a verdict depends on the request and the plugin's data, not on how often or where it is asked");
    }
    i.down();
}

void simulation(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    for (const auto& [name, f] : requests(s)) {
        instance i(s, p, s.good[0]);
        i.up();
        const auto real = authenticate_and_wait(i, 0, f);
        auto simulated = f;
        simulated.flags = CG_REQUEST_SIMULATE;
        const auto dry = authenticate_and_wait(i, 0, simulated);
        if (definite(real) && definite(dry) && !same(real, dry))
            recorder::violated("auth.simulation", name + " is answered " + verdict_name(real.verdict) + ", but with CG_REQUEST_SIMULATE " + verdict_name(dry.verdict) +
                                                      ": `policy test` and explain must see the verdict a client would get");
        // Somebody explains wrong passwords over and over: that must lock nobody out.
        auto wrong = simulated;
        for (const char* field : {"pass", "auth_token", "credential"})
            if (const auto at = wrong.text.find(field); at != wrong.text.end()) at->second += "-wrong";
        for (int n = 0; n < 12; ++n) (void)authenticate_and_wait(i, 0, wrong);
        const auto again = authenticate_and_wait(i, 0, f);
        if (definite(real) && definite(again) && !same(real, again))
            recorder::violated("auth.simulation", name + " is answered " + verdict_name(real.verdict) + ", and after 12 simulated requests with wrong credentials " + verdict_name(again.verdict) +
                                                      ": requests with CG_REQUEST_SIMULATE have no effect, they count for no lockout");
        i.down();
        if (recorder::any_violated()) return;
    }
}

}  // namespace

void add_auth_checks(std::vector<check_entry>& out) {
    out.insert(out.end(), {
        {"auth.verdict", "every reply has a verdict that is known", auth_only, replies},
        {"auth.allow_names_subject", "ALLOW says who", auth_only, replies},
        {"auth.reason_id", "reason_id is a label", auth_only, replies},
        {"auth.attributes_json", "attributes are a JSON object", auth_only, replies},
        {"auth.grant", "a grant names an account and does not mix role and permissions", auth_only, replies},
        {"auth.size_limits", "replies keep to the sizes the engine takes", auth_only, replies},
        {"auth.truth_table", "the cases given with --cases are answered as they say", auth_only, truth_table},
        {"auth.same_answer_again", "the same request gets the same verdict, on every shard", auth_only, same_answer_again},
        {"auth.simulation", "simulated requests are answered alike and have no effect", auth_only, simulation},
    });
}

}  // namespace callgate::check
