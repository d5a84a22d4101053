// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/policy/compile.hpp"

/// For tests: a policy from YAML text, in an environment with two tenants, the callout and the system account.
namespace callgate::policy::testing {

inline constexpr std::string_view callout_key = "AAUTHKEYOFTHECALLOUTACCOUNT";
inline constexpr std::string_view system_key = "ASYSKEYOFTHESYSTEMACCOUNT";

inline environment two_tenants() {
    environment env;
    env.accounts = {{"APP", "AAPP", {"reader", "writer"}}, {"BLUE", "ABLUE", {"reader"}}, {"AUTH", std::string(callout_key), {"reader"}},
                    {"OPS", "AOPS", {}}, {"SYSTEM", std::string(system_key), {}}};
    env.callout_account = callout_key;
    env.system_account = system_key;
    env.operator_mode = true;
    env.servers_pinned = true;
    env.backends = {"users", "corp"};
    return env;
}

struct compilation {
    std::shared_ptr<const compiled> policy;
    std::vector<finding> findings;
    [[nodiscard]] std::string messages() const {
        std::string all;
        for (const auto& f : findings) all += f.message() + "\n";
        return all;
    }
};

/// `yaml` has `routes:` and `policy:` at the top; a missing `routes` is one route for everything.
inline compilation compile_text(const std::string& yaml, const environment& env = two_tenants()) {
    compilation c;
    const auto tree = parse_yaml(yaml, "p.yaml", c.findings);
    if (!tree) return c;
    const auto otherwise = parse_yaml("[{name: all, chain: [users]}]", "p.yaml", c.findings);
    const node* routes = tree->find("routes") ? tree->find("routes") : &*otherwise;
    c.policy = compile({routes, "p.yaml", "routes"}, {tree->find("policy"), "p.yaml", "policy"}, env, c.findings);
    return c;
}

}  // namespace callgate::policy::testing
