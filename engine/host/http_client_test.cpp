// SPDX-License-Identifier: Apache-2.0
#include "engine/host/http_client.hpp"

#include "engine/host/abi_read.hpp"
#include "engine/host/host_fixture.hpp"
#include "engine/host/http_test_server.hpp"

namespace callgate::host::test {
namespace {

struct outcome {
    int calls = 0;
    cg_status status = CG_OK;
    int http_status = -1;
    std::string body, error, certificate;
    std::vector<std::pair<std::string, std::string>> headers;
    std::string pieces;
    cg_status piece_status = CG_OK;

    static void done(void* ctx, const cg_http_response* r) {
        auto& o = *static_cast<outcome*>(ctx);
        ++o.calls;
        o.status = r->status;
        o.http_status = r->http_status;
        o.body.assign(reinterpret_cast<const char*>(r->body.data), r->body.size);
        o.error = std::string(view(r->error));
        o.certificate.assign(reinterpret_cast<const char*>(r->peer_cert_der.data), r->peer_cert_der.size);
        for (std::size_t i = 0; i < r->header_count; ++i) {
            const auto h = read_element(r->headers, i, r->headers_stride);
            o.headers.emplace_back(view(h.name), view(h.value));
        }
    }
    static cg_status piece(void* ctx, cg_bytes b) {
        auto& o = *static_cast<outcome*>(ctx);
        o.pieces.append(reinterpret_cast<const char*>(b.data), b.size);
        return o.piece_status;
    }
};

class http_client_test : public ::testing::Test {
  protected:
    boost::asio::io_context io;
    test_clock clock;
    plugin_folder folder;
    std::shared_ptr<control_loop> loop = control_loop::make(io, 1, clock, [](std::uint32_t) {});
    operation_owner owner{{}, 10};
    services instance_services{loop, owner, "unit", 0};
    const cg_host* host = instance_services.host();
    const cg_http_client_api& api = *static_cast<const cg_http_client_api*>(host->query(host, to_c(CG_EXT_HTTP_CLIENT)));
    cg_http_request request = [] {
        cg_http_request r{};
        r.struct_size = sizeof r;
        r.method = to_c("GET");
        r.on_done = &outcome::done;
        return r;
    }();

    cg_status start(const std::string& url, outcome& o, std::uint64_t& id, std::string* why = nullptr) {
        request.url = to_c(url);
        request.ctx = &o;
        char text[256] = {};
        cg_errbuf error{};
        error.struct_size = sizeof error;
        error.text = {reinterpret_cast<std::uint8_t*>(text), sizeof text, 0};
        const auto status = api.start(host, &request, &id, &error);
        if (why != nullptr) *why = std::string(text, error.text.size);
        return status;
    }
    bool run_until(const std::function<bool()>& done) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!done()) {
            if (std::chrono::steady_clock::now() > end) return false;
            io.restart();
            io.run_one_for(std::chrono::milliseconds(200));
        }
        return true;
    }
    outcome fetch(const std::string& url) {
        outcome o;
        std::uint64_t id = 0;
        std::string why;
        EXPECT_EQ(start(url, o, id, &why), CG_OK) << why;
        EXPECT_TRUE(run_until([&] { return o.calls == 1; }));
        return o;
    }
    std::string refusal(const std::string& url) {
        outcome o;
        std::uint64_t id = 0;
        std::string why;
        EXPECT_EQ(start(url, o, id, &why), CG_E_INVALID) << url;
        EXPECT_EQ(o.calls, 0);
        return why;
    }
};

