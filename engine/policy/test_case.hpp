// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/policy/document.hpp"
#include "engine/policy/policy.hpp"

/// Cases of `policy.tests` and of `callgate policy test FILE`: an identity and a connection, and the grant or
/// the reason they must lead to. Start-up and CLI only.
namespace callgate::policy {

/// Owns what connection only views.
struct connection_values {
    client_kind kind = client_kind::nats;
    tls_state tls = tls_state::none;
    std::map<std::string, std::string, std::less<>> texts;  ///< "client_host" -> "10.0.0.1"
    std::vector<std::string> server_tags, client_tags;
    bool server_pinned = true, has_auth_token = false, has_pass = false, has_jwt = false, has_nkey_signature = false;
};

struct test_case {
    std::string name;
    int line = 0;
    std::size_t index = 0;
    policy::identity identity;
    std::optional<std::int64_t> expires_in_s;  ///< of the credential
    connection_values connection;
    std::optional<std::int64_t> now_unix_s;  ///< for time windows

    std::map<std::string, std::string, std::less<>> stored;  ///< "store/key" -> JSON document

    bool allow = true;
    std::string deny;  ///< reason id; empty with allow = false: any
    std::optional<std::string> rule, route, account, role, user_name;
    std::map<std::string, std::vector<std::string>> lists;  ///< "pub.allow" -> exactly these, in any order
    std::optional<response_permission> resp;
    std::optional<std::int64_t> ttl_s;  ///< without jitter
};

struct case_result {
    std::string name;
    int line = 0;
    bool passed = false;
    std::string expected, actual;          ///< one line each
    std::vector<std::string> differences;  ///< empty when passed
};

/// Reports what is wrong with the cases; returns those that can run.
[[nodiscard]] std::vector<test_case> parse_test_cases(const node& tests, const std::string& path, const reporter& to);
[[nodiscard]] case_result run_case(const compiled& policy, const test_case& c);
[[nodiscard]] std::span<const key_table> test_key_tables() noexcept;

}  // namespace callgate::policy
