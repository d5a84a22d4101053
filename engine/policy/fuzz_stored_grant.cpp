// SPDX-License-Identifier: Apache-2.0
// admit_stored() with hostile documents: whatever they hold, a grant is one the policy itself could have made.
#include <algorithm>
#include <callgate/nats/subject.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "engine/policy/policy_fixture.hpp"

namespace {

using namespace callgate::policy;

const compiled& policy() {
    static const auto c = [] {
        auto env = testing::two_tenants();
        env.stores = {"main"};
        return testing::compile_text(R"(policy: {rules: [{name: stored, when: always, grant: {from: claims, store: main, key: "grants/{{sub}}"}}]})", env);
    }();
    if (!c.policy) std::abort();
    return *c.policy;
}

void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::int64_t now = 1'800'000'000;
    identity who;
    who.subject = "alice";
    const auto asked = policy().decide({}, who, now, 0);
    require(asked.stored.has_value(), "nothing to look up");
    const auto d = policy().admit_stored({}, who, asked, {reinterpret_cast<const char*>(data), size}, now, 0.5);
    if (!d.allow) {
        require(std::ranges::find(reason_ids(), std::string_view(d.reason_id)) != reason_ids().end(), "unknown reason id");
        return 0;
    }
    const grant& g = d.grant;
    require(g.account == "APP" || g.account == "BLUE" || g.account == "OPS", "forbidden account");
    require(g.exp > now && g.exp <= now + 3600, "expiry");
    if (!g.role.empty()) {
        require(g.pub_allow.empty() && g.sub_allow.empty() && g.pub_deny.empty() && g.sub_deny.empty() && !g.resp, "role with permissions");
        require(callgate::nats::is_safe_token(g.name), "name of a role");
        for (const auto& t : g.tags) require(callgate::nats::is_safe_token(t), "tag of a role");
    }
    for (const auto& s : g.pub_allow) require(callgate::nats::is_valid_permission(s, false), "pub subject");
    for (const auto& s : g.sub_allow) require(callgate::nats::is_valid_permission(s, true), "sub subject");
    return 0;
}
