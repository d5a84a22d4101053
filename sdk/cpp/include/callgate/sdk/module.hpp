// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/module.h>
#include <callgate/abi/ext/draft/engine.h>
#include <callgate/sdk/byte_producer.hpp>
#include <callgate/sdk/extensions.hpp>
#include <callgate/sdk/instance.hpp>
#include <functional>
#include <map>
#include <vector>

/// Modules: plugins that serve operators. Routes on the admin listener (admin-http/1), methods (rpc/1), a look at the engine
/// (engine/1); all draft.
namespace callgate::sdk {

namespace ext {
struct admin_http {
    using api = cg_admin_http_api;
    static constexpr std::string_view id = CG_EXT_ADMIN_HTTP;
};
struct engine {
    using api = cg_engine_api;
    static constexpr std::string_view id = CG_EXT_ENGINE;
};
}  // namespace ext

class module;

/// One request of the admin listener, to be answered once; what it shows lives until then. Move-only.
class admin_exchange {
  public:
    admin_exchange(module& owner, op_handle&& op, const cg_admin_request* request, const cg_stream_sink* sink) noexcept
        : owner_(&owner), op_(std::move(op)), request_(copy_in(request)), caller_(copy_in(request_.caller)), sink_(sink) {}

    [[nodiscard]] std::string_view method() const noexcept { return view(request_.method); }
    [[nodiscard]] std::string_view path() const noexcept { return view(request_.path); }
    [[nodiscard]] std::string_view query() const noexcept { return view(request_.query); }
    [[nodiscard]] std::string_view body() const noexcept { return {reinterpret_cast<const char*>(request_.body.data), request_.body.size}; }
    /// First header of that name (lower case); empty when there is none.
    [[nodiscard]] std::string_view header(std::string_view name) const noexcept {
        const auto* at = reinterpret_cast<const unsigned char*>(request_.headers);
        for (std::size_t i = 0; i < request_.header_count; ++i, at += request_.headers_stride)
            if (const auto& h = *reinterpret_cast<const cg_admin_header*>(at); view(h.name) == name) return view(h.value);
        return {};
    }
    [[nodiscard]] const cg_caller& caller() const noexcept { return caller_; }
    [[nodiscard]] bool may_operate() const noexcept { return caller_.may == CG_MAY_OPERATE; }
    [[nodiscard]] bool cancelled() const noexcept { return op_.cancelled(); }

    void respond(unsigned status, std::string_view body, std::string_view content_type = "text/plain; charset=utf-8") {
        auto r = make<cg_admin_response>();
        r.http_status = status;
        r.content_type = to_c(content_type);
        r.body = {reinterpret_cast<const std::uint8_t*>(body.data()), body.size()};
        op_.succeed(&r);
    }
    /// A body of any length. Throws status_error when the host has no streams here.
    std::shared_ptr<byte_producer> stream(unsigned status, std::string_view content_type);
    void fail(cg_status code, std::string_view text) noexcept { op_.fail(code, text); }

  private:
    module* owner_;
    op_handle op_;
    cg_admin_request request_;
    cg_caller caller_;
    const cg_stream_sink* sink_;
};

/// One call of a method, over callgate.rpc/1 or over POST /rpc/METHOD; to be answered once. Move-only.
class rpc_call {
  public:
    rpc_call(module& owner, op_handle&& op, const cg_rpc_call* call, const cg_stream_sink* sink)
        : owner_(&owner), op_(std::move(op)), call_(copy_in(call)), caller_(copy_in(call_.caller)), sink_(sink) {}
    rpc_call(module& owner, admin_exchange&& http) : owner_(&owner), http_(std::move(http)), caller_(http_->caller()) {}

    /// JSON; "{}" when the caller sent nothing. Lives until the answer.
    [[nodiscard]] std::string_view request() const noexcept {
        const auto text = http_ ? http_->body() : std::string_view{reinterpret_cast<const char*>(call_.request.data), call_.request.size};
        return text.empty() ? std::string_view("{}") : text;
    }
    [[nodiscard]] const cg_caller& caller() const noexcept { return caller_; }
    /// No engine runs in this process.
    [[nodiscard]] bool offline() const noexcept { return (call_.flags & CG_RPC_OFFLINE) != 0; }

