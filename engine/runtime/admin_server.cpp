// SPDX-License-Identifier: Apache-2.0
// Beast stays inside this file: it is one of the heavy headers (tools/check_layers.py).
#include "engine/runtime/admin_server.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <callgate/crypto/secret.hpp>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "engine/base/log.hpp"
#include "engine/runtime/config.hpp"

namespace callgate::runtime {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using local = asio::local::stream_protocol;
using boost::system::error_code;

constexpr std::size_t max_connections = 64;
constexpr auto accept_pause = std::chrono::milliseconds(100);
constexpr auto exchange_limit = std::chrono::seconds(10);
constexpr auto answer_limit = std::chrono::seconds(6);
constexpr auto stream_pause_limit = std::chrono::seconds(30);
constexpr auto stream_limit = std::chrono::minutes(10);

// Answers come from other threads, also when the server is gone.
struct doorway {
    std::mutex mutex;
    asio::io_context* io = nullptr;

    void post(std::function<void()> f) {
        const std::lock_guard lock(mutex);
        if (io != nullptr) asio::post(*io, std::move(f));
    }
};

struct shared_state {
    // Owned by the server, which outlives its thread: sessions that are still open when it stops die with
    // the io_context, and must not own it.
    asio::io_context& io;
    admin_server::async_handler answer;
    std::shared_ptr<doorway> door = std::make_shared<doorway>();
    crypto::secret token;           // empty = none asked
    std::set<std::string> hosts;    // accepted Host names on loopback TCP; empty = any
    bool local_socket = false;
    std::size_t connections = 0;
    std::optional<asio::ssl::context> tls;
};

// A page that a browser was tricked into sending to our loopback port carries its own Host.
bool host_allowed(const shared_state& s, std::string_view host) {
    if (s.hosts.empty()) return true;
    if (!host.empty() && host.front() == '[') host = host.substr(0, host.find(']') + 1);
    else host = host.substr(0, host.find(':'));
    return s.hosts.count(std::string(host)) != 0;
}

bool token_allowed(const shared_state& s, std::string_view header) {
    if (s.token.empty()) return true;
    constexpr std::string_view scheme = "Bearer ";
    if (header.substr(0, scheme.size()) != scheme) return false;
    return crypto::equal_constant_time(header.substr(scheme.size()), s.token.text());
}

// Credentials are for the listener alone, the others describe the connection.
bool is_for_handlers(std::string_view name) {
    constexpr std::string_view kept_back[] = {"authorization", "cookie", "connection", "content-length", "host", "keep-alive", "proxy-authorization",
                                              "te", "trailer", "transfer-encoding", "upgrade", "expect"};
    return std::find(std::begin(kept_back), std::end(kept_back), name) == std::end(kept_back);
}

void identify(const local::socket& s, const shared_state&, host::caller_identity& who) {
    ucred peer{};
    socklen_t size = sizeof peer;
    who.how = CG_CALLER_UNIX_PEER;
    who.may = CG_MAY_OPERATE;
    if (::getsockopt(const_cast<local::socket&>(s).native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
    who.uid = peer.uid;
    who.gid = peer.gid;
    who.pid = peer.pid;
}
void identify(const tcp::socket& s, const shared_state& state, host::caller_identity& who) {
    error_code ec;
    const auto peer = s.remote_endpoint(ec);
    if (!ec) who.address = (peer.address().is_v6() ? "[" + peer.address().to_string() + "]" : peer.address().to_string()) + ":" + std::to_string(peer.port());
    if (!state.token.empty()) who.how = CG_CALLER_BEARER;
}
void identify(const asio::ssl::stream<tcp::socket>& s, const shared_state& state, host::caller_identity& who) {
    identify(s.next_layer(), state, who);
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(const_cast<asio::ssl::stream<tcp::socket>&>(s).native_handle()), &X509_free);
    if (!certificate) return;
    const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), &BIO_free);
    if (!out || X509_NAME_print_ex(out.get(), X509_get_subject_name(certificate.get()), 0, XN_FLAG_RFC2253) < 0) return;
    char* text = nullptr;
    const auto size = BIO_get_mem_data(out.get(), &text);
    who.how = CG_CALLER_TLS;
    who.subject.assign(text, static_cast<std::size_t>(std::clamp(size, 0L, 1024L)));
}

