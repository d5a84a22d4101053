// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

/// NATS subjects (protocol.md 2.7). No allocation.
namespace callgate::nats {

/// Non-empty tokens between dots, no white space or control characters; wildcards `*` and final `>`
/// count as tokens.
[[nodiscard]] bool is_valid_subject(std::string_view subject) noexcept;
/// Valid and without wildcard tokens.
[[nodiscard]] bool is_literal_subject(std::string_view subject) noexcept;
/// A permission: "subject", or "subject queue" where `with_queue` (sub only).
[[nodiscard]] bool is_valid_permission(std::string_view text, bool with_queue) noexcept;
/// One token that may be put between dots without changing what the subject means: non-empty, no '.',
/// '*', '>', white space, control characters or bytes above 0x7e.
[[nodiscard]] bool is_safe_token(std::string_view token) noexcept;
/// Every subject `inner` matches is matched by `outer`.
[[nodiscard]] bool is_subset(std::string_view inner, std::string_view outer) noexcept;
[[nodiscard]] bool overlaps(std::string_view a, std::string_view b) noexcept;

}  // namespace callgate::nats
