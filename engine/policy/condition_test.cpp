// SPDX-License-Identifier: Apache-2.0
#include "engine/policy/condition.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace callgate::policy {
namespace {

using testing::HasSubstr;

const std::vector<std::string> known_backends{"users", "corp"};

condition parsed(const std::string& yaml, std::vector<finding>& out, bool identity = true, bool pinned = true) {
    const auto tree = parse_yaml(yaml, "t.yaml", out);
    EXPECT_TRUE(tree) << yaml;
    const reporter to("t.yaml", out);
    return parse_condition(tree ? *tree : node{}, "when", {&to, identity, pinned, known_backends});
}

bool holds(const std::string& yaml, const connection& c, const identity& who) {
    std::vector<finding> out;
    const auto when = parsed(yaml, out);
    for (const auto& f : out) ADD_FAILURE() << f.message();
    claims_view claims;
    EXPECT_TRUE(claims.parse(who.attributes_json)) << who.attributes_json;
    return when.holds({&c, &who, &claims});
}

bool claim_holds(const std::string& yaml, const std::string& json) {
    identity who;
    who.subject = "alice";
    who.attributes_json = json;
    return holds(yaml, {}, who);
}

std::string refusal_of(const std::string& yaml, bool identity = true, bool pinned = true) {
    std::vector<finding> out;
    (void)parsed(yaml, out, identity, pinned);
    std::string all;
    for (const auto& f : out) all += f.message() + "\n";
    return all;
}

TEST(condition, text_fields_compare_whole_words) {
    connection c;
    c.user = "alice";
    identity who;
    who.backend = "corp";
    who.issuer = "https://idp.example";
    who.subject = "alice";
    EXPECT_TRUE(holds("{backend: corp}", c, who));
    EXPECT_FALSE(holds("{backend: users}", c, who));
    EXPECT_TRUE(holds("{issuer: {glob: 'https://*.example'}}", c, who));
    EXPECT_TRUE(holds("{subject: {in: [bob, alice]}}", c, who));
    EXPECT_FALSE(holds("{subject: Alice}", c, who));
    EXPECT_TRUE(holds("{connection.user: alice, subject: alice}", c, who));
    EXPECT_FALSE(holds("{connection.user: alice, subject: bob}", c, who));
    EXPECT_TRUE(holds("{connection.client_name: {exists: false}}", c, who));
    EXPECT_FALSE(holds("{connection.client_name: {glob: '*'}}", c, who)) << "absent is not empty text";
    EXPECT_TRUE(holds("always", c, who));
}

TEST(condition, claims_compare_by_type) {
    EXPECT_TRUE(claim_holds("{claims.team: blue}", R"({"team":"blue"})"));
    EXPECT_TRUE(claim_holds("{claims.level: 3}", R"({"level":3})"));
    EXPECT_FALSE(claim_holds("{claims.level: '3'}", R"({"level":3})"));
    EXPECT_FALSE(claim_holds("{claims.level: 3}", R"({"level":"3"})"));
    EXPECT_FALSE(claim_holds("{claims.level: 3}", R"({"level":3.0})"));
    EXPECT_TRUE(claim_holds("{claims.admin: true}", R"({"admin":true})"));
    EXPECT_FALSE(claim_holds("{claims.admin: true}", R"({"admin":"true"})"));
    EXPECT_TRUE(claim_holds("{claims.admin: 'true'}", R"({"admin":"true"})"));
    EXPECT_TRUE(claim_holds("{claims.a.b: x}", R"({"a":{"b":"x"}})"));
    EXPECT_FALSE(claim_holds("{claims.a.b: x}", R"({"a.b":"x"})"));
    EXPECT_TRUE(claim_holds(R"({'claims."a.b".c': x})", R"({"a.b":{"c":"x"}})"));
    EXPECT_TRUE(claim_holds("{k8s.namespace: prod}", R"({"kubernetes.io":{"namespace":"prod"}})"));
    EXPECT_TRUE(claim_holds("{claims.ip: {cidr: 10.0.0.0/8}}", R"({"ip":"10.9.9.9"})"));
}

TEST(condition, absence_and_null_are_the_same) {
    EXPECT_TRUE(claim_holds("{claims.x: {exists: false}}", "{}"));
    EXPECT_TRUE(claim_holds("{claims.x: {exists: false}}", R"({"x":null})"));
    EXPECT_TRUE(claim_holds("{claims.x: {exists: true}}", R"({"x":false})"));
    EXPECT_FALSE(claim_holds("{claims.x.y: {exists: true}}", R"({"x":"text"})"));
    EXPECT_TRUE(claim_holds("{not: {claims.x: y}}", "{}"));
}

TEST(condition, has_looks_into_lists_and_takes_a_lone_value_as_a_list_of_one) {
    EXPECT_TRUE(claim_holds("{claims.groups: {has: ops}}", R"({"groups":["dev","ops"]})"));
    EXPECT_FALSE(claim_holds("{claims.groups: {has: op}}", R"({"groups":["dev","ops"]})"));
    EXPECT_TRUE(claim_holds("{claims.groups: {has: [x, ops]}}", R"({"groups":["dev","ops"]})"));
    EXPECT_TRUE(claim_holds("{claims.groups: {has: ops}}", R"({"groups":"ops"})"));
    EXPECT_FALSE(claim_holds("{claims.groups: {has: ops}}", R"({"groups":{"ops":1}})"));
    EXPECT_FALSE(claim_holds("{claims.groups: {has: 1}}", R"({"groups":["1"]})"));
    const std::string_view tags[] = {"region:eu", "tier:gold"};
    connection c;
    c.client_tags = tags;
    EXPECT_TRUE(holds("{tags: {has: 'tier:gold'}}", c, {}));
    EXPECT_TRUE(holds("{tags: 'tier:gold'}", c, {}));
    EXPECT_FALSE(holds("{connection.server_tags: {exists: true}}", c, {}));
}

TEST(condition, all_any_not_nest) {
    const std::string json = R"({"a":"1","b":"2"})";
    EXPECT_TRUE(claim_holds("{all: [{claims.a: '1'}, {claims.b: '2'}]}", json));
    EXPECT_FALSE(claim_holds("{all: [{claims.a: '1'}, {claims.b: '3'}]}", json));
    EXPECT_TRUE(claim_holds("{any: [{claims.a: '9'}, {claims.b: '2'}]}", json));
    EXPECT_FALSE(claim_holds("{any: [{claims.a: '9'}, {claims.b: '9'}]}", json));
    EXPECT_TRUE(claim_holds("{all: [{not: {any: [{claims.a: '9'}, {claims.b: '9'}]}}, {claims.a: '1'}]}", json));
    EXPECT_FALSE(claim_holds("{claims.a: '1', not: {claims.b: '2'}}", json));
    EXPECT_TRUE(claim_holds("{claims.a: {in: ['1', '5'], exists: true}}", json));
}

TEST(condition, networks_compare_bytes_not_spelling) {
    const auto at = [](const std::string& yaml, std::string_view host) {
        connection c;
        c.client_host = host;
        return holds(yaml, c, {});
    };
    const std::string ten = "{connection.client_host: {cidr: [10.0.0.0/8, '2001:db8::/33']}}";
    EXPECT_TRUE(at(ten, "10.1.2.3"));
    EXPECT_TRUE(at(ten, "::ffff:10.1.2.3"));
    EXPECT_FALSE(at(ten, "11.0.0.0"));
    EXPECT_FALSE(at(ten, "9.255.255.255"));
    EXPECT_TRUE(at(ten, "2001:db8:7fff::1"));
    EXPECT_FALSE(at(ten, "2001:db8:8000::1"));
    EXPECT_FALSE(at(ten, "localhost"));
    EXPECT_FALSE(at(ten, ""));
    EXPECT_FALSE(at(ten, std::string(200, '1')));
    EXPECT_TRUE(at("{connection.client_host: '::1'}", "0:0:0:0:0:0:0:1"));
    EXPECT_TRUE(at("{connection.client_host: {cidr: 0.0.0.0/0}}", "255.255.255.255"));
    EXPECT_FALSE(at("{connection.client_host: {cidr: 0.0.0.0/0}}", "::1"));
    EXPECT_TRUE(at("{connection.client_host: {in: [192.0.2.1, 192.0.2.2]}}", "192.0.2.2"));
}

TEST(condition, connection_kind_and_tls_are_words) {
    connection c;
    c.kind = client_kind::mqtt;
    c.tls = tls_state::verified;
    c.server_pinned = true;
    EXPECT_TRUE(holds("{connection.kind: {in: [websocket, mqtt]}, connection.tls: verified, connection.server_pinned: true}", c, {}));
    EXPECT_FALSE(holds("{connection.kind: leafnode}", c, {}));
    EXPECT_FALSE(holds("{connection.has_jwt: true}", c, {}));
}

TEST(condition, glob_table) {
    struct row { std::string_view pattern, text; bool expected; };
    for (const auto& r : {row{"*", "", true}, row{"a*", "abc", true}, row{"*c", "abc", true}, row{"a*c", "abbbc", true}, row{"a*c", "abbbd", false},
                          row{"a?c", "abc", true}, row{"a?c", "ac", false}, row{"*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaac", false},
                          row{"**", "x", true}, row{"", "", true}, row{"", "x", false}, row{"a", "A", false}}) {
        EXPECT_EQ(glob_matches(r.pattern, r.text), r.expected) << r.pattern << " " << r.text;
    }
}

TEST(condition, claims_are_refused_whole_when_they_are_not_one_bounded_object) {
    claims_view v;
    EXPECT_TRUE(v.parse(""));
    EXPECT_TRUE(v.parse("{}"));
    EXPECT_TRUE(v.parse(R"({"a":{"b":[1,{"c":null}]}})"));
    for (const std::string bad : {"[]", "1", "null", "{", R"({"a":1}x)", R"({"a":1,"a":2})", R"({"a":{"b":1,"b":2}})", R"([{"a":1}])",
                                  R"({"a":[{"x":1,"x":1}]})", "{\"a\":1,\"\\u0061\":2}", "{\"a\":\"\xff\"}", "{\"a\":\"\n\"}"}) {
        EXPECT_FALSE(v.parse(bad)) << bad;
        EXPECT_FALSE(v.find(std::vector<std::string>{"a"})) << "nothing may be read from refused claims";
    }
    EXPECT_TRUE(v.parse(R"({"a":)" + std::string(60, '[') + std::string(60, ']') + "}"));
    EXPECT_FALSE(v.parse(R"({"a":)" + std::string(1000, '[') + std::string(1000, ']') + "}"));
    EXPECT_FALSE(v.parse(R"({"a":")" + std::string(70'000, 'x') + "\"}"));
    std::string many = "{";
    for (int i = 0; i < 40; ++i) many += "\"k" + std::to_string(i) + "\":1,";
    EXPECT_TRUE(v.parse(many + "\"z\":1}"));
    EXPECT_FALSE(v.parse(many + "\"k3\":1}"));
    EXPECT_FALSE(v.parse(many + "\"k39\":1}"));
}

