// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/error.hpp"

namespace callgate::cli {

/// What `callgate jwt decode` prints for a token, a decorated JWT or a creds file: JSON with header, claims,
/// signature, validation issues and what issued it. Seeds are refused; passwords and tokens inside the
/// claims are masked. `issuers`: texts of operator or account JWTs that may have signed it.
[[nodiscard]] result<std::string> describe_jwt(std::string_view text, const std::vector<std::string>& issuers, std::int64_t now_unix_s);

/// Reads `path` ("-" = standard input) and the files of `issuers`.
[[nodiscard]] result<void> run_jwt_decode(const std::string& path, const std::vector<std::string>& issuers, std::ostream& out);

}  // namespace callgate::cli
