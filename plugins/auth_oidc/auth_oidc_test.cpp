// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/auth_oidc.hpp"

#include <callgate/crypto/base64url.hpp>
#include <callgate/sdk/config.hpp>
#include <callgate/sdk/testing/driver.hpp>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <openssl/provider.h>

#include "plugins/auth_oidc/test_issuer.hpp"

namespace {

using namespace callgate;
using auth_oidc::test::jwks;
using auth_oidc::test::signer;
namespace fs = std::filesystem;
using sdk::test::completion;
using sdk::test::driver;
using sdk::test::fake_host;
using sdk::test::test_request;

const signer& rsa() {
    static const signer s = signer::rsa();
    return s;
}

/// Keys from a file; the refreshing of fetched keys has its own test.
struct auth_oidc_test : ::testing::Test {
    fs::path dir;
    fake_host host{"idp"};
    std::unique_ptr<driver> plugin;
    const std::int64_t now = host.wall_unix_s();

    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "callgate_oidc_XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        dir = name;
    }
    void TearDown() override {
        plugin.reset();
        EXPECT_EQ(host.faults(), 0);
        EXPECT_EQ(host.live_cells(), 0);
        fs::remove_all(dir);
    }
    void start(const std::string& extra = {}, const std::string& top = {}, const std::string& keys = rsa().jwk("k1")) {
        std::ofstream(dir / "jwks.json") << jwks(keys);
        plugin = std::make_unique<driver>(host, sdk::factory_of<auth_oidc::backend>,
                                          R"({"issuers": [{"issuer": "https://idp", "audiences": ["nats"], "jwks_file": "jwks.json")" + extra + "}]" + top + "}",
                                          dir.string());
        const auto c = plugin->start();
        ASSERT_EQ(c.status, CG_OK) << c.error;
    }
    std::string claims(const std::string& more = {}) const {
        return R"({"iss":"https://idp","sub":"alice","aud":"nats","exp":)" + std::to_string(now + 600) + more + "}";
    }
    completion ask(const std::string& token) {
        test_request r;
        r.auth_token = r.credential = token;
        r.credential_source = CG_CREDENTIAL_AUTH_TOKEN;
        return plugin->authenticate(r);
    }
    std::string outcome(const std::string& token) {
        const auto c = ask(token);
        const char* verdict = c.verdict == CG_VERDICT_ALLOW ? "allow" : c.verdict == CG_VERDICT_DENY ? "deny " : c.verdict == CG_VERDICT_ABSTAIN ? "abstain " : "unavailable ";
        return verdict + c.reason_id;
    }
    std::string with_claims(const std::string& c) { return outcome(rsa().token("RS256", c)); }
    std::string with_header(const std::string& h) { return outcome(rsa().token("RS256", h, claims())); }
};

TEST_F(auth_oidc_test, good_token_becomes_an_identity) {
    start();
    const auto c = ask(rsa().token("RS256", claims(R"(,"jti":"t-1","iat":)" + std::to_string(now) + R"(,"team":"blue")")));
    ASSERT_EQ(c.verdict, CG_VERDICT_ALLOW) << c.reason_id;
    EXPECT_EQ(c.issuer, "https://idp");
    EXPECT_EQ(c.subject, "alice");
    EXPECT_EQ(c.credential_exp, now + 600);
    EXPECT_EQ(c.credential_iat, now);
    EXPECT_EQ(c.credential_id, "t-1");
    EXPECT_NE(c.attributes_json.find(R"("team":"blue")"), std::string::npos);
}

TEST_F(auth_oidc_test, token_without_jti_gets_a_fingerprint_that_is_not_the_token) {
    start();
    const auto token = rsa().token("RS256", claims());
    const auto a = ask(token), b = ask(token), other = ask(rsa().token("RS256", claims(R"(,"x":1)")));
    EXPECT_TRUE(a.credential_id.starts_with("fp:"));
    EXPECT_EQ(a.credential_id, b.credential_id);
    EXPECT_NE(a.credential_id, other.credential_id);
    EXPECT_TRUE(ask(rsa().token("RS256", claims(R"(,"jti":")" + std::string(500, 'x') + "\""))).credential_id.starts_with("fp:"));
}

