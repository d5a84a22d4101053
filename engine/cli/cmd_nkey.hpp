// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <iosfwd>
#include <string>

#include "engine/base/error.hpp"

namespace callgate::cli {

/// `callgate nkey gen KIND`: a new key pair. The public key goes to `out`; the seed to `file` (0600, never
/// overwritten) or, when `seed_to_stdout`, to `out` in its place, and the public key to `err`.
[[nodiscard]] result<void> run_nkey_gen(const std::string& kind, const std::string& file, bool seed_to_stdout,
                                        std::ostream& out, std::ostream& err);

}  // namespace callgate::cli
