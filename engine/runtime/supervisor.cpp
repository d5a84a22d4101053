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
#include "engine/runtime/serve.hpp"

namespace callgate::runtime {

namespace asio = boost::asio;

namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t start_limit_ns = 30 * second;
constexpr std::int64_t connect_limit_ns = 5 * second;
constexpr std::int64_t discovery_limit_ns = 2 * second;
constexpr std::int64_t discovery_look_ns = second / 20;
constexpr std::string_view callout_subject = "$SYS.REQ.USER.AUTH";

log::level level_of(const std::string& name) {
    if (name == "trace") return log::level::trace;
    if (name == "debug") return log::level::debug;
    if (name == "warn") return log::level::warn;
    if (name == "error") return log::level::error;
    return log::level::info;
}

net::link_options callout_links(const nats_options& n, const callout_options& c) {
    auto o = n.link;
    o.subscriptions = {{std::string(callout_subject), c.queue}};
    return o;
}

std::string of(const net::link_options& o) {
    std::string s;
    auto add = [&](const std::string& v) { s += std::to_string(v.size()) + ":" + v + ","; };
    for (const auto& u : o.urls) add(u);
    s += "|" + std::to_string(o.login.index());
    std::visit(
        [&](const auto& l) {
            if constexpr (requires { l.user; }) add(l.user);
            if constexpr (requires { l.path; }) add(l.path);
        },
        o.login);
    if (o.tls) {
        add(o.tls->ca_file);
        add(o.tls->cert_file);
        add(o.tls->key_file);
        add(o.tls->server_name);
    }
    return s;
}

bool same(const instance_options& a, const instance_options& b) {
    return a.plugin == b.plugin && a.type == b.type && a.config_json == b.config_json && a.max_in_flight == b.max_in_flight &&
           a.timeout_ns == b.timeout_ns;
}

}  // namespace

std::string fingerprint(const nats_options& n, const callout_options& c) {
    std::string s = of(n.link) + "#" + std::to_string(n.links_per_server) + "#" + c.queue + "#";
    if (n.system) s += of(*n.system);
    return s;
}

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
    for (std::uint32_t i = 0; i < count; ++i) {
        shard::hooks h;
        h.drain_completions = [this](std::uint32_t s) { host_->drain(s); };
        h.expire_operations = [this](std::uint32_t s) { host_->expire(s, clock_.mono_ns()); };
        h.next_operation_deadline = [this](std::uint32_t s) { return host_->next_deadline(s); };
        h.link_changed = [this] { asio::post(control_, [this] { refresh_views(); publish_status(); }); };
        h.kick = [this](const std::string& cluster, std::string server, std::uint64_t cid) {
            asio::post(control_, [this, cluster, server = std::move(server), cid] { kick(cluster, server, cid); });
        };
        shards_.push_back(std::make_unique<shard>(i, clock_, std::move(h)));
    }
    host::plugin_host::options ho;
    ho.shards = count;
    ho.libraries = plugin_libraries(c);
    ho.wake = [this](std::uint32_t s) { shards_[s]->wake(); };
    host_ = std::make_unique<host::plugin_host>(control_, clock_, std::move(ho));
    for (auto& s : shards_) s->start();
    if (auto r = open_admin(c.admin); !r) return fail_start(r.error());
    await_signals();
    tick();

    prepare(std::move(c), [this](result<std::shared_ptr<candidate>> made) {
        if (stopped_ || draining_) return;
        if (!made) return fail_start(made.error());
        commit(*made);
        log::info("callgate serves", {{"shards", shards_.size()}, {"accounts", current_->settings.accounts.size()}});
        if (std::exchange(reload_again_, false)) reload("asked during the start");
    });
}