TEST_F(auth_oidc_test, all_configured_algorithms_open) {
    const auto p256 = signer::ec("P-256"), p384 = signer::ec("P-384"), p521 = signer::ec("P-521"), ed = signer::ed25519();
    start(R"(, "algorithms": ["RS256","RS384","RS512","PS256","PS384","PS512","ES256","ES384","ES512","EdDSA"])", {},
          rsa().jwk("rsa") + "," + p256.jwk("p256") + "," + p384.jwk("p384") + "," + p521.jwk("p521") + "," + ed.jwk("ed"));
    const auto open = [&](const signer& s, const std::string& alg, const std::string& kid) {
        return outcome(s.token(alg, R"({"alg":")" + alg + R"(","kid":")" + kid + "\"}", claims()));
    };
    for (const char* alg : {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}) EXPECT_EQ(open(rsa(), alg, "rsa"), "allow") << alg;
    EXPECT_EQ(open(p256, "ES256", "p256"), "allow");
    EXPECT_EQ(open(p384, "ES384", "p384"), "allow");
    EXPECT_EQ(open(p521, "ES512", "p521"), "allow");
    EXPECT_EQ(open(ed, "EdDSA", "ed"), "allow");
    EXPECT_EQ(open(p256, "ES256", "rsa"), "deny alg_key_mismatch");
    EXPECT_EQ(open(ed, "EdDSA", "p256"), "deny alg_key_mismatch");
}

