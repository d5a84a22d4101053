// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "engine/policy/document.hpp"
#include "engine/policy/fields.hpp"
#include "engine/policy/time_window.hpp"

/// `when:` of routes and rules, compiled. Internal to the room.
namespace callgate::policy {

/// An IPv4 or IPv6 network; IPv4 is kept as ::ffff:a.b.c.d so that both compare alike.
struct network {
    std::array<std::uint8_t, 16> address{};
    unsigned bits = 128;
    [[nodiscard]] bool contains(const std::array<std::uint8_t, 16>& a) const noexcept;
};
/// "10.0.0.0/8", "2001:db8::/32" or one address. On failure `why` says what to write.
[[nodiscard]] std::optional<network> parse_network(std::string_view text, std::string& why);
[[nodiscard]] std::optional<std::array<std::uint8_t, 16>> parse_address(std::string_view text) noexcept;

/// `*` = any run of bytes, `?` = one byte. Never worse than |pattern| x |text| steps.
[[nodiscard]] bool glob_matches(std::string_view pattern, std::string_view text) noexcept;

/// What a rule compares with. Claims are compared by JSON type: "1" is not 1.
using operand = std::variant<std::string, std::int64_t, bool>;

struct condition {
    enum class shape : std::uint8_t { always, all, any, not_, test, time } shape = shape::always;
    enum class op : std::uint8_t { in, glob, cidr, has, exists } op = op::in;  ///< equals = in with one value
    std::vector<condition> parts;
    policy::field field;
    std::vector<operand> values;
    std::vector<network> networks;
    bool expected = true;  ///< exists
    std::vector<time_window> windows;  ///< time: within one of them

    /// Two-valued: a test of something absent or of another type does not hold (and `not` of it does).
    [[nodiscard]] bool holds(const facts& f) const;
    /// A moment after unix_s, before which time alone does not change holds(); INT64_MAX = it asks for no time.
    [[nodiscard]] std::int64_t next_boundary(std::int64_t unix_s) const;
    [[nodiscard]] bool asks_time() const;
};

/// What the reader needs to know to refuse a condition, and learns from it.
struct condition_context {
    const reporter* to = nullptr;
    bool identity_known = true;  ///< false in routes
    bool servers_pinned = false;
    std::span<const std::string> backends;
};
/// Reports everything wrong; the returned condition is meaningful only when nothing was.
[[nodiscard]] condition parse_condition(const node& when, const std::string& path, const condition_context& context);
/// Reports a field that may not be used here. True when it may.
bool check_field(const field& f, int line, const std::string& path, const condition_context& context);

}  // namespace callgate::policy
