// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string_view>

namespace callgate::flow {

/// `$SYS._INBOX.<server hash>.<id>`, both 1 to 64 of [A-Za-z0-9] (nats-server: 8 each, protocol.md 3.4). The
/// reply subject is not signed: anything else may be a subject of the sender's choice to write to. That holds for
/// `_GR_.<cluster>.<server>.$SYS._INBOX...` as well: gateways rewrite the reply so on their wire, but no client is ever
/// shown it or allowed to publish to it (README, measured).
[[nodiscard]] bool is_reply_subject(std::string_view subject) noexcept;
/// The server's part of a subject that is_reply_subject.
[[nodiscard]] std::string_view server_hash(std::string_view reply_subject) noexcept;

}  // namespace callgate::flow
