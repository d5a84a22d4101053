// SPDX-License-Identifier: Apache-2.0
// Exports, imports, activations (protocol.md 2.8).
#include <callgate/nats/jwt.hpp>

#include "sdk/nats/test/test_keys.hpp"

using namespace callgate::nats;
using namespace callgate::nats::test;

namespace {

account_claims account_with(std::vector<export_claim> exports, std::vector<import_claim> imports = {}) {
    account_claims a;
    a.sub = upstream_account;
    a.iss = fresh_public(key_type::operator_);
    a.exports = std::move(exports);
    a.imports = std::move(imports);
    return a;
}
export_claim exported(std::string type, std::string subject) {
    export_claim e;
    e.type = std::move(type);
    e.subject = std::move(subject);
    return e;
}
import_claim imported(std::string type, std::string subject, std::string account = fresh_public(key_type::account)) {
    import_claim i;
    i.type = std::move(type);
    i.subject = std::move(subject);
    i.account = std::move(account);
    return i;
}
std::vector<issue> issues_of(export_claim e) { return validate(account_with({std::move(e)}), now); }
std::vector<issue> issues_of(import_claim i) { return validate(account_with({}, {std::move(i)}), now); }

}  // namespace

TEST(exports, kinds_and_response_types) {
    EXPECT_TRUE(issues_of(exported("stream", "a.>")).empty());
    EXPECT_TRUE(mentions(issues_of(exported("", "a")), "invalid export type"));
    for (const char* type : {"", "Singleton", "Stream", "Chunked"}) {
        auto e = exported("service", "a");
        e.response_type = type;
        EXPECT_TRUE(issues_of(e).empty()) << type;
    }
    auto e = exported("service", "a");
    e.response_type = "singleton";
    EXPECT_TRUE(mentions(issues_of(e), "invalid response type"));
    e = exported("stream", "a");
    e.response_type = "Stream";
    EXPECT_TRUE(mentions(issues_of(e), "no response type"));
    e = exported("stream", "a");
    e.allow_trace = true;
    EXPECT_TRUE(mentions(issues_of(e), "allow_trace"));
    e.type = "service";
    EXPECT_TRUE(issues_of(e).empty());
}

TEST(exports, unknown_types_are_neither_written_nor_read) {
    const auto op = key_pair::generate(key_type::operator_);
    EXPECT_EQ(encode(account_with({exported("queue", "a")}), op, now).error().code, errc::bad_claims);
    EXPECT_FALSE(decode(signed_token(R"({"iss":")" + op.public_text() + R"(","sub":")" + std::string(upstream_account) +
                                         R"(","nats":{"exports":[{"subject":"a","type":"queue"}],"type":"account","version":2}})", op)));
}

TEST(exports, latency) {
    auto e = exported("service", "a");
    for (auto good : {0, 1, 100}) {
        e.latency = service_latency{good, "lat"};
        EXPECT_TRUE(issues_of(e).empty()) << good;
    }
    for (auto bad : {-1, 101}) {
        e.latency = service_latency{bad, "lat"};
        EXPECT_TRUE(mentions(issues_of(e), "sampling")) << bad;
        EXPECT_FALSE(encode(account_with({e}), key_pair::generate(key_type::operator_), now));
    }
    for (const char* bad : {"", "a.*", "a.>", "a..b"}) {
        e.latency = service_latency{1, bad};
        EXPECT_FALSE(issues_of(e).empty()) << bad;
    }
    e = exported("stream", "a");
    e.latency = service_latency{1, "lat"};
    EXPECT_TRUE(mentions(issues_of(e), "only for services"));
}

TEST(exports, latency_headers_are_spelled_out) {
    auto e = exported("service", "a");
    e.latency = service_latency{0, "lat"};
    const auto op = key_pair::generate(key_type::operator_);
    const auto token = encode(account_with({e}), op, now).value();
    EXPECT_NE(payload_of(token).find(R"("service_latency":{"sampling":"headers","results":"lat"})"), std::string::npos);
    EXPECT_EQ(decode_as<account_claims>(token)->exports[0].latency, e.latency);
}

TEST(exports, response_threshold) {
    auto e = exported("service", "a");
    e.response_threshold_ns = 5;
    EXPECT_TRUE(issues_of(e).empty());
    e.response_threshold_ns = -5;
    EXPECT_TRUE(mentions(issues_of(e), "negative"));
    e = exported("stream", "a");
    e.response_threshold_ns = 5;
    EXPECT_TRUE(mentions(issues_of(e), "only for services"));
}

