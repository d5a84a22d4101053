// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/policy/compile.hpp"
#include "engine/policy/condition.hpp"
#include "engine/policy/text_template.hpp"

/// The compiled policy. Internal to the room.
namespace callgate::policy {

/// A session shorter than this is not worth starting, and clocks differ by as much.
inline constexpr std::int64_t min_lifetime_s = 5;
inline constexpr std::int64_t min_ttl_s = 10;
inline constexpr std::int64_t max_plain_ttl_s = 24 * 3600;
inline constexpr std::int64_t max_long_ttl_s = 366 * 24 * 3600;
inline constexpr std::size_t max_name_bytes = 256;

/// `grant: {from: claims, store: main, key: "grants/{{sub}}"}`
struct stored_template {
    std::string store;
    text_template key;
    bool encode = false;
};

struct grant_template {
    std::optional<stored_template> stored;  ///< then nothing of the rest
    text_template account;
    std::string role;
    text_template name;
    std::vector<text_template> pub_allow, pub_deny, sub_allow, sub_deny, tags;
    std::optional<response_permission> resp;
    std::int64_t ttl_s = 0;
    bool encode = false;
    bool account_defaults = false;  ///< `default_permissions: true`: whatever the account gives everybody
};

struct rule {
    std::string name;
    condition when;
    bool timed = false;  ///< `when` asks for the time
    bool deny = false;
    grant_template grant;
};

struct guarded_route {
    policy::route route;
    condition when;
};

/// Accounts by name, and which of them nobody may be placed in.
struct account_table {
    struct entry {
        bool forbidden = false;
        std::vector<std::string> roles;
        [[nodiscard]] bool has_role(std::string_view role) const noexcept;
    };
    std::map<std::string, entry, std::less<>> by_name;
    std::vector<std::string> forbidden_ids;  ///< names and keys, known or not

    [[nodiscard]] const entry* find(std::string_view name) const noexcept;
    [[nodiscard]] bool is_forbidden(std::string_view name_or_key) const noexcept;
};
[[nodiscard]] account_table make_account_table(const environment& env, const std::vector<std::string>& also_forbidden);

class rule_set final : public compiled {
  public:
    std::vector<guarded_route> routes_;
    std::vector<rule> rules_;
    std::vector<std::string> backends_, stores_;
    account_table accounts_;
    std::int64_t max_ttl_s_ = 3600;
    double max_jitter_ = 0.1;
    bool timed_ = false;  ///< any rule is

    [[nodiscard]] const route* find_route(const connection& c) const override;
    [[nodiscard]] decision decide(const connection& c, const identity& who, std::int64_t now_unix_s, double jitter) const override;
    [[nodiscard]] decision admit(const connection& c, const identity& who, const backend_grant& asked, std::int64_t now_unix_s,
                                 double jitter) const override;
    [[nodiscard]] decision admit_stored(const connection& c, const identity& who, const decision& asked, std::string_view document,
                                        std::int64_t now_unix_s, double jitter) const override;
    [[nodiscard]] const std::vector<std::string>& stores() const override { return stores_; }
    [[nodiscard]] const std::vector<std::string>& backends() const override { return backends_; }

  private:
    [[nodiscard]] std::optional<refusal> fill(const grant_template& t, const facts& f, std::int64_t until, double jitter, grant& out) const;
    /// No later than the first moment at which, the claims unchanged, time alone makes another rule decide; INT64_MAX =
    /// not within policy.max_ttl.
    [[nodiscard]] std::int64_t decides_until(std::size_t rule, const facts& f) const;
    [[nodiscard]] std::optional<refusal> place(std::string_view account, std::string_view role) const;
    [[nodiscard]] std::optional<refusal> expire(std::int64_t ttl_s, std::int64_t credential_exp, std::int64_t until, std::int64_t now, double jitter, std::int64_t& exp) const;
};

}  // namespace callgate::policy
