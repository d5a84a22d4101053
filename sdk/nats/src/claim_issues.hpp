// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/jwt.hpp>

/// Checks that several kinds of claims share; each adds to a list of issues (protocol.md 2.5 - 2.12).
namespace callgate::nats {

class issue_list {
  public:
    void error(std::string text) { add(issue::severity::error, std::move(text)); }
    void time_check(std::string text) { add(issue::severity::time_check, std::move(text)); }
    void warning(std::string text) { add(issue::severity::warning, std::move(text)); }
    [[nodiscard]] std::vector<issue>& items() { return items_; }

  private:
    void add(issue::severity level, std::string text) { items_.push_back({level, std::move(text)}); }
    std::vector<issue> items_;
};

void check_subject(issue_list& out, std::string_view subject, std::string_view where);
void check_permissions(issue_list& out, const permissions& p);
void check_user_limits(issue_list& out, const user_limits& l);
void check_description(issue_list& out, const std::string& description, const std::string& info_url);
void check_exports(issue_list& out, const std::vector<export_claim>& exports);
void check_imports(issue_list& out, const std::vector<import_claim>& imports, const std::string& account);
/// Of an activation, without its times.
void check_activation(issue_list& out, const activation_claims& c);

/// CIDR as in src: an address and a prefix length.
[[nodiscard]] bool is_cidr(std::string_view text);
/// "HH:MM:SS"
[[nodiscard]] bool is_time_of_day(std::string_view text) noexcept;
/// A zone this machine has in its time zone database.
[[nodiscard]] bool is_known_time_zone(const std::string& name);

}  // namespace callgate::nats
