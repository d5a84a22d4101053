// SPDX-License-Identifier: Apache-2.0
#include "engine/net/server_url.hpp"

#include <charconv>
#include <optional>

namespace callgate::net {
namespace {

error refuse(std::string why) {
    return make_error(errc::invalid, "server URL: " + std::move(why) + "; expected nats://host:port or tls://host:port");
}

int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::optional<std::string> percent_decode(std::string_view in) {
    std::string out;
    for (std::size_t i = 0; i < in.size(); ++i) {
        if (in[i] != '%') {
            out.push_back(in[i]);
            continue;
        }
        if (i + 2 >= in.size() || hex(in[i + 1]) < 0 || hex(in[i + 2]) < 0) return std::nullopt;
        out.push_back(static_cast<char>(hex(in[i + 1]) * 16 + hex(in[i + 2])));
        i += 2;
    }
    return out;
}

bool host_character(unsigned char c, bool ipv6) {
    if (c >= '0' && c <= '9') return true;
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
    if (ipv6) return c == ':' || c == '.' || c == '%';
    return c == '-' || c == '.' || c == '_';
}

}  // namespace

std::string server_url::authority() const {
    const bool ipv6 = host.find(':') != std::string::npos;
    return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}
std::string server_url::printable() const { return (tls ? "tls://" : "nats://") + authority(); }

result<server_url> parse_server_url(std::string_view text) {
    server_url url;
    if (text.size() > 2048) return refuse("longer than 2048 characters");
    if (const auto scheme = text.find("://"); scheme != std::string_view::npos) {
        const auto name = text.substr(0, scheme);
        if (name == "tls") url.tls = true;
        else if (name != "nats") return refuse("scheme is neither nats nor tls");
        text.remove_prefix(scheme + 3);
    }
    if (!text.empty() && text.back() == '/') text.remove_suffix(1);
    // The last @ ends the user information: passwords may hold unescaped ones.
    if (const auto at = text.rfind('@'); at != std::string_view::npos) {
        const auto info = text.substr(0, at);
        text.remove_prefix(at + 1);
        const auto colon = info.find(':');
        auto user = percent_decode(info.substr(0, colon));
        auto password = percent_decode(colon == std::string_view::npos ? std::string_view{} : info.substr(colon + 1));
        if (!user || !password) return refuse("user information has a broken percent escape");
        if (user->empty()) return refuse("user information without a user name");
        url.has_user_info = true;
        url.user = std::move(*user);
        url.password = std::move(*password);
    }
    bool ipv6 = false;
    std::string_view port;
    if (!text.empty() && text.front() == '[') {
        const auto end = text.find(']');
        if (end == std::string_view::npos) return refuse("IPv6 address without closing bracket");
        ipv6 = true;
        url.host = text.substr(1, end - 1);
        if (url.host.find(':') == std::string::npos) return refuse("brackets around something that is no IPv6 address");
        auto rest = text.substr(end + 1);
        if (!rest.empty()) {
            if (rest.front() != ':') return refuse("characters after the closing bracket");
            port = rest.substr(1);
            if (port.empty()) return refuse("empty port");
        }
    } else {
        const auto colon = text.find(':');
        url.host = text.substr(0, colon);
        if (colon != std::string_view::npos) {
            port = text.substr(colon + 1);
            if (port.empty()) return refuse("empty port");
        }
    }
    if (url.host.empty()) return refuse("no host");
    for (const char c : url.host)
        if (!host_character(static_cast<unsigned char>(c), ipv6)) return refuse("host has a character that no host name has");
    if (!port.empty()) {
        unsigned value = 0;
        const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), value);
        if (ec != std::errc{} || end != port.data() + port.size() || value == 0 || value > 65535)
            return refuse("port is not a number from 1 to 65535");
        url.port = static_cast<std::uint16_t>(value);
    }
    return url;
}

}  // namespace callgate::net
