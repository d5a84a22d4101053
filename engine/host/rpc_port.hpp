// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/rpc.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/error.hpp"
#include "engine/host/instance.hpp"
#include "engine/host/module_services.hpp"

namespace callgate::host {

struct rpc_method {
    std::string name, summary, request_schema, response_schema;
    std::uint32_t flags = 0;  ///< CG_RPC_*
};

/// callgate.rpc/1 of a plugin instance. [control]; shares the life of the instance.
class rpc_port : public std::enable_shared_from_this<rpc_port> {
  public:
    using answer = std::function<void(result<std::shared_ptr<byte_stream>>)>;

    /// Error not_found: the instance offers no methods; abi: its list breaks a rule of draft/rpc.h.
    static result<std::shared_ptr<rpc_port>> of(std::shared_ptr<instance> owner);

    [[nodiscard]] const std::vector<rpc_method>& methods() const noexcept { return methods_; }
    /// `then` once, on the control thread, perhaps inside: the open stream, or why there is none (not_found, permission,
    /// unsupported: needs an engine and `offline` says that there is none; invalid; what the plugin says). `timeout_ns` is for
    /// the answer that opens the stream.
    void call(const std::string& method, std::string request, caller_identity caller, bool offline, std::int64_t timeout_ns, answer then);

  private:
    explicit rpc_port(std::shared_ptr<instance> owner) : owner_(std::move(owner)) {}

    const std::shared_ptr<instance> owner_;
    cg_rpc_api api_{};
    cg_stream_control control_{};
    std::vector<rpc_method> methods_;
};

}  // namespace callgate::host
