// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/creds.hpp>
#include <callgate/nats/jwt.hpp>

#include <algorithm>
#include <cstring>
#include <vector>

namespace callgate::nats {
namespace {

constexpr std::string_view jwt_begin = "-----BEGIN NATS USER JWT-----\n";
constexpr std::string_view jwt_end =
    "\n------END NATS USER JWT------\n"
    "\n"
    "************************* IMPORTANT *************************\n"
    "NKEY Seed printed below can be used to sign and prove identity.\n"
    "NKEYs are sensitive and should be treated as secrets.\n"
    "\n"
    "-----BEGIN USER NKEY SEED-----\n";
constexpr std::string_view seed_end =
    "\n------END USER NKEY SEED------\n"
    "\n"
    "*************************************************************\n";

constexpr std::size_t max_creds_size = max_token_size + 64 * 1024;

error bad_creds(std::string why) { return {errc::bad_creds, "creds: " + std::move(why)}; }

// Without LF, CRLF.
std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> out;
    while (!text.empty()) {
        const auto end = text.find('\n');
        auto line = text.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        out.push_back(line);
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + 1);
    }
    return out;
}

std::string_view trimmed(std::string_view s) {
    constexpr std::string_view blanks = " \t\r\n\v\f";
    const auto first = s.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return s.substr(first, s.find_last_not_of(blanks) - first + 1);
}

bool is_dashed(std::string_view line) {
    const auto first = line.find_first_not_of(" \t");
    if (first == std::string_view::npos) return false;
    line.remove_prefix(first);
    return line.size() >= 6 && line.starts_with("---") && line.ends_with("---");
}

bool is_block_content(std::string_view line) {
    return !line.empty() && std::ranges::all_of(line, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == '=';
    });
}

// Lines that stand alone between two dashed lines.
std::vector<std::string_view> blocks_of(const std::vector<std::string_view>& lines) {
    std::vector<std::string_view> out;
    for (std::size_t i = 0; i + 2 < lines.size(); ++i) {
        if (!is_dashed(lines[i]) || !is_block_content(lines[i + 1]) || !is_dashed(lines[i + 2])) continue;
        out.push_back(lines[i + 1]);
        i += 2;
    }
    return out;
}

// The second block; in a text with fewer, the first line that begins as a seed does.
std::string_view find_seed(const std::vector<std::string_view>& lines, const std::vector<std::string_view>& blocks) {
    if (blocks.size() > 1) return blocks[1];
    for (auto line : lines) {
        const auto text = trimmed(line);
        if (text.starts_with("SO") || text.starts_with("SA") || text.starts_with("SU")) return text;
    }
    return {};
}

bool has_token_shape(std::string_view text) { return is_block_content(text) && std::ranges::count(text, '.') == 2; }

result<std::string_view> find_token(std::string_view text, const std::vector<std::string_view>& blocks) {
    const auto token = blocks.empty() ? trimmed(text) : blocks[0];
    if (!has_token_shape(token)) return bad_creds("no token: neither a block between dashed lines nor a bare JWT of three chunks");
    return token;
}

result<void> check_size(std::string_view text) {
    if (text.size() > max_creds_size) return bad_creds("text is larger than any creds file: " + std::to_string(text.size()) + " bytes");
    return {};
}

}  // namespace

result<crypto::secret> format_creds(std::string_view user_jwt, const key_pair& user) {
    auto claims = decode_as<user_claims>(user_jwt);
    if (!claims) return claims.error();
    if (claims->sub != user.public_text())
        return bad_creds("the seed is of " + user.public_text() + ", the JWT of " + claims->sub);
    const auto seed = user.seed_text();
    crypto::secret out(jwt_begin.size() + user_jwt.size() + jwt_end.size() + seed.size() + seed_end.size());
    auto* at = out.data();
    for (auto part : {jwt_begin, user_jwt, jwt_end, seed.text(), seed_end}) {
        std::memcpy(at, part.data(), part.size());
        at += part.size();
    }
    return out;
}

result<creds> parse_creds(std::string_view text) {
    if (auto r = check_size(text); !r) return r.error();
    const auto lines = lines_of(text);
    const auto blocks = blocks_of(lines);
    auto token = find_token(text, blocks);
    if (!token) return token.error();
    creds out;
    out.jwt = *token;
    const auto seed = find_seed(lines, blocks);
    if (seed.empty()) return out;
    auto pair = key_pair::from_seed(seed);
    if (!pair) return bad_creds(pair.error().text);
    if (pair->type() != key_type::user) return bad_creds("the seed is of kind " + std::string(to_string(pair->type())) + ", expected a user seed (SU...)");
    out.seed = crypto::secret::copy_of(seed);
    return out;
}

result<std::string> parse_decorated_jwt(std::string_view text) {
    if (auto r = check_size(text); !r) return r.error();
    auto token = find_token(text, blocks_of(lines_of(text)));
    if (!token) return token.error();
    return std::string(*token);
}

result<key_pair> parse_decorated_nkey(std::string_view text) {
    if (auto r = check_size(text); !r) return r.error();
    const auto lines = lines_of(text);
    const auto seed = find_seed(lines, blocks_of(lines));
    if (seed.empty()) return bad_creds("no nkey seed: neither a second block between dashed lines nor a line that begins SO, SA or SU");
    auto pair = key_pair::from_seed(seed);
    if (!pair) return bad_creds(pair.error().text);
    if (pair->type() != key_type::operator_ && pair->type() != key_type::account && pair->type() != key_type::user)
        return error{errc::bad_prefix, "creds: the seed is of kind " + std::string(to_string(pair->type())) + ", expected an operator, account or user seed"};
    return pair;
}

result<key_pair> parse_decorated_user_nkey(std::string_view text) {
    auto pair = parse_decorated_nkey(text);
    if (pair && pair->type() != key_type::user)
        return error{errc::bad_prefix, "creds: the seed is of kind " + std::string(to_string(pair->type())) + ", expected a user seed (SU...)"};
    return pair;
}

}  // namespace callgate::nats
