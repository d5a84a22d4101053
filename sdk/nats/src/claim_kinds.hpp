// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/jwt.hpp>

#include <array>
#include <optional>
#include <string_view>

/// nats.type of each kind, what its subject must be and who may sign it (protocol.md 2.4).
namespace callgate::nats {

template <class Claims>
struct claim_kind;

template <>
struct claim_kind<operator_claims> {
    static constexpr std::string_view name = "operator";
    static constexpr std::optional<key_type> subject = key_type::operator_;
    static constexpr std::array signers{key_type::operator_};
};
template <>
struct claim_kind<account_claims> {
    static constexpr std::string_view name = "account";
    static constexpr std::optional<key_type> subject = key_type::account;
    static constexpr std::array signers{key_type::account, key_type::operator_};
};
template <>
struct claim_kind<user_claims> {
    static constexpr std::string_view name = "user";
    static constexpr std::optional<key_type> subject = key_type::user;
    static constexpr std::array signers{key_type::account};
};
template <>
struct claim_kind<activation_claims> {
    static constexpr std::string_view name = "activation";
    static constexpr std::optional<key_type> subject = key_type::account;
    static constexpr std::array signers{key_type::account, key_type::operator_};
};
template <>
struct claim_kind<authorization_request_claims> {
    static constexpr std::string_view name = "authorization_request";
    static constexpr std::optional<key_type> subject{};
    static constexpr std::array signers{key_type::server};
};
template <>
struct claim_kind<authorization_response_claims> {
    static constexpr std::string_view name = "authorization_response";
    static constexpr std::optional<key_type> subject{};
    static constexpr std::array signers{key_type::account};
};

}  // namespace callgate::nats
