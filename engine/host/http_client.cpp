// SPDX-License-Identifier: Apache-2.0
#include "engine/host/http_client.hpp"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <vector>

#include "engine/host/abi_read.hpp"
#include "engine/host/http_request.hpp"
#include "engine/host/services.hpp"

namespace callgate::host {
namespace {

constexpr std::size_t max_response_headers = 256;
constexpr std::size_t max_response_header_bytes = 64 * 1024;
constexpr int max_redirects = 3;

using steady = std::chrono::steady_clock;

bool is_redirect(long status) { return status == 301 || status == 302 || status == 303 || status == 307 || status == 308; }

cg_status status_of(CURLcode code) {
    switch (code) {
        case CURLE_OK: return CG_OK;
        case CURLE_OPERATION_TIMEDOUT: return CG_E_DEADLINE;
        case CURLE_PEER_FAILED_VERIFICATION: return CG_E_PERMISSION;
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_URL_MALFORMAT:
        case CURLE_UNSUPPORTED_PROTOCOL: return CG_E_INVALID;
        case CURLE_OUT_OF_MEMORY: return CG_E_INTERNAL;
        default: return CG_E_UNAVAILABLE;
    }
}

}  // namespace

struct http_client::exchange {
    std::uint64_t id = 0;
    http_request request;
    CURL* easy = nullptr;
    bool added = false;
    int redirects = 0;
    steady::time_point deadline;
    char curl_error[CURL_ERROR_SIZE] = {};
    // What the hooks found out; a set status wins over libcurl's.
    cg_status status = CG_OK;
    std::string refusal;
    std::string peer;
    std::vector<std::pair<std::string, std::string>> headers;
    std::size_t header_bytes = 0;
    std::string body;
    std::uint64_t body_bytes = 0;
    std::string certificate;

    ~exchange() {
        if (easy != nullptr) curl_easy_cleanup(easy);
    }
    [[nodiscard]] long http_status() const {
        long code = 0;
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
        return code;
    }
};

struct http_client::watched {
    watched(boost::asio::io_context& io, int fd_) : descriptor(io), fd(fd_) {}
    // A duplicate: libcurl may close its own descriptor whenever it likes.
    boost::asio::posix::stream_descriptor descriptor;
    const int fd;
    bool want_read = false, want_write = false;
    bool waiting_read = false, waiting_write = false;
    bool gone = false;
};

// Called by libcurl inside of curl_multi_*, on the control thread.
struct http_client::hooks {
    static int socket(CURL*, curl_socket_t fd, int what, void* self, void* known) {
        static_cast<http_client*>(self)->watch(fd, what, static_cast<watched*>(known));
        return 0;
    }

    static int timer(CURLM*, long timeout_ms, void* self_) {
        auto* self = static_cast<http_client*>(self_);
        self->timer_.cancel();
        if (timeout_ms < 0) return 0;
        self->timer_.expires_after(std::chrono::milliseconds(timeout_ms));
        self->timer_.async_wait([weak = self->weak_from_this()](const boost::system::error_code& ec) {
            if (auto alive = weak.lock(); alive && !ec) alive->turn(CURL_SOCKET_TIMEOUT, 0);
        });
        return 0;
    }

    static bool allowed(exchange& x, const std::optional<ip_address>& address) {
        const char* why = address ? refuse_address(x.request.addresses, *address) : "is of an unknown family";
        if (address) x.peer = address->text();
        if (why == nullptr) return true;
        x.refusal = "address " + x.peer + " " + why;
        return false;
    }

    static curl_socket_t open_socket(void* x, curlsocktype purpose, curl_sockaddr* address) {
        if (purpose != CURLSOCKTYPE_IPCXN || !allowed(*static_cast<exchange*>(x), ip_from(address->addr, address->addrlen)))
            return CURL_SOCKET_BAD;
        return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    }

    // Also for a pooled connection, which may have been opened under other rules.
    static int before_request(void* x_, char* primary_ip, char*, int, int) {
        auto& x = *static_cast<exchange*>(x_);
        const std::string_view text(primary_ip);
        if (!allowed(x, ip_from(text.substr(0, text.find('%'))))) return CURL_PREREQFUNC_ABORT;
        x.refusal.clear();
        const curl_tlssessioninfo* tls = nullptr;
        if (curl_easy_getinfo(x.easy, CURLINFO_TLS_SSL_PTR, &tls) == CURLE_OK && tls != nullptr &&
            tls->backend == CURLSSLBACKEND_OPENSSL && tls->internals != nullptr) {
            X509* leaf = SSL_get1_peer_certificate(static_cast<SSL*>(tls->internals));
            unsigned char* der = nullptr;
            if (const int n = leaf == nullptr ? 0 : i2d_X509(leaf, &der); n > 0)
                x.certificate.assign(reinterpret_cast<char*>(der), static_cast<std::size_t>(n));
            OPENSSL_free(der);
            X509_free(leaf);
        }
        return CURL_PREREQFUNC_OK;
    }

