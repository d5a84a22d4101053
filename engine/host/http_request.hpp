// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/http_client.h>
#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/error.hpp"
#include "engine/host/http_address.hpp"

namespace callgate::host {

/// "https", "idp.example.org", 443: what may be followed and what an error text may name.
struct http_origin {
    std::string scheme, host, port;
    friend bool operator==(const http_origin&, const http_origin&) = default;
    [[nodiscard]] std::string text() const { return scheme + "://" + host + ":" + port; }
};
/// Nothing for what is not an absolute http or https URL, or has a user name in it.
[[nodiscard]] std::optional<http_origin> origin_of(const std::string& url);

struct slist_deleter {
    void operator()(curl_slist* list) const noexcept;  ///< wipes: headers carry credentials
};

/// A checked copy of a cg_http_request.
struct http_request {
    std::string method, url, body;
    http_origin origin;
    std::unique_ptr<curl_slist, slist_deleter> headers;
    bool has_body = false, follow = false;
    address_policy addresses;
    std::uint32_t address_family = 0;
    std::int64_t timeout_ns = 0;
    std::uint64_t max_body_bytes = 0;
    std::string ca_file, client_cert_file, client_key_file;
    void* ctx = nullptr;
    cg_status (*on_body)(void*, cg_bytes) = nullptr;
    void (*on_done)(void*, const cg_http_response*) = nullptr;

    http_request() = default;
    http_request(http_request&&) = default;
    http_request& operator=(http_request&&) = default;
    ~http_request();
};

/// [any] invalid with the reason, which never repeats a value.
[[nodiscard]] result<http_request> check_http_request(const cg_http_request& raw);

}  // namespace callgate::host