result<void> supervisor::open_admin(const admin_options& options) {
    admin_options_ = options;
    if (options.listen.empty()) return {};
    auto a = admin_server::open(options, [this](const admin_request& r) { return answer(r); });
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
    if (!c->settings.audit.path.empty()) {
        if (current_ && current_->audit && current_->settings.audit.path == c->settings.audit.path) {
            c->audit = current_->audit;
            if (auto r = c->audit->reopen(); !r) return fail(r.error());
        } else {
            auto w = observe::audit_writer::open(c->settings.audit.path);
            if (!w) return fail(w.error());
            c->audit = std::move(*w);
        }
    }
    if (auto r = make_instances(*c); !r) return fail(r.error());
    start_instances(c, [this, c, finish, fail](result<void> started) {
        if (!started) return fail(started.error());
        if (draining_) return fail(make_error(errc::cancelled, "the daemon is shutting down"));
        if (auto r = assemble_flow(*c); !r) return fail(r.error());
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
    auto make = [&](const instance_options& o, bool backend) -> result<void> {
        const auto key = (backend ? "backend/" : "keys/") + o.name;
        // A key provider is made anew each time: behind an unchanged path may lie another seed, and a rotation that
        // silently keeps the old key is found out when the servers refuse its signatures.
        if (current_ && backend) {
            if (auto old = current_->instances.find(key); old != current_->instances.end() && same(old->second->options, o)) {
                c.instances[key] = old->second;
                return {};
            }
        }
        const auto section = std::string(backend ? "backends" : "keys");
        const auto where = c.settings.file + ":" + std::to_string(o.line) + ": " + section + "." + o.name;
        const auto kind = backend ? CG_KIND_AUTH_BACKEND : CG_KIND_KEY_PROVIDER;
        auto factory = host_->find_factory(kind, o.plugin, o.type);
        if (!factory) return make_error(factory.error().code, factory.error().message(), where);
        for (const auto& f : check_against_schema(factory->config_schema, o, c.settings.file, section))
            if (f.level == finding::severity::error) return make_error(errc::invalid, f.message());
        auto made = host_->make_instance(kind, host_options(o, c.settings));
        if (!made) return make_error(made.error().code, made.error().message(), where);
        auto r = std::make_shared<running_instance>();
        r->options = o;
        r->is_backend = backend;
        r->instance = std::move(*made);
        c.instances[key] = r;
        c.fresh.push_back(std::move(r));
        return {};
    };
    for (const auto& k : c.settings.keys)
        if (auto r = make(k, false); !r) return r.error();
    for (const auto& b : c.settings.backends)
        if (auto r = make(b, true); !r) return r.error();
    return {};
}

void supervisor::start_instances(std::shared_ptr<candidate> c, done_fn done) {
    struct progress {
        std::size_t left = 1;
        std::optional<error> failed;
    };
    auto p = std::make_shared<progress>();
    auto one_less = [p, done] {
        if (--p->left != 0) return;
        if (p->failed) done(*p->failed);
        else done({});
    };
    for (const auto& i : c->fresh) {
        ++p->left;
        const auto where = c->settings.file + ":" + std::to_string(i->options.line) + ": " + (i->is_backend ? "backends." : "keys.") + i->options.name;
        i->instance->start(start_limit_ns, [p, one_less, where](result<void> r) {
            if (!r && !p->failed) p->failed = make_error(r.error().code, r.error().message(), where);
            one_less();
        });
    }
    one_less();
}

result<void> supervisor::assemble_flow(candidate& c) {
    std::map<std::string, provider_view> providers;
    std::map<std::string, std::shared_ptr<flow::auth_port>> backends;
    for (const auto& [key, i] : c.instances) {
        if (i->is_backend) {
            backends[i->options.name] = i->instance->auth();
        } else {
            provider_view v;
            v.port = i->instance->keys_port();
            for (const auto& [label, k] : i->instance->keys()) v.keys[label] = provider_key{k.key, k.algorithm, k.nkey};
            v.in_tree = i->options.plugin == "key_file";
            providers[i->options.name] = std::move(v);
        }
    }
    auto f = assemble(c.settings, providers, backends);
    if (!f) return f.error();
    c.flow = std::move(*f);
    return {};
}

void supervisor::open_clusters(std::shared_ptr<candidate> c, done_fn done) {
    for (const auto& n : c->settings.nats) {
        const auto print = fingerprint(n, c->settings.callout);
        if (current_ != c) {
            if (auto old = current_->clusters.find(n.name); old != current_->clusters.end() && old->second->fingerprint == print) {
                c->clusters[n.name] = old->second;
                continue;
            }
        }
        auto r = std::make_shared<running_cluster>();
        r->options = n;
        r->fingerprint = print;
        if (n.system) {
            auto o = *n.system;
            o.name = "callgate/" + n.name + "/system";
            auto system = net::make_system_client(control_, std::move(o));
            if (!system) return done(make_error(system.error().code, system.error().message(), c->settings.file + ": nats." + n.name + ".system"));
            r->system = std::move(*system);
            r->system->on_servers([this] { refresh_views(); });
            r->system->start();
        }
        c->clusters[n.name] = r;
        c->fresh_clusters.push_back(std::move(r));
    }
    // A queue group serves from its first moment: servers that only discovery tells of have to be known before.
    await_discovery(c, clock_.mono_ns() + (current_ == c ? discovery_limit_ns : connect_limit_ns), 0, [this, c, done](result<void> known) {
        if (!known && (current_ != c || draining_)) return done(known);
        if (!known) log::warn("links open although not all servers may be known yet", {{"reason", known.error().message()}});
        refresh_views();
        done(open_links(*c));
    });
}

void supervisor::await_discovery(std::shared_ptr<candidate> c, std::int64_t until_ns, std::size_t known_before, done_fn done) {
    if (draining_) return done(make_error(errc::cancelled, "the daemon is shutting down"));
    if (c->settings.callout.servers != server_pinning::discovered) return done({});
    std::size_t known = 0;
    bool asked = false, heard = true;
    for (const auto& r : c->fresh_clusters) {
        if (!r->system) continue;
        asked = true;
        known += r->system->servers().size();
        heard = heard && r->system->connected() && !r->system->servers().empty();
        if (heard || clock_.mono_ns() < until_ns) continue;
        return done(make_error(errc::unavailable, "the system account user does not connect, or no server answers PING.IDZ",
                               c->settings.file + ": nats." + r->options.name + ".system"));
    }
    // Nobody says how many servers there are: two looks that agree are the end of the answers.
    if (!asked || (heard && known == known_before)) return done({});
    after(discovery_look_ns, [this, c, until_ns, known, done] { await_discovery(c, until_ns, known, done); });
}

result<void> supervisor::open_links(candidate& c) {
    for (auto& r : c.fresh_clusters) {
        const auto options = callout_links(r->options, c.settings.callout);
        for (auto& s : shards_) {
            std::optional<error> failed;
            s->run_and_wait([&] {
                auto g = s->open_links(r->options.name, options, r->options.links_per_server);
                if (g) r->groups.push_back(*g);
                else failed = g.error();
            });
            if (failed) return make_error(failed->code, failed->message(), c.settings.file + ": nats." + r->options.name);
        }
    }
    return {};
}

void supervisor::wait_for_clusters(std::shared_ptr<candidate> c, std::int64_t until_ns, done_fn done) {
    for (const auto& r : c->fresh_clusters) {
        bool up = true;
        for (std::size_t i = 0; i < shards_.size(); ++i)
            shards_[i]->run_and_wait([&] { up = up && shards_[i]->group_connected(r->groups[i]); });
        if (up) continue;
        if (clock_.mono_ns() >= until_ns) {
            std::string last;
            for (const auto& s : shards_)
                for (const auto& l : s->links())
                    if (l.cluster == r->options.name && !l.status.last_error.empty()) last = l.status.last_error;
            return done(make_error(errc::unavailable, "the new links do not connect" + (last.empty() ? std::string{} : ": " + last),
                                   c->settings.file + ": nats." + r->options.name));
        }
        return after(50'000'000, [this, c, until_ns, done] { wait_for_clusters(c, until_ns, done); });
    }
    done({});
}

void supervisor::abandon(const std::shared_ptr<candidate>& c) {
    for (auto& r : c->fresh_clusters) retire_cluster(r);
    for (auto& i : c->fresh) end_instance(i, [] {});
    c->fresh_clusters.clear();
    c->fresh.clear();
}

// ---- putting it in use ---------------------------------------------------------------------------------

void supervisor::commit(const std::shared_ptr<candidate>& c) {
    auto old = current_;
    for (auto& s : shards_) {
        s->run_and_wait([&] {
            for (auto& i : c->fresh)
                if (auto r = i->instance->attach(s->index()); !r)
                    log::error("plugin instance refused a shard", {{"instance", i->options.name}, {"shard", s->index()}, {"error", r.error().message()}});
            s->set_audit(c->audit, c->settings.audit.fail_closed);
            s->use(c->flow);
        });
    }
    current_ = c;
    if (!old)
        open_clusters(c, [this](result<void> opened) {
            if (!opened && !draining_) return fail_start(opened.error());
            publish_status();
        });
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
    std::weak_ptr<const flow::flow_config> last_user = old->flow;
    for (auto& [name, cluster] : old->clusters)
        if (auto it = c->clusters.find(name); it == c->clusters.end() || it->second != cluster) retire_cluster(cluster);
    for (auto& [key, i] : old->instances)
        if (auto it = c->instances.find(key); it == c->instances.end() || it->second != i) retire_instance(i, last_user);
    old->flow.reset();
    c->fresh.clear();
    c->fresh_clusters.clear();
}

void supervisor::retire_cluster(std::shared_ptr<running_cluster> cluster) {
    for (std::size_t i = 0; i < cluster->groups.size(); ++i) {
        auto& s = *shards_[i];
        const auto group = cluster->groups[i];
        s.post([this, &s, group] {
            s.stop_receiving(group, 2 * second, [this, &s, group] {
                // Replies to what is still being worked on leave by these links.
                asio::post(control_, [this, &s, group] {
                    after(3 * second, [&s, group] { s.post([&s, group] { s.close_links(group, second, [] {}); }); });
                });
            });
        });
    }
    if (cluster->system) cluster->system->close(second, [keep = cluster->system] {});
}

void supervisor::retire_instance(std::shared_ptr<running_instance> instance, std::weak_ptr<const flow::flow_config> last_user) {
    // Requests that began under the old configuration may still call it; they hold that configuration.
    if (!last_user.expired()) return after(100'000'000, [this, instance, last_user] { retire_instance(instance, last_user); });
    end_instance(instance, [] {});
}

void supervisor::end_instance(std::shared_ptr<running_instance> r, std::function<void()> done) {
    auto i = r->instance;
    if (!i) return done();
    r->instance.reset();
    host_->retire(
        i, 5 * second, [this](std::uint32_t s, std::function<void()> work) { shards_[s]->post(std::move(work)); },
        [i, name = r->options.name, done](result<void> gone) {
            if (!gone) log::warn("plugin instance did not end cleanly", {{"instance", name}, {"reason", gone.error().message()}});
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
    if (reloading_ || !current_) {
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
    auto left = std::make_shared<std::size_t>(1);
    auto one_less = [this, left] {
        if (--*left != 0) return;
        boost::system::error_code ignored;
        signals_.cancel(ignored);
        tick_timer_.cancel();
        if (current_ && current_->audit) current_->audit->flush();
        if (exit_code_ == 0) log::info("callgate stopped");
        control_.stop();
    };
    auto end = [&](const std::shared_ptr<running_instance>& i) {
        ++*left;
        end_instance(i, one_less);
    };
    if (current_)
        for (auto& [key, i] : current_->instances) end(i);
    if (const auto unfinished = std::exchange(preparing_, nullptr))
        for (auto& i : unfinished->fresh) end(i);
    one_less();
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
        tick();
    });
}

void supervisor::refresh_views() {
    if (!current_) return;
    std::map<std::string, std::shared_ptr<cluster_view>> views;
    auto add = [&](const running_cluster& r, const callout_options& callout) {
        auto& v = views[r.options.name];
        if (!v) v = std::make_shared<cluster_view>();
        if (callout.servers == server_pinning::list) {
            v->pinned.insert(callout.server_list.begin(), callout.server_list.end());
            return;
        }
        v->trust_own_servers = true;
        if (r.system)
            for (const auto& s : r.system->servers()) v->pinned.insert(s.id);
        for (const auto& s : shards_)
            for (const auto& l : s->links())
                if (l.cluster == r.options.name && l.status.connected) v->pinned.insert(l.status.server_id);
    };
    for (auto& [name, r] : current_->clusters) {
        add(*r, current_->settings.callout);
        views[name]->can_kick = r->system && r->system->connected();
    }
    // Links of a reload receive before it is in use.
    if (preparing_)
        for (auto& r : preparing_->fresh_clusters) add(*r, preparing_->settings.callout);
    std::erase_if(views_, [&](const auto& told) { return !views.contains(told.first); });
    for (auto& [name, v] : views) {
        auto& told = views_[name];
        if (told && told->can_kick == v->can_kick && told->trust_own_servers == v->trust_own_servers && told->pinned == v->pinned) continue;
        told = v;
        for (auto& s : shards_) s->post([&s = *s, name = name, v = v] { s.set_cluster_view(name, v); });
    }
}

void supervisor::refresh_health() {
    if (!current_) return;
    for (auto& [key, i] : current_->instances) {
        if (!i->instance) continue;
        i->instance->health(2 * second, [this, key = key](result<host::health_report> answer) {
            const auto h = answer ? *answer : host::health_report{CG_HEALTH_DOWN, answer.error().message()};
            const std::lock_guard lock(status_mutex_);
            for (auto& r : status_.instances)
                if ((r.kind == "backend" ? "backend/" : "keys/") + r.name == key) {
                    r.state = h.state == CG_HEALTH_OK ? "ok" : h.state == CG_HEALTH_DEGRADED ? "degraded" : "down";
                    r.text = h.text;
                }
        });
    }
}

void supervisor::publish_status() {
    std::vector<instance_report> instances;
    std::vector<cluster_report> clusters;
    if (current_) {
        for (const auto& [key, i] : current_->instances) {
            instance_report r;
            r.name = i->options.name;
            r.kind = i->is_backend ? "backend" : "keys";
            r.plugin = i->options.plugin;
            if (i->instance) {
                const auto& m = i->instance->metrics();
                r.started = m.started;
                r.completed = m.completed;
                r.failed = m.failed;
                r.refused = m.rejected;
                r.overdue = m.overdue;
                r.faults = m.faults;
                r.in_flight = m.in_flight;
                r.breaker_open = i->instance->breaker() == host::breaker_state::open;
            }
            instances.push_back(std::move(r));
        }
        for (const auto& [name, c] : current_->clusters) {
            cluster_report r;
            r.name = name;
            r.system_link = c->system != nullptr;
            r.system_connected = c->system && c->system->connected();
            const auto view = views_.find(name);
            r.servers_known = view == views_.end() ? 0 : view->second->pinned.size();
            r.kicks_sent = c->kicks_sent;
            r.kicks_failed = c->kicks_failed;
            clusters.push_back(std::move(r));
        }
    }
    const std::lock_guard lock(status_mutex_);
    for (auto& n : instances)
        for (const auto& o : status_.instances)
            if (o.kind == n.kind && o.name == n.name) {
                n.state = o.state;
                n.text = o.text;
            }
    status_.instances = std::move(instances);
    status_.clusters = std::move(clusters);
    status_.draining = draining_;
    status_.audit_written = current_ && current_->audit ? current_->audit->written() : 0;
    status_.audit_lost = current_ && current_->audit ? current_->audit->lost() : 0;
}

status supervisor::collect_status() const {
    status s;
    {
        const std::lock_guard lock(status_mutex_);
        s = status_;
    }
    for (const auto& shard : shards_) {
        s.shards.push_back(&shard->metrics());
        auto l = shard->links();
        s.links.insert(s.links.end(), l.begin(), l.end());
    }
    return s;
}

void supervisor::kick(const std::string& cluster, std::string server_id, std::uint64_t cid) {
    if (!current_) return;
    const auto it = current_->clusters.find(cluster);
    if (it == current_->clusters.end() || !it->second->system) return;
    auto c = it->second;
    c->system->kick(server_id, cid, [c, server_id, cid](std::string_view outcome) {
        if (outcome.empty()) {
            ++c->kicks_sent;
            return;
        }
        ++c->kicks_failed;
        log::debug("kick failed", {{"server", server_id}, {"cid", cid}, {"reason", outcome}});
    });
}

admin_response supervisor::answer(const admin_request& r) {
    const bool reading = r.method == "GET" || r.method == "HEAD";
    if (r.path == "/reload") {
        if (!r.local_socket) return {403, "text/plain; charset=utf-8", "reload is taken on the Unix socket only\n"};
        if (r.method != "POST") return {405, "text/plain; charset=utf-8", "POST\n"};
        asio::post(control_, [this] { reload("admin socket"); });
        return {202, "text/plain; charset=utf-8", "reload begun; its outcome is in /health and the log\n"};
    }
    if (!reading) return {405, "text/plain; charset=utf-8", "GET\n"};
    if (r.path == "/livez") return {200, "text/plain; charset=utf-8", "ok\n"};
    if (r.path == "/readyz") {
        std::string why;
        const auto s = collect_status();
        if (s.config_generation == 0) return {503, "text/plain; charset=utf-8", "starting\n"};
        return s.ready(&why) ? admin_response{200, "text/plain; charset=utf-8", "ok\n"}
                             : admin_response{503, "text/plain; charset=utf-8", why + "\n"};
    }
    if (r.path == "/health") {
        const auto s = collect_status();
        return {s.config_generation != 0 && s.ready() ? 200u : 503u, "application/json", render_health(s)};
    }
    if (r.path == "/metrics") return {200, "text/plain; version=0.0.4; charset=utf-8", render_metrics(collect_status())};
    return {404, "text/plain; charset=utf-8", "/livez /readyz /health /metrics\n"};
}

}  // namespace callgate::runtime
