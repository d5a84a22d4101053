// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/secrets.h>
#include <callgate/crypto/secret.hpp>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.hpp"

namespace callgate::host {

/// Reads a file into guarded memory, with whatever checks of its mode the caller wants.
using secret_reader = std::function<result<crypto::secret>(const std::string& path)>;

/// Secrets of one instance by handle. [any]
class secret_vault {
  public:
    explicit secret_vault(secret_reader reader) : reader_(std::move(reader)) {}

    /// Reads what `reference` ("${NAME}" or "file:PATH") names; `key` is where it stands, for messages. The handle.
    result<std::string> add(const std::string& reference, const std::string& key, const std::string& base_dir);
    /// CG_OK, CG_E_NOT_FOUND or CG_E_NOSPC.
    cg_status read(std::string_view handle, cg_outbuf& out) const;
    /// Reads the files again; the handles of those that have other bytes. A file that cannot be read is logged and kept.
    std::vector<std::string> reread();
    [[nodiscard]] std::size_t size() const;

  private:
    struct entry {
        std::string key, path;  // path: empty = from the environment
        crypto::secret value;
    };
    result<crypto::secret> from_file(const std::string& path) const;

    const secret_reader reader_;
    mutable std::mutex mutex_;
    std::map<std::string, entry, std::less<>> entries_;
};

/// config_json with handles instead of references, and what they stand for.
struct sealed_config {
    std::string config_json;
    std::shared_ptr<secret_vault> secrets;  ///< null when the schema marks nothing that the configuration has
};
/// Seals the properties that `schema_json` marks with "x-callgate-secret": true, also below properties, items,
/// additionalProperties, allOf/anyOf/oneOf and local $refs. Everything else stays as it is, references too. [control]
/// Errors: invalid (where = key below `config`: a marked value that is not a reference), and those of reading.
[[nodiscard]] result<sealed_config> seal_secrets(const std::string& schema_json, const std::string& config_json, const std::string& base_dir,
                                                 secret_reader reader);

/// secrets/1 of one instance.
class secret_service {
  public:
    explicit secret_service(std::shared_ptr<secret_vault> vault) : vault_(std::move(vault)) {}
    /// [any]
    cg_status read(std::string_view handle, cg_outbuf& out) const;
    /// [control]
    cg_status on_change(void (*changed)(void*, cg_str), void* ctx);
    void reread();
    void close() { closed_ = true; }

    static const cg_secrets_api api;

  private:
    const std::shared_ptr<secret_vault> vault_;
    void (*changed_)(void*, cg_str) = nullptr;
    void* ctx_ = nullptr;
    bool closed_ = false;
};

}  // namespace callgate::host
