// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/entry.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/error.hpp"

namespace callgate::host {

/// One kind of instance a plugin can make.
struct factory_info {
    std::uint32_t kind = 0;          ///< CG_KIND_*
    std::uint32_t thread_model = 0;  ///< CG_THREADS_*
    std::uint32_t flags = 0;         ///< CG_FACTORY_*
    std::string type, summary;
    std::string config_schema;       ///< JSON Schema text
    const cg_factory* handle = nullptr;  ///< the plugin's own, for create
    decltype(cg_factory::create) create = nullptr;
};

/// A plugin's manifest, copied out of it.
struct manifest {
    std::string path;    ///< where the file was found
    std::string sha256;  ///< of the bytes that are mapped
    std::string plugin_id, version, vendor, license, build_id;
    std::uint32_t abi_major = 0, abi_minor_built = 0, abi_minor_needed = 0;
    std::uint32_t abi_minor = 0;  ///< negotiated: the smaller of ours and the plugin's
    std::vector<factory_info> factories;
};

/// "auth backend", "key provider", "claim store", "module", "audit sink", or "kind 7".
[[nodiscard]] std::string kind_name(std::uint32_t kind);

/// Calls the entry function and copies what it says. `flags`: CG_NEGOTIATION_*. [control] Errors: abi.
[[nodiscard]] result<manifest> negotiate(cg_plugin_entry_fn entry, std::uint32_t flags = 0);

/// dlopen (RTLD_NOW, RTLD_LOCAL) and dlsym of the entry; the library is never closed. [control]
[[nodiscard]] result<cg_plugin_entry_fn> open_library(const std::string& path);

}  // namespace callgate::host
