// SPDX-License-Identifier: Apache-2.0
#include "engine/codec/response_writer.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/crypto/random.hpp>
#include <callgate/crypto/secret.hpp>
#include <callgate/nats/jwt.hpp>

#include <cstring>

#include "engine/codec/json_text.hpp"

namespace callgate::codec {
namespace {

namespace b64 = crypto::base64url;
constexpr std::size_t signature_chars = b64::encoded_size(64);

void append_permission(std::string& out, std::string_view name, std::span<const std::string> allow, std::span<const std::string> deny) {
    out += '"';
    out += name;
    out += "\":{";
    // Empty lists are left out: the server tells them from absent ones and refuses scoped users that have them.
    if (!allow.empty()) {
        out += "\"allow\":";
        append_json_strings(out, allow);
    }
    if (!deny.empty()) {
        out += allow.empty() ? "\"deny\":" : ",\"deny\":";
        append_json_strings(out, deny);
    }
    out += '}';
}

}  // namespace

std::string_view unsigned_token::finish(std::span<const std::uint8_t, 64> signature) const noexcept {
    text[size] = '.';
    b64::encode(signature, text + size + 1);
    return {text, size + 1 + signature_chars};
}

void response_writer::append_jti() {
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    constexpr std::size_t chars = 32;
    if (random_left_ < chars) {
        crypto::random_bytes(random_);
        random_left_ = random_.size();
    }
    for (std::size_t i = 0; i < chars; ++i) json_ += alphabet[random_[--random_left_] & 31];
}

// Order of members as Go writes them (2.2): nobody checks it, but tokens are easier to compare.
void response_writer::begin(std::string_view aud, std::int64_t exp, std::int64_t iat, std::string_view iss, std::string_view name,
                            std::string_view sub) {
    json_.clear();
    json_ += '{';
    if (!aud.empty()) {
        json_ += "\"aud\":";
        append_json_string(json_, aud);
        json_ += ',';
    }
    if (exp != 0) {
        json_ += "\"exp\":";
        append_json_number(json_, exp);
        json_ += ',';
    }
    json_ += "\"jti\":\"";
    append_jti();
    json_ += "\",\"iat\":";
    append_json_number(json_, iat);
    json_ += ",\"iss\":";
    append_json_string(json_, iss);
    if (!name.empty()) {
        json_ += ",\"name\":";
        append_json_string(json_, name);
    }
    json_ += ",\"sub\":";
    append_json_string(json_, sub);
    json_ += ",\"nats\":{";
}

unsigned_token response_writer::write(const user_jwt& c, arena& memory) {
    begin(c.aud, c.exp, c.iat, c.iss, c.name, c.sub);
    if (c.scoped) {
        json_ += "\"pub\":{},\"sub\":{}";
    } else {
        append_permission(json_, "pub", c.pub_allow, c.pub_deny);
        json_ += ',';
        append_permission(json_, "sub", c.sub_allow, c.sub_deny);
        if (c.has_resp) {
            json_ += ",\"resp\":{\"max\":";
            append_json_number(json_, c.resp_max);
            json_ += ",\"ttl\":";
            append_json_number(json_, c.resp_ttl_ns);
            json_ += '}';
        }
        json_ += ",\"subs\":-1,\"data\":-1,\"payload\":-1";
    }
    if (!c.issuer_account.empty()) {
        json_ += ",\"issuer_account\":";
        append_json_string(json_, c.issuer_account);
    }
    if (!c.tags.empty()) {
        json_ += ",\"tags\":";
        append_json_strings(json_, c.tags);
    }
    json_ += ",\"type\":\"user\",\"version\":2}}";
    return encode(memory);
}

unsigned_token response_writer::write(const authorization_response& c, arena& memory) {
    // No growth while the issued JWT is inside: growing leaves a copy in freed memory.
    json_.reserve(c.jwt.size() + 1024);
    begin(c.aud, 0, c.iat, c.iss, {}, c.sub);
    if (!c.jwt.empty()) {
        json_ += "\"jwt\":";
        append_json_string(json_, c.jwt);
    } else {
        json_ += "\"error\":";
        append_json_string(json_, c.error);
    }
    if (!c.issuer_account.empty()) {
        json_ += ",\"issuer_account\":";
        append_json_string(json_, c.issuer_account);
    }
    json_ += ",\"type\":\"authorization_response\",\"version\":2}}";
    return encode(memory);
}

unsigned_token response_writer::encode(arena& memory) {
    const auto& header = nats::jwt_header_b64;
    unsigned_token token;
    token.size = header.size() + 1 + b64::encoded_size(json_.size());
    token.text = memory.make_text(token.size + 1 + signature_chars);
    if (token.text != nullptr) {
        std::memcpy(token.text, header.data(), header.size());
        token.text[header.size()] = '.';
        b64::encode({reinterpret_cast<const std::uint8_t*>(json_.data()), json_.size()}, token.text + header.size() + 1);
    }
    // A response contains the issued user JWT, which logs its holder in.
    crypto::wipe(json_.data(), json_.size());
    json_.clear();
    return token;
}

}  // namespace callgate::codec
