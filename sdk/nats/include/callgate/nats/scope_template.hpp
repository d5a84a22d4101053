// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/jwt.hpp>

/// Permission templates of scoped signing keys, expanded as nats-server does it (protocol.md 2.13).
namespace callgate::nats {

enum class template_dialect : std::uint8_t { v2_10, v2_11 };  ///< 2.10: a template is a whole token

struct template_context {
    std::string name;             ///< user JWT name
    std::string subject;          ///< user JWT sub
    std::string account_name;     ///< account JWT name
    std::string account_subject;  ///< user JWT issuer_account
    std::vector<std::string> user_tags;
    std::vector<std::string> account_tags;
};
/// Permissions the server will give, or why it refuses the user. At most 4,096 expansions a list.
[[nodiscard]] result<permissions> expand(const permissions& scope, const template_context& context, template_dialect dialect);

}  // namespace callgate::nats
