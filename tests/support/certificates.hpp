// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <string>

namespace callgate::test {

struct certificate {
    std::string cert_pem, key_pem;
};

/// A throw-away certificate authority (P-256), for TLS tests.
class certificate_authority {
  public:
    explicit certificate_authority(const std::string& common_name = "callgate test CA");
    ~certificate_authority();
    certificate_authority(const certificate_authority&) = delete;
    certificate_authority& operator=(const certificate_authority&) = delete;

    [[nodiscard]] const std::string& cert_pem() const noexcept { return cert_pem_; }
    /// Valid for a day. `alt_names` in OpenSSL's notation: "DNS:nats.test,IP:127.0.0.1"; empty = none.
    [[nodiscard]] certificate issue(const std::string& common_name, const std::string& alt_names, bool expired = false) const;

  private:
    struct key_and_cert;
    std::unique_ptr<key_and_cert> self_;
    std::string cert_pem_;
};

}  // namespace callgate::test
