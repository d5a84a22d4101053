// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/ed25519.hpp>
#include <memory>
#include <string>

struct evp_pkey_st;

/// Keys made by the test, and tokens signed with them. For tests only.
namespace callgate::auth_oidc::test {

class signer {
  public:
    static signer rsa(unsigned bits = 2048, unsigned exponent = 65537);
    static signer ec(const char* group);  ///< "P-256", "P-384", "P-521"
    static signer ed25519();

    /// The public JWK; `extra` is spliced in, e.g. R"(,"use":"sig")".
    [[nodiscard]] std::string jwk(const std::string& kid, const std::string& extra = {}) const;
    /// Raw signature as a JWS carries it; `alg` as in the header.
    [[nodiscard]] std::string sign(const std::string& alg, const std::string& input) const;
    /// base64url(header).base64url(claims).signature
    [[nodiscard]] std::string token(const std::string& alg, const std::string& header, const std::string& claims) const;
    [[nodiscard]] std::string token(const std::string& alg, const std::string& claims) const {
        return token(alg, R"({"alg":")" + alg + R"(","typ":"JWT","kid":"k1"})", claims);
    }

  private:
    std::shared_ptr<evp_pkey_st> key_;
    std::shared_ptr<const crypto::signing_key> ed_;
    std::string group_;
    std::size_t field_ = 0;
};

[[nodiscard]] std::string jwks(const std::string& keys);

}  // namespace callgate::auth_oidc::test
