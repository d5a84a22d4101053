// SPDX-License-Identifier: Apache-2.0
#include "plugins/module_admin/module_admin.hpp"

#include <utility>

namespace callgate::module_admin {
namespace {

constexpr const char* nothing_schema = R"({"type":"object","additionalProperties":false})";
constexpr const char* status_schema =
    R"({"type":"object","required":["ready","why"],"properties":{"ready":{"type":"boolean"},"why":{"type":"string","description":"ok, or what is missing"}}})";
constexpr const char* health_schema = R"({"type":"object","required":["ready","version","config","clusters","links","instances","audit"]})";
constexpr const char* reload_schema = R"({"type":"object","required":["accepted"],"properties":{"accepted":{"const":true}}})";

std::string who(const cg_caller& c) {
    const auto process = "uid " + std::to_string(c.uid) + (c.pid > 0 ? " pid " + std::to_string(c.pid) : "");
    switch (c.how) {
        case CG_CALLER_UNIX_PEER: return "unix peer " + process;
        case CG_CALLER_LOCAL_CLI: return "command line " + process;
        case CG_CALLER_BEARER: return "bearer token " + std::string(sdk::view(c.address));
        case CG_CALLER_TLS: return "TLS client " + std::string(sdk::view(c.subject));
        default: return "loopback " + std::string(sdk::view(c.address));
    }
}

}  // namespace

std::unique_ptr<sdk::module> admin::create(sdk::host_ref host, const sdk::create_args&) { return std::make_unique<admin>(host); }

admin::admin(sdk::host_ref host) : module(host), audit_(host) {
    add_method({"status", "whether logins are being answered, and why not", nothing_schema, status_schema, CG_RPC_READ_ONLY}, [this](sdk::rpc_call&& call) {
        read(CG_ENGINE_READINESS, std::move(call), [](auto& to, bool ready, std::string_view why) {
            to.reply(std::string("{\"ready\":") + (ready ? "true" : "false") + ",\"why\":" + sdk::json_string(why) + "}");
        });
    });
    add_method({"health", "configuration, clusters, links and plugin instances", nothing_schema, health_schema, CG_RPC_READ_ONLY}, [this](sdk::rpc_call&& call) {
        read(CG_ENGINE_HEALTH, std::move(call), [](auto& to, bool, std::string_view json) { to.reply(json.substr(0, json.find_last_not_of('\n') + 1)); });
    });
    add_method({"reload", "read the configuration again; the outcome is in health and the log", nothing_schema, reload_schema, 0}, [this](sdk::rpc_call&& call) {
        if (const auto s = reload(call.caller()); s != CG_OK) return call.fail(s, "the engine takes no reload");
        call.reply(R"({"accepted":true})");
    });
}

void admin::start(sdk::op_handle&& op) {
    if (!offline()) {
        add_route("GET", "/readyz", CG_MAY_READ, [this](sdk::admin_exchange&& x) {
            read(CG_ENGINE_READINESS, std::move(x), [](auto& to, bool ready, std::string_view why) { to.respond(ready ? 200 : 503, std::string(why) + "\n"); });
        });
        add_route("GET", "/health", CG_MAY_READ, [this](sdk::admin_exchange&& x) {
            read(CG_ENGINE_HEALTH, std::move(x), [](auto& to, bool ready, std::string_view json) { to.respond(ready ? 200 : 503, json, "application/json"); });
        });
        add_route("GET", "/metrics", CG_MAY_READ, [this](sdk::admin_exchange&& x) {
            read(CG_ENGINE_METRICS, std::move(x), [](auto& to, bool, std::string_view text) { to.respond(200, text, "text/plain; version=0.0.4; charset=utf-8"); });
        });
        add_route("POST", "/reload", CG_MAY_OPERATE, [this](sdk::admin_exchange&& x) {
            if (const auto s = reload(x.caller()); s != CG_OK) return x.fail(s, "the engine takes no reload");
            x.respond(202, "reload begun; its outcome is in /health and the log\n");
        });
        serve_methods_over_http();
    }
    op.succeed();
}

// What is asked for is an exchange or a call: a report that does not come is its failure, with the reason.
template <class Asked, class Then>
void admin::read(std::uint32_t what, Asked&& asked, Then then) {
    // std::function wants copies.
    const auto kept = std::make_shared<std::remove_cvref_t<Asked>>(std::forward<Asked>(asked));
    try {
        sdk::read_engine(host(), what, [this, kept, then](bool ready, std::string_view text) {
            struct at_end {
                admin& self;
                ~at_end() {
                    if (--self.reading_ == 0)
                        for (auto& op : std::exchange(self.waiting_, {})) op.succeed();
                }
            } const one_less{*this};
            then(*kept, ready, text);
        });
        ++reading_;
    } catch (const sdk::status_error& e) {
        kept->fail(e.code(), e.what());
    }
}

void admin::when_idle(sdk::op_handle&& op) {
    if (reading_ == 0) op.succeed();
    else waiting_.push_back(std::move(op));
}

// The one thing an operator changes here, so the audit trail says who it was. What becomes of it is in /health and the log.
cg_status admin::reload(const cg_caller& caller) {
    const auto s = host().require<sdk::ext::engine>().reload(host().get(), &caller);
    (void)audit_.record({.action = "reload", .outcome = s == CG_OK ? "asked" : "refused", .identity = who(caller)});
    return s;
}

}  // namespace callgate::module_admin