template <class Stream>
class session : public std::enable_shared_from_this<session<Stream>> {
  public:
    session(Stream&& stream, std::shared_ptr<shared_state> s) : stream_(std::move(stream)), state_(std::move(s)), timer_(state_->io), answer_timer_(state_->io) {
        ++state_->connections;
    }
    ~session() {
        if (body_) body_->cancel(CG_CANCEL_REQUESTER);
        --state_->connections;
    }

    void start() {
        limit();
        if constexpr (requires { stream_.async_handshake(asio::ssl::stream_base::server, [](error_code) {}); }) {
            stream_.async_handshake(asio::ssl::stream_base::server, [self = this->shared_from_this()](error_code ec) {
                if (!ec) self->read();
                else self->finish();
            });
        } else {
            read();
        }
    }

  private:
    void limit(std::chrono::steady_clock::duration time = exchange_limit) {
        timer_.expires_after(time);
        timer_.async_wait([weak = this->weak_from_this()](error_code ec) {
            if (ec) return;
            if (auto self = weak.lock()) self->finish();
        });
    }
    void finish() {
        timer_.cancel();
        answer_timer_.cancel();
        if (const auto body = std::exchange(body_, nullptr)) body->cancel(CG_CANCEL_REQUESTER);
        error_code ignored;
        boost::beast::get_lowest_layer(stream_).close(ignored);
    }
    void read() {
        parser_.emplace();
        parser_->header_limit(8 * 1024);
        parser_->body_limit(CG_ADMIN_MAX_REQUEST_BYTES);
        http::async_read(stream_, buffer_, *parser_, [self = this->shared_from_this()](error_code ec, std::size_t) {
            if (ec) return self->finish();
            self->ask();
        });
    }
    void ask() {
        const auto& request = parser_->get();
        admin_response r;
        if (!host_allowed(*state_, request[http::field::host])) {
            r = {421, "text/plain; charset=utf-8", "this listener answers to its own address only; use 127.0.0.1 or localhost\n"};
        } else if (!token_allowed(*state_, request[http::field::authorization])) {
            r = {401, "text/plain; charset=utf-8", "bearer token of admin.token_file required\n"};
        } else {
            admin_request q;
            const std::string_view target = request.target();
            const auto mark = std::min(target.find('?'), target.size());
            q.method = std::string(request.method_string());
            q.path = std::string(target.substr(0, mark));
            q.query = std::string(target.substr(std::min(mark + 1, target.size())));
            for (const auto& field : request) {
                std::string name(field.name_string());
                std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
                if (is_for_handlers(name)) q.headers.emplace_back(std::move(name), std::string(field.value()));
            }
            q.body = request.body();
            q.local_socket = state_->local_socket;
            identify(stream_, *state_, q.caller);
            answer_timer_.expires_after(answer_limit);
            // Nothing else holds the session while the answer is awaited.
            answer_timer_.async_wait([self = this->shared_from_this(), n = ++asked_](error_code ec) {
                if (!ec) self->answered(n, {503, "text/plain; charset=utf-8", "the daemon did not answer within 6 s\n", nullptr});
            });
            return state_->answer(std::move(q), [weak = this->weak_from_this(), door = state_->door, n = asked_](admin_response a) {
                door->post([weak, n, a = std::move(a)]() mutable {
                    const auto self = weak.lock();
                    if (self) self->answered(n, std::move(a));
                    else if (a.stream) a.stream->cancel(CG_CANCEL_REQUESTER);
                });
            });
        }
        reply(std::move(r));
    }
    // Only the first answer to the present request counts.
    void answered(std::uint64_t request, admin_response r) {
        if (request != asked_ || !boost::beast::get_lowest_layer(stream_).is_open()) {
            if (r.stream) r.stream->cancel(CG_CANCEL_REQUESTER);
            return;
        }
        ++asked_;
        answer_timer_.cancel();
        if (r.stream) start_stream(std::move(r));
        else reply(std::move(r));
    }
    void reply(admin_response r) {
        const auto& request = parser_->get();
        response_ = {};
        response_.version(request.version());
        response_.result(r.status);
        response_.set(http::field::content_type, r.content_type);
        response_.set(http::field::cache_control, "no-store");
        response_.set("X-Content-Type-Options", "nosniff");
        if (r.status == 401) response_.set(http::field::www_authenticate, "Bearer");
        response_.keep_alive(request.keep_alive());
        response_.body() = request.method() == http::verb::head ? std::string{} : std::move(r.body);
        response_.prepare_payload();
        http::async_write(stream_, response_, [self = this->shared_from_this()](error_code ec, std::size_t) {
            if (ec || !self->response_.keep_alive()) return self->finish();
            self->limit();
            self->read();
        });
    }