TEST_F(auth_oidc_test, foreign_tokens_are_left_to_the_next_backend) {
    start();
    for (const char* opaque : {"opaque", "a.b.c", "eyJ.x", "x.y.z.a.b"}) EXPECT_EQ(outcome(opaque), "abstain not_a_token") << opaque;
    EXPECT_EQ(with_claims(R"({"iss":"https://other","sub":"x"})"), "abstain other_issuer");
    EXPECT_EQ(with_claims(R"({"iss":"https://idp/","sub":"x"})"), "abstain other_issuer") << "iss is compared byte for byte";
    EXPECT_EQ(with_claims(R"({"sub":"x"})"), "abstain other_issuer");
    test_request none;
    EXPECT_EQ(plugin->authenticate(none).verdict, CG_VERDICT_ABSTAIN);
}

TEST_F(auth_oidc_test, algorithm_tricks_are_denied) {
    start();
    const std::string input = crypto::base64url::encode(std::string_view(R"({"alg":"none","kid":"k1"})")) + "." + crypto::base64url::encode(std::string_view(claims()));
    EXPECT_EQ(outcome(input + "."), "deny alg_not_allowed");
    for (const char* alg : {"none", "None", "HS256", "HS512", "rs256", "RS384", "PS256", "ES256K", ""})
        EXPECT_EQ(with_header(R"({"alg":")" + std::string(alg) + R"(","kid":"k1"})"), *alg ? "deny alg_not_allowed" : "abstain not_a_token") << alg;
    EXPECT_EQ(with_header(R"({"alg":["RS256"],"kid":"k1"})"), "deny bad_header");
    EXPECT_EQ(with_header(R"({"alg":"RS256","kid":7})"), "deny bad_header");
    EXPECT_EQ(with_header(R"({"alg":"RS256","kid":"k1","crit":["exp"]})"), "deny crit_not_supported");
    EXPECT_EQ(with_header(R"({"alg":"RS256","kid":"k1","jku":"https://evil"})"), "deny key_in_header");
    EXPECT_EQ(with_header(R"({"alg":"RS256","kid":"k1","x5u":"https://evil"})"), "deny key_in_header");
    EXPECT_EQ(with_header(R"({"alg":"RS256","kid":"k1","jwk":{}})"), "deny key_in_header");
    EXPECT_EQ(with_header(R"({"alg":"RS256","kid":"k1","typ":"logout+jwt"})"), "deny typ_not_allowed");
    EXPECT_EQ(with_header(R"({"alg":"RS256","kid":"k1","typ":"application/at+JWT"})"), "allow");
    EXPECT_EQ(with_header(R"({"alg":"RS256"})"), "allow") << "the only key needs no kid";
}

TEST_F(auth_oidc_test, signature_must_be_of_this_issuers_key_over_these_claims) {
    start();
    const auto good = rsa().token("RS256", claims());
    const auto other = rsa().token("RS256", claims(R"(,"admin":true)"));
    EXPECT_EQ(outcome(good.substr(0, good.rfind('.')) + other.substr(other.rfind('.'))), "deny bad_signature");
    EXPECT_EQ(outcome(signer::rsa().token("RS256", claims())), "deny bad_signature");
    EXPECT_EQ(outcome(good.substr(0, good.rfind('.') + 1)), "deny bad_signature");
}

TEST_F(auth_oidc_test, times_are_checked_with_leeway) {
    start();
    const auto at = [&](const char* name, std::int64_t offset) {
        std::string c = R"({"iss":"https://idp","sub":"a","aud":"nats")";
        if (std::string_view(name) != "exp") c += R"(,"exp":)" + std::to_string(now + 600);
        return with_claims(c + ",\"" + name + "\":" + std::to_string(now + offset) + "}");
    };
    EXPECT_EQ(at("exp", -29), "allow");
    EXPECT_EQ(at("exp", -30), "deny token_expired");
    EXPECT_EQ(at("nbf", 30), "allow");
    EXPECT_EQ(at("nbf", 31), "deny token_not_yet_valid");
    EXPECT_EQ(at("iat", 35), "allow");
    EXPECT_EQ(at("iat", 36), "deny iat_in_future");
    EXPECT_EQ(with_claims(R"({"iss":"https://idp","sub":"a","aud":"nats"})"), "deny exp_missing");
    EXPECT_EQ(with_claims(R"({"iss":"https://idp","sub":"a","aud":"nats","exp":"soon"})"), "deny bad_claim_type");
    EXPECT_EQ(with_claims(R"({"iss":"https://idp","sub":"a","aud":"nats","exp":9223372036854775807})"), "allow");
    EXPECT_EQ(with_claims(R"({"iss":"https://idp","sub":"a","aud":"nats","exp":-9223372036854775808})"), "deny token_expired");
}

TEST_F(auth_oidc_test, max_age_counts_from_iat) {
    start(R"(, "max_age": "1h", "leeway": "0")");
    EXPECT_EQ(with_claims(claims(R"(,"iat":)" + std::to_string(now - 3600))), "allow");
    EXPECT_EQ(with_claims(claims(R"(,"iat":)" + std::to_string(now - 3601))), "deny token_too_old");
    EXPECT_EQ(with_claims(claims()), "deny iat_missing");
}

TEST_F(auth_oidc_test, audience_and_subject_are_required) {
    start();
    const auto base = R"({"iss":"https://idp","exp":)" + std::to_string(now + 60);
    EXPECT_EQ(with_claims(base + R"(,"sub":"a","aud":["x","nats"]})"), "allow");
    EXPECT_EQ(with_claims(base + R"(,"sub":"a","aud":["x"]})"), "deny aud_mismatch");
    EXPECT_EQ(with_claims(base + R"(,"sub":"a","aud":[]})"), "deny aud_mismatch");
    EXPECT_EQ(with_claims(base + R"(,"sub":"a"})"), "deny aud_mismatch");
    EXPECT_EQ(with_claims(base + R"(,"sub":"","aud":"nats"})"), "deny sub_missing");
    EXPECT_EQ(with_claims(base + R"(,"aud":"nats"})"), "deny sub_missing");
}

TEST_F(auth_oidc_test, required_claims_have_or_contain_the_value) {
    start(R"(, "required_claims": {"groups": ["nats-users", "admins"], "email_verified": true, "level": 3})");
    EXPECT_EQ(with_claims(claims(R"(,"groups":["x","admins"],"email_verified":true,"level":3)")), "allow");
    EXPECT_EQ(with_claims(claims(R"(,"groups":"nats-users","email_verified":true,"level":3)")), "allow");
    EXPECT_EQ(with_claims(claims(R"(,"groups":["x"],"email_verified":true,"level":3)")), "deny required_claim");
    EXPECT_EQ(with_claims(claims(R"(,"groups":["admins"],"email_verified":"true","level":3)")), "deny required_claim");
    EXPECT_EQ(with_claims(claims(R"(,"groups":["admins"],"email_verified":true)")), "deny required_claim");
}

TEST_F(auth_oidc_test, hostile_tokens_are_denied) {
    start({}, R"(, "max_token": 4096)");
    EXPECT_EQ(with_claims(R"({"iss":"https://idp","iss":"https://idp","sub":"a"})"), "deny malformed_token");
    EXPECT_EQ(with_claims(claims(",\"x\":\"\xff\"")), "deny malformed_token");
    EXPECT_EQ(with_claims(claims(R"(,"x":)" + std::string(500, '[') + std::string(500, ']'))), "deny malformed_token");
    EXPECT_EQ(outcome("eyJ" + std::string(5000, 'A')), "deny token_too_large");
    EXPECT_EQ(outcome(std::string(1 << 20, 'A')), "abstain not_a_token");
    EXPECT_EQ(with_claims(claims(R"(,"x":")" + std::string(4000, 'x') + "\"")), "deny token_too_large");
}

TEST_F(auth_oidc_test, claims_beyond_64_kib_are_denied) {
    start({}, R"(, "max_token": 1048576)");
    EXPECT_EQ(with_claims(claims(R"(,"x":")" + std::string(70'000, 'x') + "\"")), "deny claims_too_large");
}

TEST_F(auth_oidc_test, token_is_taken_from_where_the_route_found_it) {
    start();
    const auto token = rsa().token("RS256", claims());
    test_request r;
    r.pass = r.credential = token;
    r.credential_source = CG_CREDENTIAL_PASS;
    EXPECT_EQ(plugin->authenticate(r).verdict, CG_VERDICT_ALLOW);
    test_request unset;
    unset.jwt = token;
    EXPECT_EQ(plugin->authenticate(unset).verdict, CG_VERDICT_ALLOW);
    test_request nkey;
    nkey.nkey = nkey.credential = token;
    nkey.credential_source = CG_CREDENTIAL_NKEY;
    EXPECT_EQ(plugin->authenticate(nkey).verdict, CG_VERDICT_ABSTAIN);
}

TEST_F(auth_oidc_test, default_context_of_openssl_is_untouched) {
    const auto loaded = [] {
        int n = 0;
        OSSL_PROVIDER_do_all(nullptr, [](OSSL_PROVIDER*, void* p) { return ++*static_cast<int*>(p); }, &n);
        return n;
    };
    const int before = loaded();
    start();
    EXPECT_EQ(with_claims(claims()), "allow");
    EXPECT_EQ(loaded(), before);
}

TEST_F(auth_oidc_test, reasons_and_log_never_repeat_the_token) {
    start();
    const auto token = rsa().token("RS256", claims(R"(,"planted":"secret")") + " ");
    const auto signature = token.substr(token.rfind('.') + 1, 20);
    for (const auto& t : {token, token + "x", token.substr(0, token.size() - 30)}) {
        const auto c = ask(t);
        for (const auto& text : {c.reason, c.error, c.credential_id}) EXPECT_EQ(text.find(signature), std::string::npos);
        for (const auto& [what, how] : c.explain) EXPECT_EQ(how.find(signature), std::string::npos);
    }
    for (const auto& l : host.logs()) EXPECT_EQ(l.text().find(signature), std::string::npos);
}

TEST_F(auth_oidc_test, configuration_faults_name_the_key) {
    const auto fault = [&](const std::string& issuer, const std::string& top = {}) -> std::string {
        try {
            driver d(host, sdk::factory_of<auth_oidc::backend>, R"({"issuers": [{)" + issuer + "}]" + top + "}");
        } catch (const std::runtime_error& e) {
            return e.what();
        }
        return "accepted";
    };
    const std::string ok = R"("issuer": "https://i", "audiences": ["a"], "jwks_url": "https://i/keys")";
    EXPECT_EQ(fault(ok), "accepted");
    EXPECT_TRUE(fault(R"("audiences": ["a"], "jwks_file": "x")").starts_with("issuers[0].issuer: "));
    EXPECT_TRUE(fault(R"("issuer": "i", "audiences": [], "jwks_file": "x")").starts_with("issuers[0].audiences: "));
    EXPECT_TRUE(fault(R"("issuer": "i", "audiences": ["a"])").starts_with("issuers[0]: needs exactly one of"));
    EXPECT_TRUE(fault(ok + R"(, "jwks_file": "x")").starts_with("issuers[0]: needs exactly one of"));
    EXPECT_TRUE(fault(ok + R"(, "algorithms": ["RS256", "HS256"])").starts_with("issuers[0].algorithms[1]: "));
    EXPECT_TRUE(fault(ok + R"(, "leeway": "1h")").starts_with("issuers[0].leeway: "));
    EXPECT_TRUE(fault(ok + R"(, "require": {})").starts_with("issuers[0].require: "));
    EXPECT_TRUE(fault(ok + "}, {" + ok).starts_with("issuers[1].issuer: this issuer stands there twice"));
    EXPECT_TRUE(fault(ok, R"(, "max_stale": "30m")").starts_with("max_stale: "));
    EXPECT_TRUE(fault(ok, R"(, "refresh_min": "100ms")").starts_with("refresh_min: "));
    EXPECT_TRUE(fault(ok, R"(, "refresh_min": "2h")").starts_with("refresh_min: must not be longer than refresh"));
    EXPECT_TRUE(fault(ok, R"(, "refresh_max": "30m")").starts_with("refresh_max: must not be shorter than refresh"));
    EXPECT_TRUE(fault(ok, R"(, "refresh_max": "25h")").starts_with("refresh_max: must not be longer than max_stale"));
    EXPECT_EQ(fault(ok, R"(, "refresh": "30s")"), "accepted") << "refresh_min follows";
    EXPECT_EQ(fault(ok, R"(, "refresh_min": "10s", "refresh_max": "12h")"), "accepted");
    for (const char* url : {"http://i/keys", "http://127.0.0.1/keys", "ftp://i", "https://user:pw@i/keys", "https://", "https://i/a b", "i/keys"})
        EXPECT_TRUE(fault(R"("issuer": "i", "audiences": ["a"], "jwks_url": ")" + std::string(url) + "\"").starts_with("issuers[0].jwks_url: ")) << url;
    EXPECT_EQ(fault(R"("issuer": "i", "audiences": ["a"], "jwks_url": "http://127.0.0.1:8/keys", "allow_http_loopback": true)"), "accepted");
    EXPECT_TRUE(fault(R"("issuer": "i", "audiences": ["a"], "jwks_url": "http://127.0.0.1.evil/keys", "allow_http_loopback": true)").starts_with("issuers[0].jwks_url"));
    EXPECT_TRUE(fault(R"("issuer": "i", "audiences": ["a"], "discovery": true)").starts_with("issuers[0].issuer: cannot be used for discovery"));
}

TEST_F(auth_oidc_test, schema_is_json_and_closed) {
    const auto schema = sdk::config_view::parse(auth_oidc::backend::config_schema);
    EXPECT_FALSE(schema.at("additionalProperties").boolean());
    EXPECT_TRUE(schema.at("$schema").string().find("draft-07") != std::string::npos);
}

}  // namespace
