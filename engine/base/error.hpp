// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/system/result.hpp>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace callgate {

/// Classes of failure; the text of an `error` says the rest.
enum class errc : std::uint8_t {
    internal,       ///< a defect of ours
    invalid,        ///< input or configuration is wrong
    unsupported,    ///< this build or version cannot do it
    not_found,      ///< file, key, account, plugin is missing
    permission,     ///< refused by file mode, ownership or policy
    unavailable,    ///< something we depend on does not answer
    deadline,       ///< out of time
    cancelled,      ///< stopped on request
    busy,           ///< a bounded resource is full
    abi,            ///< plugin does not fit this host
};

/// A failure as a value: what was wrong, where, and what to do. Never holds a secret.
struct error {
    errc code = errc::internal;
    std::string text;   ///< "file mode 0644 lets others read the seed; chmod 600"
    std::string where;  ///< "callgate.yaml:12: keys.local.files.issuer"; may be empty

    [[nodiscard]] std::string message() const { return where.empty() ? text : where + ": " + text; }
};

/// Found by boost::system::result when a value is asked of a failure: only start-up code does that.
[[noreturn]] inline void throw_exception_from_error(const error& e, const boost::source_location&) {
    throw std::runtime_error(e.message());
}

template <class T>
using result = boost::system::result<T, error>;

inline error make_error(errc code, std::string text, std::string where = {}) {
    return error{code, std::move(text), std::move(where)};
}

}  // namespace callgate
