// SPDX-License-Identifier: Apache-2.0
// configs/schema.json and the loader describe the same file.
#include "engine/runtime/config_schema.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <set>

#include "engine/runtime/config_fixture.hpp"
#include "engine/runtime/config_sections.hpp"

namespace callgate::runtime {
namespace {

using ::testing::HasSubstr;

std::string text_of(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    EXPECT_TRUE(in) << path;
    return {std::istreambuf_iterator<char>(in), {}};
}
const std::filesystem::path folder = CALLGATE_CONFIGS;

const boost::json::object& schema() {
    static const auto value = boost::json::parse(text_of(folder / "schema.json")).as_object();
    return value;
}

std::set<std::string> properties_of(const boost::json::object& definition) {
    std::set<std::string> out;
    for (const auto& p : definition.at("properties").as_object()) out.emplace(p.key());
    return out;
}

TEST(config_schema, has_every_key_of_the_loader_and_no_other) {
    std::set<std::string> known;
    for (const auto& table : known_mappings()) {
        known.emplace(table.name);
        const auto& definition = table.name == "root" ? schema() : schema().at("definitions").at(boost::json::string_view(table.name.data(), table.name.size())).as_object();
        EXPECT_EQ(properties_of(definition), std::set<std::string>(table.keys.begin(), table.keys.end())) << table.name;
        EXPECT_EQ(definition.at("additionalProperties"), boost::json::value(false)) << table.name;
    }
    EXPECT_GE(known.size(), 25u);
    for (const auto& d : schema().at("definitions").as_object()) {
        if (!d.value().as_object().contains("properties")) continue;
        EXPECT_TRUE(known.contains(std::string(d.key()))) << d.key() << " is unknown to the loader";
    }
}

TEST(config_schema, names_every_reason) {
    std::set<std::string> in_schema;
    for (const auto& r : schema().at("definitions").at("test_expect").at("properties").at("deny").at("enum").as_array()) in_schema.emplace(r.as_string());
    const auto ids = policy::reason_ids();
    EXPECT_EQ(in_schema, std::set<std::string>(ids.begin(), ids.end()));
}

std::string json_of(const std::string& yaml, bool environment) {
    std::vector<finding> out;
    auto tree = policy::parse_yaml(yaml, "c", out);
    EXPECT_TRUE(tree);
    if (environment) policy::expand_environment(*tree, "c", out);
    EXPECT_TRUE(out.empty()) << testing::messages(out);
    return policy::to_json(*tree);
}

TEST(config_schema, every_configuration_fits_the_schema_and_the_loader) {
    testing::set_account_environment();
    const auto text = text_of(folder / "schema.json");
    std::set<std::string> seen;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() != ".yaml") continue;
        seen.insert(entry.path().filename().string());
        for (const auto& v : validate_json(text, json_of(text_of(entry.path()), true))) ADD_FAILURE() << entry.path() << ": " << v.where << ": " << v.text;
        const auto o = load_config(entry.path().string());
        EXPECT_TRUE(o.value) << testing::messages(o.findings);
    }
    EXPECT_EQ(seen, (std::set<std::string>{"minimal.yaml", "config_mode.yaml", "operator_mode.yaml", "production.yaml"}));
}

TEST(config_schema, a_policy_file_fits_its_definition) {
    auto as_root = schema();
    as_root = boost::json::object{{"$schema", schema().at("$schema")}, {"definitions", schema().at("definitions")}, {"allOf", boost::json::array{boost::json::object{{"$ref", "#/definitions/policy"}}}}};
    const auto text = boost::json::serialize(as_root);
    for (const auto& v : validate_json(text, json_of(text_of(folder / "policy/production.yaml"), true))) ADD_FAILURE() << v.where << ": " << v.text;
    EXPECT_FALSE(validate_json(text, R"({"rules": []})").empty());
}

// Both must refuse, so that an editor that knows the schema and `callgate check` agree.
TEST(config_schema, refuses_what_the_loader_refuses) {
    testing::set_account_environment();
    const auto text = text_of(folder / "schema.json");
    const auto good = text_of(folder / "config_mode.yaml");
    struct row { std::string from, to; };
    for (const auto& r : {row{"mode: config", "mode: conf"}, row{"xkeys: [local/xkey]", "xkey: local/xkey"}, row{"  system_account: SYS\n  issuer", "  issuer"}, row{"issuer: local/issuer", "issuer: issuer"},
                          row{"plugin: key_file", "plugin: a/b"}, row{"max_ttl: 1h", "max_ttl: 60"}, row{"max_ttl: 1h", "max_ttl: true"}, row{"deny: true", "deny: false"},
                          row{"credential: [pass]", "credential: [password]"}, row{"chain: [users]", "chain: []"}, row{"urls: [nats://127.0.0.1:4222]", "url: nats://127.0.0.1:4222"},
                          row{"servers: discovered", "servers: [x]"}, row{"when: {connection.kind: mqtt}", "when: {kind: mqtt}"}, row{"{has: ops}", "{contains: ops}"},
                          row{"resp: {max: 1, ttl: 1m}", "resp: {max: 0}"}, row{"when: {claims.disabled: true}", "when: {}"}, row{"log: {level: info}", "log: {level: verbose}"},
                          row{"expect: {deny: rule_denies}", "expect: {deny: because}"}, row{"password_file: keys/callout.password", "x: y"}}) {
        auto bad = good;
        ASSERT_NE(bad.find(r.from), std::string::npos) << r.from;
        bad.replace(bad.find(r.from), r.from.size(), r.to);
        EXPECT_FALSE(validate_json(text, json_of(bad, true)).empty()) << r.to << " passes the schema";
        EXPECT_FALSE(load_config_text(bad, "c.yaml", folder.string()).value) << r.to << " passes the loader";
    }
}

TEST(config_schema, an_instances_config_is_checked_with_its_line) {
    instance_options i;
    i.name = "local";
    i.line = 14;
    i.config_json = R"({"files":{"a":1},"extra":true,"list":[{"url":2}]})";
    i.config_lines = {{"files", 16}, {"files.a", 17}, {"list", 18}, {"list[0].url", 19}};
    const std::string plugin_schema = R"({"type":"object","additionalProperties":false,"required":["files"],"properties":{
        "files":{"type":"object","additionalProperties":{"type":"string"}},
        "list":{"type":"array","items":{"type":"object","properties":{"url":{"type":"string"}}}}}})";
    const auto found = testing::messages(check_against_schema(plugin_schema, i, "c.yaml", "keys"));
    EXPECT_THAT(found, HasSubstr("c.yaml:17: keys.local.config.files.a: "));
    EXPECT_THAT(found, HasSubstr("c.yaml:19: keys.local.config.list[0].url: "));
    EXPECT_THAT(found, HasSubstr("c.yaml:14: keys.local.config: "));
    i.config_json = R"({"files":{"a":"b"}})";
    EXPECT_TRUE(check_against_schema(plugin_schema, i, "c.yaml", "keys").empty());
    EXPECT_THAT(testing::messages(check_against_schema("{", i, "c.yaml", "keys")), HasSubstr("the schema is not JSON"));
    EXPECT_THAT(testing::messages(check_against_schema(R"({"type":"nonsense"})", i, "c.yaml", "keys")), HasSubstr("the schema cannot be used"));
}

}  // namespace
}  // namespace callgate::runtime
