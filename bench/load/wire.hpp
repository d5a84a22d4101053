// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "bench/load/credentials.hpp"

/// The client side of the NATS protocol as far as a load generator needs it, without I/O. libnats is not used here because it
/// gives every connection threads of its own and every message a heap object and two thread switches: the generator shares
/// a core with the nats-server, and `clients` holds thousands of connections.
namespace callgate::load {

inline constexpr std::size_t max_line_bytes = 1u << 20;      ///< INFO of a large cluster fits
inline constexpr std::size_t max_payload_bytes = 8u << 20;

/// One operation of a server. The views lie in the bytes that were parsed.
struct server_op {
    enum class kind : std::uint8_t { info, message, ping, pong, ok, err } what = kind::ok;
    std::string_view text;     ///< info: its JSON; err: the text between the quotation marks
    std::string_view subject;  ///< message
    std::string_view payload;  ///< message: without headers
};

struct parse_outcome {
    enum class state : std::uint8_t { complete, need_more, malformed } what = state::need_more;
    std::size_t consumed = 0;  ///< bytes to drop when complete
};
/// Reads the operation at the beginning of `bytes`. Never reads beyond, keeps nothing.
[[nodiscard]] parse_outcome parse_op(std::string_view bytes, server_op& op) noexcept;

/// What INFO says and the generator needs; unknown members are ignored. Throws std::runtime_error when it is no JSON object.
struct server_info {
    std::string nonce, version, server_name;
    bool tls_required = false;
};
[[nodiscard]] server_info read_info(std::string_view json);

/// "CONNECT {...}\r\nPING\r\n". An nkey, or a JWT with a seed, signs `nonce`. `who` may be nullptr: no credential.
[[nodiscard]] std::string connect_text(const credential* who, std::string_view client_name, std::string_view nonce);

/// "nats://[user:password@]host[:port]", port 4222 unless said; the password may hold no '@'. Throws std::runtime_error otherwise.
struct server_address {
    std::string host, port = "4222", user, password;
    [[nodiscard]] std::string text() const { return host + ":" + port; }  ///< without the credential
};
[[nodiscard]] server_address parse_url(std::string_view url);

}  // namespace callgate::load
