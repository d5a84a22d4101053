// SPDX-License-Identifier: Apache-2.0
#include "engine/host/module_services.hpp"

#include <algorithm>
#include <utility>

#include "engine/host/abi_read.hpp"
#include "engine/host/services.hpp"

namespace callgate::host {
namespace {

constexpr std::string_view methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
constexpr std::size_t max_caller_text = 1024;

// What is wrong with a route's path; empty = nothing.
std::string_view path_fault(std::string_view path, bool prefix) {
    if (path.size() > CG_ADMIN_MAX_PATH_BYTES) return "is longer than 256 bytes";
    if (!path.starts_with('/')) return "does not begin with '/'";
    if (prefix && !path.ends_with('/')) return "of a prefix does not end with '/'";
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-' || c == '/';
    };
    if (!std::ranges::all_of(path, plain)) return "has a character other than A-Z a-z 0-9 _ . - /";
    for (std::size_t at = 1; at < path.size() + (prefix ? 0 : 1);) {
        const auto slash = std::min(path.find('/', at), path.size());
        const auto segment = path.substr(at, slash - at);
        if (segment.empty() || segment == "." || segment == "..") return "has an empty, \".\" or \"..\" segment";
        at = slash + 1;
    }
    if (path == "/livez" || path == "/livez/") return "is answered by the host itself";
    return {};
}

constexpr cg_admin_http_api admin_http_api = {
    sizeof(cg_admin_http_api), 0,
    [](const cg_host* host, const cg_admin_route* route, cg_errbuf* error) noexcept -> cg_status {
        return services::of(host).modules().add_route(route, error);
    }};

constexpr cg_engine_api engine_api = {
    sizeof(cg_engine_api), 0,
    [](const cg_host* host, std::uint32_t kind, void* ctx, void (*done)(void*, const cg_engine_report*)) noexcept -> cg_status {
        return services::of(host).modules().report(kind, ctx, done);
    },
    [](const cg_host* host, const cg_caller* caller) noexcept -> cg_status {
        auto& s = services::of(host);
        return s.modules().reload(caller, s.name());
    }};

}  // namespace

cg_caller caller_identity::to_c() const noexcept {
    cg_caller c{};
    c.struct_size = sizeof c;
    c.how = how;
    c.may = may;
    c.uid = uid;
    c.gid = gid;
    c.pid = pid;
    c.subject = host::to_c(subject);
    c.address = host::to_c(address);
    return c;
}

std::string describe(const cg_caller& c) {
    const auto process = [&] { return "uid " + std::to_string(c.uid) + (c.pid > 0 ? " pid " + std::to_string(c.pid) : ""); };
    switch (c.how) {
        case CG_CALLER_UNIX_PEER: return "unix peer " + process();
        case CG_CALLER_LOCAL_CLI: return "command line, " + process();
        case CG_CALLER_BEARER: return "bearer token, " + bounded(c.address, 64);
        case CG_CALLER_TLS: return "TLS client " + bounded(c.subject, max_caller_text);
        default: return "loopback " + bounded(c.address, 64);
    }
}

module_services::module_services(std::shared_ptr<control_loop> loop, operation_owner& owner, std::shared_ptr<const engine_port> engine)
    : loop_(std::move(loop)), engine_(std::move(engine)), streams_(std::make_shared<stream_hub>(loop_, owner)) {}

const void* module_services::find(std::string_view id) const noexcept {
    // Without an engine there is no listener either: a command-line tool.
    if (!enabled_ || !engine_ || !engine_->read) return nullptr;
    if (id == CG_EXT_ADMIN_HTTP) return &admin_http_api;
    if (id == CG_EXT_ENGINE) return &engine_api;
    return nullptr;
}

cg_status module_services::add_route(const cg_admin_route* theirs, cg_errbuf* error) {
    cg_admin_route r{};
    const auto refuse = [&](cg_status code, const std::string& text) {
        write_error(error, code, text);
        return code;
    };
    if (frozen_) return refuse(CG_E_PERMISSION, "routes are fixed since start has completed; add them in create or start");
    if (!read_struct(theirs, r)) return refuse(CG_E_INVALID, "the route has no struct_size");
    const auto method = view(r.method), path = view(r.path);
    const auto named = "route " + bounded(r.method, 16) + " " + bounded(r.path, CG_ADMIN_MAX_PATH_BYTES);
    if (routes_.size() >= max_routes) return refuse(CG_E_BUSY, named + ": an instance has at most " + std::to_string(max_routes) + " routes");
    if ((r.flags & ~CG_ADMIN_PREFIX) != 0) return refuse(CG_E_INVALID, named + ": flags that this callgate does not know; upgrade callgate");
    if (std::ranges::find(methods, method) == std::end(methods)) return refuse(CG_E_INVALID, named + ": the method is not one of GET, POST, PUT, PATCH, DELETE");
    const bool prefix = (r.flags & CG_ADMIN_PREFIX) != 0;
    if (const auto fault = path_fault(path, prefix); !fault.empty()) return refuse(CG_E_INVALID, named + ": the path " + std::string(fault));
    if (r.needs > CG_MAY_OPERATE) return refuse(CG_E_INVALID, named + ": `needs` is neither CG_MAY_READ nor CG_MAY_OPERATE");
    if (r.handle == nullptr) return refuse(CG_E_INVALID, named + ": `handle` is NULL");
    for (const auto& other : routes_)
        if (other.method == method && other.path == path && other.prefix == prefix) return refuse(CG_E_INVALID, named + ": is there already");
    routes_.push_back({std::string(method), std::string(path), prefix, r.needs == CG_MAY_READ ? CG_MAY_READ : CG_MAY_OPERATE, r.ctx, r.handle, r.streams});
    return CG_OK;
}

cg_status module_services::report(std::uint32_t kind, void* ctx, void (*done)(void*, const cg_engine_report*)) {
    if (done == nullptr || kind < CG_ENGINE_READINESS || kind > CG_ENGINE_METRICS) return CG_E_INVALID;
    {
        const std::lock_guard lock(mutex_);
        if (closed_) return CG_E_CANCELLED;
        if (reports_ >= max_reports) return CG_E_BUSY;
        ++reports_;
    }
    loop_->post([weak = weak_from_this(), engine = engine_, kind, ctx, done] {
        if (weak.expired()) return;
        engine->read(kind, [weak, ctx, done](const engine_port::report& r) {
            const auto self = weak.lock();
            if (!self) return;
            {
                const std::lock_guard lock(self->mutex_);
                if (self->closed_) return;
                --self->reports_;
            }
            cg_engine_report c{};
            c.struct_size = sizeof c;
            c.ready = r.ready ? 1 : 0;
            c.text = to_c(r.text);
            done(ctx, &c);
        });
    });
    return CG_OK;
}

cg_status module_services::reload(const cg_caller* theirs, std::string_view instance_name) {
    cg_caller c{};
    if (!read_struct(theirs, c)) return CG_E_INVALID;
    if (c.may != CG_MAY_OPERATE) return CG_E_PERMISSION;
    {
        const std::lock_guard lock(mutex_);
        if (closed_) return CG_E_CANCELLED;
    }
    engine_->reload("module " + std::string(instance_name) + ", " + describe(c));
    return CG_OK;
}

std::size_t module_services::close() {
    routes_.clear();
    std::size_t left = streams_->close();
    const std::lock_guard lock(mutex_);
    closed_ = true;
    return left + std::exchange(reports_, 0);
}

}  // namespace callgate::host
