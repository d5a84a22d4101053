// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sdk/check/instance.hpp"
#include "sdk/check/settings.hpp"

/// The checks. A check is a rule with a name, "group.rule", and a test that provokes its breaking. Tests run in processes
/// of their own; what a test sees of another check's rule is recorded under that one.
namespace callgate::check {

struct check_entry {
    std::string name;
    std::string summary;
    std::uint32_t kinds; ///< bits (1 << CG_KIND_*); 0 = every kind
    std::function<void(const settings& s)> run;
};

/// In the order they run: what others build on comes first.
[[nodiscard]] const std::vector<check_entry>& all_checks();

inline constexpr std::uint32_t auth_only = 1u << CG_KIND_AUTH_BACKEND;
inline constexpr std::uint32_t keys_only = 1u << CG_KIND_KEY_PROVIDER;
inline constexpr std::uint32_t claims_only = 1u << 3;
inline constexpr std::uint32_t sinks_only = 1u << 5;
inline constexpr std::uint32_t with_operations = auth_only | keys_only | claims_only;

void add_library_checks(std::vector<check_entry>& out);
void add_lifecycle_checks(std::vector<check_entry>& out);
void add_process_checks(std::vector<check_entry>& out);
void add_thread_checks(std::vector<check_entry>& out);
void add_operation_checks(std::vector<check_entry>& out);
void add_auth_checks(std::vector<check_entry>& out);
void add_key_checks(std::vector<check_entry>& out);
void add_claim_checks(std::vector<check_entry>& out);
void add_sink_checks(std::vector<check_entry>& out);
void add_fuzz_checks(std::vector<check_entry>& out);

}  // namespace callgate::check
