// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/caller.h>
#include <callgate/abi/ext/draft/admin_http.h>
#include <callgate/abi/ext/draft/engine.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/host/byte_stream.hpp"
#include "engine/host/control_loop.hpp"

namespace callgate::host {

/// What the runtime offers to modules (callgate.engine/1). Functions outlive every instance.
struct engine_port {
    struct report {
        bool ready = false;
        std::string text;
    };
    /// [control] CG_ENGINE_*; `then` once, on the control thread, within 1 s; it may come inside.
    std::function<void(std::uint32_t kind, std::function<void(report)> then)> read{};
    /// [any]
    std::function<void(std::string who)> reload{};
};

/// Who asks, as the transport knows it; see cg_caller.
struct caller_identity {
    std::uint32_t how = CG_CALLER_LOOPBACK, may = CG_MAY_READ;
    std::uint32_t uid = UINT32_MAX, gid = UINT32_MAX;
    std::int32_t pid = 0;
    std::string subject{}, address{};

    /// Borrows.
    [[nodiscard]] cg_caller to_c() const noexcept;
};
/// "unix peer uid 0 pid 17", "TLS client CN=ops": for logs.
[[nodiscard]] std::string describe(const cg_caller& c);

/// A route as a module registered it.
struct admin_route {
    std::string method, path;
    bool prefix = false;
    std::uint32_t needs = CG_MAY_OPERATE;
    void* ctx = nullptr;
    decltype(cg_admin_route::handle) handle = nullptr;
    const cg_stream_control* streams = nullptr;
};

/// The capabilities that only modules get: admin-http/1 and engine/1. [control] unless tagged.
class module_services : public std::enable_shared_from_this<module_services> {
  public:
    static constexpr std::size_t max_routes = CG_ADMIN_MAX_ROUTES, max_reports = CG_ENGINE_MAX_REPORTS;

    module_services(std::shared_ptr<control_loop> loop, operation_owner& owner, std::shared_ptr<const engine_port> engine);

    /// Before create(): the instance is a module.
    void enable() noexcept { enabled_ = true; }
    /// [any] Table of a capability; null when it is none of these or not for this instance.
    [[nodiscard]] const void* find(std::string_view id) const noexcept;
    /// start has completed: no more routes.
    void freeze() noexcept { frozen_ = true; }
    [[nodiscard]] const std::vector<admin_route>& routes() const noexcept { return routes_; }
    [[nodiscard]] const std::shared_ptr<stream_hub>& streams() const noexcept { return streams_; }
    /// No `done` is called any more. Returns how many reports and streams were left.
    std::size_t close();

    cg_status add_route(const cg_admin_route* route, cg_errbuf* error);
    /// [any]
    cg_status report(std::uint32_t kind, void* ctx, void (*done)(void*, const cg_engine_report*));
    /// [any]
    cg_status reload(const cg_caller* caller, std::string_view instance_name);

  private:
    const std::shared_ptr<control_loop> loop_;
    const std::shared_ptr<const engine_port> engine_;
    const std::shared_ptr<stream_hub> streams_;
    std::vector<admin_route> routes_;
    bool enabled_ = false, frozen_ = false;
    std::mutex mutex_;
    std::size_t reports_ = 0;  // in flight
    bool closed_ = false;
};

}  // namespace callgate::host
