// SPDX-License-Identifier: Apache-2.0
// The part of the supervisor that modules see: what they may read of the engine, how requests of the admin listener reach
// them, and the order in which they end.
#include <boost/asio/post.hpp>
#include <chrono>
#include <memory>
#include <utility>

#include "engine/runtime/supervisor.hpp"

namespace callgate::runtime {

namespace asio = boost::asio;

namespace {

/// A shard that is busy for longer shows the counters of the scrape before.
constexpr std::int64_t counters_limit_ns = 200'000'000;
constexpr const char* plain_text = "text/plain; charset=utf-8";

}  // namespace

result<void> supervisor::assemble_routes(candidate& c) {
    std::vector<instance_ptr> modules;
    for (const auto& [key, i] : c.instances)
        if (i->is(CG_KIND_MODULE)) modules.push_back(i->instance);
    auto routes = host::admin_routes::of(modules);
    if (!routes) return make_error(routes.error().code, routes.error().message(), c.settings.file + ": modules");
    c.routes = std::move(*routes);
    return {};
}

// Modules first: they may still call the others while they drain. Audit sinks last: all others may have something to record.
void supervisor::end_instances(std::vector<std::shared_ptr<running_instance>> instances, std::function<void()> done) {
    using list = std::vector<std::shared_ptr<running_instance>>;
    auto end_all = [this](const list& of, const std::function<void()>& then) {
        auto left = std::make_shared<std::size_t>(of.size() + 1);
        auto one_less = [left, then] {
            if (--*left == 0) then();
        };
        for (const auto& i : of) end_instance(i, one_less);
        one_less();
    };
    list modules, sinks, others;
    for (auto& i : instances) (i->is(CG_KIND_MODULE) ? modules : i->is(CG_KIND_AUDIT_SINK) ? sinks : others).push_back(std::move(i));
    end_all(modules, [end_all, others, sinks, done] { end_all(others, [end_all, sinks, done] { end_all(sinks, done); }); });
}

// A shard does not count for others on every round; whoever scrapes asks it.
void supervisor::refresh_link_counters(std::function<void()> then) {
    struct progress {
        std::size_t left;
        std::function<void()> then;
        void finish() {
            if (then) std::exchange(then, nullptr)();
        }
    };
    auto p = std::make_shared<progress>(progress{shards_.size(), std::move(then)});
    for (const auto& s : shards_)
        s->refresh_counters([this, p] {
            asio::post(control_, [p] {
                if (--p->left == 0) p->finish();
            });
        });
    after(counters_limit_ns, [p] { p->finish(); });
}

std::shared_ptr<const host::engine_port> supervisor::engine_for_modules() {
    auto port = std::make_shared<host::engine_port>();
    port->read = [this](std::uint32_t kind, std::function<void(host::engine_port::report)> then) {
        auto report = [this, kind, then = std::move(then)] {
            const auto s = collect_status();
            host::engine_port::report r{s.config_generation != 0 && s.ready(), {}};
            if (kind == CG_ENGINE_HEALTH) r.text = render_health(s);
            else if (kind == CG_ENGINE_METRICS) r.text = render_metrics(s);
            else if (s.config_generation == 0) r.text = "starting";
            else if (s.ready(&r.text)) r.text = "ok";
            then(std::move(r));
        };
        if (kind == CG_ENGINE_METRICS) refresh_link_counters(std::move(report));
        else report();
    };
    port->reload = [this](std::string who) { asio::post(control_, [this, who = std::move(who)] { reload(who); }); };
    return port;
}

// [admin thread] No plugin and no busy control thread may make a living process look dead.
void supervisor::answer(admin_request&& r, admin_server::responder then) {
    if (r.path == "/livez") {
        const bool reading = r.method == "GET" || r.method == "HEAD";
        return then({reading ? 200u : 405u, plain_text, reading ? "ok\n" : "GET\n", nullptr});
    }
    asio::post(control_, [this, r = std::move(r), then = std::move(then)]() mutable { answer_by_module(std::move(r), std::move(then)); });
}

void supervisor::answer_by_module(admin_request&& r, admin_server::responder then) {
    if (stopped_ || !current_ || !current_->routes) return then({503, plain_text, stopped_ ? "stopping\n" : "starting\n", nullptr});
    current_->routes->serve({std::move(r.method), std::move(r.path), std::move(r.query), std::move(r.headers), std::move(r.body), std::move(r.caller)},
                            [then = std::move(then)](host::admin_answer a) {
                                then({a.status, std::move(a.content_type), std::move(a.body), std::move(a.stream)});
                            });
}

}  // namespace callgate::runtime
