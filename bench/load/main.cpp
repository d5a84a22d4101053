// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/secret.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <stdexcept>

#include "bench/load/options.hpp"

namespace {

using namespace callgate::load;

// As typed; what needs a look at another option, a file or the system is resolved after parsing.
struct typed_options {
    std::vector<std::string> urls, pids;
    std::string credentials, json, library = "nats.go", ramp, mode = "config";
    double rate = 0;
    int cpu = -1;
    bool keep_trying = false;
};

double number(std::string_view text, std::string_view option) {
    double value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc{} || end != text.data() + text.size()) throw std::runtime_error(fmt::format("{}: {} is no number", option, text));
    return value;
}

void add_common(CLI::App& app, typed_options& t, common_options& o) {
    app.add_option("--url", t.urls, "nats://[user:password@]host:port; several: shared out in turn")->required();
    app.add_option("--credentials", t.credentials, "file with one credential a line: user NAME PASSWORD | token TEXT | jwt TEXT [SEED] | nkey SEED")->required();
    app.add_option("--pid", t.pids, "NAME=PID of a process whose CPU time is counted; repeatable");
    app.add_option("--cpu", t.cpu, "processor on which the generator runs while the clock does")->check(CLI::Range(0, 1023));
    app.add_option("--json", t.json, "file for the result as JSON");
    app.add_option("--interval", o.interval_s, "seconds of a row of the course")->check(CLI::Range(0.01, 3600.0));
    app.add_option("--library", t.library, "whose retry timing: nats.go, nats.js or libnats")->check(CLI::IsMember({"nats.go", "nats.js", "libnats"}));
    app.add_flag("--keep-trying", t.keep_trying, "clients never close for good (IgnoreAuthErrorAbort, MaxReconnect -1)");
}

void add_load(CLI::App& app, typed_options& t, offered_load& load) {
    app.add_option("--in-flight", load.in_flight, "closed loop: so many at a time")->check(CLI::Range(1, 4096));
    app.add_option("--count", load.count, "closed loop: how many in all")->check(CLI::Range(1, 600000));
    app.add_option("--rate", t.rate, "open loop: so many a second")->check(CLI::Range(0.1, 1e6));
    app.add_option("--ramp", t.ramp, "open loop: FROM..TO a second, growing over the duration");
    app.add_option("--stop-at-backlog", load.stop_at_backlog_ms, "open loop: stop offering at so many ms of backlog")->check(CLI::Range(1.0, 1e6));
    app.add_option("--storm", load.storm, "so many clients at once, with their library's retries")->check(CLI::Range(1, 200000));
    app.add_option("--duration", load.duration_s, "seconds; open loop: how long, others: at most (default 10; storm 60)")->check(CLI::Range(0.01, 86400.0));
}

void resolve(const typed_options& t, common_options& o, std::vector<std::string> command) {
    o.command = std::move(command);
    for (const auto& url : t.urls) o.servers.push_back(parse_url(url));
    o.credentials = read_credentials(t.credentials);
    for (const auto& pid : t.pids) o.watched.push_back(parse_watched(pid));
    if (t.cpu >= 0) o.cpu = t.cpu;
    o.json_file = t.json;
    o.library = find_library(t.library).value();
    if (t.keep_trying) o.library.closed_after = o.library.max_attempts = 0;
}

void resolve_load(const typed_options& t, offered_load& load) {
    if (t.rate > 0) load.rate = {t.rate, t.rate};
    if (!t.ramp.empty()) {
        const auto dots = t.ramp.find("..");
        if (load.rate || dots == t.ramp.npos) throw std::runtime_error("--ramp FROM..TO: two rates, and no --rate beside it");
        load.rate = {number(t.ramp.substr(0, dots), "--ramp"), number(t.ramp.substr(dots + 2), "--ramp")};
        if (!(load.rate->first > 0) || !(load.rate->second > 0)) throw std::runtime_error("--ramp FROM..TO: both rates are above 0");
    }
    const int ways = (load.in_flight != 0) + load.rate.has_value() + (load.storm != 0) + (load.hold != 0);
    if (ways != 1) throw std::runtime_error("say how load is offered by exactly one of --in-flight, --rate, --ramp and --storm");
    if (load.stop_at_backlog_ms > 0 && !load.rate) throw std::runtime_error("--stop-at-backlog belongs to --rate and --ramp");
    if (load.count != 0 && load.in_flight == 0) throw std::runtime_error("--count belongs to --in-flight; an open loop sends rate times duration");
    if (load.duration_s == 0) load.duration_s = load.storm != 0 ? 60 : 10;
    if (load.count == 0) load.count = 20'000;
}

