// SPDX-License-Identifier: Apache-2.0
// my_auth: knows clients by a token. Replace what it does; keep the shape.
#pragma once
#include <callgate/sdk/auth_backend.hpp>
#include <callgate/sdk/plugin.hpp>

class my_auth_backend final : public callgate::sdk::auth_backend {
  public:
    // What `callgate plugin inspect` shows. The host checks the configuration against the schema.
    static constexpr std::string_view type = "my_auth";
    static constexpr std::string_view summary = "clients known by the tokens in a file";
    static constexpr std::string_view config_schema = R"({
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "file": {"type": "string", "minLength": 1, "description": "lines of SUBJECT TOKEN; without it nobody is known"},
    "cache_ttl": {"type": "string", "description": "how long an ALLOW may be remembered, 0 (never) to 5m"}
  }
})";

    /// [control] Checks the configuration. What it throws names the key at fault.
    static std::unique_ptr<auth_backend> create(callgate::sdk::host_ref host, const callgate::sdk::create_args& args);

    my_auth_backend(callgate::sdk::host_ref host, std::string file, std::uint32_t cache_ttl_s);
    /// [control] Reads the file. A failure stops callgate's start; at a reload the old configuration stays.
    void start(callgate::sdk::op_handle&& op) override;
    /// [shard] Must not block; several shards call it at once.
    void authenticate(callgate::sdk::shard_state* state, callgate::sdk::op_handle&& op,
                      const callgate::sdk::request_view& request) override;

  private:
    struct entry {
        std::string subject, token;
    };
    [[nodiscard]] std::vector<entry> read_file() const;
    [[nodiscard]] const entry* find(std::string_view token) const noexcept;

    const std::string file_;
    const std::uint32_t cache_ttl_s_;
    std::vector<entry> entries_;  // written by start alone, so the shards need no lock
};
