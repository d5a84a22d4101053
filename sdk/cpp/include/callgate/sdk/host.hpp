// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/host.h>
#include <callgate/sdk/value.hpp>
#include <initializer_list>

namespace callgate::sdk {

enum class log_level : std::int32_t {
    trace = CG_LOG_TRACE,
    debug = CG_LOG_DEBUG,
    info = CG_LOG_INFO,
    warn = CG_LOG_WARN,
    error = CG_LOG_ERROR,
};

struct log_field {
    std::string_view key;
    std::string_view value;
};

/// The host as one instance sees it. A pointer in size; copied freely; valid until destroy returns.
/// Every function is [any].
class host_ref {
  public:
    /// Throws status_error(CG_E_ABI) when the host lacks what version 1.0 promises.
    explicit host_ref(const cg_host* host) : host_(host) {
        if (host == nullptr || host->struct_size < sizeof(cg_host) || host->core == nullptr || host->core->struct_size < sizeof(cg_core))
            throw status_error(CG_E_ABI, "the host's table of services is shorter than version 1.0 of the ABI");
    }

    [[nodiscard]] const cg_host* get() const noexcept { return host_; }
    [[nodiscard]] std::int64_t now_ns() const noexcept { return host_->core->now_ns(host_); }
    [[nodiscard]] std::int64_t wall_unix_s() const noexcept { return host_->core->wall_unix_s(host_); }
    [[nodiscard]] std::uint32_t shard_count() const noexcept { return host_->shard_count; }
    [[nodiscard]] std::string_view instance_name() const noexcept { return view(host_->instance_name); }
    /// Of an operation whose handle is elsewhere; harmless for one that is finished.
    [[nodiscard]] bool cancelled(cg_op op) const noexcept { return host_->core->is_cancelled(host_, op) != 0; }

    [[nodiscard]] bool logs(log_level level) const noexcept {
        return host_->core->log_enabled(host_, static_cast<std::int32_t>(level)) != 0;
    }
    /// Never pass a secret. At most 16 fields, the rest is dropped.
    void log(log_level level, std::string_view message, std::initializer_list<log_field> fields = {}) const noexcept {
        if (!logs(level)) return;
        cg_log_field out[16];
        std::size_t n = 0;
        for (const auto& f : fields) {
            if (n == std::size(out)) break;
            out[n++] = {to_c(f.key), to_c(f.value)};
        }
        host_->core->log(host_, static_cast<std::int32_t>(level), to_c(message), out, n, sizeof(cg_log_field));
    }

    /// Table of a capability (a type with `api` and `id`, see extensions.hpp); nullptr when this host has
    /// none or an incomplete one.
    template <class Extension>
    [[nodiscard]] const typename Extension::api* query() const noexcept {
        if (host_->query == nullptr) return nullptr;
        const auto* table = static_cast<const typename Extension::api*>(host_->query(host_, to_c(Extension::id)));
        return table != nullptr && table->struct_size >= sizeof(typename Extension::api) ? table : nullptr;
    }
    /// As query; throws status_error(CG_E_UNSUPPORTED) that names what is missing.
    template <class Extension>
    [[nodiscard]] const typename Extension::api& require() const {
        if (const auto* table = query<Extension>()) return *table;
        throw status_error(CG_E_UNSUPPORTED, "this host does not offer " + std::string(Extension::id) +
                                                 ", which the plugin needs; use a newer callgate");
    }

  private:
    const cg_host* host_;
};

}  // namespace callgate::sdk
