// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "engine/cli/init_keys.hpp"
#include "engine/cli/init_plan.hpp"

/// The JWTs of operator mode and the permissions of the static users in both modes (protocol.md 2, 3.1,
/// 3.4, 4.6; review.md section 4).
namespace callgate::cli {

/// What a user may do; empty lists mean everything.
struct subject_rights {
    std::vector<std::string> publish, subscribe;
};
/// Callout links: hear requests, answer them, and the inbox a link drains through.
[[nodiscard]] subject_rights callout_rights();
/// System link: kick, discovery and connection lists; no claims, reload or lame duck.
[[nodiscard]] subject_rights system_rights();

struct account_token {
    std::string name, key, jwt;
};
struct deployment_tokens {
    std::string operator_jwt;
    std::vector<account_token> accounts;  ///< SYS, AUTH, then those of the plan
    std::string callout_jwt, system_jwt, break_glass_jwt, sentinel_jwt;
};

/// Operator mode only. The same plan and keys give the same tokens.
[[nodiscard]] result<deployment_tokens> make_tokens(const init_plan& plan, const key_ring& keys);

}  // namespace callgate::cli
