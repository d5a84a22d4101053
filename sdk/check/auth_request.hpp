// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/auth_backend.h>

#include <map>
#include <string>
#include <vector>

#include "sdk/check/instance.hpp"

/// Requests to auth backends, laid out so that touching them wrongly is a fault, and answers read strictly.
namespace callgate::check {

struct request_fields {
    std::map<std::string, std::string> text; ///< by the name of the field in cg_auth_request; others are absent
    std::uint32_t flags = 0;
    std::uint32_t trust = CG_TRUST_VERIFIED;
    std::uint32_t client_kind = CG_CLIENT_NATS;
    std::uint32_t tls = CG_TLS_NONE;
    std::uint32_t credential_source = CG_CREDENTIAL_NONE;
    std::vector<std::string> server_tags, client_tags, tls_chain_pem;
    std::vector<std::string> earlier; ///< subjects of identities found before
    std::int64_t left_ns = 2'000'000'000;
};
/// Names of the cg_str fields of cg_auth_request.
[[nodiscard]] const std::vector<std::string>& request_text_fields();
/// A client with that user and password, whatever they are.
[[nodiscard]] request_fields plain_request(const std::string& user = "alice", const std::string& pass = "not her password");

enum class string_layout : std::uint8_t {
    together,      ///< in one block, as the engine has them
    each_at_guard, ///< each ends at a page that cannot be touched
};
struct built_request {
    const cg_auth_request* request = nullptr;
    std::vector<std::shared_ptr<guarded_block>> memory;
};
[[nodiscard]] built_request build(const request_fields& fields, std::uint32_t shard, string_layout layout, host_shape shape);

struct auth_value {
    std::uint32_t verdict = 0;
    std::string reason_id, subject, issuer;
    bool has_grant = false;
};
/// Judges the reply by what the engine refuses (sdk/docs/abi.md), under the checks of the group auth.
[[nodiscard]] result_reader auth_result();
[[nodiscard]] std::string verdict_name(std::uint32_t verdict);

/// [shard]
cg_op authenticate(instance& i, std::uint32_t shard, const request_fields& fields, string_layout layout = string_layout::together, bool cancelled = false);
/// [control] On one shard, waited for. The status of one that was refused or failed reads as UNAVAILABLE, as in the engine.
auth_value authenticate_and_wait(instance& i, std::uint32_t shard, const request_fields& fields);

}  // namespace callgate::check
