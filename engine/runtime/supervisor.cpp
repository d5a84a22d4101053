// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/supervisor.hpp"

#include <pthread.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <csignal>
#include <cstdio>
#include <thread>
#include <utility>

#include "engine/base/log.hpp"
#include "engine/base/version.hpp"
#include "engine/flow/key_tables.hpp"
#include "engine/flow/replay_set.hpp"
#include "engine/runtime/instance_config.hpp"
#include "engine/runtime/serve.hpp"

namespace callgate::runtime {

namespace asio = boost::asio;

namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t start_limit_ns = 30 * second;
constexpr std::int64_t connect_limit_ns = 5 * second;

log::level level_of(const std::string& name) {
    if (name == "trace") return log::level::trace;
    if (name == "debug") return log::level::debug;
    if (name == "warn") return log::level::warn;
    if (name == "error") return log::level::error;
    return log::level::info;
}

bool same(const instance_options& a, const instance_options& b) {
    return a.plugin == b.plugin && a.type == b.type && a.config_json == b.config_json && a.max_in_flight == b.max_in_flight &&
           a.timeout_ns == b.timeout_ns && a.uses == b.uses && a.breaker == b.breaker && a.overdue == b.overdue && a.cache_ttl_ns == b.cache_ttl_ns;
}

}  // namespace

supervisor::supervisor(std::string config_path)
    : config_path_(std::move(config_path)), signals_(control_, SIGTERM, SIGINT, SIGHUP), tick_timer_(control_) {}

supervisor::~supervisor() {
    admin_.reset();
    for (auto& s : shards_) s->stop();
}

int supervisor::run() {
    std::signal(SIGPIPE, SIG_IGN);
    ::pthread_setname_np(::pthread_self(), "control");
    asio::post(control_, [this] { begin(); });
    control_.run();
    if (live_instances_ != 0) {
        // Threads of a plugin that did not stop may still call wake: no shard may be taken from under them.
        admin_.reset();
        std::fflush(nullptr);
        std::_Exit(exit_code_);
    }
    return exit_code_;
}

void supervisor::fail_start(const error& e) {
    log::error("callgate cannot start", {{"reason", e.message()}});
    exit_code_ = 1;
    finish_stop();
}

void supervisor::begin() {
    auto loaded = load_config(config_path_);
    for (const auto& f : loaded.findings) std::fprintf(stderr, "%s: %s\n", f.level == finding::severity::error ? "error" : "warning", f.message().c_str());
    if (!loaded.value) {
        exit_code_ = 1;
        finish_stop();
        return;
    }
    auto& c = *loaded.value;
    log::configure(level_of(c.log.level), c.log.format == "json" ? log::format::json : log::format::text);
    log::info("callgate starts", {{"version", std::string(version)}, {"config", c.file}});

    // The host takes 64 at most; a larger machine must not fail to start for that.
    const auto count = c.shards != 0 ? c.shards : std::clamp(std::thread::hardware_concurrency(), 1u, 64u);
    {
        const std::lock_guard lock(status_mutex_);
        status_.version = std::string(version);
        status_.config_file = c.file;
        status_.started_unix_s = clock_.wall_s();
    }
    const auto replays = std::make_shared<flow::replay_set>(flow::replay_set::default_entries * count);
    const auto tables = std::make_shared<flow::key_tables>();
    for (std::uint32_t i = 0; i < count; ++i) {
        shard::hooks h;
        h.drain_completions = [this](std::uint32_t s) { host_->drain(s); };
        h.expire_operations = [this](std::uint32_t s) { host_->expire(s, clock_.mono_ns()); };
        h.next_operation_deadline = [this](std::uint32_t s) { return host_->next_deadline(s); };
        h.link_changed = [this] { asio::post(control_, [this] { refresh_views(); publish_status(); announce_service(); }); };
        h.kick = [this](const std::string& cluster, std::string server, std::uint64_t cid) {
            asio::post(control_, [this, cluster, server = std::move(server), cid] { kick(cluster, server, cid); });
        };
        shards_.push_back(std::make_unique<shard>(i, clock_, replays, std::move(h), tables));
    }
    host::plugin_host::options ho;
    ho.shards = count;
    ho.libraries = plugin_libraries(c);
    ho.wake = [this](std::uint32_t s) { shards_[s]->wake(); };
    ho.engine = engine_for_modules();
    ho.audit = std::make_shared<const host::audit_port>(host::audit_port{[relay = audit_relay_](host::audit_note&& n) { return relay->record(std::move(n)); }});
    host_ = std::make_unique<host::plugin_host>(control_, clock_, std::move(ho));
    for (auto& s : shards_) s->start();
    if (auto r = open_admin(c.admin); !r) return fail_start(r.error());
    await_signals();
    tick();

    prepare(std::move(c), [this](result<std::shared_ptr<candidate>> made) {
        if (stopped_ || draining_) return;
        if (!made) return fail_start(made.error());
        commit(*made);
        log::info("configuration in use; connecting", {{"clusters", current_->settings.nats.size()}});
    });
}

