// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/extensions.hpp>
#include <chrono>
#include <optional>
#include <string_view>

namespace callgate::auth_oidc {

/// What is read of a response: no more than so many bytes and directives of Cache-Control in all.
inline constexpr std::size_t max_cache_control_bytes = 4096;
inline constexpr std::size_t max_cache_directives = 64;

/// delta-seconds beyond this, of any length, are this (RFC 9111, 1.2.2).
inline constexpr std::chrono::seconds max_delta_seconds{std::int64_t{1} << 31};

/// The directives of a private cache, gathered from all Cache-Control fields of one response (RFC 9111, 5.2).
class cache_control {
  public:
    /// One field's value. Whatever does not have the form of the RFC makes the response stale rather than
    /// fresh (4.2.1): directives out of form, repeated max-age (the smallest counts), more than is read.
    void read(std::string_view value) noexcept;

    /// How long the response was fresh when it was made: 0 with no-store, no-cache or a fault, else max-age;
    /// nullopt when the fields say nothing of it. s-maxage is for shared caches.
    [[nodiscard]] std::optional<std::chrono::seconds> lifetime() const noexcept;

  private:
    void directive(std::string_view name, std::optional<std::string_view> argument) noexcept;

    std::size_t bytes_ = 0, directives_ = 0;
    bool stale_ = false;
    std::optional<std::chrono::seconds> max_age_;
};

/// The field Age (RFC 9111, 5.1): its first member, or nullopt when that is not a number.
[[nodiscard]] std::optional<std::chrono::seconds> parse_age(std::string_view value) noexcept;

/// How much longer the response stays fresh: its lifetime less its Age; nullopt when no Cache-Control speaks
/// of it. Never negative. Expires is not read.
[[nodiscard]] std::optional<std::chrono::seconds> fresh_for(const sdk::http_response_view& response) noexcept;

}  // namespace callgate::auth_oidc
