// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "engine/cli/init_keys.hpp"
#include "engine/cli/init_plan.hpp"
#include "engine/cli/init_tokens.hpp"

namespace callgate::cli {

/// A double-quoted string of nats-server's configuration language.
[[nodiscard]] std::string server_quoted(std::string_view text);

/// Text of nats-server.conf (protocol.md 3.2, 3.3, 6.3). `dir` is the absolute path of the deployment:
/// the server resolves relative paths from where it is started, so the file has absolute ones. `tokens`
/// is used in operator mode only.
[[nodiscard]] result<std::string> server_config_text(const init_plan& plan, const key_ring& keys,
                                                     const deployment_tokens& tokens, const std::string& dir);

}  // namespace callgate::cli
