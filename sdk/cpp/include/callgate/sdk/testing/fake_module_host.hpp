// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/rpc.h>
#include <callgate/abi/ext/draft/admin_http.h>
#include <callgate/abi/ext/draft/engine.h>
#include <callgate/sdk/testing/driver.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

namespace callgate::sdk::test {

/// The consumer's half of a stream of bytes (cg_rpc_chunk, cg_admin_chunk); what came is kept. Outlives the stream.
class captured_bytes {
  public:
    explicit captured_bytes(cg_stream id, std::uint32_t credits) {
        sink_ = make<cg_stream_sink>();
        sink_.initial_credits = credits;
        sink_.stream = id;
        sink_.ctx = this;
        sink_.on_event = [](void* ctx, cg_stream, const cg_stream_event* e) noexcept {
            auto& self = *static_cast<captured_bytes*>(ctx);
            const auto bytes = view(copy_in(static_cast<const cg_rpc_chunk*>(copy_in(e).payload)).bytes);
            const std::lock_guard lock(self.mutex_);
            if (self.ended_) ++self.faults_;
            self.chunks_.emplace_back(bytes.begin(), bytes.end());
        };
        sink_.on_end = [](void* ctx, cg_stream, const cg_stream_end* e) noexcept {
            auto& self = *static_cast<captured_bytes*>(ctx);
            const std::lock_guard lock(self.mutex_);
            if (self.ended_) ++self.faults_;
            self.ended_ = true;
            self.status_ = copy_in(e).status;
            self.changed_.notify_all();
        };
    }
    [[nodiscard]] const cg_stream_sink* sink() const noexcept { return &sink_; }
    [[nodiscard]] cg_stream id() const noexcept { return sink_.stream; }
    [[nodiscard]] std::vector<std::string> chunks() const {
        const std::lock_guard lock(mutex_);
        return chunks_;
    }
    [[nodiscard]] std::string text() const {
        std::string out;
        for (const auto& c : chunks()) out += c;
        return out;
    }
    /// Waits for the end; nullopt when none came within 20 s.
    std::optional<cg_status> wait_end() {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, std::chrono::seconds(20), [&] { return ended_; })) return std::nullopt;
        return status_;
    }
    /// Events or ends after the end.
    [[nodiscard]] int faults() const {
        const std::lock_guard lock(mutex_);
        return faults_;
    }

  private:
    cg_stream_sink sink_{};
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> chunks_;
    bool ended_ = false;
    cg_status status_ = CG_OK;
    int faults_ = 0;
};

struct fake_admin_request {
    std::string method = "GET", path, query{}, body{};
    std::vector<std::pair<std::string, std::string>> headers{};
    std::uint32_t may = CG_MAY_READ;
};

/// A fake_host for modules: keeps routes, answers what it is told to of the engine. Reports wait for answer_reports().
class fake_module_host : public fake_host {
  public:
    explicit fake_module_host(std::string instance_name = "under_test") : fake_host(std::move(instance_name)) {}

    bool ready = true;
    std::string readiness = "ok", health_json = "{}", metrics = "# metrics\n";
    cg_status reload_status = CG_OK;
    std::vector<std::uint32_t> reloads;  ///< `may` of who asked

    [[nodiscard]] std::vector<std::string> routes() const {
        std::vector<std::string> out;
        for (const auto& r : kept_routes_) out.push_back(r.method + " " + r.path + (r.prefix ? "*" : "") + (r.needs == CG_MAY_READ ? "" : " operate"));
        return out;
    }
    /// Reports asked for and not answered yet.
    [[nodiscard]] std::size_t waiting_reports() const noexcept { return reports_.size(); }
    void answer_reports() {
        for (auto& r : std::exchange(reports_, {})) {
            auto out = make<cg_engine_report>();
            out.ready = ready ? 1 : 0;
            out.text = to_c(r.kind == CG_ENGINE_HEALTH ? health_json : r.kind == CG_ENGINE_METRICS ? metrics : readiness);
            r.done(r.ctx, &out);
        }
    }
    /// Calls the route; `r` and `out` outlive the operation. 0: there is no such route. Rights are the real host's business.
    cg_op admin_op(const fake_admin_request& r, captured_bytes* out = nullptr) {
        for (const auto& to : kept_routes_) {
            if (to.method != r.method || !(to.prefix ? r.path.starts_with(to.path) : r.path == to.path)) continue;
            auto& a = asked_.emplace_back();
            a.caller = make<cg_caller>();
            a.caller.how = r.may == CG_MAY_OPERATE ? CG_CALLER_UNIX_PEER : CG_CALLER_LOOPBACK;
            a.caller.may = r.may;
            for (const auto& [k, v] : r.headers) a.headers.push_back({to_c(k), to_c(v)});
            a.c = make<cg_admin_request>();
            a.c.headers_stride = sizeof(cg_admin_header);
            a.c.method = to_c(r.method);
            a.c.path = to_c(r.path);
            a.c.query = to_c(r.query);
            a.c.headers = a.headers.data();
            a.c.header_count = a.headers.size();
            a.c.body = {reinterpret_cast<const std::uint8_t*>(r.body.data()), r.body.size()};
            a.c.caller = &a.caller;
            const cg_op op = begin(result_kind::admin_response, std::chrono::seconds(5));
            if (const auto s = to.handle(to.ctx, op, &a.c, out == nullptr ? nullptr : out->sink()); s != CG_OK) refused(op, s);
            return op;
        }
        return 0;
    }
    /// Calls it, answers its reports, waits. http_status 0: no such route.
    completion admin(const fake_admin_request& r, captured_bytes* out = nullptr) {
        const cg_op op = admin_op(r, out);
        if (op == 0) return {};
        answer_reports();
        return wait(op).value();
    }

