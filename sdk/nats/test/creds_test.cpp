// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/creds.hpp>

#include "sdk/nats/test/test_keys.hpp"

using namespace callgate::nats;
using namespace callgate::nats::test;

namespace {

struct fixture {
    key_pair account = key_pair::generate(key_type::account), user = key_pair::generate(key_type::user);
    std::string token;
    fixture() {
        user_claims u;
        u.sub = user.public_text();
        token = encode(u, account, now).value();
    }
    [[nodiscard]] std::string seed() const { return std::string(user.seed_text().text()); }
};
std::string with_crlf(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (c == '\n') out += '\r';
        out += c;
    }
    return out;
}

}  // namespace

TEST(creds, format_is_the_known_one) {
    const fixture f;
    const auto text = format_creds(f.token, f.user);
    ASSERT_TRUE(text);
    EXPECT_EQ(text->text(), "-----BEGIN NATS USER JWT-----\n" + f.token + "\n------END NATS USER JWT------\n\n"
                            "************************* IMPORTANT *************************\n"
                            "NKEY Seed printed below can be used to sign and prove identity.\n"
                            "NKEYs are sensitive and should be treated as secrets.\n\n"
                            "-----BEGIN USER NKEY SEED-----\n" + f.seed() + "\n------END USER NKEY SEED------\n\n"
                            "*************************************************************\n");
}

TEST(creds, formatted_ones_parse_with_each_line_ending) {
    const fixture f;
    const auto formatted = format_creds(f.token, f.user);
    const std::string text(formatted->text());
    std::string cut = text.substr(0, text.find("\n\n****************************************************"));
    for (const auto& t : {text, with_crlf(text), "\n\n" + text, cut, cut + "\n", with_crlf(cut)}) {
        const auto c = parse_creds(t);
        ASSERT_TRUE(c) << c.error().text;
        EXPECT_EQ(c->jwt, f.token);
        EXPECT_EQ(c->seed.text(), f.seed());
        EXPECT_EQ(parse_decorated_jwt(t).value(), f.token);
        EXPECT_EQ(parse_decorated_nkey(t)->public_text(), f.user.public_text());
        EXPECT_EQ(parse_decorated_user_nkey(t)->public_text(), f.user.public_text());
    }
}

TEST(creds, bare_token_and_token_block_alone) {
    const fixture f;
    for (const auto& t : {f.token, f.token + "\n", " " + f.token + "\r\n", "---X---\n" + f.token + "\n---Y---", "---X---\n" + f.token + "\n---Y---\n"}) {
        const auto c = parse_creds(t);
        ASSERT_TRUE(c) << t;
        EXPECT_EQ(c->jwt, f.token);
        EXPECT_TRUE(c->seed.empty());
        EXPECT_EQ(parse_decorated_jwt(t).value(), f.token);
        EXPECT_EQ(parse_decorated_nkey(t).error().code, errc::bad_creds);
    }
}

TEST(creds, bare_seed_files) {
    for (auto type : {key_type::operator_, key_type::account, key_type::user}) {
        const auto key = key_pair::generate(type);
        const std::string seed(key.seed_text().text());
        for (const auto& t : {seed, seed + "\n", seed + "\r\n", "# comment\n  " + seed + " \n", "-----BEGIN X-----\n" + seed + "\n-----END X-----\n"}) {
            const auto read = parse_decorated_nkey(t);
            ASSERT_TRUE(read) << read.error().text;
            EXPECT_EQ(read->public_text(), key.public_text());
            EXPECT_EQ(parse_decorated_user_nkey(t).has_value(), type == key_type::user);
        }
    }
}

TEST(creds, other_key_kinds_are_refused) {
    const fixture f;
    for (auto type : {key_type::server, key_type::cluster, key_type::curve}) {
        const std::string seed(key_pair::generate(type).seed_text().text());
        EXPECT_FALSE(parse_decorated_nkey(seed));
        EXPECT_FALSE(parse_creds("---A---\n" + f.token + "\n---B---\n---C---\n" + seed + "\n---D---\n"));
    }
    const std::string account_seed(f.account.seed_text().text());
    EXPECT_FALSE(parse_creds("---A---\n" + f.token + "\n---B---\n---C---\n" + account_seed + "\n---D---\n"));
}

TEST(creds, short_and_changed_seeds_are_refused_without_being_quoted) {
    const fixture f;
    for (const auto& seed : {f.seed().substr(0, 20), f.seed().substr(0, 57), f.seed() + "A", "SU" + std::string(56, 'A')}) {
        const auto r = parse_creds("---A---\n" + f.token + "\n---B---\n---C---\n" + seed + "\n---D---\n");
        ASSERT_FALSE(r) << seed;
        EXPECT_EQ(r.error().text.find(f.seed().substr(2, 6)), std::string::npos);
        EXPECT_FALSE(parse_decorated_nkey(seed));
    }
}

TEST(creds, no_token_at_all) {
    for (const char* t : {"", "\n", "junk", "a.b", "a.b.c d", "-----BEGIN-----\n", "---A---\nab\n---B---\n", "---A---\n\n---B---\n"}) {
        EXPECT_FALSE(parse_creds(t)) << t;
        EXPECT_FALSE(parse_decorated_jwt(t)) << t;
    }
    EXPECT_FALSE(parse_creds(std::string(3u << 20, 'a')));
    const fixture f;
    EXPECT_FALSE(parse_creds(f.seed()));
}

TEST(creds, format_refuses_what_does_not_belong_together) {
    const fixture f;
    EXPECT_EQ(format_creds(f.token, key_pair::generate(key_type::user)).error().code, errc::bad_creds);
    EXPECT_FALSE(format_creds(f.token, f.account));
    account_claims a;
    a.sub = f.account.public_text();
    const auto account_token = encode(a, f.account, now).value();
    EXPECT_EQ(format_creds(account_token, f.account).error().code, errc::bad_claims);
    EXPECT_FALSE(format_creds("junk", f.user));
}
