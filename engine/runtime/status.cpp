// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/status.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <map>

#include "engine/observe/prometheus.hpp"

namespace callgate::runtime {
namespace {

using observe::counter;
using observe::exposition;
using observe::shard_metrics;

std::uint64_t sum(const status& s, counter shard_metrics::*member) {
    std::uint64_t n = 0;
    for (const auto* m : s.shards) n += (m->*member).value();
    return n;
}

void stage_family(exposition& out, const status& s, std::string_view name, observe::stage stage, std::string_view label) {
    std::vector<const observe::histogram*> cells;
    cells.reserve(s.shards.size());
    for (const auto* m : s.shards) cells.push_back(&m->stages[static_cast<std::size_t>(stage)]);
    out.histogram_samples(name, {label.empty() ? std::string_view{} : std::string_view("stage"), label}, cells.data(), cells.size());
}

// The server said no to our subscription: the link stands and never brings a request, until it connects anew.
// Text of nats-server: 'Permissions Violation for Subscription to "SUBJECT"'.
bool receives(const link_report& l) {
    constexpr std::string_view refused = "ermissions violation for subscription";
    return l.status.connected &&
           std::search(l.status.last_error.begin(), l.status.last_error.end(), refused.begin(), refused.end(), [](unsigned char a, unsigned char b) {
               return std::tolower(a) == b;
           }) == l.status.last_error.end();
}

constexpr std::pair<host::refusal, std::string_view> refusals[] = {{host::refusal::busy, "busy"}, {host::refusal::breaker_open, "breaker"},
                                                                   {host::refusal::no_time, "no_time"}, {host::refusal::not_attached, "not_attached"}};

}  // namespace

bool status::receiving(const std::string& cluster) const {
    return std::any_of(links.begin(), links.end(), [&](const auto& l) { return l.cluster == cluster && !l.cold && receives(l); });
}

bool status::ready(std::string* why) const {
    auto no = [&](std::string text) {
        if (why != nullptr) *why = std::move(text);
        return false;
    };
    if (draining) return no("draining: this replica is shutting down");
    for (const auto& c : clusters) {
        if (receiving(c.name)) continue;
        std::string last;
        for (const auto& l : links)
            if (l.cluster == c.name && !l.cold && !l.status.last_error.empty()) last = l.status.last_error;
        return no("nats cluster \"" + c.name + "\": no link is connected and subscribed" + (last.empty() ? "" : ": " + last));
    }
    std::size_t backends = 0, down = 0;
    for (const auto& i : instances) {
        if (i.kind == "keys" && i.state == "down") return no("key provider \"" + i.name + "\" is down: " + i.text);
        if (i.kind != "backend" || !i.in_use) continue;
        ++backends;
        if (i.state == "down") ++down;
    }
    if (backends != 0 && down == backends) return no("every auth backend that a route asks is down");
    return true;
}

std::string render_metrics(const status& s) {
    exposition out;
    out.family("callgate_build_info", "gauge", "Version of the running daemon.");
    out.sample("callgate_build_info", {{"version", s.version}}, std::uint64_t{1});
    out.family("callgate_ready", "gauge", "1 when /readyz answers 200.");
    out.sample("callgate_ready", {}, std::uint64_t{s.ready() ? 1u : 0u});
    out.family("callgate_start_time_seconds", "gauge", "Unix time of the start.");
    out.sample("callgate_start_time_seconds", {}, s.started_unix_s);
    out.family("callgate_config_generation", "gauge", "1 for the first configuration, one more for each successful reload.");
    out.sample("callgate_config_generation", {}, s.config_generation);
    out.family("callgate_reloads_total", "counter", "Reloads asked for, by outcome.");
    out.sample("callgate_reloads_total", {{"outcome", "ok"}}, s.reloads_ok);
    out.sample("callgate_reloads_total", {{"outcome", "failed"}}, s.reloads_failed);

    out.family("callgate_requests_received_total", "counter", "Callout requests read from nats-server.");
    out.sample("callgate_requests_received_total", {}, sum(s, &shard_metrics::received));
    out.family("callgate_replies_total", "counter", "Replies sent, by verdict; at most one for each request.");
    out.sample("callgate_replies_total", {{"verdict", "allow"}}, sum(s, &shard_metrics::replied_allow));
    out.sample("callgate_replies_total", {{"verdict", "deny"}}, sum(s, &shard_metrics::replied_deny));
    out.family("callgate_dropped_total", "counter", "Requests that got no reply, by reason. None of them is a denial.");
    for (std::size_t i = 0; i < observe::drop_reason_count; ++i) {
        std::uint64_t n = 0;
        for (const auto* m : s.shards) n += m->dropped[i].value();
        out.sample("callgate_dropped_total", {{"reason", observe::to_string(static_cast<observe::drop_reason>(i))}}, n);
    }
    std::map<std::array<std::string, 3>, std::uint64_t> verdicts;
    for (const auto* m : s.shards)
        for (const auto& [k, n] : m->verdicts()) verdicts[k] += n;
    out.family("callgate_verdicts_total", "counter", "Decisions by verdict, reason and backend.");
    for (const auto& [k, n] : verdicts)
        out.sample("callgate_verdicts_total", {{"verdict", k[0]}, {"reason", k[1]}, {"backend", k[2]}}, n);
    out.family("callgate_kicks_total", "counter", "Pending connections closed so that their client comes again.");
    out.sample("callgate_kicks_total", {}, sum(s, &shard_metrics::kicked));
    // A system user without the permission to kick is refused each time, and nobody else would say so.
    out.family("callgate_kick_answers_total", "counter", "Kicks that the servers answered, by outcome; failed: refused or not answered.");
    for (const auto& c : s.clusters) {
        out.sample("callgate_kick_answers_total", {{"cluster", c.name}, {"outcome", "ok"}}, c.kicks_sent);
        out.sample("callgate_kick_answers_total", {{"cluster", c.name}, {"outcome", "failed"}}, c.kicks_failed);
    }
    out.family("callgate_late_completions_total", "counter", "Answers of plugins that came after their request was over.");
    out.sample("callgate_late_completions_total", {}, sum(s, &shard_metrics::late_completions));
    out.family("callgate_sign_batches_total", "counter", "Batches handed to key providers.");
    out.sample("callgate_sign_batches_total", {}, sum(s, &shard_metrics::batches));
    out.family("callgate_sign_items_total", "counter", "Signatures asked for.");
    out.sample("callgate_sign_items_total", {}, sum(s, &shard_metrics::batch_items));
    out.family("callgate_verified_by_table_total", "counter", "Signatures verified with a precomputed table of their key.");
    out.sample("callgate_verified_by_table_total", {}, sum(s, &shard_metrics::verified_by_table));
    out.family("callgate_verify_tables_misjudged_total", "counter", "Good signatures that a table refused: memory or CPU of this machine is damaged.");
    out.sample("callgate_verify_tables_misjudged_total", {}, sum(s, &shard_metrics::tables_misjudged));
    out.family("callgate_verify_tables", "gauge", "Precomputed tables of keys, counted once for each shard that holds one.");
    std::int64_t tables = 0;
    for (const auto* m : s.shards) tables += m->verify_tables.value();
    out.sample("callgate_verify_tables", {}, tables);
    out.family("callgate_in_flight", "gauge", "Requests being worked on.");
    out.family("callgate_queued", "gauge", "Requests read and not started.");
    std::int64_t in_flight = 0, queued = 0;
    for (const auto* m : s.shards) {
        in_flight += m->in_flight.value();
        queued += m->queued.value();
    }
    out.sample("callgate_in_flight", {}, in_flight);
    out.sample("callgate_queued", {}, queued);
    out.family("callgate_stage_seconds", "histogram", "Time spent in each stage of a request; total = arrival to reply.");
    for (std::size_t i = 0; i < observe::stage_count; ++i)
        stage_family(out, s, "callgate_stage_seconds", static_cast<observe::stage>(i), observe::to_string(static_cast<observe::stage>(i)));

    out.family("callgate_link_connected", "gauge", "1 when the link to nats-server is up.");
    for (const auto& l : s.links)
        out.sample("callgate_link_connected", {{"cluster", l.cluster}, {"link", l.name}}, std::uint64_t{l.status.connected ? 1u : 0u});
    out.family("callgate_link_reconnects_total", "counter", "Reconnects of a link.");
    for (const auto& l : s.links) out.sample("callgate_link_reconnects_total", {{"cluster", l.cluster}, {"link", l.name}}, l.status.reconnects);
    out.family("callgate_link_dropped_total", "counter", "Messages a link could not send.");
    for (const auto& l : s.links) out.sample("callgate_link_dropped_total", {{"cluster", l.cluster}, {"link", l.name}}, l.counters.dropped_out);
    out.family("callgate_servers_known", "gauge", "nats-servers discovered over the system account.");
    for (const auto& c : s.clusters) out.sample("callgate_servers_known", {{"cluster", c.name}}, std::uint64_t{c.servers_known});
    out.family("callgate_system_link_connected", "gauge", "1 when the system account link is up.");
    for (const auto& c : s.clusters)
        if (c.system_link) out.sample("callgate_system_link_connected", {{"cluster", c.name}}, std::uint64_t{c.system_connected ? 1u : 0u});

    out.family("callgate_instance_state", "gauge", "0 ok, 1 degraded, 2 down.");
    for (const auto& i : s.instances)
        out.sample("callgate_instance_state", {{"kind", i.kind}, {"instance", i.name}},
                   std::uint64_t{i.state == "ok" ? 0u : i.state == "degraded" ? 1u : 2u});
    auto per_instance = [&](std::string_view name, std::string_view help, std::uint64_t instance_report::*member, std::string_view type) {
        out.family(name, type, help);
        for (const auto& i : s.instances) out.sample(name, {{"kind", i.kind}, {"instance", i.name}}, i.*member);
    };
    per_instance("callgate_operations_started_total", "Operations handed to a plugin instance.", &instance_report::started, "counter");
    per_instance("callgate_operations_completed_total", "Operations it answered in time, errors included.", &instance_report::completed, "counter");
    per_instance("callgate_operations_failed_total", "Operations that ended with an error.", &instance_report::failed, "counter");
    out.family("callgate_operations_refused_total", "counter", "Operations not started, by reason: breaker (open), busy (max_in_flight), no_time, not_attached.");
    for (const auto& i : s.instances)
        for (const auto& [why, label] : refusals)
            out.sample("callgate_operations_refused_total", {{"kind", i.kind}, {"instance", i.name}, {"reason", label}}, i.refused[static_cast<std::size_t>(why)]);
    per_instance("callgate_operations_overdue_total", "Operations that passed their deadline.", &instance_report::overdue, "counter");
    per_instance("callgate_operations_late_total", "Operations completed after their deadline; the answer was ignored.", &instance_report::late, "counter");
    per_instance("callgate_plugin_faults_total", "Breaches of the ABI by a plugin.", &instance_report::faults, "counter");
    per_instance("callgate_operations_in_flight", "Operations a plugin has not completed.", &instance_report::in_flight, "gauge");
    per_instance("callgate_operations_in_flight_limit", "Its max_in_flight.", &instance_report::limit, "gauge");
    per_instance("callgate_operations_owed", "Of those in flight: past their deadline.", &instance_report::owed, "gauge");
    per_instance("callgate_operations_stuck", "Of those owed: for longer than overdue.age.", &instance_report::stuck, "gauge");
    out.family("callgate_breaker_state", "gauge", "0 closed, 1 half open (a request is tried), 2 open.");
    for (const auto& i : s.instances)
        out.sample("callgate_breaker_state", {{"kind", i.kind}, {"instance", i.name}},
                   std::uint64_t{i.breaker == host::breaker_state::closed ? 0u : i.breaker == host::breaker_state::half_open ? 1u : 2u});
    per_instance("callgate_breaker_opened_total", "Times the breaker opened, failed tries included.", &instance_report::breaker_opened, "counter");
    out.family("callgate_store_lookups_total", "counter", "Documents looked up for a grant: hit = kept from before, others were asked of the store.");
    for (const auto& i : s.instances) {
        if (!i.lookups) continue;
        const auto& l = *i.lookups;
        for (const auto& [outcome, n] : {std::pair{"hit", l.hits}, {"found", l.found}, {"missing", l.missing}, {"unavailable", l.unavailable}})
            out.sample("callgate_store_lookups_total", {{"instance", i.name}, {"outcome", outcome}}, n);
    }
    auto per_connection = [&](std::string_view name, std::string_view type, std::string_view help, auto value) {
        out.family(name, type, help);
        for (const auto& i : s.instances)
            for (const auto& n : i.nats) out.sample(name, {{"kind", i.kind}, {"instance", i.name}, {"cluster", n.cluster}}, std::uint64_t{value(n)});
    };
    per_connection("callgate_instance_nats_connected", "gauge", "1 when the connection of a plugin instance to a cluster is up.",
                   [](const host::nats_report& n) { return n.connected ? 1u : 0u; });
    per_connection("callgate_instance_nats_published_total", "counter", "Messages a plugin instance published, requests included.",
                   [](const host::nats_report& n) { return n.published; });
    per_connection("callgate_instance_nats_received_total", "counter", "Messages that came for subscriptions of a plugin instance.",
                   [](const host::nats_report& n) { return n.received; });
    per_connection("callgate_instance_nats_slow_total", "counter", "Messages dropped because a plugin instance was too slow to take them.",
                   [](const host::nats_report& n) { return n.lost_in; });
    per_connection("callgate_instance_nats_unsent_total", "counter", "Messages of a plugin instance that its connection did not take.",
                   [](const host::nats_report& n) { return n.lost_out; });
    per_connection("callgate_instance_nats_requests_total", "counter", "Requests of a plugin instance.", [](const host::nats_report& n) { return n.requests; });
    per_connection("callgate_instance_nats_requests_failed_total", "counter", "Requests of a plugin instance that ended without an answer.",
                   [](const host::nats_report& n) { return n.failed; });
    out.family("callgate_audit_records_total", "counter", "Audit records, by outcome.");
    out.sample("callgate_audit_records_total", {{"outcome", "written"}}, s.audit_written);
    out.sample("callgate_audit_records_total", {{"outcome", "lost"}}, s.audit_lost);
    out.family("callgate_audit_sink_records_total", "counter", "Audit records of each sink, by outcome.");
    for (const auto& a : s.audit_sinks) {
        out.sample("callgate_audit_sink_records_total", {{"sink", a.name}, {"outcome", "written"}}, a.written);
        out.sample("callgate_audit_sink_records_total", {{"sink", a.name}, {"outcome", "lost"}}, a.lost);
    }
    out.family("callgate_audit_sink_waiting", "gauge", "Audit records that a sink has not taken yet.");
    for (const auto& a : s.audit_sinks) out.sample("callgate_audit_sink_waiting", {{"sink", a.name}}, std::uint64_t{a.waiting});
    out.family("callgate_audit_sink_up", "gauge", "0 while a sink takes no records: it failed or is stalled.");
    for (const auto& a : s.audit_sinks) out.sample("callgate_audit_sink_up", {{"sink", a.name}}, std::uint64_t{a.fault.empty() ? 1u : 0u});

    // Aliases of nats-aws-auth, so that its dashboards and alerts go on working.
    std::uint64_t errors = 0;
    for (const auto* m : s.shards) errors += m->dropped_total.value();
    out.family("nats_auth_callout_requests_total", "counter", "Alias of callgate_replies_total and callgate_dropped_total.");
    out.sample("nats_auth_callout_requests_total", {{"status", "authorized"}}, sum(s, &shard_metrics::replied_allow));
    out.sample("nats_auth_callout_requests_total", {{"status", "denied"}}, sum(s, &shard_metrics::replied_deny));
    out.sample("nats_auth_callout_requests_total", {{"status", "error"}}, errors);
    out.family("nats_auth_callout_duration_seconds", "histogram", "Alias of callgate_stage_seconds{stage=\"total\"}.");
    stage_family(out, s, "nats_auth_callout_duration_seconds", observe::stage::total, "");
    out.family("nats_auth_service_up", "gauge", "Alias of callgate_ready.");
    out.sample("nats_auth_service_up", {}, std::uint64_t{s.ready() ? 1u : 0u});
    std::vector<host::exported_metrics> own;
    own.reserve(s.instances.size());
    for (const auto& i : s.instances) own.push_back({i.kind, i.name, i.own_metrics});
    return out.take() + host::render_plugin_metrics(own);
}

std::string render_health(const status& s) {
    namespace json = boost::json;
    std::string why;
    const bool ready = s.ready(&why);
    json::object o;
    o["ready"] = ready;
    if (!ready) o["why"] = why;
    o["version"] = s.version;
    o["config"] = json::object{{"file", s.config_file},
                               {"generation", s.config_generation},
                               {"loaded_unix_s", s.config_loaded_unix_s},
                               {"reloads_failed", s.reloads_failed},
                               {"last_reload_error", s.last_reload_error}};
    json::array links, instances, clusters;
    for (const auto& l : s.links) {
        json::object e{{"cluster", l.cluster}, {"shard", l.shard}, {"name", l.name}, {"connected", l.status.connected}};
        if (l.cold) e["cold"] = true;
        if (l.status.connected) {
            e["url"] = l.status.url;
            e["server_id"] = l.status.server_id;
            e["server_version"] = l.status.server_version;
        }
        if (!l.status.last_error.empty()) e["last_error"] = l.status.last_error;
        e["reconnects"] = l.status.reconnects;
        links.push_back(std::move(e));
    }
    for (const auto& i : s.instances) {
        json::object e{{"kind", i.kind}, {"name", i.name}, {"plugin", i.plugin}, {"state", i.state}};
        if (!i.text.empty()) e["text"] = i.text;
        if (i.breaker != host::breaker_state::closed) e["breaker"] = i.breaker == host::breaker_state::open ? "open" : "half_open";
        if (i.owed != 0) e["owed"] = i.owed;
        instances.push_back(std::move(e));
    }
    for (const auto& c : s.clusters)
        clusters.push_back(json::object{{"name", c.name},
                                        {"system_link", c.system_link},
                                        {"system_connected", c.system_connected},
                                        {"servers_known", c.servers_known}});
    o["clusters"] = std::move(clusters);
    o["links"] = std::move(links);
    o["instances"] = std::move(instances);
    json::array sinks;
    for (const auto& a : s.audit_sinks) {
        json::object e{{"name", a.name}, {"written", a.written}, {"lost", a.lost}, {"waiting", a.waiting}};
        if (!a.fault.empty()) e["fault"] = a.fault;
        sinks.push_back(std::move(e));
    }
    o["audit"] = json::object{{"written", s.audit_written}, {"lost", s.audit_lost}, {"sinks", std::move(sinks)}};
    return json::serialize(o) + "\n";
}

}  // namespace callgate::runtime