  protected:
    [[nodiscard]] const void* find_more(std::string_view id) const noexcept override {
        if (id == CG_EXT_ADMIN_HTTP) return &admin_http_;
        if (id == CG_EXT_ENGINE) return &engine_;
        return nullptr;
    }

  private:
    struct kept_route {
        std::string method, path;
        bool prefix;
        std::uint32_t needs;
        void* ctx;
        decltype(cg_admin_route::handle) handle;
    };
    struct kept_report {
        std::uint32_t kind;
        void* ctx;
        void (*done)(void*, const cg_engine_report*);
    };
    struct asked {
        cg_admin_request c{};
        cg_caller caller{};
        std::vector<cg_admin_header> headers;
    };
    static fake_module_host& me(const cg_host* h) noexcept { return static_cast<fake_module_host&>(self(h)); }

    static const cg_admin_http_api admin_http_;
    static const cg_engine_api engine_;

    std::vector<kept_route> kept_routes_;
    std::vector<kept_report> reports_;
    std::deque<asked> asked_;
};

inline const cg_admin_http_api fake_module_host::admin_http_ = {
    sizeof(cg_admin_http_api), 0, [](const cg_host* h, const cg_admin_route* theirs, cg_errbuf*) noexcept -> cg_status {
        const auto r = copy_in(theirs);
        if (r.handle == nullptr || r.path.size == 0) return CG_E_INVALID;
        me(h).kept_routes_.push_back({std::string(view(r.method)), std::string(view(r.path)), (r.flags & CG_ADMIN_PREFIX) != 0, r.needs, r.ctx, r.handle});
        return CG_OK;
    }};
inline const cg_engine_api fake_module_host::engine_ = {
    sizeof(cg_engine_api), 0,
    [](const cg_host* h, std::uint32_t kind, void* ctx, void (*done)(void*, const cg_engine_report*)) noexcept -> cg_status {
        if (done == nullptr) return CG_E_INVALID;
        me(h).reports_.push_back({kind, ctx, done});
        return CG_OK;
    },
    [](const cg_host* h, const cg_caller* caller) noexcept -> cg_status {
        me(h).reloads.push_back(copy_in(caller).may);
        return me(h).reload_status;
    }};

/// A module's methods as its host calls them, through the C table.
class rpc_client {
  public:
    rpc_client(fake_host& host, cg_instance* instance) : host_(host), instance_(instance) {
        if (const void* table = instance->query(instance, to_c(std::string_view(CG_EXT_RPC)))) api_ = copy_in(static_cast<const cg_rpc_api*>(table));
    }
    /// False: the instance has no callgate.rpc/1.
    explicit operator bool() const noexcept { return api_.call != nullptr; }
    [[nodiscard]] const cg_rpc_api& api() const noexcept { return api_; }
    [[nodiscard]] std::vector<std::string> methods() const {
        std::vector<std::string> out;
        const auto all = copy_in(api_.methods(instance_));
        for (std::size_t i = 0; i < all.count; ++i)
            out.emplace_back(view(reinterpret_cast<const cg_rpc_method*>(reinterpret_cast<const unsigned char*>(all.items) + i * all.stride)->name));
        return out;
    }
    /// `out` outlives the stream.
    cg_op call_op(const std::string& method, const std::string& request, captured_bytes& out, std::uint32_t flags = 0) {
        auto& a = asked_.emplace_back(asked{method, request});
        a.caller = make<cg_caller>();
        a.caller.how = CG_CALLER_LOCAL_CLI;
        a.caller.may = CG_MAY_OPERATE;
        a.c = make<cg_rpc_call>();
        a.c.flags = flags;
        a.c.method = to_c(a.method);
        a.c.request = {reinterpret_cast<const std::uint8_t*>(a.request.data()), a.request.size()};
        a.c.caller = &a.caller;
        const cg_op op = host_.begin(result_kind::none, std::chrono::seconds(5));
        if (const auto s = api_.call(instance_, op, &a.c, out.sink()); s != CG_OK) host_.refused(op, s);
        return op;
    }
    void give(const captured_bytes& out, std::uint32_t credits) { api_.streams->request(instance_, out.id(), credits); }
    void cancel(const captured_bytes& out) { api_.streams->cancel(instance_, out.id(), CG_CANCEL_REQUESTER); }

  private:
    struct asked {
        std::string method, request;
        cg_rpc_call c{};
        cg_caller caller{};
    };
    fake_host& host_;
    cg_instance* instance_;
    cg_rpc_api api_{};
    std::deque<asked> asked_;
};

}  // namespace callgate::sdk::test