TEST(condition, a_route_knows_no_identity) {
    EXPECT_THAT(refusal_of("{claims.team: blue}", false), HasSubstr("t.yaml:1: when.claims.team: claims.team is not known yet when a route is chosen"));
    EXPECT_THAT(refusal_of("{not: {backend: corp}}", false), HasSubstr("when.not.backend: backend is not known yet"));
}

TEST(condition, what_a_forged_server_could_say_needs_pinned_servers) {
    for (const std::string f : {"connection.client_host: 10.0.0.1", "connection.tls: verified", "connection.kind: mqtt", "connection.server_name: a",
                                "connection.server_cluster: a", "connection.server_id: a", "tags: {has: a}", "connection.server_tags: {has: a}"}) {
        EXPECT_THAT(refusal_of("{any: [{not: {" + f + "}}]}", true, false), HasSubstr("set callout.servers to discovered")) << f;
        EXPECT_EQ(refusal_of("{" + f + "}", true, true), "") << f;
    }
    EXPECT_EQ(refusal_of("{connection.user: a, connection.has_jwt: true, claims.x: 1}", true, false), "");
}

TEST(condition, everything_wrong_is_reported_with_its_place) {
    struct row { std::string yaml, expected; };
    for (const auto& r : {
             row{"{}", "when: must be a mapping of fields"}, row{"sometimes", "the word always, not \"sometimes\""}, row{"[{backend: corp}]", "not a list"},
             row{"{backned: corp}", "when.backned: unknown field; did you mean \"backend\"?"}, row{"{conection.kind: mqtt}", "did you mean \"connection.kind\"?"},
             row{"{claims.: x}", "unknown field"}, row{"{'claims.a..b': x}", "unknown field"}, row{"{backend: crop}", "no backend is named \"crop\"; did you mean \"corp\"?"},
             row{"{connection.kind: mqt}", "did you mean \"mqtt\"?"}, row{"{connection.kind: {glob: m*}}", "use in"}, row{"{claims.a: {eq: 1}}", "when.claims.a.eq: unknown operator"},
             row{"{claims.a: {exist: true}}", "did you mean \"exists\"?"}, row{"{claims.a: [x]}", "is a list; write {in: [...]}"}, row{"{claims.a: }", "write {exists: false}"},
             row{"{claims.a: {in: []}}", "an empty list"}, row{"{claims.a: {exists: maybe}}", "exists is true or false"},
             row{"{connection.client_host: {cidr: 10.0.0.1/8}}", "bits set behind its prefix"}, row{"{connection.client_host: {cidr: 10.0.0.0/33}}", "0 to 32"},
             row{"{connection.client_host: {cidr: ten}}", "not a network"}, row{"{connection.client_host: 10.0.0.0/8}", "write {cidr: [...]}"},
             row{"{connection.client_host: {glob: 10.*}}", "use cidr"}, row{"{subject: {cidr: 10.0.0.0/8}}", "it is not an address"}, row{"{subject: {has: a}}", "use equals or in"},
             row{"{tags: {equals: a}}", "use has"}, row{"{connection.has_jwt: yes}", "is true or false, not \"yes\""}, row{"{connection.has_jwt: {exists: true}}", "it is always there"},
             row{"{all: []}", "when.all: must be a list of conditions"}, row{"{any: {a: b}}", "not a mapping"}, row{"{not: [{backend: corp}]}", "when.not: must be a mapping"},
             row{"{all: [{backend: corp}, {clams.x: 1}]}", "when.all[1].clams.x: unknown field"},
             row{"{subject: {glob: '" + std::string(300, '*') + "'}}", "1 to 256 bytes"}}) {
        EXPECT_THAT(refusal_of(r.yaml), HasSubstr(r.expected)) << r.yaml;
    }
}

}  // namespace
}  // namespace callgate::policy
