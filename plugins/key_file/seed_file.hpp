// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/nats/nkey.hpp>
#include <string>
#include <sys/stat.h>

namespace callgate::key_file {

inline constexpr std::size_t max_seed_file_bytes = 64 * 1024;

/// Reads one seed file: a bare seed of any kind, or a decorated seed or creds file (protocol.md 2.11).
/// Refused: a symbolic link as the last component, anything but a regular file, any access for group or
/// others, an owner that is neither root nor the effective user, more than 64 KiB.
/// Throws sdk::status_error whose text names `label` and `path` and never the content. [control]
[[nodiscard]] nats::key_pair read_seed_file(const std::string& label, const std::string& path);

/// Why a file with these attributes is no place for a seed when `self` reads it; empty when it is fine.
[[nodiscard]] std::string file_fault(const struct stat& st, uid_t self);

}  // namespace callgate::key_file