result<void> supervisor::open_admin(const admin_options& options) {
    admin_options_ = options;
    if (options.listen.empty()) return {};
    auto a = admin_server::open(options, [this](admin_request&& r, admin_server::responder then) { answer(std::move(r), std::move(then)); });
    if (!a) return a.error();
    admin_ = std::move(*a);
    log::info("admin listening", {{"address", admin_->address()}});
    return {};
}

// ---- preparing a configuration ------------------------------------------------------------------------

void supervisor::prepare(config&& settings, std::function<void(result<std::shared_ptr<candidate>>)> done) {
    auto c = std::make_shared<candidate>();
    c->settings = std::move(settings);
    preparing_ = c;
    auto fail = [this, c, done](const error& e) {
        // A stop may have taken it over meanwhile.
        if (preparing_ != c) return;
        // At the start there is nothing to go back to: finish_stop waits until what was made has ended.
        if (!current_) return done(e);
        preparing_.reset();
        abandon(c);
        done(e);
    };
    auto finish = [this, c, done] {
        if (preparing_ != c) return;
        preparing_.reset();
        done(c);
    };
    if (auto r = make_instances(*c); !r) return fail(r.error());
    auto start = [this, c](done_fn then) {
        reopen_sinks(c, [this, c, then](result<void> reopened) {
            if (!reopened || preparing_ != c) return then(std::move(reopened));
            start_instances(c, then);
        });
    };
    start([this, c, finish, fail](result<void> started) {
        if (!started || preparing_ != c) return fail(started ? make_error(errc::cancelled, "the daemon is shutting down") : started.error());
        if (auto r = attach_instances(*c); !r) return fail(r.error());
        if (draining_) return fail(make_error(errc::cancelled, "the daemon is shutting down"));
        if (auto r = assemble_flow(*c); !r) return fail(r.error());
        if (auto r = assemble_audit(*c); !r) return fail(r.error());
        if (auto r = assemble_routes(*c); !r) return fail(r.error());
        if (!current_) return finish();
        // A reload must not lose what works: new links have to be up before the old ones go. At the first
        // start there is nothing to lose, and links never give up.
        open_clusters(c, [this, c, finish, fail](result<void> opened) {
            if (!opened) return fail(opened.error());
            wait_for_clusters(c, clock_.mono_ns() + connect_limit_ns, [finish, fail](result<void> up) {
                if (!up) return fail(up.error());
                finish();
            });
        });
    });
}

