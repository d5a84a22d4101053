// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/extensions_audit.hpp>
#include <callgate/sdk/module.hpp>
#include <callgate/sdk/plugin.hpp>
#include <vector>

namespace callgate::module_admin {

/// Module "admin": what the admin listener shows of the engine, and the one thing it takes. Everything is [control].
class admin final : public sdk::module {
  public:
    static constexpr std::string_view type = "admin";
    static constexpr std::string_view summary = "readiness, health, metrics and reload on the admin listener";
    static constexpr std::string_view config_schema = R"({
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "additionalProperties": false
})";

    static std::unique_ptr<sdk::module> create(sdk::host_ref host, const sdk::create_args& args);
    explicit admin(sdk::host_ref host);

    void start(sdk::op_handle&& op) override;
    void drain(sdk::op_handle&& op) override { when_idle(std::move(op)); }
    void stop(sdk::op_handle&& op) override {
        end_streams();
        when_idle(std::move(op));
    }

  private:
    template <class Asked, class Then>
    void read(std::uint32_t what, Asked&& asked, Then then);
    void when_idle(sdk::op_handle&& op);
    cg_status reload(const cg_caller& caller);

    const sdk::audit_trail audit_;
    std::size_t reading_ = 0;  // reports that the engine owes
    std::vector<sdk::op_handle> waiting_;
};

}  // namespace callgate::module_admin
