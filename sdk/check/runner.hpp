// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "sdk/check/registry.hpp"
#include "sdk/check/settings.hpp"

/// Runs the checks, each in a process of its own, and finds out which check each finding belongs to.
namespace callgate::check {

enum class check_status : std::uint8_t {
    passed,
    failed,
    skipped, ///< the plugin lacks what it is about
    blocked, ///< could not be judged, because of one that failed
};

struct check_result {
    std::string name;
    std::string summary;
    check_status status = check_status::passed;
    std::vector<std::string> texts; ///< why it failed, was skipped or blocked
    std::vector<std::string> seen_in; ///< tests in which its rule was seen broken
    std::vector<std::string> notes;
    double seconds = 0;
};

/// The selected checks' results, in order. `kind` is the plugin's (0 = unknown). `finished` is called after each process.
[[nodiscard]] std::vector<check_result> run_checks(const settings& s, std::uint32_t kind, const std::function<void(const check_entry&)>& finished);
/// The kind of the plugin's factory, found in a process of its own; 0 when it does not tell.
[[nodiscard]] std::uint32_t find_kind(const settings& s);

[[nodiscard]] std::string to_text(const std::vector<check_result>& results, bool verbose);
[[nodiscard]] std::string to_json(const settings& s, const std::vector<check_result>& results);
[[nodiscard]] std::string to_junit(const settings& s, const std::vector<check_result>& results);

}  // namespace callgate::check
