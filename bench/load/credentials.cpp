// SPDX-License-Identifier: Apache-2.0
#include "bench/load/credentials.hpp"

#include <callgate/nats/nkey.hpp>

#include <fmt/format.h>

#include <fstream>
#include <stdexcept>

namespace callgate::load {
namespace {

constexpr std::size_t max_line_bytes = 64u << 10;
constexpr std::size_t max_file_bytes = 64u << 20;

std::string_view take_word(std::string_view& line) {
    const auto end = line.find(' ');
    const auto word = line.substr(0, end);
    line.remove_prefix(end == line.npos ? line.size() : end + 1);
    return word;
}

void check_seed(std::string_view seed, std::string_view where) {
    const auto pair = nats::key_pair::from_seed(seed);
    if (!pair || pair->type() != nats::key_type::user) throw std::runtime_error(fmt::format("{}: the seed is no user seed (SU...)", where));
}

credential parse_line(std::string_view line, std::string_view where) {
    credential c;
    const auto kind = take_word(line);
    if (kind == "user") {
        c.what = credential::kind::user;
        c.name = take_word(line);
        c.secret = line;
        if (c.name.empty() || c.secret.empty()) throw std::runtime_error(fmt::format("{}: expected user NAME PASSWORD", where));
    } else if (kind == "token") {
        c.secret = line;
        if (c.secret.empty()) throw std::runtime_error(fmt::format("{}: expected token TEXT", where));
    } else if (kind == "jwt") {
        c.what = credential::kind::jwt;
        c.secret = take_word(line);
        c.seed = line;
        if (!c.secret.starts_with("eyJ")) throw std::runtime_error(fmt::format("{}: expected jwt TEXT [SEED], the text begins with eyJ", where));
        if (!c.seed.empty()) check_seed(c.seed, where);
    } else if (kind == "nkey") {
        c.what = credential::kind::nkey;
        c.seed = line;
        check_seed(c.seed, where);
    } else {
        throw std::runtime_error(fmt::format("{}: a line begins with user, token, jwt or nkey", where));
    }
    return c;
}

}  // namespace

std::vector<credential> parse_credentials(std::string_view text, std::string_view source) {
    std::vector<credential> out;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const auto end = text.find('\n');
        auto line = text.substr(0, end);
        text.remove_prefix(end == text.npos ? text.size() : end + 1);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty() || line.starts_with('#')) continue;
        const auto where = fmt::format("{}:{}", source, number);
        if (line.size() > max_line_bytes) throw std::runtime_error(fmt::format("{}: the line is longer than {} bytes", where, max_line_bytes));
        out.push_back(parse_line(line, where));
    }
    if (out.empty()) throw std::runtime_error(fmt::format("{}: no credential in it; write one a line, such as: token TEXT", source));
    return out;
}

std::vector<credential> read_credentials(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text;
    char block[16384];
    while (file.read(block, sizeof block) || file.gcount() > 0) {
        text.append(block, static_cast<std::size_t>(file.gcount()));
        if (text.size() > max_file_bytes) throw std::runtime_error(fmt::format("{}: larger than {} bytes", path, max_file_bytes));
    }
    if (!file.eof()) throw std::runtime_error(fmt::format("{}: cannot be read; --credentials names a file with one credential a line", path));
    return parse_credentials(text, path);
}

}  // namespace callgate::load
