// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/jwt.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

/// Keys and instants of the vectors in protocol.md section 7, all of them public test material. The seeds are
/// put together from raw bytes here, so that no seed text lies in the repository.
namespace callgate::nats::test {

inline constexpr std::int64_t now = 1'800'000'000;

/// Of the raw seed 00 01 .. 1f.
inline key_pair counting_key(key_type type) {
    std::array<std::uint8_t, 32> raw;
    for (std::size_t i = 0; i < raw.size(); ++i) raw[i] = static_cast<std::uint8_t>(i);
    return std::move(key_pair::from_raw_seed(type, raw).value());
}
inline std::string fresh_public(key_type type) { return key_pair::generate(type).public_text(); }

inline constexpr std::string_view upstream_account = "ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA";
inline constexpr std::string_view upstream_user = "UBO2MQV67TQTVIRV3XFTEZOACM4WLOCMCDMAWN5QVN5PI2N6JHTVDRON";

/// A token with any payload and header, properly signed.
inline std::string signed_token(std::string_view payload, const key_pair& signer, std::string_view header = R"({"typ":"JWT","alg":"ed25519-nkey"})") {
    namespace b64 = crypto::base64url;
    const auto text = b64::encode(header) + '.' + b64::encode(payload);
    return text + '.' + b64::encode(std::span<const std::uint8_t>{signer.sign(text).value()});
}
/// As version 1 did it: the header is not signed.
inline std::string signed_token_v1(std::string_view payload, const key_pair& signer) {
    namespace b64 = crypto::base64url;
    const auto chunk = b64::encode(payload);
    return b64::encode(std::string_view{R"({"typ":"jwt","alg":"ed25519"})"}) + '.' + chunk + '.' +
           b64::encode(std::span<const std::uint8_t>{signer.sign(chunk).value()});
}
/// The payload of a token, as JSON text.
inline std::string payload_of(std::string_view token) {
    const auto first = token.find('.'), second = token.find('.', first + 1);
    return crypto::base64url::decode(token.substr(first + 1, second - first - 1)).value_or("");
}

inline std::vector<std::string> texts_of(const std::vector<issue>& issues) {
    std::vector<std::string> out;
    for (const auto& i : issues) out.push_back(i.text);
    return out;
}
inline bool mentions(const std::vector<issue>& issues, std::string_view part) {
    return std::ranges::any_of(issues, [&](const issue& i) { return i.text.find(part) != std::string::npos; });
}

}  // namespace callgate::nats::test
