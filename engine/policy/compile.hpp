// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/policy/document.hpp"
#include "engine/policy/policy.hpp"

/// From the configuration's tree to a compiled policy.
namespace callgate::policy {

struct known_account {
    std::string name;
    std::string key;                 ///< operator mode; empty in config mode
    std::vector<std::string> roles;
};

/// What the rest of the configuration says and rules may refer to.
struct environment {
    std::vector<known_account> accounts;
    std::string callout_account;  ///< name or A key; no grant leads there, under any name
    std::string system_account;   ///< the same
    bool operator_mode = false;
    bool servers_pinned = false;  ///< callout.servers is discovered or a list
    std::vector<std::string> backends;
    std::vector<std::string> stores;
};

/// A tree and the file its lines are of.
struct source {
    const node* tree = nullptr;  ///< nullptr = absent
    std::string file;
    std::string path;            ///< of the tree inside that file, "policy"; empty = the whole file
};

/// Compiles `routes:` and `policy:` and runs the policy's own tests. Every finding is reported; nullptr when
/// one of them is an error. Start-up only.
[[nodiscard]] std::shared_ptr<const compiled> compile(const source& routes, const source& policy, const environment& env,
                                                      std::vector<finding>& out);

/// Mappings of routes, rules and tests with the keys they may have; names as in configs/schema.json.
[[nodiscard]] std::span<const key_table> key_tables() noexcept;

/// Every reason id decide(), admit() and the lack of a route can give.
[[nodiscard]] std::span<const std::string_view> reason_ids() noexcept;

}  // namespace callgate::policy
