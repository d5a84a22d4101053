// SPDX-License-Identifier: Apache-2.0
#include "claim_issues.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <fstream>

#include "claims_io.hpp"
#include "url.hpp"

#include <callgate/nats/subject.hpp>

namespace callgate::nats {
namespace {

constexpr std::size_t max_info_length = 8 * 1024;

void check_permission_list(issue_list& out, const std::vector<std::string>& list, bool with_queue, std::string_view where) {
    for (const auto& text : list) {
        if (is_valid_permission(text, with_queue)) continue;
        if (!with_queue && is_valid_permission(text, true))
            out.error("permission " + quoted_text(text) + " in " + std::string(where) + " may not have a queue: only sub permissions may");
        else
            out.error("permission " + quoted_text(text) + " in " + std::string(where) + " is not a valid subject" + (with_queue ? " with an optional queue" : ""));
    }
}

}  // namespace

void check_subject(issue_list& out, std::string_view subject, std::string_view where) {
    if (subject.empty()) out.error(std::string(where) + ": subject cannot be empty");
    else if (!is_valid_subject(subject)) out.error(std::string(where) + ": " + quoted_text(subject) + " is not a valid subject");
}

void check_permissions(issue_list& out, const permissions& p) {
    check_permission_list(out, p.sub.allow, true, "sub.allow");
    check_permission_list(out, p.sub.deny, true, "sub.deny");
    check_permission_list(out, p.pub.allow, false, "pub.allow");
    check_permission_list(out, p.pub.deny, false, "pub.deny");
}

void check_user_limits(issue_list& out, const user_limits& l) {
    check_permissions(out, l.perms);
    for (const auto& cidr : l.src)
        if (!is_cidr(cidr)) out.error("src " + quoted_text(cidr) + " is not a CIDR (address/prefix length)");
    for (const auto& t : l.times) {
        if (!is_time_of_day(t.start)) out.error("start " + quoted_text(t.start) + " in times is not HH:MM:SS");
        if (!is_time_of_day(t.end)) out.error("end " + quoted_text(t.end) + " in times is not HH:MM:SS");
    }
    if (!l.times_location.empty() && !is_known_time_zone(l.times_location))
        out.error("times_location " + quoted_text(l.times_location) + " is not a time zone that this machine knows");
}

void check_description(issue_list& out, const std::string& description, const std::string& info_url) {
    if (description.size() > max_info_length) out.error("description is longer than 8 KiB");
    if (info_url.empty()) return;
    if (info_url.size() > max_info_length) out.error("info_url is longer than 8 KiB");
    const auto url = read_url(info_url);
    if (!url || url->host.empty()) out.error("info_url " + quoted_text(info_url) + " has no scheme or no host");
}

void check_activation(issue_list& out, const activation_claims& c) {
    if (c.kind != "stream" && c.kind != "service") out.error("activation is for " + quoted_text(c.kind) + ", neither stream nor service");
    check_subject(out, c.subject, "activation");
    if (!c.issuer_account.empty() && !is_public(c.issuer_account, key_type::account)) out.error("account_id is not an account public key");
}

bool is_cidr(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos || slash > INET6_ADDRSTRLEN) return false;
    const std::string address(text.substr(0, slash));
    const auto length = text.substr(slash + 1);
    std::array<unsigned char, 16> bytes{};
    int longest = 0;
    if (::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1) longest = 32;
    else if (::inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1) longest = 128;
    else return false;
    int n = -1;
    const auto [end, e] = std::from_chars(length.data(), length.data() + length.size(), n);
    return e == std::errc{} && end == length.data() + length.size() && n >= 0 && n <= longest;
}

bool is_time_of_day(std::string_view text) noexcept {
    if (text.size() != 8 || text[2] != ':' || text[5] != ':') return false;
    const auto two_digits = [&](std::size_t at, int limit) {
        const char a = text[at], b = text[at + 1];
        return a >= '0' && a <= '9' && b >= '0' && b <= '9' && (a - '0') * 10 + (b - '0') < limit;
    };
    return two_digits(0, 24) && two_digits(3, 60) && two_digits(6, 60);
}

bool is_known_time_zone(const std::string& name) {
    if (name == "UTC" || name == "Local") return true;
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::strchr("_+-/", c) != nullptr;
    };
    // The name becomes a path.
    if (name.empty() || name.size() > 64 || name.front() == '/' || !std::ranges::all_of(name, allowed)) return false;
    for (const char* folder : {"/usr/share/zoneinfo/", "/usr/lib/zoneinfo/", "/usr/share/lib/zoneinfo/", "/etc/zoneinfo/"}) {
        std::ifstream file(folder + name, std::ios::binary);
        std::array<char, 4> magic{};
        if (file.read(magic.data(), magic.size()) && std::string_view(magic.data(), magic.size()) == "TZif") return true;
    }
    return false;
}

}  // namespace callgate::nats
