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

const char* word_of(std::uint32_t health) { return health == CG_HEALTH_OK ? "ok" : health == CG_HEALTH_DEGRADED ? "degraded" : "down"; }
std::uint32_t health_of(const std::string& word) { return word == "ok" ? CG_HEALTH_OK : word == "degraded" ? CG_HEALTH_DEGRADED : CG_HEALTH_DOWN; }

// The worse of what the plugin said and what the host sees.
void judge(instance_report& r, const host::health_report& seen) {
    const auto said = health_of(r.said);
    r.state = word_of(std::max(said, seen.state));
    r.text = seen.text;
    if (!r.said_text.empty()) r.text += (r.text.empty() ? "" : "; the plugin says: ") + r.said_text;
}
}  // namespace

void supervisor::refresh_health() {
    if (!current_) return;
    for (auto& [key, i] : current_->instances) {
        if (!i->instance) continue;
        i->instance->health(2 * second, [this, key = key](result<host::health_report> answer) {
            const auto h = answer ? *answer : host::health_report{CG_HEALTH_DOWN, answer.error().message()};
            {
                const std::lock_guard lock(status_mutex_);
                for (auto& r : status_.instances)
                    if (r.kind + "/" + r.name == key) {
                        r.said = word_of(h.state);
                        r.said_text = h.text;
                    }
            }
            publish_status();
        });
    }
}

void supervisor::publish_status() {
    std::vector<instance_report> instances;
    std::vector<host::health_report> seen;
    std::vector<cluster_report> clusters;
    if (current_) {
        const auto& names = current_->settings.policy->backends();
        const std::set<std::string> asked(names.begin(), names.end());
        const auto& from = current_->settings.policy->stores();
        const std::set<std::string> looked_up(from.begin(), from.end());
        for (const auto& [key, i] : current_->instances) {
            instance_report r;
            r.name = i->options.name;
            r.kind = i->section->kind;
            r.plugin = i->options.plugin;
            r.in_use = i->is(CG_KIND_CLAIM_STORE) ? looked_up.contains(r.name) : !i->is(CG_KIND_AUTH_BACKEND) || asked.contains(r.name);
            if (i->instance) {
                const auto& m = i->instance->metrics();
                r.nats = i->instance->nats();
                r.started = m.started;
                r.completed = m.completed;
                r.failed = m.failed;
                for (std::size_t n = 0; n < r.refused.size(); ++n) r.refused[n] = m.rejected[n];
                r.overdue = m.overdue;
                r.late = m.late;
                r.faults = m.faults;
                r.in_flight = m.in_flight;
                r.owed = m.owed;
                r.stuck = m.stuck;
                r.limit = i->instance->options().max_in_flight;
                r.own_metrics = i->instance->plugin_metrics();
                r.breaker = i->instance->breaker().state();
                r.breaker_opened = i->instance->breaker().opened();
            }
            seen.push_back(i->instance ? i->instance->seen() : host::health_report{CG_HEALTH_OK, {}});
            // A sink may think well of itself and take nothing.
            if (auto fault = i->sink ? i->sink->state().fault : std::string(); seen.back().state == CG_HEALTH_OK && !fault.empty())
                seen.back() = {CG_HEALTH_DEGRADED, std::move(fault)};
            if (i->lookup) {
                const auto& l = i->lookup->lookups();
                r.lookups = {l.hits, l.found, l.missing, l.unavailable};
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
    auto sinks = report_sinks();
    std::vector<host::host_event> changes;
    std::unique_lock lock(status_mutex_);
    for (std::size_t k = 0; k < instances.size(); ++k) {
        auto& n = instances[k];
        const auto o = std::ranges::find_if(status_.instances, [&](const auto& r) { return r.kind == n.kind && r.name == n.name; });
        const bool known = o != status_.instances.end();
        if (known) {
            n.said = o->said;
            n.said_text = o->said_text;
        }
        judge(n, seen[k]);
        if (known ? o->state != n.state : n.state != "ok") {
            const auto health = health_of(n.state);
            changes.push_back({health == CG_HEALTH_OK ? CG_EVENT_BACKEND_RECOVERED : CG_EVENT_BACKEND_DEGRADED, n.name, n.text, health});
            const auto level = health == CG_HEALTH_OK ? log::level::info : log::level::warn;
            log::write(level, "plugin instance changed its state", {{"instance", n.name}, {"kind", n.kind}, {"state", n.state}, {"reason", n.text}});
        }
    }
    status_.instances = std::move(instances);
    status_.clusters = std::move(clusters);
    status_.draining = draining_;
    status_.audit_written = audit_written_before_;
    status_.audit_lost = audit_lost_before_;
    for (const auto& s : sinks) {
        status_.audit_written += s.written;
        status_.audit_lost += s.lost;
    }
    status_.audit_sinks = std::move(sinks);
    lock.unlock();
    for (const auto& c : changes) host_->publish(c);
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
    std::uint64_t generation = 0;
    {
        const std::lock_guard lock(status_mutex_);
        generation = status_.config_generation;
    }
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
