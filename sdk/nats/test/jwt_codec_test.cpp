// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/jwt.hpp>

#include "sdk/nats/test/test_keys.hpp"

using namespace callgate::nats;
using namespace callgate::nats::test;

namespace {

user_claims alice() {
    user_claims u;
    u.sub = upstream_user;
    u.name = "alice";
    u.aud = "$G";
    u.exp = 1'900'000'000;
    u.limits.perms.pub.allow = {"foo.>"};
    u.limits.perms.sub.allow = {"_INBOX.>"};
    return u;
}

std::string user_payload(const key_pair& account, std::string_view members = "", std::string_view body = R"("type":"user","version":2)") {
    return R"({"iat":1,"iss":")" + account.public_text() + R"(","sub":")" + std::string(upstream_user) + '"' + std::string(members) + R"(,"nats":{)" + std::string(body) + "}}";
}
errc decode_error(const std::string& token) {
    const auto r = decode(token);
    EXPECT_FALSE(r);
    return r ? errc{} : r.error().code;
}

key_pair upstream_account_key() {
    return std::move(key_pair::from_seed("SAAN" "DLKMXL6CUS3CP52WIXBEDN6YJ545GDKC65U5JZPPV6WH6ESWUA6YAI").value());
}
// protocol.md 7
constexpr std::string_view alice_token =
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJhdWQiOiIkRyIsImV4cCI6MTkwMDAwMDAwMCwianRpIjoiNEQ0SVRHQ0E1Q1pDS09BNE9HSDNOT0JSV1JVTFBNWVZVSE5YUkhMWUc0Mkw0WUlFU0tRQSIsImlhdCI6MTgwMDAwMDAwMCwiaXNzIjoiQUJKSExPVk1QQTRDSTZSNUtMTkdPQjRHU0xOSVk3SU9VUEFKQzRZRk5ETFFWSU9CWVFHVVdWTEEiLCJuYW1lIjoiYWxpY2UiLCJzdWIiOiJVQk8yTVFWNjdUUVRWSVJWM1hGVEVaT0FDTTRXTE9DTUNETUFXTjVRVk41UEkyTjZKSFRWRFJPTiIsIm5hdHMiOnsicHViIjp7ImFsbG93IjpbImZvby5cdTAwM2UiXX0sInN1YiI6eyJhbGxvdyI6WyJfSU5CT1guXHUwMDNlIl19LCJzdWJzIjotMSwiZGF0YSI6LTEsInBheWxvYWQiOi0xLCJ0eXBlIjoidXNlciIsInZlcnNpb24iOjJ9fQ.cOjC5nU2IKeBnhsQUoVmmU8QZR6Y9Qbz4h4vZO96xCAg7mkZx245GGnUoF-mBz5OM8z4rDD6OLFgP8sLvMU8AA";
constexpr std::string_view delete_token =
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJqdGkiOiJITFQ0MkEyRFNUSkJKVVBFTEdJMlhaREJHTFFaSUFSRURPVEhGTkhDQTJGWVFTR0RMTlJBIiwiaWF0IjoxODAwMDAwMDAwLCJpc3MiOiJPQUIyQ0I1NzZQSEJCUFE1T0RPUlJaMkxZQ01XUFpHV0dDTjJLREs3RFhPSU1aQVNLVVkzUVpWVCIsInN1YiI6Ik9BQjJDQjU3NlBIQkJQUTVPRE9SUloyTFlDTVdQWkdXR0NOMktESzdEWE9JTVpBU0tVWTNRWlZUIiwibmF0cyI6eyJhY2NvdW50cyI6WyJBQkpITE9WTVBBNENJNlI1S0xOR09CNEdTTE5JWTdJT1VQQUpDNFlGTkRMUVZJT0JZUUdVV1ZMQSJdLCJ2ZXJzaW9uIjoyfX0.KmfC-FamlNMztWY1T9vulI1Pdj9lqsT-WmozPRI7GZA-LBbloGhvdJmstDeOb2DTySiV_mwwVcQi5XRUUF6NAw";

}  // namespace

// ---- vectors of protocol.md 7