result<void> supervisor::make_instances(candidate& c) {
    host_->configure(plugin_libraries(c.settings));
    auto make = [&](const instance_section& section, const instance_options& o) -> result<void> {
        const auto kind = section.abi_kind;
        const auto key = std::string(section.kind) + "/" + o.name;
        auto connections = plugin_links_fingerprint(o, c.settings);
        // A key provider is made anew each time: behind an unchanged path may lie another seed, and a rotation that
        // silently keeps the old key is found out when the servers refuse its signatures.
        if (current_ && kind != CG_KIND_KEY_PROVIDER) {
            if (auto old = current_->instances.find(key); old != current_->instances.end() && same(old->second->options, o) && old->second->connections == connections) {
                c.instances[key] = old->second;
                return {};
            }
        }
        const auto where = place_of(c.settings, section, o);
        auto factory = host_->find_factory(kind, o.plugin, o.type);
        if (!factory) return make_error(factory.error().code, factory.error().message(), where);
        const auto resolved = resolve_instance(o, factory->config_schema, c.settings, std::string(section.name));
        for (const auto& f : resolved.findings)
            if (f.level == finding::severity::error) return make_error(errc::invalid, f.message());
        auto options = host_options(resolved.value->options, c.settings);
        options.secrets = resolved.value->secrets;
        options.nats = plugin_links_->openers(o, c.settings);
        auto made = host_->make_instance(kind, std::move(options));
        if (!made) return make_error(made.error().code, made.error().message(), where);
        auto r = std::make_shared<running_instance>();
        r->options = o;
        r->connections = std::move(connections);
        r->section = &section;
        r->instance = std::move(*made);
        c.instances[key] = r;
        c.fresh.push_back(std::move(r));
        return {};
    };
    for (const auto& section : instance_sections)
        for (const auto& o : c.settings.*section.list)
            if (auto r = make(section, o); !r) return r.error();
    return {};
}

// Modules last: they may call all the others.
void supervisor::start_instances(std::shared_ptr<candidate> c, done_fn done) {
    start_instances(c, false, [this, c, done](result<void> r) {
        if (!r) return done(std::move(r));
        start_instances(c, true, done);
    });
}

void supervisor::start_instances(const std::shared_ptr<candidate>& c, bool modules, done_fn done) {
    const auto all = std::make_shared<gathering>(std::move(done));
    for (const auto& i : c->fresh) {
        if (i->is(CG_KIND_MODULE) != modules) continue;
        all->expect();
        i->started = true;
        ++live_instances_;
        const auto where = place_of(c->settings, *i->section, i->options);
        i->instance->start(start_limit_ns, [all, where](result<void> r) {
            if (!r) return all->one_less(make_error(r.error().code, r.error().message(), where));
            all->one_less();
        });
    }
    all->one_less();
}

result<void> supervisor::attach_instances(const candidate& c) {
    for (const auto& s : shards_) {
        std::optional<error> failed;
        s->run_and_wait([&] {
            for (const auto& i : c.fresh) {
                if (!i->on_shards()) continue;
                auto r = i->instance->attach(s->index());
                if (r) continue;
                failed = make_error(r.error().code, "refuses shard " + std::to_string(s->index()) + ": " + r.error().message(),
                                    place_of(c.settings, *i->section, i->options));
                return;
            }
        });
        if (failed) return *failed;
    }
    return {};
}

result<void> supervisor::assemble_flow(candidate& c) {
    std::map<std::string, provider_view> providers;
    std::map<std::string, std::shared_ptr<flow::auth_port>> backends;
    std::map<std::string, std::shared_ptr<flow::store_port>> stores;
    for (const auto& [key, i] : c.instances) {
        if (!i->on_shards()) continue;
        if (i->is(CG_KIND_CLAIM_STORE)) {
            // One port for the life of the instance, so that its cache survives a reload that keeps the instance.
            if (!i->lookup) {
                auto port = host::make_store_port(i->instance, {.ttl_ns = i->options.cache_ttl_ns});
                if (!port) return make_error(port.error().code, port.error().message(), place_of(c.settings, *i->section, i->options));
                i->lookup = std::move(*port);
            }
            stores[i->options.name] = i->lookup;
        } else if (i->is(CG_KIND_AUTH_BACKEND)) {
            backends[i->options.name] = i->instance->auth();
        } else {
            provider_view v;
            v.port = i->instance->keys_port();
            for (const auto& [label, k] : i->instance->keys()) v.keys[label] = provider_key{k.key, k.algorithm, k.nkey};
            v.in_tree = i->options.plugin == "key_file";
            providers[i->options.name] = std::move(v);
        }
    }
    auto f = assemble(c.settings, providers, backends, shards_.size(), stores);
    if (!f) return f.error();
    c.flow = std::move(*f);
    return {};
}

void supervisor::abandon(const std::shared_ptr<candidate>& c) {
    for (auto& r : c->fresh_clusters) retire_cluster(r);
    c->routes.reset();
    end_instances(c->fresh, [] {});
    c->fresh_clusters.clear();
    c->fresh.clear();
}