    /// The whole answer: one JSON document.
    void reply(std::string_view json);
    /// Of a method with CG_RPC_STREAMS: each write() is one JSON document of at most byte_producer::max_chunk.
    std::shared_ptr<byte_producer> stream();
    void fail(cg_status code, std::string_view text);

  private:
    module* owner_;
    op_handle op_;
    std::optional<admin_exchange> http_;
    cg_rpc_call call_{};
    cg_caller caller_;
    const cg_stream_sink* sink_ = nullptr;
};

struct rpc_method {
    std::string name, summary, request_schema, response_schema;
    std::uint32_t flags = 0;  ///< CG_RPC_*
};

/// The host's CG_STATUS as an HTTP status.
[[nodiscard]] constexpr unsigned http_status_of(cg_status s) noexcept {
    switch (s) {
        case CG_E_INVALID: return 400;
        case CG_E_PERMISSION: return 403;
        case CG_E_NOT_FOUND: return 404;
        case CG_E_CONFLICT: return 409;
        case CG_E_BUSY:
        case CG_E_UNAVAILABLE:
        case CG_E_CANCELLED: return 503;
        case CG_E_DEADLINE: return 504;
        default: return 500;
    }
}

/// Text as a JSON string, with its quotes; bytes that are not ASCII pass as they are.
[[nodiscard]] inline std::string json_string(std::string_view text) {
    constexpr char digits[] = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += {'\\', c};
        else if (c == '\n') out += "\\n";
        else if (static_cast<unsigned char>(c) < 0x20) out += {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        else out += c;
    }
    return out + '"';
}

/// Base of a module. A class to be listed in CALLGATE_PLUGIN also has
///   static constexpr std::string_view type, summary, config_schema;
///   static std::unique_ptr<module> create(host_ref, const create_args&);
class module : public instance {
  public:
    static constexpr std::uint32_t kind = CG_KIND_MODULE;
    using route_handler = std::function<void(admin_exchange&&)>;
    using rpc_handler = std::function<void(rpc_call&&)>;

    /// Overriders call end_streams() before they answer.
    void stop(op_handle&& op) override {
        end_streams();
        op.succeed();
    }
    /// callgate.rpc/1 when there are methods. Overriders call this last.
    [[nodiscard]] const void* query(std::string_view extension_id) override {
        return extension_id == CG_EXT_RPC && !methods_.empty() ? &c_rpc_ : nullptr;
    }

  protected:
    explicit module(host_ref host) noexcept : instance(host, kind, &c_table_) {}

    /// This host is no daemon: no routes, no engine. [control]
    [[nodiscard]] bool offline() const noexcept { return host().query<ext::engine>() == nullptr; }
    /// [control] In start. `needs`: CG_MAY_*. Throws status_error with the host's words.
    void add_route(std::string method, std::string path, std::uint32_t needs, route_handler handler, bool prefix = false) {
        const auto& api = host().require<ext::admin_http>();
        auto r = std::make_unique<route>(*this, std::move(handler));
        auto c = make<cg_admin_route>();
        c.flags = prefix ? CG_ADMIN_PREFIX : 0;
        c.method = to_c(method);
        c.path = to_c(path);
        c.needs = needs;
        c.ctx = r.get();
        c.handle = [](void* ctx, cg_op op, const cg_admin_request* request, const cg_stream_sink* sink) noexcept {
            auto& mine = *static_cast<route*>(ctx);
            return detail::guard_op(mine.owner.host().get(), op, [&](op_handle& h) {
                admin_exchange x(mine.owner, std::move(h), request, sink);
                handle(mine.handler, x);
            });
        };
        c.streams = &c_streams_;
        char text[512];
        auto why = make<cg_errbuf>();
        why.text = {reinterpret_cast<std::uint8_t*>(text), sizeof text, 0};
        if (const auto s = api.add_route(host().get(), &c, &why); s != CG_OK)
            throw status_error(s, why.text.size == 0 ? "the host refused the route " + method + " " + path : std::string(text, std::min(why.text.size, sizeof text)));
        routes_.push_back(std::move(r));
    }
    /// In the constructor. The handler runs on [control] and must not block.
    void add_method(rpc_method m, rpc_handler handler) {
        if (methods_.size() >= CG_RPC_MAX_METHODS || m.name.empty() || m.name.size() > CG_RPC_MAX_NAME_BYTES)
            throw status_error(CG_E_INTERNAL, "method \"" + m.name + "\": at most 256 methods with names of 1 to 64 bytes");
        const auto name = m.name;
        if (!methods_.try_emplace(name, std::move(m), std::move(handler)).second) throw status_error(CG_E_INTERNAL, "method \"" + name + "\" is there twice");
    }
    /// [control] In start: POST `prefix`METHOD calls a method. Methods that are not CG_RPC_READ_ONLY need CG_MAY_OPERATE.
    void serve_methods_over_http(const std::string& prefix = "/rpc/") {
        add_route("POST", prefix, CG_MAY_READ, [this, prefix](admin_exchange&& x) {
            const std::string name(x.path().substr(prefix.size()));
            const auto refuse = [&](unsigned status, const std::string& text) { x.respond(status, "{\"error\":" + json_string(text) + "}\n", "application/json"); };
            const auto m = methods_.find(name);
            if (m == methods_.end()) return refuse(404, "no method \"" + name + "\"");
            if ((m->second.first.flags & CG_RPC_READ_ONLY) == 0 && !x.may_operate()) return refuse(403, "\"" + name + "\" is taken on the Unix socket only");
            rpc_call call(*this, std::move(x));
            handle(m->second.second, call);
        }, true);
    }

