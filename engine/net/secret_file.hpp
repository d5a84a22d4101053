// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/secret.hpp>
#include <cstddef>
#include <string>

#include "engine/base/error.hpp"

namespace callgate::net {

/// The whole file in guarded memory. Refuses what is not a regular file, is empty, is larger than `max`
/// bytes, or can be read or written by group or others (mode checked on the opened file). Any thread.
[[nodiscard]] result<crypto::secret> read_secret_file(const std::string& path, std::size_t max = 64u << 10);

/// Same without the check of the mode, for certificates.
[[nodiscard]] result<std::string> read_public_file(const std::string& path, std::size_t max = 1u << 20);

}  // namespace callgate::net
