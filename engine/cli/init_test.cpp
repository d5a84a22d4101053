// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_init.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <callgate/nats/creds.hpp>
#include <callgate/nats/jwt.hpp>
#include <ctime>
#include <filesystem>
#include <sstream>

#include "engine/cli/deployment_test.hpp"
#include "engine/cli/init_keys.hpp"
#include "engine/cli/init_tokens.hpp"

namespace callgate::cli {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

init_request operator_request() {
    init_request r;
    r.mode = "operator";
    return r;
}
init_request config_request() {
    init_request r;
    r.mode = "config";
    return r;
}

class init : public testing::Test {
  protected:
    callgate::test::temp_dir tmp;
    const std::string dir = tmp.file("deployment");
    std::string said;

    result<void> run(const init_request& r) {
        std::ostringstream out;
        auto outcome = run_init(dir, r, out);
        said = out.str();
        return outcome;
    }
    void must(const init_request& r) {
        const auto outcome = run(r);
        ASSERT_TRUE(outcome) << outcome.error().message();
    }
    std::string refused(const init_request& r) {
        const auto outcome = run(r);
        EXPECT_FALSE(outcome);
        return outcome ? std::string() : outcome.error().message();
    }
    std::string text(const std::string& name) const { return test::slurp(dir + "/" + name); }
    std::string trimmed(const std::string& name) const {
        auto t = text(name);
        while (!t.empty() && t.back() == '\n') t.pop_back();
        return t;
    }
    std::string id(const std::string& label) const {
        return nats::key_pair::from_seed(trimmed("keys/" + label + ".nk")).value().public_text();
    }
    template <class Claims>
    Claims claims(const std::string& name) const {
        return nats::decode_as<Claims>(nats::parse_decorated_jwt(text(name)).value()).value();
    }
};

TEST_F(init, every_token_of_operator_mode_is_valid_and_in_the_chain_of_trust) {
    must(operator_request());
    const auto op = claims<nats::operator_claims>("jwt/operator.jwt");
    EXPECT_EQ(op.iss, op.sub);
    EXPECT_EQ(op.sub, id("operator"));
    EXPECT_EQ(op.system_account, id("sys"));
    EXPECT_THAT(op.signing_keys, ElementsAre(id("operator-signing")));
    const auto now = static_cast<std::int64_t>(std::time(nullptr));
    for (const char* name : {"jwt/operator.jwt", "jwt/SYS.jwt", "jwt/AUTH.jwt", "jwt/APP.jwt", "keys/callout.creds", "keys/system.creds",
                             "keys/break-glass.creds", "sentinel.creds"}) {
        const auto any = nats::decode(nats::parse_decorated_jwt(text(name)).value()).value();
        EXPECT_THAT(nats::validate(any, now), ElementsAre()) << name;
        EXPECT_EQ(nats::base_of(any).exp, 0) << name;
    }
    for (const char* name : {"SYS", "AUTH", "APP"}) {
        const nats::any_claims any = claims<nats::account_claims>("jwt/" + std::string(name) + ".jwt");
        EXPECT_TRUE(nats::did_sign(op, any)) << name;
        EXPECT_EQ(nats::base_of(any).iss, id("operator-signing")) << "the identity key is for offline storage";
    }
    const auto auth = claims<nats::account_claims>("jwt/AUTH.jwt");
    const auto sys = claims<nats::account_claims>("jwt/SYS.jwt");
    EXPECT_TRUE(nats::did_sign(auth, claims<nats::user_claims>("keys/callout.creds")));
    EXPECT_TRUE(nats::did_sign(auth, claims<nats::user_claims>("sentinel.creds")));
    EXPECT_TRUE(nats::did_sign(sys, claims<nats::user_claims>("keys/system.creds")));
    EXPECT_TRUE(nats::did_sign(sys, claims<nats::user_claims>("keys/break-glass.creds")));
}

TEST_F(init, the_callout_account_lets_only_the_service_past_and_places_nobody_elsewhere) {
    auto r = operator_request();
    r.accounts = std::vector<std::string>{"APP", "Billing"};
    must(r);
    const auto auth = claims<nats::account_claims>("jwt/AUTH.jwt");
    EXPECT_THAT(auth.authorization.auth_users, ElementsAre(id("callout")));
    EXPECT_THAT(auth.authorization.allowed_accounts, UnorderedElementsAre(id("app"), id("billing")));
    EXPECT_EQ(auth.authorization.xkey, id("xkey"));
    EXPECT_EQ(auth.limits.imports, 0);
    EXPECT_EQ(auth.limits.exports, 0);
    EXPECT_EQ(auth.limits.conn, -1) << "each login that waits holds a connection of AUTH";
    EXPECT_EQ(auth.limits.subs, -1);
}

TEST_F(init, users_have_exactly_the_rights_they_need) {
    must(operator_request());
    const auto callout = claims<nats::user_claims>("keys/callout.creds").limits;
    EXPECT_THAT(callout.perms.sub.allow, UnorderedElementsAre("$SYS.REQ.USER.AUTH", "_INBOX.callgate.>"));
    EXPECT_THAT(callout.perms.pub.allow, UnorderedElementsAre("$SYS._INBOX.>", "_INBOX.callgate.>"));
    EXPECT_FALSE(callout.bearer_token);
    const auto sentinel = claims<nats::user_claims>("sentinel.creds").limits;
    EXPECT_THAT(sentinel.perms.sub.deny, ElementsAre(">"));
    EXPECT_THAT(sentinel.perms.pub.deny, ElementsAre(">"));
    EXPECT_TRUE(sentinel.bearer_token);
    const auto system = claims<nats::user_claims>("keys/system.creds").limits;
    EXPECT_THAT(system.perms.pub.allow, UnorderedElementsAre("$SYS.REQ.SERVER.*.KICK", "$SYS.REQ.SERVER.*.CONNZ", "$SYS.REQ.SERVER.PING",
                                                             "$SYS.REQ.SERVER.PING.IDZ"));
    EXPECT_EQ(claims<nats::user_claims>("keys/break-glass.creds").limits.perms, nats::permissions{});
}

TEST_F(init, the_app_account_has_a_plain_and_a_scoped_signing_key) {
    must(operator_request());
    const auto app = claims<nats::account_claims>("jwt/APP.jwt");
    ASSERT_EQ(app.signing_keys.size(), 2u);
    for (const auto& k : app.signing_keys) {
        EXPECT_EQ(k.scoped, k.key == id("app-reader"));
        EXPECT_EQ(k.role, k.scoped ? "reader" : "");
        EXPECT_EQ(k.key, id(k.scoped ? "app-reader" : "app-signing"));
    }
    EXPECT_EQ(app.jetstream, nats::jetstream_limits{}) << "JetStream only where MQTT needs it";
}

TEST_F(init, mqtt_gives_accounts_jetstream) {
    auto r = operator_request();
    r.mqtt = "127.0.0.1:1883";
    must(r);
    EXPECT_EQ(claims<nats::account_claims>("jwt/APP.jwt").jetstream.disk_storage, -1);
    EXPECT_EQ(claims<nats::account_claims>("jwt/AUTH.jwt").jetstream.disk_storage, 0);
    EXPECT_THAT(text("nats-server.conf"), HasSubstr("store_dir"));
}

TEST_F(init, output_for_2_10_has_no_key_that_2_10_does_not_know) {
    for (const char* mode : {"config", "operator"})
        for (const char* version : {"2.10", "2.10.27", "2.15", "2.11.1", "2.11.2"}) {
            fs::remove_all(dir);
            init_request r;
            r.mode = mode;
            r.server_version = version;
            must(r);
            const auto conf = text("nats-server.conf");
            const bool op = std::string(mode) == "operator", old = std::string(version).starts_with("2.10");
            EXPECT_EQ(conf.find("default_sentinel:") != std::string::npos, op && !old && std::string(version) != "2.11.1") << mode << version;
            EXPECT_EQ(conf.find("allowed_accounts:") != std::string::npos, !op && !old) << mode << version;
            EXPECT_THAT(conf, HasSubstr("\n  timeout: 2\n")) << "plain seconds";
            EXPECT_THAT(conf, HasSubstr("max_control_line: 65536"));
        }
}

TEST_F(init, config_mode_lists_all_static_users_and_the_callout_account) {
    must(config_request());
    const auto conf = text("nats-server.conf");
    EXPECT_THAT(conf, HasSubstr("auth_users: [callout, system, break-glass]"));
    EXPECT_THAT(conf, HasSubstr("allowed_accounts: [\"AUTH\", \"APP\"]"));
    EXPECT_THAT(conf, HasSubstr("account: AUTH"));
    EXPECT_THAT(conf, HasSubstr("xkey: " + id("xkey")));
    EXPECT_THAT(conf, HasSubstr("issuer: " + id("auth")));
    EXPECT_THAT(conf, HasSubstr("password: \"$2a$"));
    for (const char* user : {"callout", "system", "break-glass"}) {
        const auto password = trimmed("keys/" + std::string(user) + ".password");
        EXPECT_EQ(password.size(), 32u);
        EXPECT_THAT(conf, Not(HasSubstr(password))) << user;
    }
}

TEST_F(init, secrets_are_in_private_files_and_nowhere_else) {
    for (const auto& r : {operator_request(), config_request()}) {
        fs::remove_all(dir);
        must(r);
        std::vector<std::string> secrets;
        for (const auto& [name, bytes] : test::snapshot(dir)) {
            if (!name.ends_with(".nk") && !name.ends_with(".password")) continue;
            secrets.push_back(bytes.substr(0, bytes.size() - 1));
        }
        ASSERT_GE(secrets.size(), 6u);
        for (const auto& [name, bytes] : test::snapshot(dir)) {
            struct stat st{};
            ASSERT_EQ(::stat((dir + "/" + name).c_str(), &st), 0);
            const auto mode = st.st_mode & 07777;
            EXPECT_TRUE(mode == 0600 || mode == 0644) << name;
            // The sentinel is public by design: it is a bearer token that allows nothing.
            if (mode == 0600 || name == "sentinel.creds") continue;
            for (const auto& secret : secrets) EXPECT_THAT(bytes, Not(HasSubstr(secret))) << name;
        }
        for (const auto& secret : secrets) EXPECT_THAT(said, Not(HasSubstr(secret)));
        for (const auto& e : fs::recursive_directory_iterator(dir)) {
            struct stat st{};
            if (e.is_directory() && ::stat(e.path().c_str(), &st) == 0) {
                EXPECT_EQ(st.st_mode & 07777, 0700u) << e.path();
            }
        }
    }
}

TEST_F(init, a_second_run_changes_nothing) {
    for (const auto& r : {operator_request(), config_request()}) {
        fs::remove_all(dir);
        must(r);
        const auto before = test::snapshot(dir);
        must(r);
        EXPECT_EQ(test::snapshot(dir), before);
        EXPECT_THAT(said, HasSubstr("kept: "));
        EXPECT_THAT(said, HasSubstr("nothing changed"));
        must(init_request{});
        EXPECT_EQ(test::snapshot(dir), before) << "flags that are not given stay as they were";
    }
}

TEST_F(init, what_is_missing_is_made_again_as_it_was) {
    for (const auto& r : {operator_request(), config_request()}) {
        fs::remove_all(dir);
        must(r);
        const auto before = test::snapshot(dir);
        for (const auto& [name, bytes] : before) {
            if (name.ends_with(".nk") || name.ends_with(".password") || name == "users.yaml" || name == plan_file) continue;
            fs::remove(dir + "/" + name);
            must(init_request{});
            EXPECT_THAT(said, HasSubstr("made again")) << name;
            EXPECT_EQ(text(name), bytes) << name;
        }
        EXPECT_EQ(test::snapshot(dir), before);
    }
}

TEST_F(init, a_lost_key_is_an_error_and_not_a_new_key) {
    must(operator_request());
    const auto before = test::snapshot(dir);
    for (const char* name : {"keys/auth.nk", "keys/xkey.nk", "keys/callout.nk", "keys/alice.password"}) {
        fs::rename(dir + "/" + name, tmp.file("aside"));
        EXPECT_THAT(refused(init_request{}), HasSubstr(std::string(name) + ": is missing"));
        EXPECT_FALSE(fs::exists(dir + "/" + name));
        fs::rename(tmp.file("aside"), dir + "/" + name);
    }
    EXPECT_EQ(test::snapshot(dir), before);
}

TEST_F(init, changed_flags_are_an_error_that_names_them) {
    must(operator_request());
    const auto before = test::snapshot(dir);
    auto r = operator_request();
    r.listen = "127.0.0.1:5222";
    r.accounts = std::vector<std::string>{"APP", "SHOP"};
    const auto why = refused(r);
    EXPECT_THAT(why, HasSubstr("--listen: made with 127.0.0.1:4222, now 127.0.0.1:5222"));
    EXPECT_THAT(why, HasSubstr("--account: made with APP, now APP SHOP"));
    EXPECT_THAT(why, HasSubstr("--force-config"));
    EXPECT_EQ(test::snapshot(dir), before);
    EXPECT_THAT(refused(config_request()), HasSubstr("mode, which cannot be changed"));
    auto forced = config_request();
    forced.force_config = true;
    EXPECT_THAT(refused(forced), HasSubstr("mode, which cannot be changed"));
    EXPECT_EQ(test::snapshot(dir), before);
}

TEST_F(init, force_config_writes_anew_but_keeps_keys_and_users_and_the_old_files) {
    must(operator_request());
    const auto before = test::snapshot(dir);
    auto r = init_request{};
    r.accounts = std::vector<std::string>{"APP", "SHOP"};
    r.force_config = true;
    must(r);
    const auto after = test::snapshot(dir);
    for (const auto& [name, bytes] : before)
        if (name.ends_with(".nk") || name.ends_with(".password") || name == "users.yaml") {
            EXPECT_EQ(after.at(name), bytes) << name;
        }
    EXPECT_TRUE(after.contains("keys/shop.nk"));
    EXPECT_THAT(after.at("callgate.yaml"), HasSubstr("SHOP"));
    EXPECT_EQ(after.at("callgate.yaml.previous"), before.at("callgate.yaml"));
    // Resolvers keep the token with the greater iat.
    const auto iat = [](const std::string& token) { return nats::decode_as<nats::account_claims>(token.substr(0, token.size() - 1)).value().iat; };
    EXPECT_GT(iat(after.at("jwt/APP.jwt")), iat(before.at("jwt/APP.jwt")));
    must(init_request{});
    EXPECT_EQ(test::snapshot(dir), after);
}

TEST_F(init, hand_edited_files_are_kept) {
    must(operator_request());
    const std::string mine = text("callgate.yaml") + "# mine\n";
    test::spit(dir + "/callgate.yaml", mine, 0644);
    test::spit(dir + "/users.yaml", "users: []\n", 0600);
    must(init_request{});
    EXPECT_THAT(said, HasSubstr("differs from what init would write"));
    EXPECT_EQ(text("callgate.yaml"), mine);
    EXPECT_EQ(text("users.yaml"), "users: []\n");
}

TEST_F(init, a_folder_of_something_else_is_left_alone) {
    fs::create_directory(dir);
    fs::permissions(dir, fs::perms::owner_all);
    test::spit(dir + "/diary.txt", "dear diary", 0600);
    EXPECT_THAT(refused(operator_request()), HasSubstr("not made by callgate init (it has diary.txt)"));
    EXPECT_THAT(test::snapshot(dir), ElementsAre(testing::Pair("diary.txt", "dear diary")));
}

TEST_F(init, a_key_others_can_read_or_of_another_kind_is_refused) {
    must(operator_request());
    const auto seed = text("keys/auth.nk");
    fs::permissions(dir + "/keys/auth.nk", fs::perms::group_read, fs::perm_options::add);
    EXPECT_THAT(refused(init_request{}), HasSubstr("can be read by others (mode 0640)"));
    test::spit(dir + "/keys/auth.nk", text("keys/operator.nk"), 0600);
    EXPECT_THAT(refused(init_request{}), HasSubstr("is a key of type operator, but account is needed"));
    test::spit(dir + "/keys/auth.nk", seed.substr(0, 40) + "\n", 0600);
    const auto why = refused(init_request{});
    EXPECT_THAT(why, HasSubstr("keys/auth.nk: is no nkey seed"));
    EXPECT_THAT(why, Not(HasSubstr(seed.substr(0, 20))));
}

TEST_F(init, flags_that_make_no_sense_are_refused_before_anything_is_written) {
    const auto with = [](auto change) {
        init_request r;
        change(r);
        return r;
    };
    const std::vector<std::pair<init_request, std::string>> cases = {
        {with([](auto& r) { r.mode = "both"; }), "--mode"},
        {with([](auto& r) { r.server_version = "2.9"; }), "2.10 is the oldest"},
        {with([](auto& r) { r.server_version = "latest"; }), "--server-version"},
        {with([](auto& r) { r.listen = "4222"; }), "--listen"},
        {with([](auto& r) { r.listen = "127.0.0.1:70000"; }), "--listen"},
        {with([](auto& r) { r.listen = "a\"b:1"; }), "--listen"},
        {with([](auto& r) { r.websocket = "127.0.0.1:4222"; }), "used twice"},
        {with([](auto& r) { r.accounts = std::vector<std::string>{"SYS"}; }), "takes no clients"},
        {with([](auto& r) { r.accounts = std::vector<std::string>{"auth"}; }), "takes no clients"},
        {with([](auto& r) { r.accounts = std::vector<std::string>{"$G"}; }), "no account name"},
        {with([](auto& r) { r.accounts = std::vector<std::string>{"A", "a"}; }), "named twice"},
        {with([](auto& r) { r.accounts = std::vector<std::string>{"operator"}; }), "another name"},
        {with([](auto& r) { r.accounts = std::vector<std::string>{"../x"}; }), "no account name"},
        {with([](auto& r) { r.max_control_line = 1000; }), "--max-control-line"},
        {with([](auto& r) { r.auth_timeout_s = 0; }), "--auth-timeout"},
        {with([](auto& r) { r.tls_cert = "/no/such/file"; }), "no such file"},
        {with([](auto& r) { r.urls = std::vector<std::string>{"nats://u:p@h:1"}; }), "without user and password"},
    };
    for (const auto& [request, why] : cases) {
        EXPECT_THAT(refused(request), HasSubstr(why));
        EXPECT_FALSE(fs::exists(dir + "/" + std::string(plan_file))) << why;
    }
}

TEST_F(init, next_steps_name_the_files_that_are_there) {
    must(operator_request());
    EXPECT_THAT(said, HasSubstr("nats-server -c " + dir + "/nats-server.conf"));
    EXPECT_THAT(said, HasSubstr("callgate serve " + dir + "/callgate.yaml"));
    EXPECT_THAT(said, HasSubstr("break-glass"));
    EXPECT_THAT(said, HasSubstr(dir + "/keys/alice.password"));
}

}  // namespace
}  // namespace callgate::cli
