// SPDX-License-Identifier: Apache-2.0
#include <callgate/sdk/config.hpp>
#include <gtest/gtest.h>

namespace {

using callgate::sdk::config_view;
using callgate::sdk::parse_duration;
using callgate::sdk::status_error;
using namespace std::chrono_literals;

std::string fault(const std::string& json, const std::function<void(const config_view&)>& read) {
    try {
        read(config_view::parse(json));
    } catch (const status_error& e) {
        return e.where() + "|" + e.what();
    }
    return "no error";
}

TEST(config, reads_values_with_defaults) {
    const auto c = config_view::parse(R"({"a": {"b": [1, "2s", true, "\u00e9\ud83d\ude00"]}, "n": -5})");
    const auto b = c.at("a").at("b").items();
    EXPECT_EQ(b[0].integer(0, 9), 1);
    EXPECT_EQ(b[1].duration(0s, 1h), 2s);
    EXPECT_TRUE(b[2].boolean());
    EXPECT_EQ(b[3].string(), "\xc3\xa9\xf0\x9f\x98\x80");
    EXPECT_EQ(c.integer_or("n", 0, -10, 10), -5);
    EXPECT_EQ(c.integer_or("absent", 3, 0, 10), 3);
    EXPECT_EQ(c.string_or("absent", "x"), "x");
}

TEST(config, fault_names_the_path) {
    const std::string json = R"({"issuers": [{"leeway": "soon", "n": 1.5, "x": 1}]})";
    const auto first = [](const config_view& c) { return c.at("issuers").items()[0]; };
    EXPECT_TRUE(fault(json, [&](const auto& c) { (void)first(c).duration_or("leeway", 0s, 0s, 1h); }).starts_with("issuers[0].leeway|\"soon\" is not"));
    EXPECT_TRUE(fault(json, [&](const auto& c) { (void)first(c).integer_or("n", 0, 0, 9); }).starts_with("issuers[0].n|"));
    EXPECT_TRUE(fault(json, [&](const auto& c) { first(c).only({"leeway", "n"}); }).starts_with("issuers[0].x|"));
    EXPECT_TRUE(fault(json, [&](const auto& c) { (void)first(c).at("gone"); }).starts_with("issuers[0].gone|"));
    EXPECT_TRUE(fault(json, [&](const auto& c) { (void)c.at("issuers").string(); }).starts_with("issuers|must be a string"));
}

TEST(config, refuses_what_is_not_json) {
    for (const char* bad : {"", "{", "{\"a\":1,}", "{\"a\":1,\"a\":2}", "[1 2]", "{\"a\":01}", "\"\\ud800\"", "\"\\q\"", "nul", "{} x", "\"\n\"", "-", "1."})
        EXPECT_THROW(config_view::parse(bad), status_error) << bad;
    EXPECT_THROW(config_view::parse(std::string(100'000, '[')), status_error);
}

TEST(config, durations) {
    EXPECT_EQ(parse_duration("250ms"), 250ms);
    EXPECT_EQ(parse_duration("1.5h"), 90min);
    EXPECT_EQ(parse_duration("0"), 0s);
    for (const char* bad : {"", "5", "s", "-1s", "1 s", "1y", "1e300h", "nan s", "infs"}) EXPECT_THROW((void)parse_duration(bad), status_error) << bad;
}

}  // namespace
