// SPDX-License-Identifier: Apache-2.0
// The part of the supervisor that others read: health of the plugins, the status.
#include <algorithm>
#include <mutex>
#include <optional>
#include <set>

#include "engine/base/log.hpp"
#include "engine/runtime/supervisor.hpp"

namespace callgate::runtime {

namespace {
constexpr std::int64_t second = 1'000'000'000;
}

void supervisor::refresh_health() {
    if (!current_) return;
    for (auto& [key, i] : current_->instances) {
        if (!i->instance) continue;
        i->instance->health(2 * second, [this, key = key](result<host::health_report> answer) {
            const auto h = answer ? *answer : host::health_report{CG_HEALTH_DOWN, answer.error().message()};
            const std::string state = h.state == CG_HEALTH_OK ? "ok" : h.state == CG_HEALTH_DEGRADED ? "degraded" : "down";
            std::optional<host::host_event> changed;
            {
                const std::lock_guard lock(status_mutex_);
                for (auto& r : status_.instances)
                    if (r.kind + "/" + r.name == key) {
                        if (r.state != state)
                            changed = host::host_event{h.state == CG_HEALTH_OK ? CG_EVENT_BACKEND_RECOVERED : CG_EVENT_BACKEND_DEGRADED, r.name, h.text, h.state};
                        r.state = state;
                        r.text = h.text;
                    }
            }
            if (changed) host_->publish(*changed);
        });
    }
}

void supervisor::publish_status() {
    std::vector<instance_report> instances;
    std::vector<cluster_report> clusters;
    if (current_) {
        const auto& names = current_->settings.policy->backends();
        const std::set<std::string> asked(names.begin(), names.end());
        const auto& from = current_->settings.policy->stores();
        const std::set<std::string> looked_up(from.begin(), from.end());
        for (const auto& [key, i] : current_->instances) {
            instance_report r;
            r.name = i->options.name;
            r.kind = key.substr(0, key.find('/'));
            r.plugin = i->options.plugin;
            r.in_use = i->section == "stores" ? looked_up.contains(r.name) : i->section != "backends" || asked.contains(r.name);
            if (i->instance) {
                const auto& m = i->instance->metrics();
                r.nats = i->instance->nats();
                r.started = m.started;
                r.completed = m.completed;
                r.failed = m.failed;
                r.refused = m.rejected;
                r.overdue = m.overdue;
                r.faults = m.faults;
                r.in_flight = m.in_flight;
                r.own_metrics = i->instance->plugin_metrics();
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

void supervisor::announce_service() {
    if (serving_ || !current_ || draining_) return;
    const auto s = collect_status();
    // Clusters that are still to be opened are not in the status.
    if (s.clusters.size() != current_->settings.nats.size()) return;
    if (!std::all_of(s.clusters.begin(), s.clusters.end(), [&](const auto& c) { return s.receiving(c.name); })) return;
    serving_ = true;
    log::info("callgate serves", {{"shards", shards_.size()}, {"accounts", current_->settings.accounts.size()}});
}

// After the commit: whoever is told looks at what is in use now.
void supervisor::announce_reload(const candidate& old, const candidate& now) {
    const auto generation = collect_status().config_generation;
    for (const auto& [key, i] : now.instances) {
        const auto before = old.instances.find(key);
        if (!i->instance || before == old.instances.end()) continue;
        if (before->second == i) {
            i->instance->reread_secrets();
        } else if (before->second->instance) {
            const auto& keys = before->second->instance->keys();
            for (const auto& [label, k] : i->instance->keys())
                if (const auto was = keys.find(label); was != keys.end() && was->second.nkey != k.nkey)
                    host_->publish({CG_EVENT_KEY_ROTATED, i->options.name + "/" + label, k.nkey, generation});
        }
    }
    host_->publish({CG_EVENT_CONFIG_RELOADED, {}, {}, generation});
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

}  // namespace callgate::runtime
