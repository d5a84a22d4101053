// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <netinet/in.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace callgate::host::test {

struct server_request {
    std::string method, path, head, body;
};

/// A certificate for 127.0.0.1 that signs itself.
struct test_certificate {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* cert = X509_new();

    test_certificate() {
        X509_set_version(cert, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
        X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
        X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
        X509_set_pubkey(cert, key);
        auto* name = X509_get_subject_name(cert);
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("callgate test"), -1, -1, 0);
        X509_set_issuer_name(cert, name);
        auto* san = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
        X509_add_ext(cert, san, -1);
        X509_EXTENSION_free(san);
        X509_sign(cert, key, EVP_sha256());
    }
    ~test_certificate() {
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    test_certificate(const test_certificate&) = delete;
    test_certificate& operator=(const test_certificate&) = delete;
    void write_pem(const std::string& path) const {
        auto* f = std::fopen(path.c_str(), "w");
        PEM_write_X509(f, cert);
        std::fclose(f);
    }
};

/// HTTP/1.1 on 127.0.0.1 with keep-alive, one thread for each connection; TLS when it is given a certificate.
class http_server {
  public:
    using handler = std::function<std::string(const server_request&)>;  ///< whole response; empty = never answer

    explicit http_server(handler h, const test_certificate* certificate = nullptr) : handler_(std::move(h)) {
        if (certificate != nullptr) {
            tls_ = SSL_CTX_new(TLS_server_method());
            SSL_CTX_use_certificate(tls_, certificate->cert);
            SSL_CTX_use_PrivateKey(tls_, certificate->key);
        }
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::bind(listener_, reinterpret_cast<sockaddr*>(&a), sizeof a);
        ::listen(listener_, 64);
        socklen_t n = sizeof a;
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&a), &n);
        port_ = ntohs(a.sin_port);
        acceptor_ = std::thread([this] { accept_all(); });
    }
    ~http_server() {
        ending_ = true;
        ::shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        {
            const std::lock_guard lock(mutex_);
            for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
        }
        for (auto& t : threads_) t.join();
        ::close(listener_);
        SSL_CTX_free(tls_);
    }
    http_server(const http_server&) = delete;
    http_server& operator=(const http_server&) = delete;

    [[nodiscard]] std::string url(std::string_view path) const {
        return std::string(tls_ != nullptr ? "https" : "http") + "://127.0.0.1:" + std::to_string(port_) + std::string(path);
    }
    [[nodiscard]] int connections() const { return connections_; }
    [[nodiscard]] int requests() const { return requests_; }

    static std::string response(int status, std::string_view body, std::string_view headers = {}) {
        return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(headers) +
               "\r\n" + std::string(body);
    }

  private:
    void accept_all() {
        while (!ending_) {
            const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) return;
            ++connections_;
            const std::lock_guard lock(mutex_);
            open_.push_back(fd);
            threads_.emplace_back([this, fd] { serve(fd); });
        }
    }
    void serve(int fd) {
        SSL* ssl = nullptr;
        bool up = true;
        if (tls_ != nullptr) {
            ssl = SSL_new(tls_);
            SSL_set_fd(ssl, fd);
            up = SSL_accept(ssl) == 1;
        }
        std::string in;
        while (up) {
            const auto end = in.find("\r\n\r\n");
            if (end == std::string::npos) {
                up = read_more(ssl, fd, in);
                continue;
            }
            server_request r;
            r.head = in.substr(0, end + 2);
            r.method = r.head.substr(0, r.head.find(' '));
            const auto path = r.method.size() + 1;
            r.path = r.head.substr(path, r.head.find(' ', path) - path);
            std::size_t length = 0;
            if (const auto at = r.head.find("Content-Length: "); at != std::string::npos) length = std::stoul(r.head.substr(at + 16));
            while (up && in.size() < end + 4 + length) up = read_more(ssl, fd, in);
            if (!up) break;
            r.body = in.substr(end + 4, length);
            in.erase(0, end + 4 + length);
            ++requests_;
            const auto out = handler_(r);
            for (std::size_t done = 0; up && done < out.size();) {
                const auto n = ssl != nullptr ? SSL_write(ssl, out.data() + done, static_cast<int>(out.size() - done))
                                              : ::send(fd, out.data() + done, out.size() - done, MSG_NOSIGNAL);
                up = n > 0;
                if (up) done += static_cast<std::size_t>(n);
            }
        }
        SSL_free(ssl);
        const std::lock_guard lock(mutex_);
        std::erase(open_, fd);
        ::close(fd);
    }
    bool read_more(SSL* ssl, int fd, std::string& in) {
        char buffer[16384];
        const auto n = ssl != nullptr ? SSL_read(ssl, buffer, sizeof buffer) : ::recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0) return false;
        in.append(buffer, static_cast<std::size_t>(n));
        return true;
    }

    handler handler_;
    SSL_CTX* tls_ = nullptr;
    int listener_ = -1;
    int port_ = 0;
    std::atomic<bool> ending_{false};
    std::atomic<int> connections_{0}, requests_{0};
    std::mutex mutex_;
    std::vector<int> open_;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

}  // namespace callgate::host::test
