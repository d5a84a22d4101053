// SPDX-License-Identifier: Apache-2.0
// What the users of the callout account and the system user may not do, tried on real servers (review.md
// section 4, points 2 and 12).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nats/nats.h>

#include <callgate/nats/creds.hpp>
#include <callgate/nats/jwt.hpp>
#include <ctime>
#include <future>
#include <sstream>

#include "engine/cli/cmd_init.hpp"
#include "engine/cli/deployment_test.hpp"

namespace callgate::cli {
namespace {

using callgate::test::free_port;
using testing::HasSubstr;

constexpr std::int64_t patience_ms = 10'000;

std::string line_of(const std::string& path) {
    auto text = test::slurp(path);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

/// A connection as one of the deployment's users.
class client {
  public:
    client(const std::string& url, const std::string& dir, deployment_mode mode, const std::string& user) {
        natsOptions* options = nullptr;
        natsOptions_Create(&options);
        natsOptions_SetURL(options, url.c_str());
        natsOptions_SetAllowReconnect(options, false);
        natsOptions_SetTimeout(options, patience_ms);
        // The library prints asynchronous errors when nobody takes them.
        natsOptions_SetErrorHandler(options, [](natsConnection*, natsSubscription*, natsStatus, void*) {}, nullptr);
        if (mode == deployment_mode::operator_) {
            const std::string creds = dir + (user == "sentinel" ? "/sentinel.creds" : "/keys/" + user + ".creds");
            natsOptions_SetUserCredentialsFromFiles(options, creds.c_str(), nullptr);
        } else {
            natsOptions_SetUserInfo(options, user.c_str(), line_of(dir + "/keys/" + user + ".password").c_str());
        }
        // libnats 3.4.1 sends no signature when its first byte is zero, once in 256 nonces, and is refused.
        const int tries = mode == deployment_mode::operator_ && user != "sentinel" ? 5 : 1;
        for (int i = 0; i < tries && status_ != NATS_OK; ++i) status_ = natsConnection_Connect(&connection_, options);
        if (status_ != NATS_OK) {
            const char* text = nats_GetLastError(nullptr);
            why_ = std::string(natsStatus_GetText(status_)) + ": " + (text ? text : "");
        }
        natsOptions_Destroy(options);
    }
    ~client() { natsConnection_Destroy(connection_); }
    client(const client&) = delete;
    client& operator=(const client&) = delete;
    [[nodiscard]] natsStatus status() const { return status_; }
    [[nodiscard]] const std::string& why() const { return why_; }
    [[nodiscard]] natsConnection* get() const { return connection_; }

    /// Whether the server refused the last publish or subscription on `subject`: its error comes before
    /// the answer to a PING that was sent after it.
    [[nodiscard]] bool refused(const std::string& verb, const std::string& subject) const {
        EXPECT_EQ(natsConnection_FlushTimeout(connection_, patience_ms), NATS_OK) << verb << ' ' << subject;
        const char* text = nullptr;
        natsConnection_GetLastError(connection_, &text);
        const std::string said = text ? text : "";
        return said.find("Permissions Violation for " + verb + " to \"" + subject + "\"") != std::string::npos ||
               said.find("ermissions violation for " + verb + " to \"" + subject + "\"") != std::string::npos;
    }
    [[nodiscard]] bool may_publish(const std::string& subject, const std::string& reply = {}) const {
        EXPECT_EQ(reply.empty() ? natsConnection_PublishString(connection_, subject.c_str(), "{}")
                                : natsConnection_PublishRequestString(connection_, subject.c_str(), reply.c_str(), "{}"), NATS_OK);
        return !refused("Publish", subject);
    }
    [[nodiscard]] bool may_subscribe(const std::string& subject) const {
        natsSubscription* sub = nullptr;
        EXPECT_EQ(natsConnection_SubscribeSync(&sub, connection_, subject.c_str()), NATS_OK);
        const bool ok = !refused("Subscription", subject);
        natsSubscription_Destroy(sub);
        return ok;
    }

  private:
    natsConnection* connection_ = nullptr;
    natsStatus status_ = NATS_ERR;
    std::string why_;
};

class subscription {
  public:
    subscription(const client& c, const std::string& subject, const std::string& queue = {}) {
        EXPECT_EQ(queue.empty() ? natsConnection_SubscribeSync(&sub_, c.get(), subject.c_str())
                                : natsConnection_QueueSubscribeSync(&sub_, c.get(), subject.c_str(), queue.c_str()), NATS_OK);
        EXPECT_FALSE(c.refused("Subscription", subject)) << subject;
    }
    ~subscription() { natsSubscription_Destroy(sub_); }
    subscription(const subscription&) = delete;
    subscription& operator=(const subscription&) = delete;
    /// subject, reply, payload; empty strings when nothing comes.
    struct message { std::string subject, reply, data; };
    message next(std::int64_t timeout_ms = patience_ms) {
        natsMsg* m = nullptr;
        if (natsSubscription_NextMsg(&m, sub_, timeout_ms) != NATS_OK) return {};
        message out{natsMsg_GetSubject(m), natsMsg_GetReply(m) ? natsMsg_GetReply(m) : "",
                    std::string(natsMsg_GetData(m), static_cast<std::size_t>(natsMsg_GetDataLength(m)))};
        natsMsg_Destroy(m);
        return out;
    }
    bool has_message() {
        std::uint64_t waiting = 0;
        natsSubscription_QueuedMsgs(sub_, &waiting);
        return waiting != 0;
    }

  private:
    natsSubscription* sub_ = nullptr;
};

class init_rights : public testing::TestWithParam<test::shape> {
  protected:
    callgate::test::temp_dir tmp;
    const std::string dir = tmp.file("d");
    const std::uint16_t port = free_port();
    const std::string url = "nats://127.0.0.1:" + std::to_string(port);
    std::unique_ptr<test::deployed_server> server;

    void SetUp() override {
        std::ostringstream out;
        const auto outcome = run_init(dir, test::request_for(GetParam(), port), out);
        ASSERT_TRUE(outcome) << outcome.error().message();
    }
    void start() { server = std::make_unique<test::deployed_server>(GetParam().server, dir + "/nats-server.conf", port); }
    [[nodiscard]] deployment_mode mode() const { return GetParam().mode; }
};

const std::vector<std::string> foreign_subjects = {
    "app.x", "foo", "_INBOX.x", "_INBOX.other.x", "_R_.x", "$JS.API.INFO", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO", "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.ACCOUNT.AUTH.CONNECT", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.LIST", "$SYS._INBOX_.x", "$G.x"};

TEST_P(init_rights, the_callout_user_hears_requests_answers_them_and_does_nothing_else) {
    start();
    {
        const client service(url, dir, mode(), "callout");
        ASSERT_EQ(service.status(), NATS_OK) << service.why();
        EXPECT_TRUE(service.may_publish("$SYS._INBOX.abcdefgh.ijklmnop"));
        EXPECT_TRUE(service.may_publish("_INBOX.callgate.x"));
        EXPECT_TRUE(service.may_subscribe("$SYS.REQ.USER.AUTH"));
        EXPECT_TRUE(service.may_subscribe("_INBOX.callgate.>"));
    }
    // A forged request would make callgate judge credentials that no server has seen.
    auto publish = foreign_subjects;
    publish.push_back("$SYS.REQ.USER.AUTH");
    for (const auto& subject : publish) {
        const client service(url, dir, mode(), "callout");
        ASSERT_EQ(service.status(), NATS_OK) << service.why() << '\n' << server->log();
        EXPECT_FALSE(service.may_publish(subject)) << subject;
    }
    auto subscribe = foreign_subjects;
    for (const char* wide : {">", "*", "$SYS.>", "$SYS._INBOX.>", "$SYS._INBOX.*.*", "_INBOX.>", "$SYS.REQ.>", "$SYS.REQ.USER.*"}) subscribe.push_back(wide);
    for (const auto& subject : subscribe) {
        const client service(url, dir, mode(), "callout");
        ASSERT_EQ(service.status(), NATS_OK) << service.why() << '\n' << server->log();
        EXPECT_FALSE(service.may_subscribe(subject)) << subject;
    }
}

TEST_P(init_rights, the_callout_user_receives_sealed_requests_of_everybody_else_and_not_its_own) {
    start();
    const client service(url, dir, mode(), "callout");
    ASSERT_EQ(service.status(), NATS_OK);
    subscription requests(service, "$SYS.REQ.USER.AUTH", "callgate");
    for (const char* user : {"callout", "system", "break-glass"}) {
        const client other(url, dir, mode(), user);
        EXPECT_EQ(other.status(), NATS_OK) << user << " needs no callout";
        // A request would have been sent before the login was confirmed, and delivered before this PONG.
        EXPECT_EQ(natsConnection_FlushTimeout(service.get(), patience_ms), NATS_OK);
        EXPECT_FALSE(requests.has_message()) << user;
    }
    auto stranger = std::async(std::launch::async, [&] {
        natsOptions* options = nullptr;
        natsConnection* connection = nullptr;
        natsOptions_Create(&options);
        natsOptions_SetURL(options, url.c_str());
        natsOptions_SetAllowReconnect(options, false);
        natsOptions_SetTimeout(options, patience_ms);
        natsOptions_SetUserInfo(options, "mallory", "guess");
        if (mode() == deployment_mode::operator_) natsOptions_SetUserCredentialsFromFiles(options, (dir + "/sentinel.creds").c_str(), nullptr);
        const auto status = natsConnection_Connect(&connection, options);
        natsConnection_Destroy(connection);
        natsOptions_Destroy(options);
        return status;
    });
    const auto request = requests.next();
    EXPECT_THAT(request.reply, testing::StartsWith("$SYS._INBOX."));
    EXPECT_THAT(request.data, testing::StartsWith("xkv1")) << "credentials never cross the wire in clear";
    EXPECT_TRUE(service.may_publish(request.reply));  // no valid answer: a denial
    EXPECT_NE(stranger.get(), NATS_OK);
}

TEST_P(init_rights, the_system_user_kicks_and_looks_and_does_nothing_else) {
    start();
    const client system(url, dir, mode(), "system");
    ASSERT_EQ(system.status(), NATS_OK) << system.why();
    subscription answers(system, "_INBOX.system.>");
    for (const char* subject : {"$SYS.SERVER.*.STATSZ", "$SYS.SERVER.*.SHUTDOWN", "$SYS.ACCOUNT.*.CONNECT", "$SYS.ACCOUNT.*.DISCONNECT"})
        EXPECT_TRUE(system.may_subscribe(subject)) << subject;

    char buffer[128] = {};
    ASSERT_EQ(natsConnection_GetConnectedServerId(system.get(), buffer, sizeof buffer), NATS_OK);
    const std::string id = buffer;
    const std::pair<std::string, std::string> allowed[] = {{"$SYS.REQ.SERVER.PING.IDZ", id},
                                                           {"$SYS.REQ.SERVER.PING", "statsz"},
                                                           {"$SYS.REQ.SERVER.PING.CONNZ", "connections"},
                                                           {"$SYS.REQ.SERVER." + id + ".CONNZ", "connections"},
                                                           {"$SYS.REQ.SERVER." + id + ".KICK", "no such client"}};
    for (const auto& [subject, answer] : allowed) {
        EXPECT_TRUE(system.may_publish(subject, "_INBOX.system.1")) << subject;
        EXPECT_THAT(answers.next().data, HasSubstr(answer)) << subject;
    }

    const client witness(url, dir, mode(), "break-glass");
    ASSERT_EQ(witness.status(), NATS_OK);
    subscription seen(witness, "probe.>");
    const std::string refused[] = {"$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.DELETE", "$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.CLAIMS.PACK",
                                   "$SYS.REQ.ACCOUNT.X.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT.X.CLAIMS.LOOKUP", "$SYS.ACCOUNT.X.CLAIMS.UPDATE",
                                   "$SYS.REQ.SERVER." + id + ".RELOAD", "$SYS.REQ.SERVER." + id + ".LDM", "$SYS.REQ.SERVER." + id + ".VARZ",
                                   "$SYS.REQ.SERVER." + id + ".PROFILEZ", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.SERVER.PING.VARZ",
                                   "$SYS.REQ.SERVER.PING.ACCOUNTZ", "$SYS.DEBUG.SUBSCRIBERS", "$SYS.REQ.ACCOUNT.X.INFO", "$SYS.REQ.USER.AUTH",
                                   "$SYS.REQ.USER.INFO", "$SYS._INBOX.a.b", "$SYS.SERVER." + id + ".SHUTDOWN", "$SYS.ACCOUNT.X.DISCONNECT",
                                   "_INBOX.x", "probe.x"};
    for (const auto& subject : refused) {
        const client attacker(url, dir, mode(), "system");
        ASSERT_EQ(attacker.status(), NATS_OK) << attacker.why() << '\n' << server->log();
        EXPECT_FALSE(attacker.may_publish(subject, "_INBOX.system.2")) << subject;
    }
    for (const std::string subject : {">", "$SYS.>", "$SYS.REQ.>", "$SYS.ACCOUNT.>", "$SYS.SERVER.>", "$SYS._INBOX.>", "$SYS.REQ.USER.AUTH", "foo"}) {
        const client attacker(url, dir, mode(), "system");
        ASSERT_EQ(attacker.status(), NATS_OK) << attacker.why() << '\n' << server->log();
        EXPECT_FALSE(attacker.may_subscribe(subject)) << subject;
    }
    EXPECT_EQ(natsConnection_FlushTimeout(witness.get(), patience_ms), NATS_OK);
    EXPECT_FALSE(seen.has_message());
    EXPECT_EQ(natsConnection_FlushTimeout(system.get(), patience_ms), NATS_OK);
    EXPECT_FALSE(answers.has_message()) << "one of the refused requests was answered";
}

TEST_P(init_rights, the_break_glass_user_may_do_everything_in_the_system_account) {
    start();
    const client user(url, dir, mode(), "break-glass");
    ASSERT_EQ(user.status(), NATS_OK);
    EXPECT_TRUE(user.may_subscribe(">"));
    subscription answers(user, "_INBOX.glass");
    EXPECT_TRUE(user.may_publish("$SYS.REQ.SERVER.PING.VARZ", "_INBOX.glass"));
    EXPECT_THAT(answers.next().data, HasSubstr("max_control_line"));
}

TEST_P(init_rights, nobody_gets_in_while_callgate_is_away) {
    start();
    if (mode() == deployment_mode::config) {
        natsConnection* connection = nullptr;
        EXPECT_NE(natsConnection_ConnectTo(&connection, url.c_str()), NATS_OK);
        natsConnection_Destroy(connection);
    } else {
        const client sentinel(url, dir, mode(), "sentinel");
        EXPECT_NE(sentinel.status(), NATS_OK);
    }
}

// With its account's callout taken away the sentinel is an ordinary user: what its own token allows shows.
TEST_P(init_rights, the_sentinel_allows_nothing_even_where_no_callout_replaces_it) {
    if (mode() == deployment_mode::config) {
        EXPECT_FALSE(test::snapshot(dir).contains("sentinel.creds")) << "config mode has no sentinel";
        return;
    }
    const auto token = line_of(dir + "/jwt/AUTH.jwt");
    auto account = nats::decode_as<nats::account_claims>(token).value();
    account.authorization = {};
    const auto signer = nats::key_pair::from_seed(line_of(dir + "/keys/operator-signing.nk")).value();
    const auto plain = nats::encode(account, signer, static_cast<std::int64_t>(std::time(nullptr)) + 1).value();
    auto conf = test::slurp(dir + "/nats-server.conf");
    const auto at = conf.find(token);
    ASSERT_NE(at, std::string::npos);
    conf.replace(at, token.size(), plain);
    test::spit(dir + "/nats-server.conf", conf, 0600);
    start();
    for (const std::string subject : {"foo", "app.x", "_INBOX.x", "$SYS.REQ.USER.INFO", "$SYS.REQ.USER.AUTH", "$SYS._INBOX.a.b"}) {
        const client sentinel(url, dir, mode(), "sentinel");
        ASSERT_EQ(sentinel.status(), NATS_OK) << sentinel.why();
        EXPECT_FALSE(sentinel.may_publish(subject)) << subject;
    }
    for (const std::string subject : {">", "foo", "_INBOX.>", "$SYS.REQ.USER.AUTH", "$SYS._INBOX.>"}) {
        const client sentinel(url, dir, mode(), "sentinel");
        ASSERT_EQ(sentinel.status(), NATS_OK) << sentinel.why();
        EXPECT_FALSE(sentinel.may_subscribe(subject)) << subject;
    }
}

INSTANTIATE_TEST_SUITE_P(servers, init_rights, testing::ValuesIn(test::all_shapes()), [](const auto& tested) { return tested.param.name(); });

}  // namespace
}  // namespace callgate::cli