    void start_stream(admin_response r) {
        const auto& request = parser_->get();
        head_ = {};
        head_.version(request.version());
        head_.result(r.status);
        head_.set(http::field::content_type, r.content_type);
        head_.set(http::field::cache_control, "no-store");
        head_.set("X-Content-Type-Options", "nosniff");
        // An HTTP/1.0 client sees the end when the connection ends.
        chunked_ = request.version() >= 11;
        head_.keep_alive(chunked_ && request.keep_alive());
        if (chunked_) head_.chunked(true);
        head_only_ = request.method() == http::verb::head;
        body_ = std::move(r.stream);
        stream_end_ = std::chrono::steady_clock::now() + stream_limit;
        serializer_.emplace(head_);
        http::async_write_header(stream_, *serializer_, [self = this->shared_from_this()](error_code ec, std::size_t) {
            if (ec || !self->body_) return self->finish();
            if (self->head_only_) return self->end_stream();
            self->body_->listen([weak = self->weak_from_this(), door = self->state_->door] {
                door->post([weak] {
                    if (const auto s = weak.lock()) s->pump();
                });
            });
            self->wait_for_pieces();
        });
    }
    void wait_for_pieces() {
        const auto left = stream_end_ - std::chrono::steady_clock::now();
        if (left <= left.zero()) return finish();
        timer_.expires_after(std::min<std::chrono::steady_clock::duration>(stream_pause_limit, left));
        // Nothing else holds the session while pieces are awaited.
        timer_.async_wait([self = this->shared_from_this()](error_code ec) {
            if (!ec) self->finish();
        });
    }
    void pump() {
        if (writing_ || !body_) return;
        auto got = body_->take();
        pieces_.clear();
        for (auto& piece : got.chunks) pieces_ += piece;
        if (pieces_.empty() && !got.ended) return wait_for_pieces();
        // Without the last chunk the client knows that something is missing.
        if (pieces_.empty()) return got.status == CG_OK ? end_stream() : finish();
        writing_ = true;
        ended_ = got.ended;
        ended_with_ = got.status;
        limit();
        auto written = [self = this->shared_from_this()](error_code ec, std::size_t) {
            self->writing_ = false;
            if (ec) return self->finish();
            if (self->ended_) return self->ended_with_ == CG_OK ? self->end_stream() : self->finish();
            self->pump();
        };
        if (chunked_) asio::async_write(stream_, http::make_chunk(asio::buffer(pieces_)), std::move(written));
        else asio::async_write(stream_, asio::buffer(pieces_), std::move(written));
    }
    void end_stream() {
        if (const auto body = std::exchange(body_, nullptr)) body->cancel(CG_CANCEL_REQUESTER);
        if (head_only_) return next();
        if (!chunked_) return finish();
        asio::async_write(stream_, http::make_chunk_last(), [self = this->shared_from_this()](error_code ec, std::size_t) {
            if (ec) return self->finish();
            self->next();
        });
    }
    void next() {
        if (!head_.keep_alive()) return finish();
        limit();
        read();
    }

