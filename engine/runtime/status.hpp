// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/host/metrics_service.hpp"
#include "engine/host/nats_service.hpp"
#include "engine/host/operations.hpp"
#include "engine/observe/shard_metrics.hpp"
#include "engine/runtime/shard.hpp"

namespace callgate::runtime {

/// A plugin instance as the operator sees it.
struct instance_report {
    std::string name, kind, plugin;   ///< kind: see instance_sections.hpp
    std::string state = "ok";         ///< ok, degraded, down: the worse of what the plugin says and what the host sees
    std::string text;                 ///< why
    std::string said = "ok", said_text;  ///< the plugin's own answer
    std::uint64_t started = 0, completed = 0, failed = 0, overdue = 0, late = 0, faults = 0;
    std::array<std::uint64_t, host::refusal_count> refused{};  ///< by host::refusal
    std::uint64_t in_flight = 0, owed = 0, stuck = 0, limit = 0;
    host::breaker_state breaker = host::breaker_state::closed;
    std::uint64_t breaker_opened = 0;
    struct lookup_report {
        std::uint64_t hits = 0, found = 0, missing = 0, unavailable = 0;
    };
    std::optional<lookup_report> lookups;  ///< of a claim store
    std::vector<host::nats_report> nats;  ///< its connections (nats/1)
    std::shared_ptr<const host::metrics_service> own_metrics;  ///< what the plugin itself counts (metrics/1)
    bool in_use = true;               ///< false: a backend that no route asks
};

struct cluster_report {
    std::string name;
    bool system_link = false;       ///< system credentials are configured
    bool system_connected = false;
    std::size_t servers_known = 0;
    std::uint64_t kicks_sent = 0, kicks_failed = 0;
};

/// An audit sink and its queue.
struct audit_report {
    std::string name;
    std::string fault;  ///< why it takes no records; empty = it does
    std::uint64_t written = 0, lost = 0;
    std::size_t waiting = 0;
};

/// Everything the admin listener shows, collected at one moment.
struct status {
    std::string version, config_file;
    std::uint64_t config_generation = 0;
    std::int64_t started_unix_s = 0, config_loaded_unix_s = 0;
    std::uint64_t reloads_ok = 0, reloads_failed = 0;
    std::string last_reload_error;
    bool draining = false;
    std::vector<const observe::shard_metrics*> shards;
    std::vector<link_report> links;
    std::vector<instance_report> instances;
    std::vector<cluster_report> clusters;
    std::uint64_t audit_written = 0, audit_lost = 0;  ///< of all sinks since the start, a record counts once for each
    std::vector<audit_report> audit_sinks;

    /// Ready: not draining, every cluster has a connected link that receives, no key provider is down and
    /// not every backend that a route asks is. `why` says what is missing.
    [[nodiscard]] bool ready(std::string* why = nullptr) const;
    /// A link of that cluster is connected and its subscription was not refused.
    [[nodiscard]] bool receiving(const std::string& cluster) const;
};

/// Prometheus text. Names start with callgate_; those of nats-aws-auth follow as aliases.
[[nodiscard]] std::string render_metrics(const status& s);
/// JSON for people and `callgate doctor`.
[[nodiscard]] std::string render_health(const status& s);

}  // namespace callgate::runtime
