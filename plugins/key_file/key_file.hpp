// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/nkey.hpp>
#include <callgate/sdk/extensions_metrics.hpp>
#include <callgate/sdk/key_provider.hpp>
#include <callgate/sdk/plugin.hpp>
#include <string>
#include <vector>

namespace callgate::key_file {

/// Key provider "file": seeds in files, signatures by libsodium on the calling shard.
class provider final : public sdk::key_provider {
  public:
    static constexpr std::string_view type = "file";
    static constexpr std::string_view summary = "signs with nkey seeds read from files";
    static constexpr std::string_view config_schema = R"({
  "$schema": "http://json-schema.org/draft-07/schema#",
  "type": "object",
  "additionalProperties": false,
  "required": ["files"],
  "properties": {
    "files": {
      "type": "object",
      "description": "label of each key and the file that holds its seed; relative paths start at the configuration file",
      "minProperties": 1,
      "maxProperties": 256,
      "propertyNames": {"pattern": "^[A-Za-z0-9_.-]{1,64}$"},
      "additionalProperties": {"type": "string", "minLength": 1}
    }
  }
})";

    static std::unique_ptr<sdk::key_provider> create(sdk::host_ref host, const sdk::create_args& args);

    struct named_file {
        std::string label;
        std::string path;
    };
    provider(sdk::host_ref host, std::vector<named_file> files);

    void start(sdk::op_handle&& op) override;
    void list_keys(sdk::op_handle&& op, std::span<const std::uint8_t> from) override;
    void sign(sdk::shard_state* state, sdk::op_handle&& op, const sdk::sign_batch_view& batch) override;
    void export_shared(sdk::shard_state* state, sdk::op_handle&& op, cg_key key, std::span<const std::uint8_t> peer) override;

  private:
    struct loaded_key {
        std::string label;
        nats::key_pair pair;
    };
    /// Handles are positions + 1. nullptr for a foreign handle.
    [[nodiscard]] const loaded_key* find(cg_key key) const noexcept;

    std::vector<named_file> files_;
    std::vector<loaded_key> keys_;  // written in start, read-only afterwards
    // Both stay at zero in a sound deployment: somebody asks for what the keys are not for.
    const sdk::metric_counter refused_purpose_, refused_key_;
};

/// Whether a key of that kind may make that signature. A curve key never signs.
[[nodiscard]] bool may_sign(nats::key_type type, std::uint32_t purpose) noexcept;

}  // namespace callgate::key_file
