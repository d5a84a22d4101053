// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "plugins/auth_oidc/signature.hpp"

/// JSON Web Key Sets (RFC 7517).
namespace callgate::auth_oidc {

inline constexpr std::size_t max_jwks_bytes = 1024 * 1024;
inline constexpr std::size_t max_jwks_keys = 100;
inline constexpr std::size_t max_kid_bytes = 256;

struct set_key {
    std::string kid;                     ///< empty when the set gives none
    std::optional<algorithm> only;       ///< `alg` of the key
    verification_key key;
};

/// Immutable; read by all shards at once.
class key_set {
  public:
    explicit key_set(std::vector<set_key> keys) : keys_(std::move(keys)) {}
    [[nodiscard]] const std::vector<set_key>& keys() const noexcept { return keys_; }

    struct lookup {
        std::vector<const set_key*> usable;  ///< of that kid and fit for the algorithm; at most 4
        bool kid_known = false;
    };
    /// Without a kid the only key that fits the algorithm; several are no answer.
    [[nodiscard]] lookup find(std::string_view kid, algorithm a) const;

  private:
    std::vector<set_key> keys_;
};

struct parsed_jwks {
    std::vector<set_key> keys;
    std::vector<std::string> skipped;  ///< why a key of the set is not used, with its kid
};
/// Keys of other kinds and uses are skipped silently, unsafe ones with a reason. False and `fault` when the
/// text is no key set, has more than 100 keys or 1 MiB, or no key is left.
[[nodiscard]] bool parse_jwks(std::string_view text, parsed_jwks& out, std::string& fault);

}  // namespace callgate::auth_oidc