    static std::size_t header(char* data, std::size_t, std::size_t size, void* x_) {
        auto& x = *static_cast<exchange*>(x_);
        std::string_view line(data, size);
        while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
        if (line.starts_with("HTTP/")) {  // a status line: of the final response, or of a 1xx before it
            x.headers.clear();
            x.header_bytes = 0;
            return size;
        }
        x.header_bytes += size;
        if (x.header_bytes > max_response_header_bytes || x.headers.size() >= max_response_headers) {
            x.status = CG_E_NOSPC;
            x.refusal = "response headers are larger than 64 KiB or more than 256";
            return 0;
        }
        if (const auto colon = line.find(':'); colon != std::string_view::npos) {
            auto value = line.substr(colon + 1);
            while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
            while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
            x.headers.emplace_back(line.substr(0, colon), value);
        }
        return size;
    }

    static std::size_t body(char* data, std::size_t, std::size_t size, void* x_) {
        auto& x = *static_cast<exchange*>(x_);
        x.body_bytes += size;
        if (x.body_bytes > x.request.max_body_bytes) {
            x.status = CG_E_NOSPC;
            x.refusal = "response body is larger than " + std::to_string(x.request.max_body_bytes) + " bytes";
            return 0;
        }
        if (x.request.follow && is_redirect(x.http_status())) return size;
        if (x.request.on_body == nullptr) {
            x.body.append(data, size);
            return size;
        }
        const auto status = x.request.on_body(x.request.ctx, {reinterpret_cast<const std::uint8_t*>(data), size});
        if (status == CG_OK) return size;
        x.status = status < 0 ? status : CG_E_INTERNAL;
        x.refusal = "the plugin ended the exchange (" + std::string(status_name(x.status)) + ")";
        return size == 0 ? 1 : 0;
    }
};

http_client::http_client(boost::asio::io_context& io) : io_(io), timer_(io) {
    static std::once_flag once;
    std::call_once(once, [] {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        // OpenSSL writes without MSG_NOSIGNAL, and CURLOPT_NOSIGNAL leaves this to us: a peer that hangs up must not
        // end the process.
        std::signal(SIGPIPE, SIG_IGN);
    });
}

http_client::~http_client() { close(); }

cg_status http_client::start(const cg_http_request& raw, std::uint64_t& id, std::string& why) {
    auto checked = check_http_request(raw);
    if (!checked) {
        why = checked.error().text;
        return checked.error().code == errc::invalid ? CG_E_INVALID : CG_E_INTERNAL;
    }
    auto x = std::make_shared<exchange>();
    x->request = std::move(*checked);
    x->deadline = steady::now() + std::chrono::nanoseconds(x->request.timeout_ns);
    {
        const std::lock_guard lock(mutex_);
        if (closed_) {
            why = "the instance is stopping";
            return CG_E_CANCELLED;
        }
        if (exchanges_.size() >= max_exchanges) {
            why = "32 exchanges of this instance are in flight already";
            return CG_E_BUSY;
        }
        id = x->id = next_id_++;
        exchanges_.emplace(id, x);
    }
    boost::asio::post(io_, [weak = weak_from_this(), x] {
        if (auto self = weak.lock()) self->launch(x);
    });
    return CG_OK;
}

void http_client::cancel(std::uint64_t id) {
    boost::asio::post(io_, [weak = weak_from_this(), id] {
        auto self = weak.lock();
        if (!self) return;
        std::shared_ptr<exchange> x;
        {
            const std::lock_guard lock(self->mutex_);
            if (const auto it = self->exchanges_.find(id); it != self->exchanges_.end()) x = it->second;
        }
        if (x) self->finish(x, CG_E_CANCELLED, "cancelled");
    });
}

bool http_client::configure(exchange& x) {
    if (x.easy == nullptr) x.easy = curl_easy_init();
    if (x.easy == nullptr) return false;
    const auto& r = x.request;
    bool ok = true;
    const auto set = [&](CURLoption option, auto value) { ok = ok && curl_easy_setopt(x.easy, option, value) == CURLE_OK; };
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(x.deadline - steady::now()).count();
    const long timeout = static_cast<long>(std::max<std::int64_t>(left, 1));
    set(CURLOPT_PRIVATE, &x);
    set(CURLOPT_URL, r.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_PROXY, "");  // not the environment's either
    set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_HTTP_CONTENT_DECODING, 0L);
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    set(CURLOPT_USERAGENT, "callgate/" CALLGATE_VERSION);
    set(CURLOPT_TIMEOUT_MS, timeout);
    set(CURLOPT_CONNECTTIMEOUT_MS, timeout);
    // Without it, giving up during a slow name resolution would wait for the resolver's thread.
    set(CURLOPT_QUICK_EXIT, 1L);
    set(CURLOPT_ERRORBUFFER, x.curl_error);
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!r.ca_file.empty()) {
        set(CURLOPT_CAINFO, r.ca_file.c_str());
        set(CURLOPT_CAPATH, static_cast<char*>(nullptr));  // that file's authorities and no others
    }
    if (!r.client_cert_file.empty()) set(CURLOPT_SSLCERT, r.client_cert_file.c_str());
    if (!r.client_key_file.empty()) set(CURLOPT_SSLKEY, r.client_key_file.c_str());
    set(CURLOPT_IPRESOLVE, static_cast<long>(r.address_family == 4   ? CURL_IPRESOLVE_V4
                                             : r.address_family == 6 ? CURL_IPRESOLVE_V6
                                                                     : CURL_IPRESOLVE_WHATEVER));
    set(CURLOPT_HTTPHEADER, r.headers.get());
    if (r.method == "HEAD") set(CURLOPT_NOBODY, 1L);
    else if (r.method == "GET") set(CURLOPT_HTTPGET, 1L);
    if (r.has_body) {
        set(CURLOPT_POSTFIELDS, r.body.c_str());
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(r.body.size()));
    }
    if (r.method != "GET" && r.method != "HEAD") set(CURLOPT_CUSTOMREQUEST, r.method.c_str());
    set(CURLOPT_OPENSOCKETFUNCTION, &hooks::open_socket);
    set(CURLOPT_OPENSOCKETDATA, &x);
    set(CURLOPT_PREREQFUNCTION, &hooks::before_request);
    set(CURLOPT_PREREQDATA, &x);
    set(CURLOPT_HEADERFUNCTION, &hooks::header);
    set(CURLOPT_HEADERDATA, &x);
    set(CURLOPT_WRITEFUNCTION, &hooks::body);
    set(CURLOPT_WRITEDATA, &x);
    return ok;
}