    Stream stream_;
    std::shared_ptr<shared_state> state_;
    std::uint64_t asked_ = 0;  // number of the request that waits for its answer
    http::response<http::empty_body> head_;  // of a streamed answer
    std::optional<http::response_serializer<http::empty_body>> serializer_;
    std::shared_ptr<host::byte_stream> body_;
    std::string pieces_;  // being written
    bool chunked_ = false, head_only_ = false, writing_ = false, ended_ = false;
    cg_status ended_with_ = CG_OK;
    std::chrono::steady_clock::time_point stream_end_{};
    asio::steady_timer timer_, answer_timer_;
    boost::beast::flat_buffer buffer_{16 * 1024};
    std::optional<http::request_parser<http::string_body>> parser_;
    http::response<http::string_body> response_;
};

error error_of(const std::string& what, const error_code& ec, const std::string& cure) {
    return make_error(errc::unavailable, what + ": " + ec.message() + "; " + cure, "admin.listen");
}

class server final : public admin_server {
  public:
    explicit server(async_handler answer) : state_(std::make_shared<shared_state>(shared_state{.io = *io_, .answer = std::move(answer), .token = {}, .hosts = {}, .tls = {}})) {
        state_->door->io = io_.get();
    }
    ~server() override {
        {
            const std::lock_guard lock(state_->door->mutex);
            state_->door->io = nullptr;
        }
        io_->stop();
        if (thread_.joinable()) thread_.join();
        if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
    }
    [[nodiscard]] const std::string& address() const override { return address_; }

    result<void> listen_local(const std::string& path) {
        // A socket left by a killed predecessor blocks the bind; one that answers belongs to a living daemon.
        struct stat st{};
        if (::lstat(path.c_str(), &st) == 0) {
            if (!S_ISSOCK(st.st_mode))
                return make_error(errc::invalid, path + " exists and is not a socket; remove it or choose another path", "admin.listen");
            local::socket probe(state_->io);
            error_code ec;
            probe.connect(local::endpoint(path), ec);
            if (!ec) return make_error(errc::busy, path + " is in use by a running daemon; stop it or choose another path", "admin.listen");
            ::unlink(path.c_str());
        }
        local_.emplace(state_->io);
        error_code ec;
        local_->open(local(), ec);
        const auto old = ::umask(0177);
        if (!ec) local_->bind(local::endpoint(path), ec);
        ::umask(old);
        if (!ec) local_->listen(64, ec);
        if (ec) return error_of("cannot listen on " + path, ec, "the folder must exist and be writable");
        socket_path_ = path;
        address_ = "unix:" + path;
        return {};
    }

    result<void> listen_tcp(const std::string& where) {
        const auto colon = where.rfind(':');
        if (colon == std::string::npos) return make_error(errc::invalid, "\"" + where + "\" is not HOST:PORT or unix:PATH", "admin.listen");
        auto host = where.substr(0, colon);
        if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
        error_code ec;
        const auto ip = asio::ip::make_address(host, ec);
        if (ec) return make_error(errc::invalid, "\"" + host + "\" is not an IP address; give 127.0.0.1, [::1] or the address of an interface", "admin.listen");
        int port = -1;
        try {
            port = std::stoi(where.substr(colon + 1));
        } catch (const std::exception&) {
        }
        if (port < 0 || port > 65535) return make_error(errc::invalid, "port of \"" + where + "\" is not 0..65535", "admin.listen");
        tcp_.emplace(state_->io);
        const tcp::endpoint endpoint(ip, static_cast<std::uint16_t>(port));
        tcp_->open(endpoint.protocol(), ec);
        if (!ec) tcp_->set_option(tcp::acceptor::reuse_address(true), ec);
        if (!ec) tcp_->bind(endpoint, ec);
        if (!ec) tcp_->listen(64, ec);
        if (ec) return error_of("cannot listen on " + where, ec, "choose a free port");
        const auto bound = tcp_->local_endpoint();
        address_ = (ip.is_v6() ? "[" + ip.to_string() + "]" : ip.to_string()) + ":" + std::to_string(bound.port());
        if (ip.is_loopback()) state_->hosts = {"127.0.0.1", "localhost", "[::1]"};
        return {};
    }