TEST(jwt_vectors, user_token_is_reproduced_byte_for_byte) {
    const auto token = encode(alice(), upstream_account_key(), now);
    ASSERT_TRUE(token) << token.error().text;
    EXPECT_EQ(*token, alice_token);
    const auto back = decode_as<user_claims>(alice_token);
    ASSERT_TRUE(back) << back.error().text;
    auto expected = alice();
    expected.iat = now;
    expected.iss = upstream_account;
    expected.jti = "4D4ITGCA5CZCKOA4OGH3NOBRWRULPMYVUHNXRHLYG42L4YIESKQA";
    EXPECT_EQ(*back, expected);
}

TEST(jwt_vectors, authorization_response) {
    authorization_response_claims r;
    r.sub = upstream_user;
    r.aud = counting_key(key_type::server).public_text();
    r.jwt = alice_token;
    const auto token = encode(r, upstream_account_key(), now);
    ASSERT_TRUE(token);
    EXPECT_EQ(token->substr(token->rfind('.') + 1), "PqsjeLpD4-hqC5g3AtkTEWJa4vedlUTaH8H46QwqmIWiM2sAlblf1ITF5wCoC-YIa4whK5ipCEDm5BpeGVHfCA");
    EXPECT_EQ(decode_as<authorization_response_claims>(*token)->jti, "KSSN5SRDEKL7QOHU3EGRQB4KH7A5J2B2QWGCH2ULK6WG4PWZFDRQ");
}

TEST(jwt_vectors, jti_hashes_the_escaped_name) {
    claims_base c;
    c.iat = now;
    c.iss = upstream_account;
    c.name = "a<b>&c";
    c.sub = upstream_user;
    EXPECT_EQ(go_jti(c), "XQYQSST4DWMCSNN2KMLGA2LBLHHKLQ6V6624JSV6ZG7XFGHVLJEQ");
    c.jti = "ignored";
    EXPECT_EQ(go_jti(c), "XQYQSST4DWMCSNN2KMLGA2LBLHHKLQ6V6624JSV6ZG7XFGHVLJEQ");
}

TEST(jwt_vectors, go_jti_of_two_account_tokens_collides_and_ours_does_not) {
    const auto op = counting_key(key_type::operator_);
    account_claims one;
    one.sub = upstream_account;
    one.limits.conn = 1;
    auto two = one;
    two.limits.conn = 2;
    const auto a = decode_as<account_claims>(encode(one, op, now).value()), b = decode_as<account_claims>(encode(two, op, now).value());
    ASSERT_TRUE(a && b);
    EXPECT_EQ(go_jti(*a), "4FNSY5AZK6IZTVQPJ3XTMLCC4WBAVMHMBRYLOQKP3RPCKCFNO75A");
    EXPECT_EQ(go_jti(*b), go_jti(*a));
    EXPECT_NE(a->jti, b->jti);
    EXPECT_EQ(a->jti.size(), 52u);
    EXPECT_EQ(decode_as<account_claims>(encode(one, op, now).value())->jti, a->jti);
}

TEST(jwt_vectors, delete_request_is_reproduced) {
    const auto op = counting_key(key_type::operator_);
    generic_claims g;
    g.sub = op.public_text();
    g.members["accounts"] = R"([")" + std::string(upstream_account) + R"("])";
    EXPECT_EQ(encode(g, op, now).value(), delete_token);
    const auto back = decode_generic(delete_token);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->members, g.members);
}

// ---- decoder

TEST(jwt_decode, header_typ_other_than_jwt_is_refused) {
    const auto account = key_pair::generate(key_type::account);
    EXPECT_EQ(decode_error(signed_token(user_payload(account), account, R"({"typ":"JWS","alg":"ed25519-nkey"})")), errc::bad_token);
    EXPECT_EQ(decode_error(signed_token(user_payload(account), account, R"({"alg":"ed25519-nkey"})")), errc::bad_token);
    EXPECT_TRUE(decode(signed_token(user_payload(account), account, R"({"typ":"jwt","alg":"ED25519-NKEY","x":1})")));
}

