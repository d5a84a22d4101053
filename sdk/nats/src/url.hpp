// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace callgate::nats {

/// The parts of a URL (RFC 3986) that claims have rules about.
struct url_parts {
    std::string scheme;  ///< lower case, never empty
    std::string_view host, path;
    bool has_userinfo = false;
};
/// nullopt without a scheme, with blanks or control characters, or with a malformed authority. Views into `text`.
[[nodiscard]] std::optional<url_parts> read_url(std::string_view text);

}  // namespace callgate::nats