TEST(exports, account_token_position) {
    auto e = exported("service", "a.*.c.*");
    for (auto good : {0, 2, 4}) {
        e.account_token_position = good;
        EXPECT_TRUE(issues_of(e).empty()) << good;
    }
    e.account_token_position = 3;
    EXPECT_TRUE(mentions(issues_of(e), "must point at a *"));
    e.account_token_position = 5;
    EXPECT_TRUE(mentions(issues_of(e), "past the end"));
    e.subject = "a.b";
    e.account_token_position = 1;
    EXPECT_TRUE(mentions(issues_of(e), "needs a subject with wildcards"));
    e.subject = "a.>";
    e.account_token_position = 2;
    EXPECT_TRUE(mentions(issues_of(e), "must point at a *"));
}

TEST(exports, overlaps_of_one_kind) {
    EXPECT_TRUE(mentions(validate(account_with({exported("service", "a.*"), exported("service", "a.b")}), now), "already exports"));
    EXPECT_TRUE(mentions(validate(account_with({exported("stream", "a.>"), exported("stream", "a.b.c")}), now), "already exports"));
    EXPECT_EQ(validate(account_with({exported("stream", "a"), exported("stream", "a")}), now).size(), 1u);
    EXPECT_TRUE(validate(account_with({exported("stream", "a"), exported("service", "a")}), now).empty());
    EXPECT_TRUE(validate(account_with({exported("stream", "a"), exported("stream", "b")}), now).empty());
}

TEST(exports, subjects_and_info) {
    for (const char* bad : {"", "a b", ".a", "a.", "a..b"}) EXPECT_FALSE(issues_of(exported("stream", bad)).empty()) << bad;
    auto e = exported("stream", "a");
    e.info_url = "nohost";
    EXPECT_TRUE(mentions(issues_of(e), "info_url"));
    e.info_url = "http://h";
    e.description = std::string(8193, 'x');
    EXPECT_TRUE(mentions(issues_of(e), "description"));
}

TEST(exports, counts_that_cannot_be_compared_are_refused) {
    std::vector<export_claim> many;
    for (int i = 0; i < 2048; ++i) many.push_back(exported("stream", "s." + std::to_string(i)));
    EXPECT_TRUE(validate(account_with(many), now).empty());
    many.push_back(exported("stream", "last"));
    EXPECT_TRUE(mentions(validate(account_with(many), now), "too many to compare"));
    EXPECT_TRUE(mentions(validate(account_with({}, std::vector<import_claim>(2049, imported("stream", "a"))), now), "too many to compare"));
}

TEST(imports, kinds_and_flags) {
    EXPECT_TRUE(issues_of(imported("stream", "a.>")).empty());
    EXPECT_TRUE(mentions(issues_of(imported("", "a")), "invalid import type"));
    auto i = imported("service", "a");
    i.share = true;
    EXPECT_TRUE(issues_of(i).empty());
    i.type = "stream";
    EXPECT_TRUE(mentions(issues_of(i), "share"));
    i.share = false;
    i.allow_trace = true;
    EXPECT_TRUE(issues_of(i).empty());
    i.type = "service";
    EXPECT_TRUE(mentions(issues_of(i), "allow_trace"));
    EXPECT_TRUE(mentions(issues_of(imported("stream", "a", "")), "account to import from"));
    EXPECT_FALSE(issues_of(imported("stream", "")).empty());
}

TEST(imports, to_is_deprecated_and_excludes_local_subject) {
    auto i = imported("stream", "a");
    i.to = "b";
    const auto issues = issues_of(i);
    ASSERT_EQ(issues.size(), 1u);
    EXPECT_EQ(issues[0].level, issue::severity::warning);
    i.local_subject = "c";
    EXPECT_TRUE(mentions(issues_of(i), "both are set"));
}

TEST(imports, local_subject_uses_each_wildcard) {
    const std::pair<const char*, const char*> good[] = {{"a", "b"}, {"a.*", "b.$1"}, {"a.*.*", "$2.$1"}, {"a.*", "*.b"}, {"a.*.>", "b.$1.>"}, {">", ">"}, {"a.*.*", "x.*.$2"}, {"a", "$x"}};
    const std::pair<const char*, const char*> bad[] = {{"a.*", "b"}, {"a.*", "b.$2"}, {"a.*", "b.$0"}, {"a", "b.$1"}, {"a.>", "b"}, {"a", "b.>"}, {"a.*.*", "b.$1"}, {"a", "b..c"}, {"a", "b c"}};
    for (const auto& [subject, local] : good) {
        auto i = imported("stream", subject);
        i.local_subject = local;
        EXPECT_TRUE(issues_of(i).empty()) << subject << " " << local;
    }
    for (const auto& [subject, local] : bad) {
        auto i = imported("stream", subject);
        i.local_subject = local;
        EXPECT_FALSE(issues_of(i).empty()) << subject << " " << local;
    }
}