TEST(jwt_decode, header_alg_other_than_nkey_is_refused) {
    const auto account = key_pair::generate(key_type::account);
    for (const char* alg : {"none", "HS256", "EdDSA", "ed25519", ""})
        EXPECT_EQ(decode_error(signed_token(user_payload(account), account, R"({"typ":"JWT","alg":")" + std::string(alg) + "\"}")), errc::bad_token) << alg;
    EXPECT_EQ(decode_error(signed_token(user_payload(account), account, R"({"typ":"JWT","alg":1})")), errc::bad_json);
    EXPECT_EQ(decode_error(signed_token(user_payload(account), account, R"({"typ":"JWT","alg":"none","alg":"ed25519-nkey"})")), errc::bad_json);
    EXPECT_EQ(decode_error(signed_token(user_payload(account), account, R"({"typ":"JWT","alg":"ed25519-nkey","crit":["b64"]})")), errc::bad_token);
}

TEST(jwt_decode, other_numbers_of_chunks_are_refused) {
    const std::string token(alice_token);
    for (const auto& t : {std::string(), std::string("."), std::string(".."), token.substr(0, token.rfind('.')), token + ".", token + ".x", "." + token}) EXPECT_FALSE(decode(t)) << t;
    EXPECT_EQ(decode_error(token.substr(0, token.rfind('.'))), errc::bad_token);
}

TEST(jwt_decode, appended_signature_characters_are_refused) {
    for (const char* tail : {"A", "AA", "AAA", "AAAA", "=", "\n", " "}) EXPECT_FALSE(decode(std::string(alice_token) + tail)) << tail;
}

TEST(jwt_decode, swapped_payload_is_refused) {
    const auto account = key_pair::generate(key_type::account);
    const auto one = encode(alice(), account, now).value();
    auto other_claims = alice();
    other_claims.name = "bob";
    const auto other = encode(other_claims, account, now).value();
    const auto payload = [](const std::string& t) { return t.substr(t.find('.') + 1, t.rfind('.') - t.find('.') - 1); };
    EXPECT_EQ(decode_error(one.substr(0, one.find('.') + 1) + payload(other) + one.substr(one.rfind('.'))), errc::bad_signature);
}

TEST(jwt_decode, each_changed_character_is_refused) {
    const std::string token(alice_token);
    for (std::size_t i = 0; i < token.size(); ++i) {
        auto changed = token;
        changed[i] = changed[i] == 'B' ? 'C' : 'B';
        EXPECT_FALSE(decode(changed)) << i;
    }
}

TEST(jwt_decode, illegal_base64_is_refused_in_each_chunk) {
    const std::string token(alice_token);
    const auto first = token.find('.'), second = token.rfind('.');
    for (auto at : {std::size_t{3}, first + 5, second + 5})
        for (char c : {'+', '/', '=', ' ', '\n', '\r', '\0', '\x80'}) {
            auto changed = token;
            changed[at] = c;
            EXPECT_EQ(decode_error(changed), errc::bad_encoding);
            changed = token;
            changed.insert(at, 1, c);
            EXPECT_FALSE(decode(changed));
        }
}

TEST(jwt_decode, header_and_payload_must_be_json_objects) {
    const auto account = key_pair::generate(key_type::account);
    for (const char* text : {"", "x", "[]", "1", "null", "\"a\"", "{", "{}{}", "{\"a\":01}", "{\"a\":\"\x80\"}", "{\"a\":nan}", "{'a':1}", "{\"a\":1,}"}) {
        EXPECT_FALSE(decode(signed_token(user_payload(account), account, text))) << text;
        EXPECT_FALSE(decode(signed_token(text, account))) << text;
    }
}

TEST(jwt_decode, duplicate_members_are_refused_at_each_level) {
    const auto account = key_pair::generate(key_type::account);
    EXPECT_TRUE(decode(signed_token(user_payload(account), account)));
    EXPECT_EQ(decode_error(signed_token(user_payload(account, R"(,"name":"a","name":"b")"), account)), errc::bad_json);
    EXPECT_EQ(decode_error(signed_token(user_payload(account, "", R"("type":"user","version":2,"type":"user")"), account)), errc::bad_json);
    EXPECT_EQ(decode_error(signed_token(user_payload(account, "", R"("type":"user","version":2,"pub":{"allow":["a"],"allow":["b"]})"), account)), errc::bad_json);
    EXPECT_EQ(decode_error(signed_token(user_payload(account, R"(,"x":{"y":[{"z":1,"\u007a":2}]})"), account)), errc::bad_json);
}

