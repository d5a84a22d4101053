// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "sdk/check/settings.hpp"

/// Reads the files of --config, --stalled, --bad and --cases: YAML, of which JSON is a part. Throws std::runtime_error with file and line.
namespace callgate::check {
/// The instance's `config`, or a fragment of callgate.yaml with one instance whose `config` is taken.
void add_good(settings& s, const std::string& file);
/// As add_good, of an audit sink whose target stalls.
void add_stalled(settings& s, const std::string& file);
/// A list of {key, config}.
void add_bad(settings& s, const std::string& file);
/// A list of {name, request: {field: text}, source, verdict, subject, reason_id}.
void add_cases(settings& s, const std::string& file);
/// What stands beside PLUGIN.so: NAME.check/good*.yaml, stalled*.yaml, bad*.yaml, cases*.yaml (or .json); {} when there is nothing.
void add_defaults(settings& s);
}  // namespace callgate::check