// ---- putting it in use ---------------------------------------------------------------------------------

void supervisor::commit(const std::shared_ptr<candidate>& c) {
    auto old = current_;
    for (auto& s : shards_) {
        s->run_and_wait([&] {
            s->set_audit(c->audit);
            s->use(c->flow);
        });
    }
    current_ = c;
    audit_relay_->use(c->audit);
    if (!old) {
        opening_ = true;
        open_clusters(c, [this](result<void> opened) {
            opening_ = false;
            if (!opened && !draining_) return fail_start(opened.error());
            publish_status();
            if (std::exchange(reload_again_, false)) reload("asked during the start");
        });
    }
    refresh_views();
    publish_status();
    refresh_health();  // fills in what publish_status has listed
    {
        // Last: /readyz says "starting" until the clusters to wait for are in the status.
        const std::lock_guard lock(status_mutex_);
        ++status_.config_generation;
        status_.config_loaded_unix_s = clock_.wall_s();
    }
    if (!old) return;
    log::set_level(level_of(c->settings.log.level));
    announce_reload(*old, *c);
    std::weak_ptr<const flow::flow_config> last_user = old->flow;
    for (auto& [name, cluster] : old->clusters)
        if (auto it = c->clusters.find(name); it == c->clusters.end() || it->second != cluster) retire_cluster(cluster);
    std::vector<std::shared_ptr<running_instance>> modules, others;
    for (auto& [key, i] : old->instances)
        if (auto it = c->instances.find(key); it == c->instances.end() || it->second != i) (i->is(CG_KIND_MODULE) ? modules : others).push_back(i);
    end_instances(std::move(modules), [this, others, last_user] {
        for (const auto& i : others) retire_instance(i, last_user);
    });
    old->flow.reset();
    old->routes.reset();
    old->audit.reset();
    c->fresh.clear();
    c->fresh_clusters.clear();
}

void supervisor::retire_instance(std::shared_ptr<running_instance> instance, std::weak_ptr<const flow::flow_config> last_user) {
    // Requests that began under the old configuration may still call it; they hold that configuration.
    if (!last_user.expired()) return after(100'000'000, [this, instance, last_user] { retire_instance(instance, last_user); });
    end_instance(instance, [] {});
}

void supervisor::end_instance(std::shared_ptr<running_instance> r, std::function<void()> done) {
    if (r->sink) return end_sink(std::move(r), std::move(done));
    auto i = r->instance;
    if (!i) return done();
    r->instance.reset();
    host_->retire(
        i, 5 * second, [this](std::uint32_t s, std::function<void()> work) { shards_[s]->post(std::move(work)); },
        [this, i, r, done](result<void> gone) {
            if (!gone) log::warn("plugin instance did not end cleanly", {{"instance", r->options.name}, {"reason", gone.error().message()}});
            else if (r->started) --live_instances_;
            done();
        });
}

// ---- signals, reload, stop ------------------------------------------------------------------------------

void supervisor::await_signals() {
    signals_.async_wait([this](const boost::system::error_code& ec, int signal) {
        if (ec) return;
        if (signal == SIGHUP) {
            reload("SIGHUP");
        } else if (draining_) {
            log::warn("second signal: ending at once");
            std::_Exit(1);
        } else {
            log::info("draining", {{"signal", signal}});
            drain();
        }
        await_signals();
    });
}

