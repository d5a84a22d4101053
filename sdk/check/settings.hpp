// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

/// What the command line and the files it names say.
namespace callgate::check {

/// A configuration the plugin must take.
struct good_config {
    std::string file; ///< where it stands; "{}" when there is none
    std::string json;
    std::string base_dir;
};
/// A configuration the plugin must refuse with a text that names `key`.
struct bad_config {
    std::string file;
    std::string key;
    std::string json;
    std::string base_dir;
};
/// A row of an auth backend's truth table.
struct auth_case {
    std::string file;
    std::string name;
    std::map<std::string, std::string> request; ///< field of cg_auth_request -> text
    std::uint32_t credential_source = 0;
    std::uint32_t verdict = 0;
    std::string subject;   ///< empty = any
    std::string reason_id; ///< empty = any
};

struct settings {
    std::string plugin;
    std::vector<good_config> good;
    std::vector<bad_config> bad;
    std::vector<auth_case> cases;
    std::string kind; ///< name, see kind_name(); empty = the only one
    std::string type; ///< factory; empty = the only one of that kind
    std::vector<std::string> include, exclude;
    std::vector<std::string> disabled; ///< checks whose findings are thrown away: how the zoo is tested
    std::string json_file, junit_file;
    std::uint64_t seed = 1;
    std::uint32_t shards = 4;
    std::uint32_t fuzz_steps = 400;
    std::uint32_t cycles = 1000; ///< create and destroy, where growth is looked for
    std::chrono::milliseconds timeout{60'000};
    std::chrono::milliseconds patience{10'000}; ///< for one completion
    std::chrono::milliseconds block_limit{50};
    bool in_process = false;
    bool verbose = false;
    std::vector<good_config> stalled; ///< of an audit sink: its target takes nothing for ever
};

/// "auth", "keys", "claims", "module", "audit"; "kind N" for others.
[[nodiscard]] std::string kind_name(std::uint32_t kind);

}  // namespace callgate::check
