// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/audit.h>
#include <callgate/sdk/host.hpp>
#include <initializer_list>
#include <utility>

/// audit/1 (draft): records of a plugin's own in the daemon's audit trail.
namespace callgate::sdk {

namespace ext {
struct audit {
    using api = cg_audit_api;
    static constexpr std::string_view id = CG_EXT_AUDIT;
};
}  // namespace ext

/// Copied freely; all [any]. Without the capability (a command-line tool, an older host) nothing is recorded and nothing fails.
class audit_trail {
  public:
    struct note {
        std::string_view action;    ///< what was done, "account.add": a-z, 0-9, _ and .
        std::string_view outcome{};   ///< "ok", "refused", or empty
        std::string_view identity{};  ///< who; cut to 1 KiB
    };
    explicit audit_trail(const host_ref& host) noexcept : host_(host.get()), api_(host.query<ext::audit>()) {}
    [[nodiscard]] explicit operator bool() const noexcept { return api_ != nullptr; }
    /// Never pass a secret. At most 16 fields (the rest is dropped), names as a-z, 0-9 and _, values cut to 1 KiB. CG_OK: handed over, or
    /// nobody keeps records; CG_E_BUSY: lost and counted; CG_E_INVALID: a name is none.
    cg_status record(const note& n, std::initializer_list<std::pair<std::string_view, std::string_view>> fields = {}) const noexcept {
        if (api_ == nullptr) return CG_OK;
        cg_audit_field c[CG_AUDIT_MAX_FIELDS];
        std::size_t count = 0;
        for (const auto& [name, value] : fields)
            if (count != CG_AUDIT_MAX_FIELDS) c[count++] = {to_c(name), to_c(value.substr(0, CG_AUDIT_MAX_TEXT_BYTES))};
        auto out = make<cg_audit_note>();
        out.fields_stride = sizeof(cg_audit_field);
        out.action = to_c(n.action);
        out.outcome = to_c(n.outcome);
        out.identity = to_c(n.identity.substr(0, CG_AUDIT_MAX_TEXT_BYTES));
        out.fields = c;
        out.field_count = count;
        return api_->record(host_, &out);
    }

  private:
    const cg_host* host_;
    const cg_audit_api* api_;
};

}  // namespace callgate::sdk
