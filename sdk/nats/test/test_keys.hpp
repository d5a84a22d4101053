// SPDX-License-Identifier: Apache-2.0
#pragma once
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

inline std::vector<std::string> texts_of(const std::vector<issue>& issues) {
    std::vector<std::string> out;
    for (const auto& i : issues) out.push_back(i.text);
    return out;
}
inline bool mentions(const std::vector<issue>& issues, std::string_view part) {
    return std::ranges::any_of(issues, [&](const issue& i) { return i.text.find(part) != std::string::npos; });
}

}  // namespace callgate::nats::test
