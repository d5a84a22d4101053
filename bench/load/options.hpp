// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/load/credentials.hpp"
#include "bench/load/cpu_time.hpp"
#include "bench/load/fleet.hpp"
#include "bench/load/reply_check.hpp"
#include "bench/load/wire.hpp"

/// What the command line says, checked. Times in seconds unless the name says otherwise.
namespace callgate::load {

struct common_options {
    std::vector<std::string> command;  ///< as it was typed
    std::vector<server_address> servers;
    std::vector<credential> credentials;
    std::vector<watched_process> watched;  ///< the generator itself is added
    std::optional<int> cpu;                ///< pins the generator
    std::string json_file;
    double interval_s = 1;
    client_library library;
};

/// How load is offered: exactly one of the four.
struct offered_load {
    std::uint32_t in_flight = 0;                    ///< closed loop
    std::optional<std::pair<double, double>> rate;  ///< open loop: from, to, a second
    std::uint32_t storm = 0;                        ///< clients
    std::uint32_t hold = 0;                         ///< clients; the subcommand `hold` only
    std::uint64_t count = 0;                        ///< closed loop: requests
    double duration_s = 0;                          ///< open loop: how long; others: at most
    double stop_at_backlog_ms = 0;
};

struct peer_options : common_options {
    offered_load load;
    expectation expected;
    std::string xkey;  ///< of the service, public; empty: plain
    std::uint32_t simulated_servers = 1, connections = 1;
    std::uint64_t warm_up = 0;
    double auth_timeout_s = 2;  ///< authorization.timeout of the simulated servers
    double give_up_s = 5;       ///< closed loop: a reply later than this frees its place
};

struct client_options : common_options {
    offered_load load;
    bool retry = true;          ///< storm: as the library does; else every client tries once
    double timeout_s = 0;       ///< for one attempt; 0: the library's
    double connect_rate = 500;  ///< hold: logins a second while it fills
    double kick_after_s = 0;    ///< hold: closes all connections then; 0: only on SIGUSR1
};

/// Exit codes: 0 it ran; 1 replies were invalid or doubled (peer). What keeps it from running throws std::runtime_error: 2.
int run_peer(const peer_options& options);
int run_clients(const client_options& options);

}  // namespace callgate::load
