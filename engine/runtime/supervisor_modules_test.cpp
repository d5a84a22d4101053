// SPDX-License-Identifier: Apache-2.0
// Modules in a whole daemon, asked over its admin listener. No nats-server is needed: the cluster is never reached.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <callgate/nats/nkey.hpp>
#include <chrono>
#include <thread>

#include "engine/runtime/supervisor.hpp"
#include "tests/support/nats_server.hpp"

namespace asio = boost::asio;

namespace callgate::runtime {
namespace {

constexpr auto patience = std::chrono::seconds(60);

class modules_test : public ::testing::Test {
  protected:
    callgate::test::temp_dir dir;
    std::unique_ptr<supervisor> daemon;
    std::thread thread;
    std::atomic<int> status{-1};

    void SetUp() override {
        const auto issuer = nats::key_pair::generate(nats::key_type::account);
        const auto seed = issuer.seed_text();
        dir.write("issuer.nk", std::string(reinterpret_cast<const char*>(seed.data()), seed.size()));
        dir.write("callout.password", "pwd\n");
        dir.write("users.yaml", "users: []\n");
    }
    void TearDown() override { end(); }

    std::string config(const std::string& modules) {
        return dir.write("callgate.yaml", "plugins: {directories: [" CALLGATE_PLUGINS ", " CALLGATE_TEST_PLUGINS R"(]}
nats: [{name: main, urls: ["nats://127.0.0.1:1"], credentials: {user: callgate, password_file: callout.password}}]
callout: {mode: config, account: AUTH, system_account: $SYS, issuer: local/issuer, servers: any}
keys: {local: {plugin: key_file, config: {files: {issuer: issuer.nk}}}}
backends: {users: {plugin: auth_static, config: {file: users.yaml}}}
accounts: {APP: {}}
routes: [{name: all, chain: [users]}]
policy: {rules: [{name: all, when: always, grant: {account: APP, sub: {allow: [a]}}}]}
admin: {listen: "unix:admin.sock"}
shards: 1
)" + modules);
    }
    void start(const std::string& modules) {
        daemon = std::make_unique<supervisor>(config(modules));
        thread = std::thread([this] { status = daemon->run(); });
    }
    int end() {
        if (!thread.joinable()) return status;
        if (status == -1) ::kill(::getpid(), SIGTERM);
        thread.join();
        return status;
    }
    /// The whole answer; empty when nobody listens.
    std::string ask(const std::string& method, const std::string& target, const std::string& body = {}) {
        asio::io_context io;
        asio::local::stream_protocol::socket s(io);
        boost::system::error_code ec;
        s.connect(asio::local::stream_protocol::endpoint(dir.path() + "/admin.sock"), ec);
        if (ec) return {};
        asio::write(s, asio::buffer(method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body), ec);
        std::string answer;
        asio::read(s, asio::dynamic_buffer(answer), ec);
        return answer;
    }
    /// Asks until the answer holds `text`; the answer.
    std::string await(const std::string& method, const std::string& target, const std::string& text) {
        const auto until = std::chrono::steady_clock::now() + patience;
        std::string last;
        while (std::chrono::steady_clock::now() < until && status == -1) {
            last = ask(method, target);
            if (last.find(text) != std::string::npos) return last;
            std::this_thread::yield();
        }
        ADD_FAILURE() << target << " never said \"" << text << "\"; last: " << last;
        return last;
    }
    static bool has(const std::string& answer, std::string_view text) { return answer.find(text) != std::string::npos; }
};

TEST_F(modules_test, module_admin_stands_behind_the_listener_without_being_written) {
    start("");
    const auto not_ready = await("GET", "/readyz", "nats cluster \"main\"");
    EXPECT_TRUE(has(not_ready, "503 Service Unavailable")) << not_ready;
    EXPECT_TRUE(has(ask("GET", "/livez"), "200 OK"));
    const auto health = ask("GET", "/health");
    EXPECT_TRUE(has(health, "503 ")) << health;
    EXPECT_TRUE(has(health, R"({"kind":"module","name":"admin","plugin":"module_admin","state":"ok"})")) << health;
    EXPECT_TRUE(has(ask("GET", "/metrics"), "callgate_config_generation 1\n"));
    EXPECT_TRUE(has(ask("POST", "/rpc/status", "{}"), R"({"ready":false,"why":"nats cluster)"));
    const auto nothing = ask("GET", "/nothing");
    EXPECT_TRUE(has(nothing, "404 ") && has(nothing, "\r\n\r\n/livez /readyz /health /metrics\n")) << nothing;
    EXPECT_EQ(end(), 0);
}

TEST_F(modules_test, a_module_that_hangs_costs_its_own_requests_and_never_liveness) {
    start("modules: {other: {plugin: module, timeout: 300ms}}\n");
    await("GET", "/echo", "GET /echo?");
    std::atomic<bool> answered{false};
    std::thread hanging([&] {
        const auto a = ask("GET", "/hang");
        EXPECT_TRUE(has(a, "503 ") && has(a, "module \"other\" did not answer in time")) << a;
        answered = true;
    });
    do {
        EXPECT_TRUE(has(ask("GET", "/livez"), "200 OK"));
        EXPECT_TRUE(has(ask("GET", "/metrics"), "200 OK"));
    } while (!answered);
    hanging.join();
    EXPECT_EQ(end(), 0);
}

TEST_F(modules_test, a_streamed_body_arrives_in_chunks_and_is_cut_off_when_it_fails) {
    start("modules: {other: {plugin: module}}\n");
    await("GET", "/echo", "GET /echo?");
    std::string chunks;
    const auto whole = ask("GET", "/stream");
    EXPECT_TRUE(has(whole, "Transfer-Encoding: chunked\r\n")) << whole;
    EXPECT_TRUE(whole.ends_with("\r\n0\r\n\r\n")) << whole;
    EXPECT_TRUE(has(whole, "\n19\n")) << whole;
    const auto cut = ask("GET", "/stream?fail");
    EXPECT_TRUE(has(cut, "200 OK")) << cut;
    EXPECT_FALSE(cut.ends_with("\r\n0\r\n\r\n")) << cut;
    EXPECT_EQ(end(), 0);
}

TEST_F(modules_test, a_reload_whose_modules_clash_changes_nothing_and_one_without_them_takes_their_routes_away) {
    start("modules: {other: {plugin: module}}\n");
    await("GET", "/echo", "GET /echo?");
    config("modules: {other: {plugin: module}, third: {plugin: module}}\n");
    EXPECT_TRUE(has(ask("POST", "/reload"), "202 Accepted"));
    await("GET", "/health", R"(modules \"other\" and \"third\" both serve GET /echo)");
    EXPECT_TRUE(has(ask("GET", "/echo"), "GET /echo?"));
    config("");
    EXPECT_TRUE(has(ask("POST", "/rpc/reload"), R"({"accepted":true})"));
    await("GET", "/echo", "404 ");
    EXPECT_TRUE(has(ask("GET", "/readyz"), "nats cluster"));
    EXPECT_EQ(end(), 0);
}

TEST_F(modules_test, clashing_modules_end_the_start) {
    start("modules: {other: {plugin: module}, third: {plugin: module}}\n");
    thread.join();
    EXPECT_EQ(status, 1);
}

}  // namespace
}  // namespace callgate::runtime
