// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/entry.h>
#include <callgate/sdk/instance.hpp>

namespace callgate::sdk {

/// Copies of what the host passed to create().
struct create_args {
    std::string name;         ///< instance name of the configuration
    std::string config_json;  ///< checked against config_schema already
    std::string base_dir;     ///< relative paths of the configuration start here

    /// `path` as the configuration means it.
    [[nodiscard]] std::string resolve(std::string_view path) const {
        if (path.starts_with('/') || base_dir.empty()) return std::string(path);
        return base_dir + (base_dir.ends_with('/') ? "" : "/") + std::string(path);
    }
};

namespace detail {

template <class T>
constexpr std::uint32_t thread_model_of() noexcept {
    if constexpr (requires { T::thread_model; }) return T::thread_model;
    else return CG_THREADS_ANY;
}

/// A class whose functions may block says `static constexpr std::uint32_t factory_flags = CG_FACTORY_MAY_BLOCK;`.
template <class T>
constexpr std::uint32_t factory_flags_of() noexcept {
    if constexpr (requires { T::factory_flags; }) return T::factory_flags;
    else return 0;
}

template <class T>
cg_status create_instance(const cg_factory*, const cg_host* host, const cg_create_args* args, cg_instance** out,
                          cg_errbuf* error) noexcept {
    if (out == nullptr) return CG_E_INVALID;
    *out = nullptr;
    try {
        const auto in = copy_in(args);
        const create_args mine{std::string(view(in.name)), std::string(view(in.config_json)), std::string(view(in.base_dir))};
        *out = T::create(host_ref{host}, mine).release()->c_instance();
        return CG_OK;
    } catch (const status_error& e) {
        try {
            write_error(error, e.code(), e.where().empty() ? std::string(e.what()) : e.where() + ": " + e.what());
        } catch (...) {
            write_error(error, e.code(), e.what());
        }
        return e.code() < 0 ? e.code() : CG_E_INTERNAL;
    } catch (const std::exception& e) {
        write_error(error, CG_E_INTERNAL, e.what());
    } catch (...) {
        write_error(error, CG_E_INTERNAL, "the plugin threw something that is not a std::exception");
    }
    return CG_E_INTERNAL;
}

}  // namespace detail

/// The factory of one class; also for tests that go through the C interface without a shared object.
template <class T>
inline constexpr cg_factory factory_of = {
    .struct_size = sizeof(cg_factory),
    .kind = T::kind,
    .thread_model = detail::thread_model_of<T>(),
    .flags = detail::factory_flags_of<T>(),
    .type = to_c(T::type),
    .summary = to_c(T::summary),
    .config_schema = to_c(T::config_schema),
    .create = &detail::create_instance<T>,
};

namespace detail {

template <class... T>
inline constexpr std::uint32_t kinds_of = (0u | ... | (1u << T::kind));
template <class... T>
inline constexpr const cg_factory* factories_of[] = {&factory_of<T>...};

inline cg_status enter(const cg_negotiation* host, std::uint32_t minor_needed, const cg_manifest& mine,
                       const cg_manifest** out) noexcept {
    const auto theirs = copy_in(host);
    if (out == nullptr) return CG_E_INVALID;
    *out = nullptr;
    if (theirs.abi_major != CG_ABI_MAJOR || theirs.abi_minor < minor_needed) return CG_E_ABI;
    *out = &mine;
    return CG_OK;
}

}  // namespace detail
}  // namespace callgate::sdk

/// Once in exactly one source file of a plugin: the one export, the manifest and the ELF note.
///   CALLGATE_PLUGIN("org.example.auth_foo", "1.2.0", "Example Ltd", "Apache-2.0", foo_backend)
/// `id` is a reverse domain name of at most 63 characters.
#define CALLGATE_PLUGIN(id, version_text, vendor_text, license_text, ...)                                       \
    CG_PLUGIN_NOTE(id, (::callgate::sdk::detail::kinds_of<__VA_ARGS__>), 0u);                                   \
    extern "C" __attribute__((visibility("default"))) cg_status cg_plugin_entry_v1(const cg_negotiation* host,  \
                                                                                    const cg_manifest** out) {  \
        static constexpr cg_manifest manifest = {                                                               \
            sizeof(cg_manifest),                                                                                \
            CG_ABI_MAJOR,                                                                                       \
            CG_ABI_MINOR,                                                                                       \
            0u,                                                                                                 \
            ::callgate::sdk::to_c(::std::string_view{id}),                                                      \
            ::callgate::sdk::to_c(::std::string_view{version_text}),                                            \
            ::callgate::sdk::to_c(::std::string_view{vendor_text}),                                             \
            ::callgate::sdk::to_c(::std::string_view{license_text}),                                            \
            {nullptr, 0},                                                                                       \
            ::std::size(::callgate::sdk::detail::factories_of<__VA_ARGS__>),                                    \
            ::callgate::sdk::detail::factories_of<__VA_ARGS__>};                                                \
        return ::callgate::sdk::detail::enter(host, 0u, manifest, out);                                         \
    }
