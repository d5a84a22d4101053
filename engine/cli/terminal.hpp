// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/secret.hpp>
#include <string>

#include "engine/base/error.hpp"

/// Standard input as commands read it. One thread.
namespace callgate::cli {

/// One line, without its end: typed twice and unseen on a terminal, else the first line of the input.
/// At most `max_bytes`.
[[nodiscard]] result<crypto::secret> read_password(std::size_t max_bytes);

/// A whole file, or standard input for "-". At most `max_bytes`.
[[nodiscard]] result<std::string> read_input(const std::string& path, std::size_t max_bytes);

}  // namespace callgate::cli
