// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/system/result.hpp>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace callgate::nats {

enum class errc : std::uint8_t {
    bad_encoding,     ///< base32, base64url or length
    bad_checksum,     ///< CRC of an nkey
    bad_prefix,       ///< not an nkey of the expected kind
    bad_seed,
    bad_json,         ///< syntax, duplicate member, wrong type, too deep
    bad_token,        ///< not three chunks, wrong header, too large
    bad_signature,
    bad_claims,       ///< subject, issuer or body break a rule
    not_a_signer,     ///< operation needs a private key or another key kind
    cannot_open,      ///< box does not open
    bad_creds,        ///< creds file without the blocks it needs
};

struct error {
    errc code = errc::bad_token;
    std::string text;  ///< what was wrong; never a secret
};

[[noreturn]] inline void throw_exception_from_error(const error& e, const boost::source_location&) {
    throw std::runtime_error(e.text);
}

template <class T>
using result = boost::system::result<T, error>;

}  // namespace callgate::nats
