// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>

#include "engine/base/error.hpp"

namespace callgate::cli {

/// `callgate store get|put|delete|scan`: one claim store of a configuration, its plugin loaded into this process.
struct store_request {
    enum class verb : std::uint8_t { get, put, erase, scan } what = verb::get;
    std::string config_file, store;  ///< store empty = the only one
    std::string key;                 ///< prefix, with scan
    std::string document_file;       ///< put: "-" or empty = standard input
    std::optional<std::uint64_t> at_revision;  ///< put, delete: only if the key has this revision; 0 = only if absent
};

/// Errors name the configuration's file, the store, or the key. `err` gets the configuration's findings.
[[nodiscard]] result<void> run_store(const store_request& request, std::istream& in, std::ostream& out, std::ostream& err);

}  // namespace callgate::cli
