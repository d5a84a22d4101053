// SPDX-License-Identifier: Apache-2.0
// A whole daemon in this process, with the plugins of the tree and real servers.
#include "engine/runtime/supervisor.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <callgate/nats/nkey.hpp>
#include <chrono>
#include <csignal>
#include <thread>

#include "engine/host/probe.hpp"
#include "tests/support/nats_server.hpp"
#include "tests/support/process_watch.hpp"

using namespace callgate;
using namespace callgate::runtime;

namespace {

constexpr int patience_ms = 30'000;

// Takes what goes to standard error, where the daemon logs, and waits for words in it.
class log_tap {
  public:
    log_tap() : saved_(::dup(2)) {
        int ends[2];
        EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
        read_ = ends[0];
        ::dup2(ends[1], 2);
        ::close(ends[1]);
    }
    ~log_tap() {
        ::dup2(saved_, 2);
        ::close(saved_);
        ::close(read_);
    }
    bool until(std::string_view words) {
        while (text.find(words) == std::string::npos) {
            pollfd p{read_, POLLIN, 0};
            char part[4096];
            if (::poll(&p, 1, patience_ms) != 1) return false;
            const auto n = ::read(read_, part, sizeof part);
            if (n <= 0) return false;
            text.append(part, static_cast<std::size_t>(n));
        }
        return true;
    }
    std::string text;

  private:
    int saved_, read_ = -1;
};

// A server that is connected to and never says a word.
class silent_port {
  public:
    silent_port() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof a;
        EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
        EXPECT_EQ(::listen(fd_, 16), 0);
        EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &size), 0);
        port_ = ntohs(a.sin_port);
    }
    ~silent_port() { ::close(fd_); }
    [[nodiscard]] std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }
    bool await_client() const {
        pollfd p{fd_, POLLIN, 0};
        return ::poll(&p, 1, patience_ms) == 1;
    }

  private:
    int fd_;
    std::uint16_t port_ = 0;
};

constexpr char server_config[] = "debug: true\naccounts { AUTH {users: [{user: callgate, password: pwd}]}, APP {} }\n";

struct folder {
    callgate::test::temp_dir dir;
    folder() {
        const auto issuer = nats::key_pair::generate(nats::key_type::account);
        const auto seed = issuer.seed_text();
        dir.write("issuer.nk", std::string(reinterpret_cast<const char*>(seed.data()), seed.size()));
        dir.write("callout.password", "pwd\n");
        dir.write("users.yaml", "users: []\n");
    }
    std::string use(const std::string& clusters, const std::string& servers) const {
        return dir.write("callgate.yaml", "plugins: {directories: [" CALLGATE_PLUGINS "]}\nnats:\n" + clusters +
                                              "callout: {mode: config, account: AUTH, system_account: $SYS, issuer: local/issuer, servers: " + servers + R"(}
keys: {local: {plugin: key_file, config: {files: {issuer: issuer.nk}}}}
backends: {users: {plugin: auth_static, config: {file: users.yaml}}}
accounts: {APP: {}}
routes: [{name: all, chain: [users]}]
policy: {rules: [{name: all, when: always, grant: {account: APP, sub: {allow: [a]}}}]}
shards: 1
)");
    }
};

std::string cluster(const std::string& name, const std::string& url, const std::string& system = {}) {
    const std::string login = "{user: callgate, password_file: callout.password}";
    return "  - {name: " + name + ", urls: [\"" + url + "\"], credentials: " + login +
           (system.empty() ? "" : ", system: {urls: [\"" + system + "\"], credentials: " + login + "}") + "}\n";
}

// The daemon on a thread of its own; ended with the object.
class running_daemon {
  public:
    explicit running_daemon(const std::string& config) : supervisor_(config), thread_([this] { status_ = supervisor_.run(); }) {}
    ~running_daemon() { end(); }
    running_daemon(const running_daemon&) = delete;
    running_daemon& operator=(const running_daemon&) = delete;
    /// Exit status.
    int end() {
        // Without the supervisor's own handling the signal would end the tests.
        if (status_ == running) ::kill(::getpid(), SIGTERM);
        if (thread_.joinable()) thread_.join();
        return status_;
    }
    [[nodiscard]] const supervisor& operator*() const { return supervisor_; }

  private:
    static constexpr int running = -1;
    supervisor supervisor_;
    std::atomic<int> status_{running};
    std::thread thread_;
};

std::size_t count(const std::string& text, std::string_view words) {
    std::size_t n = 0;
    for (auto at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) ++n;
    return n;
}

}  // namespace

TEST(supervisor, a_reload_while_the_first_discovery_is_awaited_leaves_no_link_to_a_retired_cluster) {
    using callgate::test::process_watch;
    const callgate::test::nats_server left(callgate::test::server_version::v2_15, server_config), taken(callgate::test::server_version::v2_15, server_config);
    const silent_port system;
    const folder f;
    const auto path = f.use(cluster("left", left.url(), system.url()), "discovered");
    process_watch watch(left.pid(), left.dir());

    log_tap log;
    running_daemon daemon(path);
    ASSERT_TRUE(log.until("configuration in use; connecting")) << log.text;
    ASSERT_TRUE(system.await_client()) << "discovery has begun\n" << log.text;
    f.use(cluster("taken", taken.url()), "any");
    ::kill(::getpid(), SIGHUP);

    EXPECT_TRUE(log.until("configuration reloaded")) << log.text;
    EXPECT_LT(log.text.find("links open although not all servers may be known yet"), log.text.find("configuration reloaded")) << log.text;
    const auto gone = watch.until([&] {
        const auto text = left.log();
        const auto closed = count(text, "Client connection closed");
        return closed != 0 && closed == count(text, "Client connection created");
    }, std::chrono::milliseconds(patience_ms));
    EXPECT_EQ(gone, process_watch::outcome::ready) << left.log();
    EXPECT_TRUE((*daemon).collect_status().receiving("taken"));
    EXPECT_EQ(daemon.end(), 0) << log.text;
}

// The daemon loads each plugin in a child of its own executable first, and that is this one.
int main(int argc, char** argv) {
    if (argc == 3 && std::string_view(argv[1]) == "plugin-probe") return callgate::host::run_plugin_probe(argv[2]);
    ::testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
