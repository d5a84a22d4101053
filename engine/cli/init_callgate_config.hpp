// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "engine/cli/init_keys.hpp"
#include "engine/cli/init_plan.hpp"

namespace callgate::cli {

/// Text of callgate.yaml: complete and commented. No secret is in it; keys and passwords are named by file.
[[nodiscard]] std::string callgate_config_text(const init_plan& plan, const key_ring& keys);

/// Text of users.yaml for auth_static with the example user, whose password is in the ring.
[[nodiscard]] result<std::string> users_text(const init_plan& plan, const key_ring& keys);

/// Where clients and callgate reach the server, from `listen` unless given.
[[nodiscard]] std::vector<std::string> server_urls(const init_plan& plan);

}  // namespace callgate::cli