void http_client::launch(const std::shared_ptr<exchange>& x) {
    {
        const std::lock_guard lock(mutex_);
        if (exchanges_.find(x->id) == exchanges_.end()) return;  // cancelled before it began
    }
    if (multi_ == nullptr) {
        multi_ = curl_multi_init();
        curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &hooks::socket);
        curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
        curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &hooks::timer);
        curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
        curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, 16L);
    }
    if (multi_ == nullptr || !configure(*x) || curl_multi_add_handle(multi_, x->easy) != CURLM_OK) {
        finish(x, CG_E_INTERNAL, "libcurl refused to start the exchange");
        return;
    }
    x->added = true;
}

void http_client::watch(int fd, int what, watched* known) {
    if (what == CURL_POLL_REMOVE) {
        if (const auto it = sockets_.find(fd); it != sockets_.end()) {
            it->second->gone = true;
            boost::system::error_code ignored;
            it->second->descriptor.close(ignored);
            sockets_.erase(it);
        }
        return;
    }
    auto& w = sockets_[fd];
    if (!w || known != w.get()) {
        if (w) w->gone = true;
        w = std::make_shared<watched>(io_, fd);
        boost::system::error_code failed;
        // On failure (no descriptors left) nothing wakes this socket; the exchange ends by its timeout.
        if (const int duplicate = ::fcntl(fd, F_DUPFD_CLOEXEC, 0); duplicate >= 0) w->descriptor.assign(duplicate, failed);
        curl_multi_assign(multi_, fd, w.get());
    }
    w->want_read = (what & CURL_POLL_IN) != 0;
    w->want_write = (what & CURL_POLL_OUT) != 0;
    wait_for(w, false);
    wait_for(w, true);
}

void http_client::wait_for(const std::shared_ptr<watched>& w, bool write) {
    bool& waiting = write ? w->waiting_write : w->waiting_read;
    const bool& wanted = write ? w->want_write : w->want_read;
    if (waiting || !wanted || w->gone || !w->descriptor.is_open()) return;
    waiting = true;
    const auto kind = write ? boost::asio::posix::descriptor_base::wait_write : boost::asio::posix::descriptor_base::wait_read;
    w->descriptor.async_wait(kind, [weak = weak_from_this(), w, write](const boost::system::error_code& ec) {
        (write ? w->waiting_write : w->waiting_read) = false;
        auto self = weak.lock();
        if (!self || w->gone) return;
        if (write ? w->want_write : w->want_read)
            self->turn(w->fd, ec ? CURL_CSELECT_ERR : write ? CURL_CSELECT_OUT : CURL_CSELECT_IN);
        if (!ec) self->wait_for(w, write);
    });
}

void http_client::turn(int fd, int events) {
    if (multi_ == nullptr) return;
    int running = 0;
    curl_multi_socket_action(multi_, fd, events, &running);
    collect();
}

