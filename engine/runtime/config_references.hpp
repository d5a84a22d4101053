// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "engine/policy/document.hpp"
#include "engine/runtime/config.hpp"

/// `${NAME}` in the `config` of plugin instances. Only the plugin's schema tells which of them are secrets, and it is known long
/// after the file was read; until then they stay references, so that no secret gets into ordinary memory.
namespace callgate::runtime {

/// Before policy::expand_environment: a setting of an instance's `config` that is one `${NAME}` and nothing else comes out of the
/// expansion as it is. Variables that are not set are left to the expansion to report.
void set_aside_references(policy::node& root);
/// After it: where such settings stand ("ldap.password"), and whether they were quoted.
[[nodiscard]] std::vector<config_reference> references_in(const policy::node& config);
/// What the reference stands for, typed as it would have been in the file: compact JSON. The variable is set.
[[nodiscard]] std::string value_json(const std::string& reference, bool quoted);

}  // namespace callgate::runtime