// Go takes "Sub" for "sub", the last one winning: one token would be two claims.
TEST(jwt_decode, names_in_another_case_are_refused) {
    const auto account = key_pair::generate(key_type::account);
    for (const char* member : {R"(,"Sub":"x")", R"(,"EXP":1)", R"(,"Nats":{})", ",\"sUb\":1"})
        EXPECT_FALSE(decode(signed_token(user_payload(account, member), account))) << member;
    EXPECT_EQ(decode_error(signed_token(user_payload(account, ",\"\xc5\xbfub\":\"x\""), account)), errc::bad_json);
    EXPECT_EQ(decode_error(signed_token(user_payload(account, "", R"("type":"user","version":2,"Bearer_Token":true)"), account)), errc::bad_json);
    EXPECT_EQ(decode_error(signed_token(user_payload(account, "", R"("type":"user","version":2,"pub":{"Allow":["x"]})"), account)), errc::bad_json);
}

TEST(jwt_decode, depth_is_bounded) {
    const auto account = key_pair::generate(key_type::account);
    const auto nested = [&](std::size_t n) { return signed_token(user_payload(account, ",\"x\":" + std::string(n, '[') + std::string(n, ']')), account); };
    EXPECT_TRUE(decode(nested(63)));
    EXPECT_EQ(decode_error(nested(64)), errc::bad_json);
    EXPECT_EQ(decode_error(nested(5000)), errc::bad_json);
}

TEST(jwt_decode, integers_are_integers) {
    const auto account = key_pair::generate(key_type::account);
    for (const char* value : {"1.0", "1e3", "\"1\"", "true", "9223372036854775808", "18446744073709551616", "-1", "[1]"})
        EXPECT_FALSE(decode(signed_token(user_payload(account, ",\"exp\":" + std::string(value)), account))) << value;
    EXPECT_TRUE(decode(signed_token(user_payload(account, ",\"exp\":9223372036854775807"), account)));
    EXPECT_FALSE(decode(signed_token(user_payload(account, "", R"("type":"user","version":2,"subs":1.5)"), account)));
    EXPECT_FALSE(decode(signed_token(user_payload(account, "", R"("type":"user","version":2.0)"), account)));
}

TEST(jwt_decode, version_1_and_newer_versions_are_refused) {
    const auto account = key_pair::generate(key_type::account);
    for (const char* body : {R"("type":"user")", R"("type":"user","version":1)", R"("type":"user","version":0)", R"("type":"user","version":3)", R"("type":"user","version":"2")"})
        EXPECT_FALSE(decode(signed_token(user_payload(account, "", body), account))) << body;
    EXPECT_EQ(decode_error(signed_token(user_payload(account, R"(,"type":"user")"), account)), errc::bad_claims);
    EXPECT_FALSE(decode(signed_token_v1(user_payload(account, R"(,"type":"user")"), account)));
    EXPECT_FALSE(decode(signed_token(R"({"iss":")" + account.public_text() + R"(","sub":"x"})", account)));
}

TEST(jwt_decode, size_is_bounded) {
    EXPECT_EQ(decode_error(std::string(max_token_size + 1, 'A')), errc::bad_token);
    auto u = alice();
    u.tags = {std::string(max_token_size, 'x')};
    EXPECT_EQ(encode(u, upstream_account_key(), now).error().code, errc::bad_token);
}