void http_client::collect() {
    std::vector<std::pair<std::shared_ptr<exchange>, CURLcode>> over;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        exchange* raw = nullptr;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &raw);
        const std::lock_guard lock(mutex_);
        if (const auto it = exchanges_.find(raw->id); it != exchanges_.end()) over.emplace_back(it->second, message->data.result);
    }
    for (auto& [x, code] : over) {
        auto status = x->status != CG_OK ? x->status : status_of(code);
        std::string text;
        if (status == CG_OK && x->request.follow && is_redirect(x->http_status())) {
            if (redirect(*x)) continue;
            status = x->status;
            text = x->refusal;
        } else if (!x->refusal.empty() && status != CG_OK) {
            text = x->refusal;
            if (x->status == CG_OK && status != CG_E_DEADLINE) status = CG_E_PERMISSION;
        } else if (status != CG_OK) {
            text = x->curl_error[0] != '\0' ? x->curl_error : curl_easy_strerror(code);
        }
        finish(x, status, std::move(text));
        if (multi_ == nullptr) return;  // on_done stopped the instance
    }
}

// True: the exchange goes on at the same origin.
bool http_client::redirect(exchange& x) {
    const char* to = nullptr;
    curl_easy_getinfo(x.easy, CURLINFO_REDIRECT_URL, &to);
    const std::string url = to == nullptr ? "" : to;
    const auto origin = origin_of(url);
    curl_multi_remove_handle(multi_, x.easy);
    x.added = false;
    if (!origin || *origin != x.request.origin) {
        x.status = CG_E_PERMISSION;
        x.refusal = "redirect to another origin refused";
        return false;
    }
    if (++x.redirects > max_redirects) {
        x.status = CG_E_UNAVAILABLE;
        x.refusal = "more than 3 redirects";
        return false;
    }
    x.request.url = url;
    x.headers.clear();
    x.body_bytes = 0;
    if (!configure(x) || curl_multi_add_handle(multi_, x.easy) != CURLM_OK) {
        x.status = CG_E_INTERNAL;
        x.refusal = "libcurl refused to follow a redirect";
        return false;
    }
    x.added = true;
    return true;
}

void http_client::finish(const std::shared_ptr<exchange>& x, cg_status status, std::string text) {
    {
        const std::lock_guard lock(mutex_);
        if (exchanges_.erase(x->id) == 0) return;
    }
    const long http_status = x->easy == nullptr ? 0 : x->http_status();
    if (x->added) curl_multi_remove_handle(multi_, x->easy);
    x->added = false;
    if (status != CG_OK) text = x->request.method + " " + x->request.origin.text() + (x->peer.empty() ? "" : " (" + x->peer + ")") + ": " + text;

    std::vector<cg_http_header> headers;
    headers.reserve(x->headers.size());
    for (const auto& [name, value] : x->headers) headers.push_back({to_c(name), to_c(value)});
    cg_http_response r{};
    r.struct_size = sizeof r;
    r.http_status = static_cast<std::int32_t>(http_status);
    r.status = status;
    r.headers_stride = sizeof(cg_http_header);
    r.error = to_c(text);
    r.headers = headers.data();
    r.header_count = headers.size();
    r.body = {reinterpret_cast<const std::uint8_t*>(x->body.data()), x->body.size()};
    r.peer_cert_der = {reinterpret_cast<const std::uint8_t*>(x->certificate.data()), x->certificate.size()};
    x->request.on_done(x->request.ctx, &r);
}

std::size_t http_client::close() {
    std::map<std::uint64_t, std::shared_ptr<exchange>> dropped;
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        dropped.swap(exchanges_);
    }
    for (auto& [id, x] : dropped)
        if (x->added) {
            curl_multi_remove_handle(multi_, x->easy);
            x->added = false;
        }
    if (multi_ != nullptr) curl_multi_cleanup(multi_);
    multi_ = nullptr;
    for (auto& [fd, w] : sockets_) w->gone = true;
    sockets_.clear();
    timer_.cancel();
    return dropped.size();
}

const cg_http_client_api http_client::api = {
    sizeof(cg_http_client_api), 0,
    [](const cg_host* host, const cg_http_request* request, std::uint64_t* id, cg_errbuf* error) noexcept -> cg_status {
        cg_http_request r{};
        if (id == nullptr || !read_struct(request, r)) {
            write_error(error, CG_E_INVALID, "request or id is missing");
            return CG_E_INVALID;
        }
        std::string why;
        const auto status = services::of(host).http().start(r, *id, why);
        if (status != CG_OK) write_error(error, status, why);
        return status;
    },
    [](const cg_host* host, std::uint64_t id) noexcept { services::of(host).http().cancel(id); }};

}  // namespace callgate::host
