// SPDX-License-Identifier: Apache-2.0
#include "bench/load/wire.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/json_writer.hpp>
#include <callgate/nats/nkey.hpp>

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace callgate::load {
namespace {

using state = parse_outcome::state;

std::string_view next_word(std::string_view& line) noexcept {
    const auto begin = line.find_first_not_of(" \t");
    if (begin == line.npos) return line = {};
    line.remove_prefix(begin);
    const auto word = line.substr(0, line.find_first_of(" \t"));
    line.remove_prefix(word.size());
    return word;
}

bool read_size(std::string_view word, std::size_t& out) noexcept {
    const auto [end, failure] = std::from_chars(word.data(), word.data() + word.size(), out);
    return failure == std::errc{} && end == word.data() + word.size() && !word.empty() && out <= max_payload_bytes;
}

// MSG <subject> <sid> [reply] <size>, HMSG <subject> <sid> [reply] <header size> <total size>
parse_outcome parse_message(std::string_view bytes, std::string_view line, std::size_t line_bytes, bool with_headers, server_op& op) noexcept {
    std::string_view words[6];
    std::size_t count = 0;
    while (count < 6) {
        const auto word = next_word(line);
        if (word.empty()) break;
        words[count++] = word;
    }
    const std::size_t least = with_headers ? 4 : 3;
    if (count < least || count > least + 1) return {state::malformed, 0};
    std::size_t total = 0, headers = 0;
    if (!read_size(words[count - 1], total) || (with_headers && (!read_size(words[count - 2], headers) || headers > total))) return {state::malformed, 0};
    if (bytes.size() < line_bytes + total + 2) return {};
    if (bytes.substr(line_bytes + total, 2) != "\r\n") return {state::malformed, 0};
    op.what = server_op::kind::message;
    op.subject = words[0];
    op.payload = bytes.substr(line_bytes + headers, total - headers);
    return {state::complete, line_bytes + total + 2};
}

}  // namespace

parse_outcome parse_op(std::string_view bytes, server_op& op) noexcept {
    const auto end = bytes.substr(0, max_line_bytes).find("\r\n");
    if (end == bytes.npos) return {bytes.size() >= max_line_bytes ? state::malformed : state::need_more, 0};
    auto line = bytes.substr(0, end);
    const auto verb = next_word(line);
    const std::size_t line_bytes = end + 2;
    op = {};
    if (verb == "MSG") return parse_message(bytes, line, line_bytes, false, op);
    if (verb == "HMSG") return parse_message(bytes, line, line_bytes, true, op);
    if (verb == "PING") op.what = server_op::kind::ping;
    else if (verb == "PONG") op.what = server_op::kind::pong;
    else if (verb == "+OK") op.what = server_op::kind::ok;
    else if (verb == "INFO") op.what = server_op::kind::info;
    else if (verb == "-ERR") op.what = server_op::kind::err;
    else return {state::malformed, 0};
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (op.what == server_op::kind::err && line.size() >= 2 && line.front() == '\'' && line.back() == '\'') line = line.substr(1, line.size() - 2);
    op.text = line;
    return {state::complete, line_bytes};
}

server_info read_info(std::string_view json) {
    boost::system::error_code failure;
    const auto value = boost::json::parse(json, failure);
    const auto* object = failure ? nullptr : value.if_object();
    if (!object) throw std::runtime_error("INFO of the server is no JSON object");
    const auto text = [&](std::string_view member) -> std::string {
        const auto* found = object->if_contains(member);
        const auto* string = found ? found->if_string() : nullptr;
        return string ? std::string(*string) : std::string();
    };
    server_info info{text("nonce"), text("version"), text("server_name"), false};
    if (const auto* tls = object->if_contains("tls_required")) info.tls_required = tls->is_bool() && tls->get_bool();
    return info;
}

std::string connect_text(const credential* who, std::string_view client_name, std::string_view nonce) {
    std::string out = "CONNECT ";
    nats::json_writer w(out, false);
    const auto member = [&](std::string_view name, std::string_view value) {
        w.key(name);
        w.string(value);
    };
    w.begin_object();
    w.key("verbose");
    w.boolean(false);
    w.key("pedantic");
    w.boolean(false);
    w.key("tls_required");
    w.boolean(false);
    if (who != nullptr) {
        if (who->what == credential::kind::user) {
            member("user", who->name);
            member("pass", who->secret);
        } else if (who->what == credential::kind::token) {
            member("auth_token", who->secret);
        } else if (who->what == credential::kind::jwt) {
            member("jwt", who->secret);
        }
        if (!who->seed.empty()) {
            const auto pair = nats::key_pair::from_seed(who->seed).value();
            if (who->what == credential::kind::nkey) member("nkey", pair.public_text());
            if (!nonce.empty()) member("sig", crypto::base64url::encode(pair.sign(nonce).value()));
        }
    }
    member("name", client_name);
    member("lang", "callgate-load");
    member("version", CALLGATE_VERSION);
    w.key("protocol");
    w.integer(1);
    w.key("headers");
    w.boolean(true);
    w.key("no_responders");
    w.boolean(true);
    w.end_object();
    return out += "\r\nPING\r\n";
}

server_address parse_url(std::string_view url) {
    const std::string shown(url.substr(url.rfind('@') == url.npos ? 0 : url.rfind('@') + 1));
    if (url.starts_with("nats://")) url.remove_prefix(7);
    else if (url.find("://") != url.npos) throw std::runtime_error(fmt::format("--url {}: only nats:// is spoken (no TLS: the generator's own cost must stay small)", shown));
    server_address out;
    if (const auto at = url.rfind('@'); at != url.npos) {
        const auto login = url.substr(0, at);
        const auto colon = login.find(':');
        out.user = login.substr(0, colon);
        if (colon != login.npos) out.password = login.substr(colon + 1);
        url.remove_prefix(at + 1);
    }
    // [::1]:4222 has its colons in brackets.
    const auto bracket = url.starts_with('[') ? url.find(']') : url.npos;
    const auto colon = url.find(':', bracket == url.npos ? 0 : bracket);
    out.host = bracket == url.npos ? url.substr(0, colon) : url.substr(1, bracket - 1);
    if (colon != url.npos) out.port = url.substr(colon + 1);
    const bool digits = std::all_of(out.port.begin(), out.port.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (out.host.empty() || out.port.empty() || out.port.size() > 5 || !digits) throw std::runtime_error(fmt::format("--url {}: expected nats://host:port", shown));
    return out;
}

}  // namespace callgate::load