    /// [control] In stop: streams that are still open end as cancelled.
    void end_streams() {
        std::map<cg_stream, std::shared_ptr<byte_producer>> open;
        {
            const std::lock_guard lock(streams_mutex_);
            open.swap(streams_);
        }
        for (const auto& [id, s] : open) s->cancel();
    }

  private:
    friend class admin_exchange;
    friend class rpc_call;
    struct route {
        route(module& o, route_handler h) : owner(o), handler(std::move(h)) {}
        module& owner;
        route_handler handler;
    };
    // What a handler throws before it moved its request away is the answer.
    template <class Handler, class Asked>
    static void handle(const Handler& handler, Asked& asked) {
        try {
            handler(std::move(asked));
        } catch (const status_error& e) {
            asked.fail(e.code(), e.what());
        } catch (const std::exception& e) {
            asked.fail(CG_E_INTERNAL, e.what());
        }
    }
    static constexpr cg_module_api c_table_ = {sizeof(cg_module_api), 0};
    static const cg_stream_control c_streams_;
    static const cg_rpc_api c_rpc_;

    std::shared_ptr<byte_producer> make_stream(const cg_stream_sink* sink) {
        if (sink == nullptr) throw status_error(CG_E_UNSUPPORTED, "the host offers no stream for this answer");
        auto s = std::make_shared<byte_producer>(sink);
        {
            const std::lock_guard lock(streams_mutex_);
            streams_[s->id()] = s;
        }
        // It stays until everything was sent; whoever writes to it may let go after end().
        return {s.get(), [this, s](byte_producer* p) {
                    p->end(CG_E_ABANDONED, "the plugin dropped this answer");
                    forget_if_ended(s);
                }};
    }
    template <class F>
    void with_stream(cg_stream id, F&& f) {
        std::shared_ptr<byte_producer> s;
        {
            const std::lock_guard lock(streams_mutex_);
            if (const auto i = streams_.find(id); i != streams_.end()) s = i->second;
        }
        if (!s) return;
        f(*s);
        forget_if_ended(s);
    }
    void forget_if_ended(const std::shared_ptr<byte_producer>& s) {
        if (!s->ended()) return;
        const std::lock_guard lock(streams_mutex_);
        streams_.erase(s->id());
    }
    const cg_rpc_methods* list() {
        const std::lock_guard lock(streams_mutex_);
        if (c_methods_.empty())
            for (const auto& [name, m] : methods_)
                c_methods_.push_back({to_c(m.first.name), to_c(m.first.summary), to_c(m.first.request_schema), to_c(m.first.response_schema), m.first.flags, 0});
        c_list_ = {sizeof(cg_rpc_methods), sizeof(cg_rpc_method), c_methods_.data(), c_methods_.size()};
        return &c_list_;
    }

