// SPDX-License-Identifier: Apache-2.0
// decide() with hostile claims: whatever they hold, a grant stays inside what the rules' templates allow.
#include <algorithm>
#include <callgate/nats/subject.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "engine/policy/policy_fixture.hpp"

namespace {

using namespace callgate::policy;

const compiled& policy() {
    static const auto c = callgate::policy::testing::compile_text(R"(
policy:
  rules:
    - {name: out, when: {any: [{claims.disabled: true}, {claims.host: {cidr: 10.0.0.0/8}}, {claims.mail: {glob: "*@evil.*"}}]}, deny: true}
    - {name: tenant, when: {claims.tenant: {exists: true}}, grant: {account: "{{claims.tenant}}", pub: {allow: ["t.{{claims.groups}}.{{claims.team}}.>"]}}}
    - {name: scoped, when: {claims.groups: {has: readers}}, grant: {account: APP, role: reader, name: "{{claims.name}}", tags: ["team:{{claims.team}}"]}}
    - {name: late, when: {claims.shift: true, time: {zone: UTC, from: "07:30", to: "08:20"}}, grant: {account: APP, sub: {allow: ["s.{{sub}}.shift"]}}}
    - {name: encoded, when: {claims.mail: {exists: true}}, grant: {account: APP, encode: base32, sub: {allow: ["u.{{claims.mail}}.>"]}}}
    - {name: rest, when: always, grant: {account: APP, sub: {allow: ["s.{{sub}}.{{claims.team}}"]}}}
)");
    if (!c.policy) {
        std::fprintf(stderr, "%s", c.messages().c_str());
        std::abort();
    }
    return *c.policy;
}

void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    identity who;
    who.backend = "corp";
    who.subject = "alice";
    who.attributes_json.assign(reinterpret_cast<const char*>(data), size);
    const auto d = policy().decide({}, who, 1'800'000'000, 0.5);
    if (!d.allow) {
        require(std::ranges::find(reason_ids(), std::string_view(d.reason_id)) != reason_ids().end(), "unknown reason id");
        return 0;
    }
    const grant& g = d.grant;
    require(g.account == "APP" || g.account == "BLUE" || g.account == "OPS", "forbidden account");
    require(g.exp > 1'800'000'000 && g.exp <= 1'800'003'600, "expiry");
    require(d.rule != "late" || g.exp <= 1'800'001'200, "expiry behind the window");
    if (!g.role.empty()) {
        require(callgate::nats::is_safe_token(g.name), "name of a role");
        for (const auto& t : g.tags) require(callgate::nats::is_safe_token(t), "tag of a role");
        require(g.pub_allow.empty() && g.sub_allow.empty() && g.pub_deny.empty() && g.sub_deny.empty(), "role with lists");
        return 0;
    }
    for (const auto& s : g.pub_allow) require(std::ranges::count(s, '.') == 3 && s.starts_with("t.") && s.ends_with(".>") && s.find('*') == s.npos, "pub subject grew");
    for (const auto& s : g.sub_allow) require(std::ranges::count(s, '.') == 2 && s.find('*') == s.npos, "sub subject grew");
    require(!g.pub_allow.empty() || g.pub_deny == std::vector<std::string>{">"}, "open publish");
    require(!g.sub_allow.empty() || g.sub_deny == std::vector<std::string>{">"}, "open subscribe");
    return 0;
}
