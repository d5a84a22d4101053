// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <span>
#include <string>
#include <vector>

#include "engine/policy/compile.hpp"
#include "engine/runtime/config.hpp"

/// The sections of the configuration file, one function each. Internal to the loader.
namespace callgate::runtime {

/// What every section reader needs. Paths are made absolute against base_dir.
struct loading {
    policy::reporter to;
    std::string base_dir;
    config value;

    [[nodiscard]] std::string absolute(const std::string& path) const;
};

void read_general(const policy::section& root, loading& in);    ///< shards, drain_limit, log, audit, plugins
void read_nats(const policy::section& root, loading& in);
void read_callout(const policy::section& root, loading& in);
void read_instances(const policy::section& root, std::string_view key, std::vector<instance_options>& out, loading& in);
void read_accounts(const policy::section& root, loading& in);
void read_admission(const policy::section& root, loading& in);
void read_admin(const policy::section& root, loading& in);
/// After read_admin: module_admin, unless the file names another module `admin`.
void add_admin_module(const policy::section& root, config& c);

/// After read_instances: audit_file as `audit` for audit.path; whom audit.required means.
void add_audit_sink(const policy::section& root, loading& in);

/// Literal passwords and seeds anywhere in the tree.
void refuse_literal_secrets(const policy::node& root, const policy::reporter& to);
/// What only shows when two sections are seen together.
void check_together(const policy::section& root, loading& in);

/// A file that is not there yet is a warning: `callgate check` also runs where the secrets are not.
/// A secret that others may read is an error.
void check_file(const policy::section& s, std::string_view key, const std::string& path, bool secret);

/// The path of a file, made absolute; check_file judges it.
void read_file(const policy::section& s, std::string_view key, std::string& out, bool secret, const loading& in);

/// "<provider>/<label>"; reports what is wrong with it.
[[nodiscard]] std::optional<key_ref> parse_key_ref(const std::string& text, int line, const std::string& path, const policy::reporter& to);

/// Every mapping of the file that the loader knows, with its keys; names as in configs/schema.json.
[[nodiscard]] std::vector<policy::key_table> known_mappings();
extern const policy::key_table root_table;

}  // namespace callgate::runtime