void supervisor::reload(const std::string& who) {
    if (draining_ || stopped_) return;
    // A reload retires and keeps clusters by their links; the first ones have none yet while discovery is awaited.
    if (reloading_ || opening_ || !current_) {
        reload_again_ = true;
        return;
    }
    reloading_ = true;
    auto finish = [this](std::string failed) {
        reloading_ = false;
        {
            const std::lock_guard lock(status_mutex_);
            (failed.empty() ? status_.reloads_ok : status_.reloads_failed) += 1;
            status_.last_reload_error = failed;
        }
        if (failed.empty()) log::info("configuration reloaded");
        else log::error("reload failed; the old configuration stays in use", {{"reason", failed}});
        publish_status();
        if (reload_again_) {
            reload_again_ = false;
            reload("queued request");
        }
    };
    log::info("reloading", {{"asked_by", who}, {"config", config_path_}});
    auto loaded = load_config(config_path_);
    std::string errors;
    for (const auto& f : loaded.findings) {
        if (f.level == finding::severity::error) errors += (errors.empty() ? "" : "; ") + f.message();
        else log::warn("configuration", {{"finding", f.message()}});
    }
    if (!loaded.value) return finish(errors.empty() ? "configuration is not usable" : errors);
    if (loaded.value->shards != 0 && loaded.value->shards != shards_.size())
        log::warn("shards: takes effect at the next start", {{"running", shards_.size()}, {"configured", loaded.value->shards}});
    const auto admin = loaded.value->admin;
    prepare(std::move(*loaded.value), [this, finish, admin](result<std::shared_ptr<candidate>> made) {
        if (!made) return finish(made.error().message());
        if (draining_) {
            abandon(*made);
            return finish("the daemon is shutting down");
        }
        commit(*made);
        if (admin.listen != admin_options_.listen) log::warn("admin.listen: takes effect at the next start");
        finish({});
    });
}

void supervisor::drain() {
    draining_ = true;
    if (host_) host_->publish({CG_EVENT_SHUTTING_DOWN});
    publish_status();
    if (!current_) return finish_stop();
    const auto limit = current_->settings.drain_limit_ns;
    auto left = std::make_shared<std::size_t>(1);
    auto one_less = [this, left] {
        if (--*left == 0) close_system_clients();
    };
    // Every group, not only those of the configuration in use: a reload may be half done, links that it retired
    // or opened receive as well.
    for (auto& p : shards_) {
        ++*left;
        p->post([this, &s = *p, limit, one_less] {
            s.stop_receiving(shard::every_group, limit / 2, [this, &s, limit, one_less] {
                s.when_idle(limit / 2, [this, &s, one_less] {
                    s.close_links(shard::every_group, second, [this, one_less] { asio::post(control_, one_less); });
                });
            });
        });
    }
    one_less();
}

// After the shards: a request that is shed during the drain still has its client kicked.
void supervisor::close_system_clients() {
    auto left = std::make_shared<std::size_t>(1);
    auto one_less = [this, left] {
        if (--*left == 0) finish_stop();
    };
    for (auto& [name, cluster] : current_->clusters) {
        if (!cluster->system) continue;
        ++*left;
        cluster->system->close(second, [this, one_less] { asio::post(control_, one_less); });
    }
    one_less();
}

void supervisor::finish_stop() {
    if (stopped_) return;
    stopped_ = true;
    std::vector<std::shared_ptr<running_instance>> all;
    if (current_) {
        current_->routes.reset();
        for (auto& [key, i] : current_->instances) all.push_back(i);
    }
    if (const auto unfinished = std::exchange(preparing_, nullptr)) {
        unfinished->routes.reset();
        all.insert(all.end(), unfinished->fresh.begin(), unfinished->fresh.end());
    }
    end_instances(std::move(all), [this] {
        boost::system::error_code ignored;
        signals_.cancel(ignored);
        tick_timer_.cancel();
        // What plugins published while they stopped still goes out.
        plugin_links_->when_closed(second, [this] {
            if (exit_code_ == 0) log::info("callgate stopped");
            control_.stop();
        });
    });
}

// ---- housekeeping ---------------------------------------------------------------------------------------

void supervisor::after(std::int64_t ns, std::function<void()> fn) {
    auto t = std::make_shared<asio::steady_timer>(control_, std::chrono::nanoseconds(ns));
    t->async_wait([t, fn = std::move(fn)](const boost::system::error_code& ec) {
        if (!ec) fn();
    });
}

void supervisor::tick() {
    tick_timer_.expires_after(std::chrono::seconds(1));
    tick_timer_.async_wait([this](const boost::system::error_code& ec) {
        if (ec || stopped_) return;
        refresh_views();
        if (++ticks_ % 5 == 0) refresh_health();
        publish_status();
        announce_service();
        tick();
    });
}

}  // namespace callgate::runtime