std::string site(const server_request& r) {
    if (r.path == "/hello") return http_server::response(200, "hello", "X-Tag:  a b \r\n");
    if (r.path == "/echo") return http_server::response(200, r.head + "|" + r.body);
    if (r.path == "/redirect") return http_server::response(302, "ignore me", "Location: /hello\r\n");
    if (r.path == "/loop") return http_server::response(302, "", "Location: /loop\r\n");
    if (r.path == "/elsewhere") return http_server::response(302, "", "Location: http://localhost:1/x\r\n");
    if (r.path == "/big") return http_server::response(200, std::string(100'000, 'x'));
    if (r.path == "/gzip") return http_server::response(200, "not really gzip", "Content-Encoding: gzip\r\n");
    if (r.path == "/headers") return http_server::response(200, "", "X: " + std::string(70'000, 'y') + "\r\n");
    if (r.path == "/never") return {};
    return http_server::response(404, "no such page");
}

TEST_F(http_client_test, gets_a_page_and_reuses_the_connection) {
    http_server server(site);
    for (int n = 0; n < 3; ++n) {
        const auto o = fetch(server.url("/hello"));
        EXPECT_EQ(o.status, CG_OK) << o.error;
        EXPECT_EQ(o.http_status, 200);
        EXPECT_EQ(o.body, "hello");
        EXPECT_EQ(o.error, "");
        ASSERT_EQ(o.headers.size(), 2u);
        EXPECT_EQ(o.headers[1], (std::pair<std::string, std::string>("X-Tag", "a b")));
    }
    EXPECT_EQ(server.connections(), 1);
    EXPECT_EQ(fetch(server.url("/nothing")).http_status, 404) << "a response is a response";
}

TEST_F(http_client_test, sends_what_it_was_given_and_nothing_made_up) {
    http_server server(site);
    const cg_http_header headers[] = {{to_c("Authorization"), to_c("Bearer abc")}, {to_c("X-Empty"), to_c("")}};
    request.method = to_c("POST");
    request.headers = headers;
    request.header_count = 2;
    request.headers_stride = sizeof(cg_http_header);
    const std::string body("a\0b", 3);
    request.body = {reinterpret_cast<const std::uint8_t*>(body.data()), body.size()};
    const auto o = fetch(server.url("/echo"));
    EXPECT_EQ(o.body.substr(o.body.size() - 4), "|" + body);
    EXPECT_EQ(o.body.find("POST /echo HTTP/1.1\r\n"), 0u);
    EXPECT_NE(o.body.find("\r\nAuthorization: Bearer abc\r\n"), std::string::npos);
    EXPECT_NE(o.body.find("\r\nX-Empty:\r\n"), std::string::npos);
    EXPECT_NE(o.body.find("\r\nContent-Length: 3\r\n"), std::string::npos);
    for (const char* unwanted : {"Content-Type", "Expect", "Accept-Encoding"}) EXPECT_EQ(o.body.find(unwanted), std::string::npos) << unwanted;
}

TEST_F(http_client_test, does_not_listen_to_the_environments_proxy) {
    http_server server(site);
    ::setenv("http_proxy", "http://127.0.0.1:1/", 1);
    ::setenv("all_proxy", "http://127.0.0.1:1/", 1);
    EXPECT_EQ(fetch(server.url("/hello")).status, CG_OK);
    ::unsetenv("http_proxy");
    ::unsetenv("all_proxy");
}

TEST_F(http_client_test, leaves_compressed_bodies_as_they_are) {
    http_server server(site);
    EXPECT_EQ(fetch(server.url("/gzip")).body, "not really gzip");
}

TEST_F(http_client_test, redirects_are_answers_unless_asked_for_and_stay_at_their_origin) {
    http_server server(site);
    auto o = fetch(server.url("/redirect"));
    EXPECT_EQ(o.status, CG_OK);
    EXPECT_EQ(o.http_status, 302);
    EXPECT_EQ(o.body, "ignore me");
    request.flags = CG_HTTP_FOLLOW_REDIRECTS;
    o = fetch(server.url("/redirect"));
    EXPECT_EQ(o.http_status, 200);
    EXPECT_EQ(o.body, "hello");
    o = fetch(server.url("/elsewhere"));
    EXPECT_EQ(o.status, CG_E_PERMISSION);
    EXPECT_NE(o.error.find("redirect to another origin refused"), std::string::npos);
    const auto before = server.requests();
    o = fetch(server.url("/loop"));
    EXPECT_EQ(o.status, CG_E_UNAVAILABLE);
    EXPECT_NE(o.error.find("more than 3 redirects"), std::string::npos);
    EXPECT_EQ(server.requests() - before, 4);
}

TEST_F(http_client_test, bodies_and_headers_are_bounded) {
    http_server server(site);
    request.max_body_bytes = 99'999;
    auto o = fetch(server.url("/big"));
    EXPECT_EQ(o.status, CG_E_NOSPC);
    EXPECT_NE(o.error.find("response body is larger than 99999 bytes"), std::string::npos);
    request.max_body_bytes = 100'000;
    o = fetch(server.url("/big"));
    EXPECT_EQ(o.status, CG_OK);
    EXPECT_EQ(o.body.size(), 100'000u);
    EXPECT_EQ(fetch(server.url("/headers")).status, CG_E_NOSPC);
}

TEST_F(http_client_test, body_can_be_taken_in_pieces_and_refused) {
    http_server server(site);
    request.on_body = &outcome::piece;
    auto o = fetch(server.url("/big"));
    EXPECT_EQ(o.status, CG_OK);
    EXPECT_EQ(o.pieces.size(), 100'000u);
    EXPECT_EQ(o.body, "");
    outcome stubborn;
    stubborn.piece_status = CG_E_NOT_FOUND;
    std::uint64_t id = 0;
    ASSERT_EQ(start(server.url("/big"), stubborn, id), CG_OK);
    ASSERT_TRUE(run_until([&] { return stubborn.calls == 1; }));
    EXPECT_EQ(stubborn.status, CG_E_NOT_FOUND);
}

TEST_F(http_client_test, timeout_ends_an_exchange) {
    http_server server(site);
    request.timeout_ns = 50'000'000;
    const auto o = fetch(server.url("/never"));
    EXPECT_EQ(o.status, CG_E_DEADLINE);
    EXPECT_EQ(o.http_status, 0);
    EXPECT_EQ(o.error.find("GET " + server.url("") + " (127.0.0.1): "), 0u) << o.error;
    EXPECT_EQ(o.error.find("never"), std::string::npos) << "paths may hold secrets";
}

TEST_F(http_client_test, cancel_ends_an_exchange_once) {
    http_server server(site);
    outcome o;
    std::uint64_t id = 0;
    ASSERT_EQ(start(server.url("/never"), o, id), CG_OK);
    ASSERT_TRUE(run_until([&] { return server.requests() == 1; }));
    api.cancel(host, id);
    api.cancel(host, id);
    ASSERT_TRUE(run_until([&] { return o.calls == 1; }));
    EXPECT_EQ(o.status, CG_E_CANCELLED);
    outcome early;
    ASSERT_EQ(start(server.url("/never"), early, id), CG_OK);
    api.cancel(host, id);
    ASSERT_TRUE(run_until([&] { return early.calls == 1; }));
    EXPECT_EQ(early.status, CG_E_CANCELLED);
    EXPECT_EQ(fetch(server.url("/hello")).status, CG_OK);
    EXPECT_EQ(o.calls, 1);
}

TEST_F(http_client_test, thirty_two_at_once_and_no_more) {
    http_server server(site);
    std::vector<outcome> all(33);
    std::vector<std::uint64_t> ids(33);
    for (std::size_t n = 0; n < 32; ++n) ASSERT_EQ(start(server.url("/never"), all[n], ids[n]), CG_OK);
    std::string why;
    EXPECT_EQ(start(server.url("/never"), all[32], ids[32], &why), CG_E_BUSY);
    EXPECT_EQ(why, "32 exchanges of this instance are in flight already");
    ASSERT_TRUE(run_until([&] { return server.requests() == 32; }));
    for (std::size_t n = 0; n < 31; ++n) api.cancel(host, ids[n]);
    ASSERT_TRUE(run_until([&] { return std::all_of(all.begin(), all.begin() + 31, [](const outcome& o) { return o.calls == 1; }); }));
    EXPECT_EQ(instance_services.close(), 1u) << "the last one ends with the instance";
    io.restart();
    io.poll();
    EXPECT_EQ(all[31].calls, 0);
    EXPECT_EQ(start(server.url("/hello"), all[32], ids[32]), CG_E_CANCELLED);
}

TEST_F(http_client_test, unreachable_server_is_unavailable) {
    std::string url;
    {
        http_server gone(site);
        url = gone.url("/hello");
    }
    const auto o = fetch(url);
    EXPECT_EQ(o.status, CG_E_UNAVAILABLE);
    EXPECT_NE(o.error.find("127.0.0.1"), std::string::npos);
}

TEST_F(http_client_test, link_local_addresses_are_refused_after_resolution) {
    request.flags = CG_HTTP_ALLOW_PLAINTEXT;
    const auto o = fetch("http://169.254.169.254/latest/meta-data/");
    EXPECT_EQ(o.status, CG_E_PERMISSION);
    EXPECT_EQ(o.error, "GET http://169.254.169.254:80 (169.254.169.254): address 169.254.169.254 is a link-local or metadata address, which is refused");
    EXPECT_EQ(fetch("http://0x7f000001.nip:1/").status, CG_E_UNAVAILABLE) << "no such name";
    EXPECT_EQ(fetch("http://2852039166/").status, CG_E_PERMISSION) << "the same address as a number";
}

TEST_F(http_client_test, plaintext_leaves_the_machine_only_when_allowed) {
    const auto o = fetch("http://192.0.2.1/");
    EXPECT_EQ(o.status, CG_E_PERMISSION);
    EXPECT_NE(o.error.find("http:// without TLS is allowed to loopback only"), std::string::npos);
}

TEST_F(http_client_test, pins_hold_for_new_and_for_pooled_connections) {
    http_server server(site);
    EXPECT_EQ(fetch(server.url("/hello")).status, CG_OK);
    const cg_str networks[] = {to_c("10.0.0.0/8")};
    request.pin_cidrs = {networks, 1};
    const auto o = fetch(server.url("/hello"));
    EXPECT_EQ(o.status, CG_E_PERMISSION);
    EXPECT_NE(o.error.find("address 127.0.0.1 is outside of the pinned networks"), std::string::npos) << o.error;
    EXPECT_EQ(server.requests(), 1) << "the second one never left";
    const cg_str right[] = {to_c("127.0.0.0/8")};
    request.pin_cidrs = {right, 1};
    EXPECT_EQ(fetch(server.url("/hello")).status, CG_OK);
}

TEST_F(http_client_test, tls_peers_are_verified) {
    const test_certificate mine, other;
    mine.write_pem(folder.path() + "/mine.pem");
    other.write_pem(folder.path() + "/other.pem");
    http_server server(site, &mine);
    auto o = fetch(server.url("/hello"));
    EXPECT_EQ(o.status, CG_E_PERMISSION) << "not among the system's authorities";
    EXPECT_EQ(o.http_status, 0);
    const auto wrong = folder.path() + "/other.pem";
    request.ca_file = to_c(wrong);
    EXPECT_EQ(fetch(server.url("/hello")).status, CG_E_PERMISSION);
    EXPECT_EQ(server.requests(), 0) << "nothing was sent to an unverified peer";
    const auto right = folder.path() + "/mine.pem";
    request.ca_file = to_c(right);
    o = fetch(server.url("/hello"));
    ASSERT_EQ(o.status, CG_OK) << o.error;
    EXPECT_EQ(o.body, "hello");
    unsigned char* der = nullptr;
    const int n = i2d_X509(mine.cert, &der);
    EXPECT_EQ(o.certificate, std::string(reinterpret_cast<char*>(der), static_cast<std::size_t>(n)));
    OPENSSL_free(der);
    EXPECT_EQ(fetch(server.url("/hello")).certificate.size(), static_cast<std::size_t>(n)) << "of a pooled connection too";
    const auto missing = folder.path() + "/missing.pem";
    request.ca_file = to_c(missing);
    EXPECT_EQ(fetch(server.url("/hello")).status, CG_E_INVALID);
}

TEST_F(http_client_test, unusable_requests_are_refused_at_once) {
    EXPECT_EQ(refusal("file:///etc/passwd"), "URL must be an absolute http:// or https:// one without user name");
    EXPECT_EQ(refusal("ftp://127.0.0.1/"), "URL must be an absolute http:// or https:// one without user name");
    EXPECT_EQ(refusal("https://user:pass@127.0.0.1/"), "URL must be an absolute http:// or https:// one without user name");
    EXPECT_EQ(refusal("http://127.0.0.1/a b"), "URL has a space or control character");
    EXPECT_EQ(refusal("http://127.0.0.1/\r\nX: y"), "URL has a space or control character");
    const std::string ok = "http://127.0.0.1/";
    auto header = [&](const char* name, std::string_view value) {
        const cg_http_header h[] = {{to_c(name), to_c(value)}};
        request.headers = h;
        request.header_count = 1;
        request.headers_stride = sizeof(cg_http_header);
        const auto why = refusal(ok);
        request.headers = nullptr;
        request.header_count = 0;
        return why;
    };
    EXPECT_EQ(header("X", "a\r\nY: b"), "header X: value has a line break or NUL");
    EXPECT_EQ(header("X: y", "a"), "header 0: name is not valid");
    EXPECT_EQ(header("transfer-Encoding", "chunked"), "header transfer-encoding is the host's");
    const cg_str networks[] = {to_c("10.0.0.0/99")};
    request.pin_cidrs = {networks, 1};
    EXPECT_EQ(refusal(ok), "pin_cidrs[0] is no network such as 10.0.0.0/8");
    request.pin_cidrs = {};
    request.method = to_c("GET /x");
    EXPECT_EQ(refusal(ok), "method is not valid");
    request.method = to_c("GET");
    request.timeout_ns = 61'000'000'000;
    EXPECT_EQ(refusal(ok), "timeout must be between 0 and 60 s");
    request.timeout_ns = 0;
    request.flags = 64;
    EXPECT_EQ(refusal(ok), "unknown flag in cg_http_request");
}

}  // namespace
}  // namespace callgate::host::test
