// SPDX-License-Identifier: Apache-2.0
#include "engine/host/manifest.hpp"

#include <callgate/abi/draft/kinds.h>
#include <dlfcn.h>

#include <algorithm>

#include "engine/host/abi_read.hpp"
#include "engine/host/plugin_note.hpp"

namespace callgate::host {
namespace {

constexpr std::size_t max_factories = 64;
constexpr std::size_t max_text = 4096;
constexpr std::size_t max_schema = std::size_t{1} << 20;

}  // namespace

std::string_view status_name(cg_status s) noexcept {
    switch (s) {
        case CG_OK: return "CG_OK";
        case CG_E_INVALID: return "CG_E_INVALID";
        case CG_E_UNSUPPORTED: return "CG_E_UNSUPPORTED";
        case CG_E_NOT_FOUND: return "CG_E_NOT_FOUND";
        case CG_E_NOSPC: return "CG_E_NOSPC";
        case CG_E_UNAVAILABLE: return "CG_E_UNAVAILABLE";
        case CG_E_DEADLINE: return "CG_E_DEADLINE";
        case CG_E_CANCELLED: return "CG_E_CANCELLED";
        case CG_E_BUSY: return "CG_E_BUSY";
        case CG_E_PERMISSION: return "CG_E_PERMISSION";
        case CG_E_ABANDONED: return "CG_E_ABANDONED";
        case CG_E_ABI: return "CG_E_ABI";
        default: return "CG_E_INTERNAL";
    }
}

std::string kind_name(std::uint32_t kind) {
    switch (kind) {
        case CG_KIND_AUTH_BACKEND: return "auth backend";
        case CG_KIND_KEY_PROVIDER: return "key provider";
        case CG_KIND_CLAIM_STORE: return "claim store";
        case CG_KIND_MODULE: return "module";
        case CG_KIND_AUDIT_SINK: return "audit sink";
        default: return "kind " + std::to_string(kind);
    }
}

result<cg_plugin_entry_fn> open_library(const std::string& path) {
    ::dlerror();
    void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char* why = ::dlerror();
        return make_error(errc::abi, "cannot be loaded: " + std::string(why != nullptr ? why : "unknown reason"));
    }
    void* symbol = ::dlsym(library, CG_ENTRY_SYMBOL);
    if (symbol == nullptr)
        return make_error(errc::abi, "has no entry symbol " CG_ENTRY_SYMBOL "; export it with default visibility");
    return reinterpret_cast<cg_plugin_entry_fn>(symbol);
}

result<manifest> negotiate(cg_plugin_entry_fn entry, std::uint32_t flags) {
    cg_negotiation offer{};
    offer.struct_size = sizeof offer;
    offer.abi_major = CG_ABI_MAJOR;
    offer.abi_minor = CG_ABI_MINOR;
    offer.flags = flags;
    offer.host_name = to_c("callgate");
    offer.host_version = to_c(CALLGATE_VERSION);
    const cg_manifest* theirs = nullptr;
    if (const auto status = entry(&offer, &theirs); status != CG_OK)
        return make_error(errc::abi, "refused this host (" + std::string(status_name(status)) + "); this callgate speaks ABI " +
                                         std::to_string(CG_ABI_MAJOR) + "." + std::to_string(CG_ABI_MINOR));
    cg_manifest m{};
    if (!read_struct(theirs, m)) return make_error(errc::abi, "returned no manifest from " CG_ENTRY_SYMBOL);
    if (auto fits = check_abi(m.abi_major, m.abi_minor_needed); !fits) return fits.error();

    manifest out;
    out.abi_major = m.abi_major;
    out.abi_minor_built = m.abi_minor_built;
    out.abi_minor_needed = m.abi_minor_needed;
    out.abi_minor = std::min<std::uint32_t>(CG_ABI_MINOR, m.abi_minor_built);
    out.plugin_id = bounded(m.plugin_id, 64);
    out.version = bounded(m.version, max_text);
    out.vendor = bounded(m.vendor, max_text);
    out.license = bounded(m.license, max_text);
    out.build_id = bounded(m.build_id, max_text);
    if (out.plugin_id.empty()) return make_error(errc::abi, "has a manifest without plugin_id");
    if (m.factories == nullptr || m.factory_count == 0) return make_error(errc::abi, "offers no factory");
    if (m.factory_count > max_factories)
        return make_error(errc::abi, "offers " + std::to_string(m.factory_count) + " factories; at most " + std::to_string(max_factories));
    for (std::size_t i = 0; i < m.factory_count; ++i) {
        cg_factory f{};
        const auto nth = "factory " + std::to_string(i);
        if (!read_struct(m.factories[i], f)) return make_error(errc::abi, nth + " is missing or has no struct_size");
        factory_info info{f.kind, f.thread_model, f.flags, bounded(f.type, 64), bounded(f.summary, max_text), {}, m.factories[i], f.create};
        if (info.type.empty()) return make_error(errc::abi, nth + " has no type");
        if (info.create == nullptr) return make_error(errc::abi, nth + " (" + info.type + ") has no create function");
        // Taking what we do not know for "nothing" would let a plugin be called in ways it cannot bear.
        if (f.thread_model > CG_THREADS_SERIAL || (f.flags & ~CG_FACTORY_MAY_BLOCK) != 0)
            return make_error(errc::abi, nth + " (" + info.type + ") has a thread model or flags that this callgate does not know; upgrade callgate");
        if (f.config_schema.size > max_schema) return make_error(errc::abi, nth + " (" + info.type + ") has a schema above 1 MiB");
        info.config_schema = std::string(view(f.config_schema));
        for (const auto& other : out.factories)
            if (other.kind == info.kind && other.type == info.type)
                return make_error(errc::abi, "offers two factories \"" + info.type + "\" of the same kind");
        out.factories.push_back(std::move(info));
    }
    return out;
}

}  // namespace callgate::host
