// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/base64url.hpp>
#include <callgate/nats/jwt.hpp>

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "bench/load/peer_book.hpp"

using namespace callgate::load;
using callgate::load::credential;
namespace nats = callgate::nats;
namespace crypto = callgate::crypto;

namespace {

constexpr std::int64_t now = 1'800'000'000;

std::span<const std::uint8_t> bytes_of(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

// The service's side: the payload of a PUB or HPUB line, opened when it is sealed.
struct service {
    nats::key_pair issuer = nats::key_pair::generate(nats::key_type::account);
    nats::key_pair xkey = nats::key_pair::generate(nats::key_type::curve);

    nats::authorization_request_claims read(const made_request& made, const simulated_server& server) const {
        std::string_view wire = made.wire;
        const auto line = wire.substr(0, wire.find("\r\n"));
        auto payload = wire.substr(line.size() + 2, wire.size() - line.size() - 4);
        EXPECT_TRUE(wire.ends_with("\r\n"));
        std::string opened;
        if (line.starts_with("HPUB")) {
            const auto headers = payload.substr(0, payload.find("\r\n\r\n") + 4);
            EXPECT_EQ(headers, "NATS/1.0\r\nNats-Server-Xkey: " + server.xkey->public_text() + "\r\n\r\n");
            payload.remove_prefix(headers.size());
            opened = xkey.open(payload, server.xkey->public_text()).value();
            payload = opened;
        }
        return nats::decode_as<nats::authorization_request_claims>(payload).value();
    }
};

class replies : public testing::TestWithParam<bool> {
  protected:
    replies() : maker(s.issuer.public_text(), GetParam() ? s.xkey.public_text() : std::string(), parse_credentials("token t1", "test"), 2) {
        made = maker.make(7, 3, now, 2);
        request = s.read(made, server());
        expected.issuer = s.issuer.public_text();
    }
    const simulated_server& server() const { return maker.servers()[made.server]; }

    nats::user_claims user() const {
        nats::user_claims u;
        u.sub = request.user_nkey;
        u.aud = "APP";
        u.exp = now + 600;
        return u;
    }
    nats::authorization_response_claims response(std::string jwt) const {
        nats::authorization_response_claims r;
        r.sub = request.user_nkey;
        r.aud = request.server.id;
        r.jwt = std::move(jwt);
        return r;
    }
    std::string seal(const std::string& token) const { return GetParam() ? s.xkey.seal(token, server().xkey->public_text()).value() : token; }
    std::string reply(const nats::authorization_response_claims& r, const nats::key_pair& signer) const { return seal(nats::encode(r, signer, now).value()); }
    std::string good() const { return reply(response(nats::encode(user(), s.issuer, now).value()), s.issuer); }
    judgement judge(std::string_view payload, std::int64_t at = now + 1) const { return judge_reply(payload, made.user_nkey, server(), expected, at); }
    void expect_invalid(const std::string& payload, std::string_view reason, std::int64_t at = now + 1) const {
        const auto j = judge(payload, at);
        EXPECT_EQ(j.what, judgement::verdict::invalid) << reason;
        EXPECT_NE(j.reason.find(reason), std::string::npos) << j.reason << " instead of " << reason;
    }

    service s;
    request_maker maker;
    made_request made;
    nats::authorization_request_claims request;
    expectation expected;
};

INSTANTIATE_TEST_SUITE_P(plain_and_sealed, replies, testing::Bool());

}  // namespace

TEST_P(replies, a_request_is_what_a_server_would_have_sent) {
    EXPECT_EQ(request.aud, "nats-authorization-request");
    EXPECT_EQ(request.sub, s.issuer.public_text());
    EXPECT_EQ(request.iss, server().id.public_text());
    EXPECT_EQ(request.server.id, request.iss);
    EXPECT_EQ(request.server.xkey, GetParam() ? server().xkey->public_text() : "");
    EXPECT_EQ(request.iat, now);
    EXPECT_EQ(request.exp, now + 2);
    EXPECT_TRUE(nats::is_public(request.user_nkey, nats::key_type::user));
    EXPECT_EQ(request.client.user, "[REDACTED]");
    EXPECT_EQ(request.client.kind, "Client");
    EXPECT_EQ(request.connect.auth_token, "t1");
    EXPECT_EQ(request.jti, nats::go_jti(request));
    EXPECT_TRUE(nats::validate(request, now).empty());
    // A real one has 1,137 bytes plain and 1,269 sealed, with names of its own.
    const auto bytes = made.wire.size() - made.wire.find("\r\n") - 4 - (GetParam() ? 88 : 0);
    EXPECT_NEAR(static_cast<double>(bytes), GetParam() ? 1269 : 1137, 60);
}

TEST_P(replies, requests_are_all_different_and_clients_differ_in_name_and_address) {
    std::set<std::string> nkeys, names, hosts, inboxes;
    for (std::uint64_t i = 0; i < 200; ++i) {
        const auto one = maker.make(i, i, now, 2);
        const auto claims = s.read(one, maker.servers()[one.server]);
        nkeys.insert(claims.user_nkey);
        names.insert(claims.client.name);
        hosts.insert(claims.client.host);
        const auto line = one.wire.substr(0, one.wire.find("\r\n"));
        inboxes.insert(line);
        EXPECT_EQ(one.server, i % 2) << "shared out over the servers";
    }
    EXPECT_EQ(nkeys.size(), 200u);
    EXPECT_EQ(names.size(), 200u);
    EXPECT_EQ(hosts.size(), 200u);
    EXPECT_EQ(inboxes.size(), 200u);
}

TEST_P(replies, a_right_one_is_allowed_and_looks_so) {
    EXPECT_EQ(judge(good()).what, judgement::verdict::allowed) << judge(good()).reason;
    EXPECT_TRUE(looks_allowed(good(), server()));
    expected.account = "APP";
    EXPECT_EQ(judge(good()).what, judgement::verdict::allowed);
}

TEST_P(replies, a_denial_is_no_fault) {
    auto r = response("");
    r.error = "authorization denied";
    EXPECT_EQ(judge(reply(r, s.issuer)).what, judgement::verdict::denied);
    EXPECT_EQ(judge(reply(r, s.issuer)).reason, "authorization denied");
    EXPECT_FALSE(looks_allowed(reply(r, s.issuer), server()));
    EXPECT_EQ(judge("").what, judgement::verdict::denied);
    EXPECT_FALSE(looks_allowed("", server()));
}

TEST_P(replies, each_lie_has_its_reason) {
    const auto other = nats::key_pair::generate(nats::key_type::account);
    const auto stranger = nats::key_pair::generate(nats::key_type::user).public_text();
    const auto with_user = [&](const std::function<void(nats::user_claims&)>& change, const nats::key_pair& signer) {
        auto u = user();
        change(u);
        return reply(response(nats::encode(u, signer, now).value()), s.issuer);
    };
    const auto with_response = [&](const std::function<void(nats::authorization_response_claims&)>& change, const nats::key_pair& signer) {
        auto r = response(nats::encode(user(), s.issuer, now).value());
        change(r);
        return reply(r, signer);
    };
    const auto nothing = [](auto&) {};
    expect_invalid(with_response([&](auto& r) { r.sub = stranger; }, s.issuer), "response: wrong subject");
    expect_invalid(with_response([&](auto& r) { r.aud = maker.servers()[1 - made.server].id.public_text(); }, s.issuer), "response: wrong audience");
    expect_invalid(with_response(nothing, other), "response: wrong issuer");
    expect_invalid(with_response([](auto& r) { r.exp = now - 5; }, s.issuer), "response: expired");
    expect_invalid(with_user([&](auto& u) { u.sub = stranger; }, s.issuer), "user JWT: wrong subject");
    expect_invalid(with_user([](auto& u) { u.exp = now - 1; }, s.issuer), "user JWT: expired");
    expect_invalid(with_user([](auto& u) { u.aud.clear(); }, s.issuer), "user JWT: no audience");
    expect_invalid(with_user([&](auto& u) { u.issuer_account = other.public_text(); }, s.issuer), "user JWT: issuer_account in config mode");
    expect_invalid(with_user(nothing, other), "user JWT: wrong issuer");
    expected.account = "OTHER";
    expect_invalid(good(), "user JWT: wrong audience");

    const auto flip = [](std::string& token) {
        char& c = token[token.rfind('.') + 10];
        c = c == 'A' ? 'B' : 'A';
    };
    auto jwt = nats::encode(user(), s.issuer, now).value();
    flip(jwt);
    expect_invalid(reply(response(jwt), s.issuer), "user JWT: bad signature");
    auto token = nats::encode(response(nats::encode(user(), s.issuer, now).value()), s.issuer, now).value();
    flip(token);
    expect_invalid(seal(token), "response: bad signature");
    expect_invalid(seal("eyJgarbage"), "response: no NATS JWT");
}

TEST_P(replies, the_box_must_be_the_one_that_was_agreed) {
    if (!GetParam()) {
        const auto sealed = s.xkey.seal("eyJ", nats::key_pair::generate(nats::key_type::curve).public_text()).value();
        return expect_invalid(sealed, "reply to a plain request is sealed");
    }
    const auto token = nats::encode(response(nats::encode(user(), s.issuer, now).value()), s.issuer, now).value();
    expect_invalid(token, "reply to a sealed request is not sealed");
    expected.allow_unsealed = true;
    EXPECT_EQ(judge(token).what, judgement::verdict::allowed);
    EXPECT_TRUE(looks_allowed(token, server()));
    expect_invalid(nats::key_pair::generate(nats::key_type::curve).seal(token, server().xkey->public_text()).value(), "box does not open");
    expect_invalid("xkv1", "box does not open");
}

TEST_P(replies, the_book_counts_late_doubled_stray_and_unanswered) {
    peer_book book(maker);
    std::vector<std::string> answers;
    for (std::uint64_t i = 0; i < 4; ++i) {
        auto& a = book.add(maker.make(i, i, now, 2), i);
        const auto claims = s.read(a.made, maker.servers()[a.made.server]);
        nats::user_claims u;
        u.sub = claims.user_nkey;
        u.aud = "APP";
        nats::authorization_response_claims r;
        r.sub = claims.user_nkey;
        r.aud = claims.server.id;
        r.jwt = nats::encode(u, s.issuer, now).value();
        const auto text = nats::encode(r, s.issuer, now).value();
        answers.push_back(GetParam() ? s.xkey.seal(text, claims.server.xkey).value() : text);
    }
    const auto inbox = [&](std::uint64_t i) {
        const auto& wire = book.at(i).made.wire;
        const auto begin = wire.find("$SYS._INBOX.");
        return wire.substr(begin, wire.find(' ', begin) - begin);
    };
    EXPECT_EQ(book.take_reply(inbox(0), answers[0], 5), nullptr) << "never sent";
    for (std::uint64_t i = 0; i < 4; ++i) book.at(i).sent_ns = 1;
    EXPECT_EQ(book.take_reply(inbox(0), answers[0], 5), &book.at(0));
    EXPECT_EQ(book.take_reply(inbox(0), answers[0], 6), nullptr);
    EXPECT_EQ(book.take_reply(inbox(0), answers[0], 7), nullptr);
    book.at(1).given_up = true;
    EXPECT_EQ(book.take_reply(inbox(1), answers[1], 8), &book.at(1));
    EXPECT_EQ(book.take_reply(inbox(2), answers[1], 8), &book.at(2)) << "the answer to another request";
    EXPECT_EQ(book.take_reply("$SYS._INBOX.nobody00." + inbox(3).substr(21), answers[3], 8), nullptr);
    EXPECT_EQ(book.take_reply("_INBOX.x", answers[3], 8), nullptr);
    const auto t = book.judge(0, expected, now * 1'000'000'000);
    EXPECT_EQ(t.sent, 4u);
    EXPECT_EQ(t.replied, 2u);
    EXPECT_EQ(t.late, 1u);
    EXPECT_EQ(t.unanswered, 1u);
    EXPECT_EQ(t.doubled, 2u);
    EXPECT_EQ(t.stray, 3u);
    EXPECT_EQ(t.allowed, 2u);
    EXPECT_EQ(t.invalid, 1u);
    ASSERT_EQ(t.invalid_reasons.size(), 1u);
    EXPECT_EQ(book.judge(2, expected, now * 1'000'000'000).sent, 2u) << "the warm-up is left out";
}

TEST(request_maker, other_credentials_arrive_where_a_server_puts_them) {
    service s;
    const auto pair = nats::key_pair::generate(nats::key_type::user);
    request_maker maker(s.issuer.public_text(), "", parse_credentials("user bob pw\njwt eyJabc\nnkey " + std::string(pair.seed_text().text()), "test"), 1);
    const auto user = s.read(maker.make(0, 0, now, 2), maker.servers()[0]);
    EXPECT_EQ(user.client.user, "bob");
    EXPECT_EQ(user.connect.user, "bob");
    EXPECT_EQ(user.connect.pass, "pw");
    EXPECT_EQ(s.read(maker.make(1, 1, now, 2), maker.servers()[0]).connect.jwt, "eyJabc");
    const auto nkey = s.read(maker.make(2, 2, now, 2), maker.servers()[0]);
    EXPECT_EQ(nkey.connect.nkey, pair.public_text());
    EXPECT_EQ(nkey.client.user, pair.public_text());
    ASSERT_FALSE(nkey.client.nonce.empty());
    const auto signature = crypto::base64url::decode(std::string_view(nkey.connect.sig));
    ASSERT_TRUE(signature);
    EXPECT_TRUE(nats::verify(pair.public_text(), nkey.client.nonce, bytes_of(*signature)).has_value());
}

TEST(request_maker, keys_of_the_wrong_kind_are_refused) {
    const auto account = nats::key_pair::generate(nats::key_type::account).public_text();
    const auto user = nats::key_pair::generate(nats::key_type::user).public_text();
    const auto one = parse_credentials("token t", "test");
    EXPECT_THROW(request_maker(user, "", one, 1), std::runtime_error);
    EXPECT_THROW(request_maker(account, user, one, 1), std::runtime_error);
    EXPECT_THROW(request_maker(account, "", one, 0), std::runtime_error);
}

TEST(inbox_id, reads_back_what_it_wrote_and_nothing_else) {
    std::set<std::string> seen;
    for (std::uint64_t i = 0; i < 5000; ++i) {
        char id[8];
        encode_inbox_id(i * 7919, id);
        const std::string_view text(id, 8);
        EXPECT_EQ(decode_inbox_id(text), i * 7919);
        seen.emplace(text);
    }
    EXPECT_EQ(seen.size(), 5000u);
    for (const std::string_view bad : {"", "short", "ninechars", "bad-char", "zzzzzzzz"}) EXPECT_FALSE(decode_inbox_id(bad).has_value()) << bad;
}
