// SPDX-License-Identifier: Apache-2.0
// The part of the supervisor that opens, knows and retires the links of each nats cluster.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <optional>
#include <variant>

#include "engine/base/log.hpp"
#include "engine/runtime/supervisor.hpp"

namespace callgate::runtime {

namespace asio = boost::asio;

namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t discovery_limit_of_reload_ns = 5 * second;
constexpr std::int64_t discovery_limit_ns = 2 * second;
constexpr std::int64_t discovery_look_ns = second / 20;
constexpr std::string_view callout_subject = "$SYS.REQ.USER.AUTH";

net::link_options callout_links(const nats_options& n, const callout_options& c) {
    auto o = n.link;
    o.subscriptions = {{std::string(callout_subject), c.queue}};
    return o;
}

}  // namespace

std::string fingerprint(const net::link_options& o) {
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

std::string fingerprint(const nats_options& n, const callout_options& c) {
    std::string s = fingerprint(n.link) + "#" + std::to_string(n.links_per_server) + "#" + c.queue + "#";
    if (n.system) s += fingerprint(*n.system);
    return s;
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
    await_discovery(c, clock_.mono_ns() + (current_ == c ? discovery_limit_ns : discovery_limit_of_reload_ns), 0, [this, c, done](result<void> known) {
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

}  // namespace callgate::runtime
