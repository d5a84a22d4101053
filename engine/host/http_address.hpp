// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct sockaddr;

/// Which addresses an outbound HTTP exchange may reach; judged on the resolved address, so that no name can
/// lead elsewhere. Any thread.
namespace callgate::host {

/// IPv6, or IPv4 as ::ffff:a.b.c.d; IPv4 inside NAT64 (64:ff9b::/96) is unwrapped.
struct ip_address {
    std::array<std::uint8_t, 16> bytes{};
    [[nodiscard]] bool is_v4() const noexcept;
    [[nodiscard]] std::string text() const;
};

[[nodiscard]] std::optional<ip_address> ip_from(const sockaddr& address, std::size_t size) noexcept;
[[nodiscard]] std::optional<ip_address> ip_from(std::string_view text);

/// "10.0.0.0/8", "2001:db8::/32", or an address alone.
class cidr {
  public:
    static std::optional<cidr> parse(std::string_view text);
    [[nodiscard]] bool contains(const ip_address& a) const noexcept;

  private:
    ip_address base_;
    unsigned bits_ = 128;
};

struct address_policy {
    bool plaintext = false;        ///< the exchange is http://
    bool allow_plaintext = false;  ///< ... to others than loopback
    bool allow_private = false;    ///< link-local and metadata addresses
    std::vector<cidr> pins;        ///< the address must be inside one; empty = any
};

/// Why the address is refused; nullptr when it may be reached.
[[nodiscard]] const char* refuse_address(const address_policy& policy, const ip_address& address) noexcept;

}  // namespace callgate::host