    std::vector<std::unique_ptr<route>> routes_;
    std::map<std::string, std::pair<rpc_method, rpc_handler>, std::less<>> methods_;
    std::mutex streams_mutex_;
    std::map<cg_stream, std::shared_ptr<byte_producer>> streams_;
    std::vector<cg_rpc_method> c_methods_;
    cg_rpc_methods c_list_{};
};

inline const cg_stream_control module::c_streams_ = {
    .struct_size = sizeof(cg_stream_control),
    .reserved = 0,
    .request = [](cg_instance* i, cg_stream id, std::uint32_t n) noexcept {
        auto& self = static_cast<module&>(of(i));
        detail::guard_callback(self.host(), "stream request", [&] {
            self.with_stream(id, [n](byte_producer& s) { s.add_credits(n); });
        });
    },
    .cancel = [](cg_instance* i, cg_stream id, std::int32_t) noexcept {
        auto& self = static_cast<module&>(of(i));
        detail::guard_callback(self.host(), "stream cancel", [&] {
            self.with_stream(id, [](byte_producer& s) { s.cancel(); });
        });
    },
};

inline const cg_rpc_api module::c_rpc_ = {
    .struct_size = sizeof(cg_rpc_api),
    .reserved = 0,
    .methods = [](cg_instance* i) noexcept -> const cg_rpc_methods* {
        try {
            return static_cast<module&>(of(i)).list();
        } catch (...) {
            return nullptr;
        }
    },
    .call = [](cg_instance* i, cg_op op, const cg_rpc_call* call, const cg_stream_sink* sink) noexcept {
        return guard(i, op, [&](op_handle& h) {
            auto& self = static_cast<module&>(of(i));
            const auto m = self.methods_.find(view(copy_in(call).method));
            if (m == self.methods_.end()) throw status_error(CG_E_NOT_FOUND, "no method \"" + std::string(view(copy_in(call).method).substr(0, CG_RPC_MAX_NAME_BYTES)) + "\"");
            rpc_call c(self, std::move(h), call, sink);
            module::handle(m->second.second, c);
        });
    },
    .streams = &c_streams_,
};

inline std::shared_ptr<byte_producer> admin_exchange::stream(unsigned status, std::string_view content_type) {
    auto out = owner_->make_stream(sink_);
    auto r = make<cg_admin_response>();
    r.http_status = status;
    r.flags = CG_ADMIN_STREAMED;
    r.content_type = to_c(content_type);
    const bool late = op_.cancelled();
    out->open();
    op_.succeed(&r);
    if (late) out->cancel();
    return out;
}

inline void rpc_call::reply(std::string_view json) {
    if (http_) return http_->respond(200, std::string(json) + "\n", "application/json");
    const auto out = stream();
    out->write(json);
    out->end();
}
inline std::shared_ptr<byte_producer> rpc_call::stream() {
    if (http_) return http_->stream(200, "application/x-ndjson");
    auto out = owner_->make_stream(sink_);
    const bool late = op_.cancelled();
    out->open();
    op_.succeed();
    if (late) out->cancel();
    return out;
}
inline void rpc_call::fail(cg_status code, std::string_view text) {
    if (http_) return http_->respond(http_status_of(code), "{\"error\":" + json_string(text) + "}\n", "application/json");
    op_.fail(code, text);
}

/// A report of the engine; `then` on [control], never inside. Lives until it came: stop is answered after the last.
inline void read_engine(const host_ref& host, std::uint32_t kind, std::function<void(bool ready, std::string_view text)> then) {
    struct waiting {
        host_ref host;
        std::function<void(bool, std::string_view)> then;
    };
    auto w = std::make_unique<waiting>(waiting{host, std::move(then)});
    const auto s = host.require<ext::engine>().report(host.get(), kind, w.get(), [](void* ctx, const cg_engine_report* theirs) noexcept {
        const std::unique_ptr<waiting> mine(static_cast<waiting*>(ctx));
        const auto r = copy_in(theirs);
        detail::guard_callback(mine->host, "engine report", [&] { mine->then(r.ready == 1, view(r.text)); });
    });
    if (s != CG_OK) throw status_error(s, "the engine gives no report now");
    (void)w.release();
}

}  // namespace callgate::sdk
