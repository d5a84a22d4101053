// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/auth_static.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/crypto/hash.hpp>
#include <callgate/nats/nkey.hpp>
#include <callgate/sdk/config.hpp>
#include <callgate/sdk/testing/driver.hpp>
#include <crypt.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace {

using namespace callgate;
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using sdk::test::completion;
using sdk::test::driver;
using sdk::test::fake_host;
using sdk::test::test_request;

std::string hex(std::string_view token) {
    std::string out;
    for (const auto b : crypto::sha256(token)) {
        out += "0123456789abcdef"[b >> 4];
        out += "0123456789abcdef"[b & 15];
    }
    return out;
}

struct auth_static_test : ::testing::Test {
    fs::path dir;
    fake_host host{"local"};
    std::unique_ptr<driver> plugin;
    nats::key_pair device = nats::key_pair::generate(nats::key_type::user);
    int writes = 0;

    void SetUp() override {
        crypto::init();
        std::string name = (fs::temp_directory_path() / "callgate_static_XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        dir = name;
    }
    void TearDown() override {
        plugin.reset();
        EXPECT_EQ(host.faults(), 0);
        EXPECT_EQ(host.live_cells(), 0);
        EXPECT_EQ(host.timer_count(), 0u);
        fs::remove_all(dir);
    }
    void write(const std::string& text) {
        std::ofstream(dir / "users.yaml") << text;
        fs::permissions(dir / "users.yaml", fs::perms{0600});
        // Two writes within one tick of the file system's clock must still differ.
        fs::last_write_time(dir / "users.yaml", fs::file_time_type::clock::now() + std::chrono::seconds(++writes));
    }
    std::string everybody() const {
        return "users:\n"
               "  - user: alice\n    password: \"" + auth_static::hash_password("wonderland", 8, 1) + "\"\n    attributes: {team: blue}\n"
               "  - user: bob\n    password: \"" + std::string(::crypt("builder", "$2b$04$abcdefghijklmnopqrstuu")) + "\"\n"
               "  - user: robot\n    token_sha256: " + hex("robot-token") + "\n"
               "  - user: device\n    nkey: " + device.public_text() + "\n";
    }
    /// Hashes at normal priority: at idle priority a busy machine may not run them, and the clock stands still.
    void start(const std::string& extra = R"(, "hash": {"priority": "normal"})") {
        plugin = std::make_unique<driver>(host, sdk::factory_of<auth_static::backend>, R"({"file": "users.yaml")" + extra + "}", dir.string());
        const auto c = plugin->start();
        ASSERT_EQ(c.status, CG_OK) << c.error;
    }
    completion login(const std::string& user, const std::string& pass) {
        test_request r;
        r.user = user;
        r.pass = r.credential = pass;
        r.credential_source = CG_CREDENTIAL_PASS;
        return plugin->authenticate(r);
    }
    completion token(const std::string& t) {
        test_request r;
        r.auth_token = r.credential = t;
        r.credential_source = CG_CREDENTIAL_AUTH_TOKEN;
        return plugin->authenticate(r);
    }
    completion nkey(const nats::key_pair& k, const std::string& nonce, const std::string& signed_text, bool standard = false) {
        test_request r;
        r.nkey = r.credential = k.public_text();
        const auto signature = k.sign(signed_text).value();
        r.sig = crypto::base64url::encode(signature);
        if (standard) {
            for (auto& c : r.sig) c = c == '-' ? '+' : c == '_' ? '/' : c;
            r.sig += "==";
        }
        r.nonce = nonce;
        r.credential_source = CG_CREDENTIAL_NKEY;
        return plugin->authenticate(r);
    }
};

TEST_F(auth_static_test, right_password_is_let_in_with_its_attributes) {
    write(everybody());
    start();
    const auto a = login("alice", "wonderland");
    EXPECT_EQ(a.verdict, CG_VERDICT_ALLOW);
    EXPECT_EQ(a.subject, "alice");
    EXPECT_EQ(a.issuer, "local");
    EXPECT_EQ(a.attributes_json, R"({"team":"blue"})");
    EXPECT_EQ(a.cache_ttl_s, 0u);
    EXPECT_EQ(login("bob", "builder").subject, "bob");
}

TEST_F(auth_static_test, wrong_password_and_unknown_user_read_the_same) {
    write(everybody());
    start();
    const auto wrong = login("alice", "wonderlanD");
    const auto unknown = login("nobody", "wonderland");
    const auto without_password = login("robot", "wonderland");
    EXPECT_EQ(wrong.verdict, CG_VERDICT_DENY);
    for (const auto& other : {unknown, without_password, login("bob", std::string(80, 'x')), login("alice", std::string(5000, 'x'))}) {
        EXPECT_EQ(other.verdict, wrong.verdict);
        EXPECT_EQ(other.reason_id, "bad_credentials");
        EXPECT_EQ(other.reason, wrong.reason);
        EXPECT_EQ(other.explain, wrong.explain);
        EXPECT_FALSE(other.has_identity);
    }
}

TEST_F(auth_static_test, token_is_judged_on_the_shard) {
    write(everybody());
    start();
    test_request r;
    r.credential = r.auth_token = "robot-token";
    r.credential_source = CG_CREDENTIAL_AUTH_TOKEN;
    const auto op = plugin->authenticate_op(r);
    ASSERT_TRUE(host.done(op)) << "answered inline";
    EXPECT_EQ(host.take(op)->subject, "robot");
    const auto wrong = token("robot-tokem");
    EXPECT_EQ(wrong.verdict, CG_VERDICT_DENY);
    EXPECT_EQ(wrong.reason_id, "bad_credentials");
    EXPECT_EQ(token(hex("robot-token")).verdict, CG_VERDICT_DENY) << "the stored hash is no token";
    EXPECT_EQ(host.metric("logins_total", "how=token,outcome=match"), 1);
    EXPECT_EQ(host.metric("logins_total", "how=token,outcome=no_match"), 2);
    EXPECT_EQ(host.metric("logins_total", "how=password,outcome=no_match"), 0);
}

TEST_F(auth_static_test, token_in_the_password_or_user_field_works) {
    write(everybody());
    start();
    EXPECT_EQ(login("anything", "robot-token").subject, "robot");
    test_request r;
    r.user = r.credential = "robot-token";
    r.credential_source = CG_CREDENTIAL_USER;
    EXPECT_EQ(plugin->authenticate(r).subject, "robot");
}

TEST_F(auth_static_test, mqtt_password_arrives_in_both_fields) {
    write(everybody());
    start();
    test_request r;
    r.user = "alice";
    r.pass = r.auth_token = r.credential = "wonderland";
    r.credential_source = CG_CREDENTIAL_AUTH_TOKEN;
    EXPECT_EQ(plugin->authenticate(r).subject, "alice");
}

TEST_F(auth_static_test, nkey_needs_its_signature_over_this_nonce) {
    write(everybody());
    start();
    EXPECT_EQ(nkey(device, "n0nce", "n0nce").subject, "device");
    EXPECT_EQ(nkey(device, "n0nce", "n0nce", true).subject, "device") << "standard base64";
    EXPECT_EQ(nkey(device, "n0nce", "other").reason_id, "bad_credentials");
    EXPECT_EQ(nkey(device, "", "").reason_id, "nkey_without_nonce");
    const auto stranger = nats::key_pair::generate(nats::key_type::user);
    const auto r = nkey(stranger, "n0nce", "n0nce");
    EXPECT_EQ(r.verdict, CG_VERDICT_DENY);
    EXPECT_EQ(r.reason, nkey(device, "n0nce", "other").reason);
}

TEST_F(auth_static_test, malformed_signatures_are_denied) {
    write(everybody());
    start();
    const auto good = crypto::base64url::encode(device.sign("n").value());
    for (std::string sig : {std::string("x"), good.substr(1), good + "A", good.substr(0, 85) + "!", std::string(86, '='), good + "=", std::string(88, '\xff')}) {
        test_request r;
        r.nkey = device.public_text();
        r.sig = sig;
        r.nonce = "n";
        r.credential_source = CG_CREDENTIAL_NKEY;
        EXPECT_EQ(plugin->authenticate(r).verdict, CG_VERDICT_DENY) << sig;
    }
}

TEST_F(auth_static_test, abstains_only_from_what_it_cannot_judge) {
    write("users:\n  - user: robot\n    token_sha256: " + hex("robot-token") + "\n");
    start();
    EXPECT_EQ(nkey(device, "n", "n").verdict, CG_VERDICT_ABSTAIN);
    EXPECT_EQ(token("eyJhbGciOiJSUzI1NiJ9.e30.AAAA").verdict, CG_VERDICT_ABSTAIN) << "a token for auth_oidc";
    test_request nothing;
    EXPECT_EQ(plugin->authenticate(nothing).verdict, CG_VERDICT_ABSTAIN);
    test_request jwt;
    jwt.jwt = jwt.credential = "eyJ.a.b";
    jwt.credential_source = CG_CREDENTIAL_JWT;
    EXPECT_EQ(plugin->authenticate(jwt).verdict, CG_VERDICT_ABSTAIN);
    EXPECT_EQ(token("guess").verdict, CG_VERDICT_DENY);
}

TEST_F(auth_static_test, table_without_tokens_abstains_from_tokens) {
    write("users:\n  - user: alice\n    password: \"" + auth_static::hash_password("p", 8, 1) + "\"\n");
    start();
    EXPECT_EQ(token("whatever").verdict, CG_VERDICT_ABSTAIN);
    EXPECT_EQ(login("alice", "eyJhbGciOiJSUzI1NiJ9.e30.AAAA").verdict, CG_VERDICT_ABSTAIN) << "an OIDC token in the password field";
}

TEST_F(auth_static_test, changed_file_is_taken_when_it_has_settled) {
    write(everybody());
    start();
    write("users:\n  - user: carol\n    token_sha256: " + hex("new") + "\n");
    host.advance(1s);
    EXPECT_EQ(token("new").verdict, CG_VERDICT_DENY) << "first look: may still be being written";
    host.advance(1s);
    EXPECT_EQ(token("new").subject, "carol");
    EXPECT_EQ(token("robot-token").verdict, CG_VERDICT_DENY);
}

TEST_F(auth_static_test, broken_file_keeps_the_old_users_and_says_where) {
    write(everybody());
    start();
    write("users:\n  - user: carol\n    tokn: 1\n");
    host.advance(5s);
    EXPECT_EQ(token("robot-token").subject, "robot");
    EXPECT_EQ(host.metric("users_file_current"), 0);
    const auto h = plugin->health();
    EXPECT_EQ(h.health_state, static_cast<std::uint32_t>(CG_HEALTH_DEGRADED));
    EXPECT_NE(h.health_text.find("users.yaml:3: unknown key \"tokn\""), std::string::npos) << h.health_text;
    EXPECT_TRUE(host.logged("users.yaml:3: unknown key"));
    std::size_t said = 0;
    for (const auto& l : host.logs()) said += l.level == sdk::log_level::error;
    EXPECT_EQ(said, 1u) << "said once, not every second";
    fs::remove(dir / "users.yaml");
    host.advance(3s);
    EXPECT_EQ(token("robot-token").subject, "robot");
    EXPECT_EQ(plugin->health().health_state, static_cast<std::uint32_t>(CG_HEALTH_DEGRADED));
    write(everybody());
    host.advance(3s);
    EXPECT_EQ(plugin->health().health_state, static_cast<std::uint32_t>(CG_HEALTH_OK));
    EXPECT_EQ(host.metric("users_file_current"), 1);
}

TEST_F(auth_static_test, disturbed_reading_is_tried_again_without_a_new_change) {
    write(everybody());
    start();
    write("users:\n  - user: carol\n    token_sha256: " + hex("new") + "\n");
    rlimit usual{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &usual), 0);
    rlimit none = usual;
    none.rlim_cur = 0;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    host.advance(5s);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
    EXPECT_EQ(token("robot-token").subject, "robot");
    EXPECT_EQ(token("new").verdict, CG_VERDICT_DENY);
    EXPECT_NE(plugin->health().health_text.find("Too many open files"), std::string::npos) << plugin->health().health_text;
    std::size_t said = 0;
    for (const auto& l : host.logs()) said += l.level == sdk::log_level::error;
    EXPECT_EQ(said, 1u) << "said once, not at every look";
    host.advance(1s);
    EXPECT_EQ(token("new").subject, "carol");
    EXPECT_EQ(plugin->health().health_state, static_cast<std::uint32_t>(CG_HEALTH_OK));
}

