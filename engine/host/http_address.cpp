// SPDX-License-Identifier: Apache-2.0
#include "engine/host/http_address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace callgate::host {
namespace {

constexpr std::array<std::uint8_t, 12> v4_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::array<std::uint8_t, 12> nat64_prefix{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0};

bool inside(const ip_address& a, std::string_view range) {
    const auto c = cidr::parse(range);
    return c && c->contains(a);
}

ip_address unwrapped(ip_address a) noexcept {
    if (std::equal(nat64_prefix.begin(), nat64_prefix.end(), a.bytes.begin())) std::copy(v4_prefix.begin(), v4_prefix.end(), a.bytes.begin());
    return a;
}

}  // namespace

bool ip_address::is_v4() const noexcept { return std::equal(v4_prefix.begin(), v4_prefix.end(), bytes.begin()); }

std::string ip_address::text() const {
    char out[INET6_ADDRSTRLEN] = {};
    if (is_v4()) ::inet_ntop(AF_INET, bytes.data() + 12, out, sizeof out);
    else ::inet_ntop(AF_INET6, bytes.data(), out, sizeof out);
    return out;
}

std::optional<ip_address> ip_from(const sockaddr& address, std::size_t size) noexcept {
    ip_address out;
    if (address.sa_family == AF_INET && size >= sizeof(sockaddr_in)) {
        std::copy(v4_prefix.begin(), v4_prefix.end(), out.bytes.begin());
        std::memcpy(out.bytes.data() + 12, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
        return out;
    }
    if (address.sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
        std::memcpy(out.bytes.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);
        return unwrapped(out);
    }
    return std::nullopt;
}

std::optional<ip_address> ip_from(std::string_view text) {
    const std::string z(text.substr(0, INET6_ADDRSTRLEN));
    ip_address out;
    if (::inet_pton(AF_INET, z.c_str(), out.bytes.data() + 12) == 1) {
        std::copy(v4_prefix.begin(), v4_prefix.end(), out.bytes.begin());
        return out;
    }
    if (::inet_pton(AF_INET6, z.c_str(), out.bytes.data()) == 1) return unwrapped(out);
    return std::nullopt;
}

std::optional<cidr> cidr::parse(std::string_view text) {
    const auto slash = text.find('/');
    const auto base = ip_from(text.substr(0, slash));
    if (!base) return std::nullopt;
    cidr out;
    out.base_ = *base;
    if (slash == std::string_view::npos) return out;
    const auto digits = text.substr(slash + 1);
    unsigned bits = 0;
    const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    const bool v4 = text.substr(0, slash).find(':') == std::string_view::npos;
    if (ec != std::errc{} || end != digits.data() + digits.size() || bits > (v4 ? 32u : 128u)) return std::nullopt;
    out.bits_ = v4 ? bits + 96 : bits;
    return out;
}

bool cidr::contains(const ip_address& a) const noexcept {
    const auto whole = bits_ / 8;
    if (!std::equal(a.bytes.begin(), a.bytes.begin() + whole, base_.bytes.begin())) return false;
    if (bits_ % 8 == 0) return true;
    const auto mask = static_cast<std::uint8_t>(0xff << (8 - bits_ % 8));
    return (a.bytes[whole] & mask) == (base_.bytes[whole] & mask);
}

const char* refuse_address(const address_policy& policy, const ip_address& a) noexcept {
    const bool loopback = inside(a, "127.0.0.0/8") || inside(a, "::1");
    if (inside(a, "0.0.0.0/8") || inside(a, "::") || inside(a, "224.0.0.0/4") || inside(a, "240.0.0.0/4") || inside(a, "ff00::/8"))
        return "is no address of a host";
    // Cloud metadata services hand out credentials to whoever asks; most are link-local, some are not.
    if (!policy.allow_private && (inside(a, "169.254.0.0/16") || inside(a, "fe80::/10") || inside(a, "fd00:ec2::254") ||
                                  inside(a, "100.100.100.200") || inside(a, "192.0.0.192")))
        return "is a link-local or metadata address, which is refused";
    if (policy.plaintext && !policy.allow_plaintext && !loopback) return "is not loopback, and http:// without TLS is allowed to loopback only";
    if (!policy.pins.empty() && std::none_of(policy.pins.begin(), policy.pins.end(), [&](const cidr& c) { return c.contains(a); }))
        return "is outside of the pinned networks";
    return nullptr;
}

}  // namespace callgate::host
