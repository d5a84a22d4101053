// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/key_fetcher.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/auth_oidc/cache_control.hpp"
#include "plugins/auth_oidc/strict_json.hpp"

namespace callgate::auth_oidc {
namespace {

constexpr std::size_t max_etag_bytes = 256;

struct descriptor {
    int fd;
    ~descriptor() {
        if (fd >= 0) ::close(fd);
    }
};

/// Empty `fault` and the text, or why not. Who can write this file decides who gets in.
std::string read_key_file(const std::string& path, std::string& fault) {
    const descriptor d{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    struct stat st {};
    if (d.fd < 0 || ::fstat(d.fd, &st) != 0) {
        fault = path + ": cannot open it: " + std::strerror(errno);
        return {};
    }
    if (!S_ISREG(st.st_mode)) fault = path + ": not a regular file";
    if ((st.st_mode & S_IWOTH) != 0) fault = path + ": everybody can write to it; run chmod o-w";
    if (st.st_size > static_cast<off_t>(max_jwks_bytes)) fault = path + ": larger than 1 MiB";
    if (!fault.empty()) return {};
    std::string text(max_jwks_bytes + 1, '\0');
    std::size_t have = 0;
    for (;;) {
        const ssize_t n = ::read(d.fd, text.data() + have, text.size() - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fault = path + ": cannot read it: " + std::strerror(errno);
        if (n <= 0) break;
        have += static_cast<std::size_t>(n);
    }
    text.resize(have);
    return text;
}

}  // namespace

key_fetcher::key_fetcher(sdk::host_ref host, const issuer_options& issuer, std::chrono::nanoseconds timeout,
                         std::function<void(fetch_outcome)> done)
    : host_(host), issuer_(issuer), timeout_(timeout), done_(std::move(done)) {}

key_fetcher::~key_fetcher() { cancel(); }

void key_fetcher::fetch() {
    if (busy_) return;
    busy_ = true;
    if (issuer_.origin == key_origin::discovery) return get(issuer_.jwks, false, &key_fetcher::on_discovery);
    if (issuer_.origin == key_origin::url) return get(issuer_.jwks, true, &key_fetcher::on_keys);
    url_ = issuer_.jwks;
    std::string fault;
    auto text = read_key_file(issuer_.jwks, fault);
    if (!fault.empty()) return finish({nullptr, std::move(fault), {}, {}});
    if (!last_text_.empty() && text == last_text_) return finish({});
    auto outcome = parse(text);
    if (outcome.fault.empty()) last_text_ = std::move(text);
    finish(std::move(outcome));
}

void key_fetcher::cancel() {
    if (!busy_ || exchange_ == 0) return;
    if (const auto* api = host_.query<sdk::ext::http_client>()) api->cancel(host_.get(), exchange_);
}

void key_fetcher::get(const std::string& url, bool conditional, void (key_fetcher::*next)(const sdk::http_response_view&)) {
    url_ = url;
    sdk::http_request request;
    request.url = url;
    request.headers = {{"Accept", "application/json"}};
    if (conditional && !etag_.empty() && etag_url_ == url) request.headers.emplace_back("If-None-Match", etag_);
    request.timeout = timeout_;
    request.max_body_bytes = max_jwks_bytes;
    request.ca_file = issuer_.ca_file;
    try {
        exchange_ = sdk::start_http(host_, request, [this, next, alive = std::weak_ptr(alive_)](const sdk::http_response_view& r) {
            if (alive.expired()) return;
            exchange_ = 0;
            if (r.status() != CG_OK) return fail(r.error().empty() ? "no answer" : std::string(r.error()));
            (this->*next)(r);
        });
    } catch (const sdk::status_error& e) {
        fail(e.what());
    }
}

void key_fetcher::on_discovery(const sdk::http_response_view& r) {
    if (r.code() != 200) return fail("HTTP status " + std::to_string(r.code()));
    simdjson::dom::parser parser;
    simdjson::dom::object document;
    if (!parse_strict(parser, r.body(), document)) return fail("the discovery document is not a JSON object without repeated members");
    if (text_of(document, "issuer") != issuer_.issuer) return fail("the discovery document is of another issuer than " + issuer_.issuer);
    const std::string jwks_uri(text_of(document, "jwks_uri").value_or(""));
    if (const auto fault = url_fault(jwks_uri, issuer_.allow_http_loopback); !fault.empty()) return fail("jwks_uri " + fault);
    const auto origin = origin_of(jwks_uri);
    if (origin != origin_of(issuer_.issuer) && std::find(issuer_.jwks_origins.begin(), issuer_.jwks_origins.end(), origin) == issuer_.jwks_origins.end())
        return fail("jwks_uri is at " + origin + ", which is neither the issuer's origin nor in jwks_origins");
    get(jwks_uri, true, &key_fetcher::on_keys);
}

void key_fetcher::on_keys(const sdk::http_response_view& r) {
    if (r.code() == 304 && !etag_.empty() && etag_url_ == url_) {
        // What the 304 does not say stays as the 200 said it (RFC 9111, 3.2 and 4.3.4).
        if (const auto said = fresh_for(r)) fresh_for_ = said;
        return finish({nullptr, {}, {}, fresh_for_});
    }
    if (r.code() != 200) return fail("HTTP status " + std::to_string(r.code()));
    auto outcome = parse(r.body());
    if (outcome.fault.empty()) {
        // Only now: the tag of a set that was refused must not make the next answer "unchanged".
        const auto etag = r.header("ETag");
        const bool printable = std::all_of(etag.begin(), etag.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
        etag_ = printable && etag.size() <= max_etag_bytes ? std::string(etag) : std::string();
        etag_url_ = url_;
        outcome.fresh_for = fresh_for_ = fresh_for(r);
    }
    finish(std::move(outcome));
}

fetch_outcome key_fetcher::parse(std::string_view text) const {
    parsed_jwks parsed;
    fetch_outcome out;
    if (parse_jwks(text, parsed, out.fault))
        out.keys = std::make_unique<const key_set>(std::move(parsed.keys));
    else
        out.fault = url_ + ": " + out.fault;
    out.skipped = std::move(parsed.skipped);
    return out;
}

void key_fetcher::fail(const std::string& why) { finish({nullptr, url_ + ": " + why, {}, {}}); }

void key_fetcher::finish(fetch_outcome outcome) {
    busy_ = false;
    exchange_ = 0;
    done_(std::move(outcome));
}

}  // namespace callgate::auth_oidc