TEST_F(auth_static_test, file_is_never_read_again_when_the_interval_is_zero) {
    write(everybody());
    start(R"(, "reload_interval": "0s", "hash": {"priority": "normal"})");
    write("users:\n  - user: carol\n    token_sha256: " + hex("new") + "\n");
    host.advance(2h);
    EXPECT_EQ(token("robot-token").subject, "robot");
    EXPECT_EQ(token("new").verdict, CG_VERDICT_DENY);
}

TEST_F(auth_static_test, start_fails_with_the_line) {
    write("users:\n  - user: x\n");
    plugin = std::make_unique<driver>(host, sdk::factory_of<auth_static::backend>, R"({"file": "users.yaml"})", dir.string());
    const auto c = plugin->start();
    EXPECT_NE(c.status, CG_OK);
    EXPECT_NE(c.where.find("users.yaml:2"), std::string::npos) << c.where;
    EXPECT_NE(c.error.find("no credential"), std::string::npos);
}

TEST_F(auth_static_test, configuration_faults_name_the_key) {
    const auto fault = [&](const std::string& json) -> std::string {
        try {
            driver d(host, sdk::factory_of<auth_static::backend>, json);
        } catch (const std::runtime_error& e) {
            return e.what();
        }
        return "accepted";
    };
    EXPECT_EQ(fault("{}"), "file: this key is missing");
    EXPECT_TRUE(fault(R"({"file": "x", "reload_interval": "1ms"})").starts_with("reload_interval: "));
    EXPECT_TRUE(fault(R"({"file": "x", "hash": {"threads": 0}})").starts_with("hash.threads: "));
    EXPECT_TRUE(fault(R"({"file": "x", "hash": {"priority": "high"}})").starts_with("hash.priority: "));
    EXPECT_TRUE(fault(R"({"file": "x", "hash": {"thread": 1}})").starts_with("hash.thread: "));
    EXPECT_TRUE(fault(R"({"file": "x", "hash": {"reserve_threads": 5}})").starts_with("hash.reserve_threads: "));
    EXPECT_TRUE(fault(R"({"file": "x", "hash": {"reserve_threads": 1, "priority": "normal"}})").starts_with("hash.reserve_threads: "));
    EXPECT_TRUE(fault(R"({"file": "x", "hash": {"reserve_after": "9ms"}})").starts_with("hash.reserve_after: "));
    EXPECT_TRUE(fault(R"({"file": "x", "hash": {"reserve_after": "1s"}})").starts_with("hash.reserve_after: must be shorter than max_wait"));
    EXPECT_EQ(fault(R"({"file": "x", "hash": {"max_wait": "100ms"}})"), "accepted") << "the default follows";
    EXPECT_EQ(fault(R"({"file": "x", "hash": {"priority": "normal"}})"), "accepted");
    EXPECT_EQ(fault(R"({"file": "x", "hash": {"reserve_threads": 4, "reserve_after": "500ms"}})"), "accepted");
}