int run(int argc, char** argv) {
    CLI::App app("callgate-load: drives a NATS auth callout service, whoever wrote it");
    app.set_version_flag("--version", CALLGATE_VERSION);
    app.require_subcommand(1);
    typed_options t;
    peer_options peer;
    client_options clients;

    auto* p = app.add_subcommand("peer", "plays nats-servers over a broker: requests straight to the service, every reply verified");
    add_common(*p, t, peer);
    add_load(*p, t, peer.load);
    p->add_option("--issuer", peer.expected.issuer, "auth_callout.issuer (operator mode: the callout account): A...")->required();
    p->add_option("--xkey", peer.xkey, "public curve key of the service (X...): requests are sealed");
    p->add_option("--mode", t.mode, "config or operator")->check(CLI::IsMember({"config", "operator"}));
    p->add_option("--account", peer.expected.account, "account in which users must be placed (operator mode: A...)");
    p->add_flag("--allow-unsealed", peer.expected.allow_unsealed, "take plain replies to sealed requests, as nats-server does");
    p->add_option("--servers", peer.simulated_servers, "nats-servers to play")->check(CLI::Range(1, 1000));
    p->add_option("--connections", peer.connections, "connections to the broker")->check(CLI::Range(1, 64));
    p->add_option("--warm-up", peer.warm_up, "requests before the clock starts")->check(CLI::Range(0, 100000));
    p->add_option("--auth-timeout", peer.auth_timeout_s, "seconds the played servers wait; open loop and storm")->check(CLI::Range(1.0, 60.0));
    p->add_option("--give-up", peer.give_up_s, "closed loop: seconds after which an unanswered request frees its place")->check(CLI::Range(0.05, 30.0));

    auto* c = app.add_subcommand("clients", "real connections to real nats-servers: latency to PONG, outcomes by error text");
    add_common(*c, t, clients);
    add_load(*c, t, clients.load);
    bool once = false;
    c->add_flag("--once", once, "storm: every client tries once");
    c->add_option("--timeout", clients.timeout_s, "seconds for one login (default: the library's)")->check(CLI::Range(0.05, 300.0));

    auto* h = app.add_subcommand("hold", "holds connections, loses all of them at once, reports how they come back");
    add_common(*h, t, clients);
    h->add_option("--clients", clients.load.hold, "connections")->required()->check(CLI::Range(1, 200000));
    h->add_option("--connect-rate", clients.connect_rate, "logins a second while it fills")->check(CLI::Range(0.1, 1e6));
    h->add_option("--kick-after", clients.kick_after_s, "closes all of them so many seconds after the last one is in (else on SIGUSR1)")->check(CLI::Range(0.001, 86400.0));
    h->add_option("--duration", clients.load.duration_s, "seconds of recovery, at most (default 60)")->check(CLI::Range(0.01, 86400.0));
    h->add_option("--timeout", clients.timeout_s, "seconds for one login (default: the library's)")->check(CLI::Range(0.05, 300.0));

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        // 0 is --help and --version.
        return app.exit(e) == 0 ? 0 : 2;
    }
    std::vector<std::string> command(argv, argv + argc);
    if (p->parsed()) {
        resolve(t, peer, std::move(command));
        resolve_load(t, peer.load);
        peer.expected.operator_mode = t.mode == "operator";
        if (peer.connections > peer.simulated_servers) throw std::runtime_error("--connections: at most one for each of --servers");
        return run_peer(peer);
    }
    resolve(t, clients, std::move(command));
    if (h->parsed() && clients.load.duration_s == 0) clients.load.duration_s = 60;
    resolve_load(t, clients.load);
    clients.retry = !once;
    if (once && clients.load.storm == 0) throw std::runtime_error("--once belongs to --storm");
    return run_clients(clients);
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    try {
        callgate::crypto::init();
        return run(argc, argv);
    } catch (const std::exception& e) {
        fmt::print(stderr, "callgate-load: {}\n", e.what());
        return 2;
    }
}