TEST(jwt_decode, cluster_and_server_claims_are_refused) {
    const auto account = key_pair::generate(key_type::account);
    for (const char* type : {"cluster", "server"})
        EXPECT_EQ(decode_error(signed_token(user_payload(account, "", R"("version":2,"type":")" + std::string(type) + '"'), account)), errc::bad_claims);
}

TEST(jwt_decode, decode_as_another_kind_fails) {
    EXPECT_FALSE(decode_as<account_claims>(alice_token));
    EXPECT_TRUE(decode_as<user_claims>(alice_token));
}

TEST(jwt_decode, null_counts_as_absent) {
    const auto account = key_pair::generate(key_type::account);
    const auto c = decode_as<user_claims>(signed_token(user_payload(account, R"(,"name":null)", R"("type":"user","version":2,"resp":null,"src":null)"), account));
    ASSERT_TRUE(c) << c.error().text;
    EXPECT_FALSE(c->limits.perms.resp);
}

// Go writes an empty list inside a map as null.
TEST(jwt_decode, null_lists_inside_maps) {
    const auto op = key_pair::generate(key_type::operator_);
    const auto token = [&](const char* body) {
        return signed_token(R"({"iss":")" + op.public_text() + R"(","sub":")" + std::string(upstream_account) + R"(","nats":{)" + body + R"(,"type":"account","version":2}})", op);
    };
    const auto c = decode_as<account_claims>(token(R"("mappings":{"a":null})"));
    ASSERT_TRUE(c) << c.error().text;
    EXPECT_TRUE(c->mappings.at("a").empty());
    EXPECT_FALSE(decode(token(R"("exports":[null])")));
    EXPECT_FALSE(decode(token(R"("revocations":{"*":null})")));
}

TEST(jwt_decode, wrong_types_name_the_member) {
    const auto account = key_pair::generate(key_type::account);
    const auto r = decode(signed_token(user_payload(account, "", R"("type":"user","version":2,"pub":{"allow":"x"})"), account));
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().text.find("nats.pub.allow"), std::string::npos) << r.error().text;
}

TEST(jwt_decode, unknown_members_survive_a_round_trip) {
    const auto account = key_pair::generate(key_type::account);
    const auto token = signed_token(user_payload(account, R"(,"cnf":{"jkt":"a\u003cb"},"list":[1,-2,3.5,18446744073709551615,true,null])",
                                                 R"("future":{"b":1,"a":[{}]},"type":"user","version":2)"), account);
    const auto c = decode_as<user_claims>(token);
    ASSERT_TRUE(c) << c.error().text;
    EXPECT_EQ(c->unknown_top.at("cnf"), R"({"jkt":"a\u003cb"})");
    EXPECT_EQ(c->unknown_top.at("list"), "[1,-2,3.5,18446744073709551615,true,null]");
    EXPECT_EQ(c->unknown_body.at("future"), R"({"b":1,"a":[{}]})");
    const auto again = decode_as<user_claims>(encode(*c, account, now).value());
    ASSERT_TRUE(again);
    EXPECT_EQ(again->unknown_top, c->unknown_top);
    EXPECT_EQ(again->unknown_body, c->unknown_body);
}

TEST(jwt_encode, unknown_members_may_not_shadow_known_ones_nor_break_the_json) {
    const auto account = key_pair::generate(key_type::account);
    for (const char* name : {"sub", "exp", "iss", "nats", "type", "SUB"}) {
        auto u = alice();
        u.unknown_top[name] = "1";
        EXPECT_EQ(encode(u, account, now).error().code, errc::bad_claims) << name;
    }
    for (const char* name : {"type", "version", "tags", "pub", "bearer_token", "issuer_account"}) {
        auto u = alice();
        u.unknown_body[name] = "1";
        EXPECT_EQ(encode(u, account, now).error().code, errc::bad_claims) << name;
    }
    for (const char* json : {"", "x", "1,\"sub\":\"y\"", "{\"a\":1,\"a\":2}", "}"}) {
        auto u = alice();
        u.unknown_top["x"] = json;
        EXPECT_EQ(encode(u, account, now).error().code, errc::bad_json) << json;
    }
}

TEST(jwt_encode, sets_issuer_time_and_jti_itself) {
    const auto account = key_pair::generate(key_type::account);
    auto u = alice();
    u.iss = "someone";
    u.jti = "mine";
    u.iat = 7;
    const auto back = decode_as<user_claims>(encode(u, account, now).value());
    ASSERT_TRUE(back);
    EXPECT_EQ(back->iss, account.public_text());
    EXPECT_EQ(back->iat, now);
    EXPECT_EQ(back->jti, go_jti(*back));
}

TEST(jwt_encode, header_is_the_sniffed_one) {
    EXPECT_TRUE(encode(alice(), upstream_account_key(), now)->starts_with(std::string(jwt_header_b64) + "."));
}

TEST(jwt_encode, subject_and_signer_kinds) {
    const auto o = counting_key(key_type::operator_), a = counting_key(key_type::account), u = counting_key(key_type::user), n = counting_key(key_type::server),
               c = counting_key(key_type::cluster), x = counting_key(key_type::curve);
    const key_pair* keys[] = {&o, &a, &u, &n, &c, &x};
    struct row {
        any_claims claims;
        std::string subjects, signers;  // letters; "*" is any text
    };
    row rows[] = {{operator_claims{}, "O", "O"}, {account_claims{}, "A", "AO"}, {user_claims{}, "U", "A"}, {activation_claims{}, "A", "AO"},
                  {authorization_request_claims{}, "*", "N"}, {authorization_response_claims{}, "*", "A"}, {generic_claims{}, "*", "OAUNC"}};
    for (auto& row : rows)
        for (const auto* subject : keys)
            for (const auto* signer : keys) {
                base_of(row.claims).sub = subject->public_text();
                const bool subject_ok = row.subjects == "*" || row.subjects.find(letter(subject->type())) != std::string::npos;
                const bool signer_ok = row.signers.find(letter(signer->type())) != std::string::npos;
                const auto token = encode(row.claims, *signer, now);
                EXPECT_EQ(token.has_value(), subject_ok && signer_ok) << type_name(row.claims) << " of " << subject->public_text() << " by " << signer->public_text();
                if (token) {
                    EXPECT_TRUE(decode(*token));
                }
            }
    for (auto& row : rows) {
        base_of(row.claims).sub.clear();
        const auto& signer = row.signers[0] == 'O' ? o : row.signers[0] == 'N' ? n : a;
        EXPECT_EQ(encode(row.claims, signer, now).error().code, errc::bad_claims) << type_name(row.claims);
    }
}

TEST(jwt_decode, signer_and_subject_kinds_are_checked) {
    const auto user = key_pair::generate(key_type::user);
    EXPECT_EQ(decode_error(signed_token(user_payload(user), user)), errc::bad_claims);
    const auto account = key_pair::generate(key_type::account);
    EXPECT_EQ(decode_error(signed_token(R"({"iss":")" + account.public_text() + R"(","sub":"junk","nats":{"type":"user","version":2}})", account)), errc::bad_claims);
    EXPECT_FALSE(decode(signed_token(R"({"sub":"junk","nats":{"type":"user","version":2}})", account)));
    EXPECT_FALSE(decode(signed_token(R"({"iss":5,"sub":"junk","nats":{"type":"user","version":2}})", account)));
}

TEST(jwt_encode, external_signer_is_used) {
    const auto account = key_pair::generate(key_type::account);
    std::string seen;
    external_signer signer{account.public_text(), [&](std::string_view text) {
                               seen = text;
                               return account.sign(text);
                           }};
    const auto token = encode(alice(), signer, now);
    ASSERT_TRUE(token);
    EXPECT_EQ(token->substr(0, token->rfind('.')), seen);
    EXPECT_TRUE(decode(*token));

    signer.sign = [](std::string_view) -> result<callgate::crypto::signature_bytes> { return error{errc::not_a_signer, "key is away"}; };
    EXPECT_EQ(encode(alice(), signer, now).error().text, "key is away");
    signer.sign = [](std::string_view) -> result<callgate::crypto::signature_bytes> { return callgate::crypto::signature_bytes{}; };
    EXPECT_EQ(encode(alice(), signer, now).error().code, errc::bad_signature);
}

TEST(jwt_encode, go_escapes_in_texts) {
    auto u = alice();
    u.name = std::string("a<b>&\xe2\x80\xa8\"\\\n\x01\x7f \xc3\xa4\xff", 17);
    const auto token = encode(u, upstream_account_key(), now).value();
    EXPECT_NE(payload_of(token).find(R"("name":"a\u003cb\u003e\u0026\u2028\"\\\n\u0001)" "\x7f \xc3\xa4" R"(\ufffd")"), std::string::npos) << payload_of(token);
}

// ---- generic claims

TEST(jwt_generic, custom_type_round_trips) {
    const auto signer = key_pair::generate(key_type::user);
    generic_claims g;
    g.sub = "anything";
    g.type = "my_type";
    g.tags = {"a", "b"};
    g.members = {{"foo", R"({"n":1.5})"}, {"z", "null"}};
    const auto token = encode(g, signer, now);
    ASSERT_TRUE(token) << token.error().text;
    EXPECT_NE(payload_of(*token).find(R"("nats":{"foo":{"n":1.5},"tags":["a","b"],"type":"my_type","version":2,"z":null})"), std::string::npos);
    for (const auto& back : {decode_generic(*token).value(), decode_as<generic_claims>(*token).value()}) {
        EXPECT_EQ(back.type, "my_type");
        EXPECT_EQ(back.tags, g.tags);
        EXPECT_EQ(back.members, g.members);
        EXPECT_EQ(back.iat, now);
    }
}

TEST(jwt_generic, version_1_is_read_by_its_own_signature_rule) {
    const auto account = key_pair::generate(key_type::account);
    const auto payload = user_payload(account, R"(,"type":"user")", R"("pub":{},"x":1)");
    const auto c = decode_generic(signed_token_v1(payload, account));
    ASSERT_TRUE(c) << c.error().text;
    EXPECT_EQ(c->sub, upstream_user);
    EXPECT_EQ(c->unknown_top.at("type"), "\"user\"");
    EXPECT_EQ(c->members.at("x"), "1");
    auto changed = signed_token_v1(payload, account);
    changed[changed.find('.') + 8] ^= 1;
    EXPECT_FALSE(decode_generic(changed));
}

TEST(jwt_generic, may_not_pose_as_a_typed_claim) {
    const auto account = key_pair::generate(key_type::account);
    generic_claims g;
    g.sub = "x";
    for (const char* type : {"user", "account", "operator", "activation", "authorization_request", "authorization_response", "cluster", "server"}) {
        g.type = type;
        EXPECT_EQ(encode(g, account, now).error().code, errc::bad_claims) << type;
    }
    g.type.clear();
    g.members["version"] = "1";
    EXPECT_EQ(encode(g, account, now).error().code, errc::bad_claims);
}

// ---- unverified, readable

TEST(jwt_unverified, shows_what_a_broken_token_says) {
    std::string token(alice_token);
    auto good = decode_unverified(token);
    ASSERT_TRUE(good);
    EXPECT_TRUE(good->signature_ok);
    EXPECT_EQ(std::get<user_claims>(good->claims).name, "alice");
    EXPECT_EQ(good->header_json, R"({"typ":"JWT","alg":"ed25519-nkey"})");
    EXPECT_EQ(good->payload_json, payload_of(alice_token));
    token[token.rfind('.') + 3] ^= 1;
    EXPECT_FALSE(decode_unverified(token)->signature_ok);
    const auto account = key_pair::generate(key_type::account);
    const auto v1 = decode_unverified(signed_token_v1(user_payload(account, R"(,"type":"user")"), account));
    ASSERT_TRUE(v1);
    EXPECT_TRUE(v1->signature_ok);
    EXPECT_TRUE(std::holds_alternative<generic_claims>(v1->claims));
    EXPECT_FALSE(decode_unverified("junk"));
}

TEST(jwt_json, is_readable) {
    auto u = alice();
    u.limits.src = {"10.0.0.0/8"};
    const auto text = to_json(u);
    EXPECT_NE(text.find("\n  \"name\": \"alice\",\n"), std::string::npos) << text;
    EXPECT_NE(text.find("\"foo.>\""), std::string::npos);
    EXPECT_NE(text.find("\"pub\": {\n      \"allow\": ["), std::string::npos) << text;
}
