// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>

#include "engine/flow/request.hpp"

namespace callgate::flow {

/// 16 hexadecimal digits over what the grant permits: equal for equal permissions, whatever their order.
[[nodiscard]] std::string permissions_hash(const policy::grant& g);
/// The record of a verified and decided request. No credential, no issued token.
[[nodiscard]] audit_record make_audit_record(const request& r, std::int64_t now_ns, std::int64_t now_unix_ms);

}  // namespace callgate::flow