    void run() {
        if (local_) accept(*local_);
        if (tcp_) accept(*tcp_);
        thread_ = std::thread([s = state_] {
            ::pthread_setname_np(::pthread_self(), "admin");
            s->io.run();
        });
    }

    [[nodiscard]] shared_state& state() { return *state_; }

  private:
    template <class Acceptor>
    void accept(Acceptor& a) {
        a.async_accept([this, &a](error_code ec, typename Acceptor::protocol_type::socket socket) {
            if (ec == asio::error::operation_aborted) return;
            if (ec) {
                // Out of descriptors, the connection stays in the backlog and accept fails again at once.
                pause_.expires_after(accept_pause);
                return pause_.async_wait([this, &a](error_code stopped) {
                    if (!stopped) accept(a);
                });
            }
            if (state_->connections < max_connections) serve(std::move(socket));
            accept(a);
        });
    }
    void serve(local::socket&& s) { std::make_shared<session<local::socket>>(std::move(s), state_)->start(); }
    void serve(tcp::socket&& s) {
        if (state_->tls)
            std::make_shared<session<asio::ssl::stream<tcp::socket>>>(asio::ssl::stream<tcp::socket>(std::move(s), *state_->tls), state_)->start();
        else
            std::make_shared<session<tcp::socket>>(std::move(s), state_)->start();
    }

    std::unique_ptr<asio::io_context> io_ = std::make_unique<asio::io_context>(1);
    std::shared_ptr<shared_state> state_;
    std::optional<local::acceptor> local_;
    std::optional<tcp::acceptor> tcp_;  // one of the two
    asio::steady_timer pause_{*io_};
    std::string address_, socket_path_;
    std::thread thread_;
};

result<crypto::secret> read_token(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    struct stat st{};
    if (!in || ::stat(path.c_str(), &st) != 0)
        return make_error(errc::not_found, "cannot read " + path + "; it holds the bearer token of the admin listener", "admin.token_file");
    if ((st.st_mode & 077) != 0)
        return make_error(errc::permission, path + " can be read by others; chmod 600", "admin.token_file");
    std::string text;
    std::getline(in, text);
    while (!text.empty() && (text.back() == '\r' || text.back() == ' ')) text.pop_back();
    if (text.size() < 16) return make_error(errc::invalid, path + " holds fewer than 16 characters; use a random token", "admin.token_file");
    auto s = crypto::secret::copy_of(std::string_view(text));
    crypto::wipe(text.data(), text.size());
    return s;
}

}  // namespace

result<std::unique_ptr<admin_server>> admin_server::open(const admin_options& options, handler answer) {
    return open(options, async_handler([answer = std::move(answer)](admin_request&& q, const responder& respond) { respond(answer(q)); }));
}

result<std::unique_ptr<admin_server>> admin_server::open(const admin_options& options, async_handler answer) {
    auto s = std::make_unique<server>(std::move(answer));
    auto& state = s->state();
    if (!options.token_file.empty()) {
        auto t = read_token(options.token_file);
        if (!t) return t.error();
        state.token = std::move(*t);
    }
    constexpr std::string_view unix_prefix = "unix:";
    if (options.listen.rfind(unix_prefix, 0) == 0) {
        state.local_socket = true;
        if (auto r = s->listen_local(options.listen.substr(unix_prefix.size())); !r) return r.error();
    } else {
        if (!options.cert_file.empty()) {
            state.tls.emplace(asio::ssl::context::tls_server);
            auto& tls = *state.tls;
            try {
                tls.set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
                tls.use_certificate_chain_file(options.cert_file);
                tls.use_private_key_file(options.key_file, asio::ssl::context::pem);
                if (!options.client_ca_file.empty()) {
                    tls.load_verify_file(options.client_ca_file);
                    tls.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
                }
            } catch (const std::exception& e) {
                return make_error(errc::invalid, std::string("TLS files of the admin listener: ") + e.what(), "admin.cert_file");
            }
        }
        if (auto r = s->listen_tcp(options.listen); !r) return r.error();
    }
    s->run();
    return std::unique_ptr<admin_server>(std::move(s));
}

}  // namespace callgate::runtime
