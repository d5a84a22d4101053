// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/flow/shard_engine.hpp"
#include "engine/runtime/config.hpp"

namespace callgate::runtime {

/// A key as a running provider reported it.
struct provider_key {
    cg_key handle = 0;
    std::uint32_t algorithm = 0;  ///< CG_KEY_ED25519 or CG_KEY_X25519
    std::string nkey;
};
/// A running key provider: its port and its keys by label.
struct provider_view {
    std::shared_ptr<flow::key_port> port;
    std::map<std::string, provider_key> keys;
    bool in_tree = false;  ///< key_file verifies inside its batch (decisions.md, Engine 6)
};

/// Puts the flow's configuration together from the file and the running plugins: binds every key
/// reference, checks kinds (an issuer is an account key, an xkey a curve key, a scoped role needs an
/// operator-mode account), and refuses accounts that are the callout or the system account. What the file means
/// for the whole process (kicks_per_second) is divided among `shards` (at least 1).
[[nodiscard]] result<std::shared_ptr<const flow::flow_config>> assemble(
    const config& c, const std::map<std::string, provider_view>& providers,
    const std::map<std::string, std::shared_ptr<flow::auth_port>>& backends, std::size_t shards,
    const std::map<std::string, std::shared_ptr<flow::store_port>>& stores = {});

}  // namespace callgate::runtime
