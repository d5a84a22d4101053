// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/kinds.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/runtime/config.hpp"

namespace callgate::runtime {

/// A part of the configuration that names instances of plugins: `keys: {local: {plugin: key_file, ...}}`.
struct instance_section {
    std::string_view name;  ///< in the file
    std::string_view kind;  ///< of one of its instances, in `uses`, the status and metrics
    std::uint32_t abi_kind;  ///< CG_KIND_*
    std::vector<instance_options> config::*list;
    bool required;   ///< a configuration without it is refused
    bool on_shards;  ///< its instances are asked on the shards and attached to each
};

/// In the order in which instances are made.
inline constexpr instance_section instance_sections[] = {
    {"keys", "keys", CG_KIND_KEY_PROVIDER, &config::keys, true, true},
    {"backends", "backend", CG_KIND_AUTH_BACKEND, &config::backends, true, true},
    {"stores", "store", CG_KIND_CLAIM_STORE, &config::stores, false, true},
    {"modules", "module", CG_KIND_MODULE, &config::modules, false, false},
    {"audit_sinks", "audit", CG_KIND_AUDIT_SINK, &config::audit_sinks, false, false},
};

/// "FILE:LINE: backends.NAME", as messages about an instance begin.
[[nodiscard]] inline std::string place_of(const config& c, const instance_section& s, const instance_options& i) {
    return c.file + ":" + std::to_string(i.line) + ": " + std::string(s.name) + "." + i.name;
}

}  // namespace callgate::runtime
