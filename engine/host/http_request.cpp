// SPDX-License-Identifier: Apache-2.0
#include "engine/host/http_request.hpp"

#include <callgate/crypto/secret.hpp>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "engine/host/abi_read.hpp"

namespace callgate::host {
namespace {

constexpr std::size_t max_url = 8192;
constexpr std::size_t max_headers = 64;
constexpr std::size_t max_header_bytes = 64 * 1024;
constexpr std::size_t max_request_body = std::size_t{16} << 20;
constexpr std::uint64_t default_body = std::uint64_t{1} << 20;
constexpr std::uint64_t max_buffered_body = std::uint64_t{64} << 20;
constexpr std::int64_t default_timeout_ns = 10'000'000'000;
constexpr std::int64_t max_timeout_ns = 60'000'000'000;
constexpr std::size_t max_pins = 64;

error invalid(std::string text) { return make_error(errc::invalid, std::move(text)); }

// RFC 9110 section 5.6.2
bool is_token(std::string_view s) {
    static constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    return !s.empty() && std::all_of(s.begin(), s.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || others.find(static_cast<char>(c)) != std::string_view::npos;
    });
}

std::string lower(std::string_view s) {
    std::string out(s);
    std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

bool append(std::unique_ptr<curl_slist, slist_deleter>& list, const std::string& line) {
    auto* longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) return false;
    (void)list.release();
    list.reset(longer);
    return true;
}

struct url_handle {
    CURLU* value = curl_url();
    ~url_handle() { curl_url_cleanup(value); }
    url_handle() = default;
    url_handle(const url_handle&) = delete;
    url_handle& operator=(const url_handle&) = delete;
    [[nodiscard]] std::string part(CURLUPart which) const {
        char* text = nullptr;
        if (curl_url_get(value, which, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
        std::string out(text);
        curl_free(text);
        return out;
    }
};

}  // namespace

void slist_deleter::operator()(curl_slist* list) const noexcept {
    for (auto* l = list; l != nullptr; l = l->next) crypto::wipe(l->data, std::strlen(l->data));
    curl_slist_free_all(list);
}

http_request::~http_request() { crypto::wipe(body.data(), body.size()); }

std::optional<http_origin> origin_of(const std::string& url) {
    const url_handle u;
    if (u.value == nullptr || curl_url_set(u.value, CURLUPART_URL, url.c_str(), CURLU_DISALLOW_USER) != CURLUE_OK) return std::nullopt;
    http_origin out{lower(u.part(CURLUPART_SCHEME)), lower(u.part(CURLUPART_HOST)), u.part(CURLUPART_PORT)};
    if ((out.scheme != "http" && out.scheme != "https") || out.host.empty()) return std::nullopt;
    return out;
}

result<http_request> check_http_request(const cg_http_request& raw) {
    http_request out;
    constexpr auto known = CG_HTTP_FOLLOW_REDIRECTS | CG_HTTP_ALLOW_PLAINTEXT | CG_HTTP_ALLOW_PRIVATE;
    if ((raw.flags & ~known) != 0) return invalid("unknown flag in cg_http_request");
    if (raw.on_done == nullptr) return invalid("on_done is missing");
    out.method = bounded(raw.method, 32);
    if (!is_token(out.method) || out.method.size() > 16) return invalid("method is not valid");
    if (raw.url.size > max_url) return invalid("URL is longer than 8192 bytes");
    out.url = bounded(raw.url, max_url);
    if (std::any_of(out.url.begin(), out.url.end(), [](unsigned char c) { return c <= 0x20 || c == 0x7f; }))
        return invalid("URL has a space or control character");
    const auto origin = origin_of(out.url);
    if (!origin) return invalid("URL must be an absolute http:// or https:// one without user name");
    out.origin = *origin;
    out.follow = (raw.flags & CG_HTTP_FOLLOW_REDIRECTS) != 0 && (out.method == "GET" || out.method == "HEAD");
    out.addresses.plaintext = origin->scheme == "http";
    out.addresses.allow_plaintext = (raw.flags & CG_HTTP_ALLOW_PLAINTEXT) != 0;
    out.addresses.allow_private = (raw.flags & CG_HTTP_ALLOW_PRIVATE) != 0;

    if (raw.header_count > max_headers) return invalid("more than 64 headers");
    std::size_t total = 0;
    bool has_type = false;
    for (std::size_t i = 0; i < raw.header_count && raw.headers != nullptr; ++i) {
        const auto h = read_element(raw.headers, i, raw.headers_stride);
        const auto name = view(h.name), value = view(h.value);
        total += name.size() + value.size();
        if (total > max_header_bytes) return invalid("headers are larger than 64 KiB");
        if (!is_token(name)) return invalid("header " + std::to_string(i) + ": name is not valid");
        if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos)
            return invalid("header " + std::string(name) + ": value has a line break or NUL");
        const auto key = lower(name);
        if (key == "content-length" || key == "transfer-encoding" || key == "connection" || key == "upgrade" || key == "expect")
            return invalid("header " + key + " is the host's");
        has_type = has_type || key == "content-type";
        // libcurl reads "Name:" as "do not send", and "Name;" as an empty value.
        if (!append(out.headers, std::string(name) + (value.empty() ? ";" : ": " + std::string(value)))) return make_error(errc::internal, "out of memory");
    }
    if (raw.body.size > max_request_body) return invalid("body is larger than 16 MiB");
    if (raw.body.data != nullptr) out.body.assign(reinterpret_cast<const char*>(raw.body.data), raw.body.size);
    out.has_body = !out.body.empty() || out.method == "POST" || out.method == "PUT" || out.method == "PATCH";
    if (out.has_body && (out.method == "GET" || out.method == "HEAD")) return invalid(out.method + " has no body");
    // No waiting for 100-continue, and no made-up content type.
    if (!append(out.headers, "Expect:") || (!has_type && !append(out.headers, "Content-Type:"))) return make_error(errc::internal, "out of memory");

    if (raw.address_family != 0 && raw.address_family != 4 && raw.address_family != 6) return invalid("address_family must be 0, 4 or 6");
    out.address_family = raw.address_family;
    if (raw.timeout_ns < 0 || raw.timeout_ns > max_timeout_ns) return invalid("timeout must be between 0 and 60 s");
    out.timeout_ns = raw.timeout_ns == 0 ? default_timeout_ns : raw.timeout_ns;
    out.max_body_bytes = raw.max_body_bytes == 0 ? default_body : raw.max_body_bytes;
    if (raw.on_body == nullptr && out.max_body_bytes > max_buffered_body) return invalid("max_body_bytes above 64 MiB needs on_body");
    out.ca_file = bounded(raw.ca_file, 4096);
    out.client_cert_file = bounded(raw.client_cert_file, 4096);
    out.client_key_file = bounded(raw.client_key_file, 4096);
    if (raw.pin_cidrs.count > max_pins) return invalid("more than 64 pin_cidrs");
    for (std::size_t i = 0; i < raw.pin_cidrs.count && raw.pin_cidrs.items != nullptr; ++i) {
        const auto network = cidr::parse(view(raw.pin_cidrs.items[i]));
        if (!network) return invalid("pin_cidrs[" + std::to_string(i) + "] is no network such as 10.0.0.0/8");
        out.addresses.pins.push_back(*network);
    }
    out.ctx = raw.ctx;
    out.on_body = raw.on_body;
    out.on_done = raw.on_done;
    return out;
}

}  // namespace callgate::host