TEST(imports, service_overlaps_count_within_one_exporter) {
    const auto x = fresh_public(key_type::account), y = fresh_public(key_type::account);
    const auto issues = [](import_claim a, import_claim b) { return validate(account_with({}, {std::move(a), std::move(b)}), now); };
    EXPECT_TRUE(mentions(issues(imported("service", "a.*", x), imported("service", "a.b", x)), "overlap"));
    EXPECT_TRUE(mentions(issues(imported("service", "a", x), imported("service", "a", x)), "overlap"));
    EXPECT_TRUE(issues(imported("service", "a.*", x), imported("service", "a.b", y)).empty());
    EXPECT_TRUE(issues(imported("stream", "a", x), imported("stream", "a", x)).empty());
    auto renamed = imported("service", "b.*", x);
    renamed.local_subject = "a.$1";
    EXPECT_TRUE(mentions(issues(imported("service", "a.b", x), renamed), "overlap"));
}

TEST(imports, activation_tokens) {
    const auto exporter = key_pair::generate(key_type::account), signer = key_pair::generate(key_type::account);
    activation_claims act;
    act.sub = upstream_account;
    act.subject = "a.*";
    act.kind = "stream";
    auto i = imported("stream", "a.b", exporter.public_text());
    i.token = encode(act, exporter, now).value();
    EXPECT_TRUE(issues_of(i).empty());

    act.issuer_account = exporter.public_text();
    i.token = encode(act, signer, now).value();
    EXPECT_TRUE(issues_of(i).empty());
    act.issuer_account.clear();
    i.token = encode(act, signer, now).value();
    EXPECT_TRUE(mentions(issues_of(i), "not of account"));

    i.token = encode(act, exporter, now).value();
    i.subject = "b";
    EXPECT_TRUE(mentions(issues_of(i), "is for subject"));
    i.subject = "a.b";
    i.type = "service";
    EXPECT_TRUE(mentions(issues_of(i), "is for a stream"));
    i.type = "stream";

    auto other = act;
    other.sub = fresh_public(key_type::account);
    i.token = encode(other, exporter, now).value();
    EXPECT_TRUE(mentions(issues_of(i), "another account"));

    act.exp = 1;
    i.token = encode(act, exporter, now).value();
    EXPECT_TRUE(issues_of(i).empty());  // its expiry is no matter of the account

    i.token = "junk";
    EXPECT_TRUE(mentions(issues_of(i), "invalid activation token"));
}

TEST(activation, rules) {
    activation_claims a;
    a.sub = upstream_account;
    a.subject = "a";
    a.kind = "service";
    EXPECT_TRUE(validate(a, now).empty());
    a.exp = now - 1;
    EXPECT_FALSE(is_blocking(validate(a, now), false));
    EXPECT_TRUE(is_blocking(validate(a, now), true));
    a.exp = 0;
    a.issuer_account = upstream_user;
    EXPECT_TRUE(mentions(validate(a, now), "account_id is not an account public key"));
    a.issuer_account.clear();
    a.kind.clear();
    EXPECT_TRUE(mentions(validate(a, now), "neither stream nor service"));
    a.kind = "stream";
    a.subject = "a..b";
    EXPECT_FALSE(validate(a, now).empty());
    a.kind = "queue";
    EXPECT_FALSE(encode(a, key_pair::generate(key_type::account), now));
}

TEST(activation, hash_id_covers_the_subject_before_its_first_wildcard) {
    activation_claims a;
    a.iss = upstream_account;
    a.sub = counting_key(key_type::account).public_text();
    EXPECT_EQ(a.hash_id(), "");
    a.subject = "foo.bar.*";
    const auto id = a.hash_id();
    EXPECT_EQ(id.size(), 56u);
    EXPECT_TRUE(id.ends_with("===="));
    a.subject = "foo.bar";
    EXPECT_EQ(a.hash_id(), id);
    a.subject = "foo.bar.>";
    EXPECT_EQ(a.hash_id(), id);
    a.subject = "foo.*.bar";
    EXPECT_NE(a.hash_id(), id);
    a.subject = "*.x";
    const auto wild = a.hash_id();
    a.subject = "_";
    EXPECT_EQ(a.hash_id(), wild);
}
