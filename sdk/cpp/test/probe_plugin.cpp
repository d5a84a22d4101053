// SPDX-License-Identifier: Apache-2.0
#include <callgate/sdk/auth_backend.hpp>
#include <callgate/sdk/plugin.hpp>

namespace {

class probe : public callgate::sdk::auth_backend {
  public:
    static constexpr std::string_view type = "probe";
    static constexpr std::string_view summary = "lets everybody in by user name; for tests";
    static constexpr std::string_view config_schema = R"({"type": "object", "additionalProperties": false})";

    static std::unique_ptr<auth_backend> create(callgate::sdk::host_ref host, const callgate::sdk::create_args&) {
        return std::make_unique<probe>(host);
    }
    explicit probe(callgate::sdk::host_ref host) : auth_backend(host) {}
    void authenticate(callgate::sdk::shard_state*, callgate::sdk::op_handle&& op, const callgate::sdk::request_view& request) override {
        callgate::sdk::reply_builder{}.allow(request.user()).send(op);
    }
};

}  // namespace

CALLGATE_PLUGIN("org.callgate.probe", "1.2.3", "callgate", "Apache-2.0", probe)
