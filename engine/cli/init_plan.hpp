// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.hpp"

/// What `callgate init` was asked for, and the plan it is made into. The plan is written to the folder
/// first of all and everything else follows from it and the keys, byte for byte: that is what makes a
/// second run change nothing and an interrupted one resumable.
namespace callgate::cli {

enum class deployment_mode : std::uint8_t { config, operator_ };
[[nodiscard]] std::string_view to_string(deployment_mode m) noexcept;

struct server_version {
    int major = 2, minor = 15, patch = 0;
    bool patch_given = false;
    /// protocol.md 3.11; a series without patch number means its newest release.
    [[nodiscard]] bool has_allowed_accounts() const noexcept { return minor >= 11; }
    [[nodiscard]] bool has_default_sentinel() const noexcept { return minor > 11 || (minor == 11 && (!patch_given || patch >= 2)); }
    [[nodiscard]] std::string text() const;
    friend bool operator==(const server_version&, const server_version&) = default;
};
/// "2.10", "2.15.1"; 2.10 is the first series with a callout.
[[nodiscard]] result<server_version> parse_server_version(std::string_view text);

struct host_port {
    std::string host;
    int port = 0;
    [[nodiscard]] std::string text() const;  ///< "host:port", IPv6 in brackets
    friend bool operator==(const host_port&, const host_port&) = default;
};
/// "127.0.0.1:4222", "[::1]:4222", "0.0.0.0:4222".
[[nodiscard]] result<host_port> parse_host_port(std::string_view text);

/// Flags as given; what is not given stays as the folder was made with, else takes the default.
struct init_request {
    std::optional<std::string> mode, server_version, listen, websocket, mqtt, monitor, tls_cert, tls_key, tls_ca,
        tls_client_cert, tls_client_key, tls_server_name;
    std::optional<std::vector<std::string>> accounts, urls, plugins;
    std::optional<std::int64_t> max_control_line, auth_timeout_s;
    bool force_config = false;
};

struct init_plan {
    deployment_mode mode = deployment_mode::operator_;
    server_version version;
    std::vector<std::string> accounts{"APP"};
    host_port listen{"127.0.0.1", 4222};
    std::optional<host_port> websocket, mqtt, monitor;
    std::vector<std::string> urls;  ///< for callgate.yaml; empty = from `listen`
    std::vector<std::string> plugin_directories;
    std::string tls_cert, tls_key, tls_ca;  ///< absolute paths
    std::string tls_client_cert, tls_client_key, tls_server_name;
    std::int64_t max_control_line = 65'536;
    std::int64_t auth_timeout_s = 2;
    std::int64_t issued_at = 0;  ///< unix seconds: `iat` of every token
    bool unfinished = true;      ///< derived files are being written; the next run goes on
    friend bool operator==(const init_plan&, const init_plan&) = default;
};

inline constexpr std::string_view plan_file = "callgate-init.json";
inline constexpr std::string_view callout_account = "AUTH";
inline constexpr std::string_view system_account = "SYS";

/// `before`: the plan in the folder, if any. Refuses what contradicts it unless force_config; never lets
/// the mode change. `where` (the folder) stands in errors.
[[nodiscard]] result<init_plan> make_plan(const init_request& request, const std::optional<init_plan>& before,
                                          std::int64_t now_unix_s, const std::string& where);

[[nodiscard]] std::string to_json(const init_plan& plan);
[[nodiscard]] result<init_plan> plan_from_json(std::string_view text, const std::string& where);

}  // namespace callgate::cli
