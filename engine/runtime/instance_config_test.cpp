// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/instance_config.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "engine/policy/document.hpp"
#include "engine/runtime/config_references.hpp"

namespace callgate::runtime {
namespace {

constexpr const char* schema = R"({"type":"object","additionalProperties":false,"properties":{
  "password":{"type":"string","x-callgate-secret":true},"port":{"type":"integer"},"code":{"type":"string"},"url":{"type":"string"},"literal":{"type":"string"}}})";

class instance_config_test : public ::testing::Test {
  protected:
    instance_config_test() {
        std::string pattern = (std::filesystem::temp_directory_path() / "callgate-instance-test-XXXXXX").string();
        settings.base_dir = ::mkdtemp(pattern.data());
        settings.file = settings.base_dir + "/c.yaml";
        ::setenv("CALLGATE_TEST_PASSWORD", "planted secret", 1);
        ::setenv("CALLGATE_TEST_PORT", "389", 1);
    }
    ~instance_config_test() override {
        ::unsetenv("CALLGATE_TEST_PASSWORD");
        ::unsetenv("CALLGATE_TEST_PORT");
        std::filesystem::remove_all(settings.base_dir);
    }
    // As the loader reads one instance.
    instance_options read(const std::string& yaml) {
        std::vector<finding> out;
        auto tree = policy::parse_yaml("backends:\n  ldap:\n    plugin: x\n    config:\n" + yaml, "c.yaml", out);
        EXPECT_TRUE(tree);
        set_aside_references(*tree);
        policy::expand_environment(*tree, "c.yaml", out);
        EXPECT_TRUE(out.empty());
        const auto* config = tree->find("backends")->find("ldap")->find("config");
        instance_options o;
        o.name = "ldap";
        o.line = 2;
        o.config_json = policy::to_json(*config);
        o.references = references_in(*config);
        o.config_lines = {{"password", 5}};
        return o;
    }
    config settings;
};

TEST_F(instance_config_test, references_stay_until_the_schema_is_known) {
    const auto o = read("      password: ${CALLGATE_TEST_PASSWORD}\n      port: ${CALLGATE_TEST_PORT}\n      code: \"${CALLGATE_TEST_PORT}\"\n"
                        "      url: ldap://h:${CALLGATE_TEST_PORT}\n      literal: $${CALLGATE_TEST_PORT}\n");
    EXPECT_EQ(o.config_json.find("planted"), std::string::npos) << o.config_json;
    const auto r = resolve_instance(o, schema, settings, "backends");
    ASSERT_TRUE(r.value) << r.findings.at(0).message();
    const auto v = boost::json::parse(r.value->options.config_json);
    EXPECT_EQ(v.at("port").as_int64(), 389);
    EXPECT_EQ(v.at("code").as_string(), "389") << "quoted";
    EXPECT_EQ(v.at("url").as_string(), "ldap://h:389");
    EXPECT_EQ(v.at("literal").as_string(), "${CALLGATE_TEST_PORT}");
    EXPECT_EQ(r.value->options.config_json.find("planted"), std::string::npos);
    ASSERT_TRUE(r.value->secrets);
    std::uint8_t bytes[64];
    cg_outbuf out{bytes, sizeof bytes, 0};
    ASSERT_EQ(r.value->secrets->read(std::string_view(v.at("password").as_string()), out), CG_OK);
    EXPECT_EQ(std::string(reinterpret_cast<char*>(bytes), out.size), "planted secret");
}

TEST_F(instance_config_test, secret_files_are_checked_and_faults_name_the_line) {
    std::ofstream(settings.base_dir + "/pw") << "from file\n";
    ::chmod((settings.base_dir + "/pw").c_str(), 0644);
    auto r = resolve_instance(read("      password: file:pw\n"), schema, settings, "backends");
    ASSERT_EQ(r.findings.size(), 1u);
    EXPECT_FALSE(r.value);
    EXPECT_NE(r.findings[0].message().find("c.yaml:5: backends.ldap.config.password: "), std::string::npos) << r.findings[0].message();
    EXPECT_NE(r.findings[0].message().find("chmod 600"), std::string::npos) << r.findings[0].message();
    ::chmod((settings.base_dir + "/pw").c_str(), 0600);
    EXPECT_TRUE(resolve_instance(read("      password: file:pw\n"), schema, settings, "backends").value);
    r = resolve_instance(read("      password: hunter2\n"), schema, settings, "backends");
    ASSERT_FALSE(r.value);
    EXPECT_EQ(r.findings[0].message().find("hunter2"), std::string::npos);
}

TEST_F(instance_config_test, without_marks_everything_is_as_in_the_file) {
    const auto o = read("      port: ${CALLGATE_TEST_PORT}\n");
    const auto r = resolve_instance(o, R"({"type":"object"})", settings, "backends");
    ASSERT_TRUE(r.value);
    EXPECT_EQ(r.value->options.config_json, R"({"port":389})");
    EXPECT_FALSE(r.value->secrets);
    EXPECT_FALSE(resolve_instance(o, R"({"properties":{"port":{"type":"string"}}})", settings, "backends").value) << "typed as the file would be";
}

TEST_F(instance_config_test, variable_that_is_not_set_is_a_finding_of_the_loader) {
    std::vector<finding> out;
    auto tree = policy::parse_yaml("keys:\n  k:\n    config:\n      a: ${CALLGATE_TEST_UNSET}\n", "c.yaml", out);
    ASSERT_TRUE(tree);
    set_aside_references(*tree);
    policy::expand_environment(*tree, "c.yaml", out);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_NE(out[0].message().find("c.yaml:4: keys.k.config.a: environment variable CALLGATE_TEST_UNSET is not set"), std::string::npos) << out[0].message();
}

}  // namespace
}  // namespace callgate::runtime
