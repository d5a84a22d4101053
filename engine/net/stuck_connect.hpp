// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sys/socket.h>

#include <cstdint>

namespace callgate::net {

/// A connection that finished its login: abort_stuck_connects() leaves it alone. Any thread.
void adopt_socket(int fd);
/// Before the last descriptor of an adopted socket is closed. Any thread.
void forget_socket(int fd);

/// cnats 3.4.1 waits for ever in a TLS handshake, and spins for ever in the wait for the first PONG, when the
/// server falls silent there; it hands its socket to nobody before the login is done. So the socket is looked
/// for: every socket of this process connected to `peer` that nobody adopted and that received nothing for
/// `silent_ms`. Shuts them down and returns how many. Any thread.
int abort_stuck_connects(const sockaddr_storage& peer, std::uint32_t silent_ms);

}  // namespace callgate::net