TEST_F(auth_static_test, secrets_reach_neither_log_nor_reply) {
    write(everybody());
    start();
    const auto r = login("alice", "planted-secret-1");
    const auto t = token("planted-secret-2");
    for (const auto& c : {r, t})
        for (const auto& text : {c.reason, c.error, c.credential_id, c.subject}) EXPECT_EQ(text.find("planted"), std::string::npos);
    for (const auto& l : host.logs()) {
        EXPECT_EQ(l.text().find("planted"), std::string::npos);
        EXPECT_EQ(l.text().find("$argon2id"), std::string::npos);
    }
}

TEST_F(auth_static_test, operations_in_flight_are_answered_when_it_stops) {
    write("users:\n  - user: alice\n    password: \"" + auth_static::hash_password("p", 65536, 2) + "\"\n");
    start(R"(, "hash": {"per_user": 16, "priority": "normal"})");
    std::vector<test_request> requests(8);
    std::vector<cg_op> ops;
    for (auto& r : requests) {
        r.user = "alice";
        r.pass = r.credential = "p";
        r.credential_source = CG_CREDENTIAL_PASS;
        ops.push_back(plugin->authenticate_op(r));
    }
    const cg_op stop = host.begin(sdk::test::result_kind::none);
    plugin->get()->life->stop(plugin->get(), stop);
    for (const auto op : ops) {
        const auto c = host.take(op);
        ASSERT_TRUE(c);
        EXPECT_TRUE(c->verdict == CG_VERDICT_ALLOW || c->reason_id == "shutting_down") << c->reason_id;
    }
}

TEST_F(auth_static_test, schema_is_json_and_closed) {
    const auto schema = sdk::config_view::parse(auth_static::backend::config_schema);
    EXPECT_FALSE(schema.at("additionalProperties").boolean());
    EXPECT_TRUE(schema.at("$schema").string().find("draft-07") != std::string::npos);
}

}  // namespace
