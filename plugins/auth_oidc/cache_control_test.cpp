// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_oidc/cache_control.hpp"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace {

using namespace callgate;
using auth_oidc::cache_control;

/// Seconds; -1 = the fields say nothing.
std::int64_t lifetime(const std::vector<std::string>& fields) {
    cache_control c;
    for (const auto& f : fields) c.read(f);
    return c.lifetime().value_or(std::chrono::seconds(-1)).count();
}

std::int64_t fresh(const std::vector<std::pair<std::string, std::string>>& headers) {
    std::vector<cg_http_header> raw;
    for (const auto& [k, v] : headers) raw.push_back({sdk::to_c(k), sdk::to_c(v)});
    auto r = sdk::make<cg_http_response>();
    r.headers_stride = sizeof(cg_http_header);
    r.headers = raw.data();
    r.header_count = raw.size();
    return auth_oidc::fresh_for(sdk::http_response_view(&r)).value_or(std::chrono::seconds(-1)).count();
}

TEST(cache_control, max_age_is_the_lifetime) {
    EXPECT_EQ(lifetime({"max-age=3600"}), 3600);
    EXPECT_EQ(lifetime({"public, max-age=3600, must-revalidate, stale-if-error=60"}), 3600);
    EXPECT_EQ(lifetime({"Public,MAX-Age=0060"}), 60);
    EXPECT_EQ(lifetime({"max-age=\"60\""}), 60) << "RFC 9111, 5.2: both forms";
    EXPECT_EQ(lifetime({"max-age=0"}), 0);
    EXPECT_EQ(lifetime({" ,\t, max-age=5 , ,"}), 5);
    EXPECT_EQ(lifetime({"ext=\"a, max-age=1, \\\"no-store\", max-age=7"}), 7) << "a comma in quotes ends nothing";
}

TEST(cache_control, silence_is_no_lifetime) {
    EXPECT_EQ(lifetime({}), -1);
    EXPECT_EQ(lifetime({""}), -1);
    EXPECT_EQ(lifetime({" , "}), -1);
    EXPECT_EQ(lifetime({"public, immutable"}), -1);
    EXPECT_EQ(lifetime({"s-maxage=60"}), -1) << "for shared caches only";
    EXPECT_EQ(lifetime({"x-max-age=60, max-age-x=3, private=\"max-age\""}), -1);
}

TEST(cache_control, no_store_and_no_cache_leave_no_lifetime_whatever_else_is_said) {
    EXPECT_EQ(lifetime({"no-store"}), 0);
    EXPECT_EQ(lifetime({"max-age=3600, No-Cache"}), 0);
    EXPECT_EQ(lifetime({"no-store", "max-age=3600"}), 0);
    EXPECT_EQ(lifetime({"no-cache=\"set-cookie\", max-age=3600"}), 0);
}

TEST(cache_control, several_fields_are_one_list) {
    EXPECT_EQ(lifetime({"public", "max-age=60"}), 60);
    EXPECT_EQ(lifetime({"max-age=60, max-age=30", "max-age=90"}), 30) << "the smallest of several";
}

TEST(cache_control, numbers_of_any_length_stay_within_bounds) {
    EXPECT_EQ(lifetime({"max-age=2147483647"}), 2147483647);
    EXPECT_EQ(lifetime({"max-age=9223372036854775808"}), 2147483648);
    EXPECT_EQ(lifetime({"max-age=" + std::string(4000, '9')}), 2147483648);
    EXPECT_EQ(lifetime({"max-age=" + std::string(4000, '0') + "1"}), 1);
}

TEST(cache_control, what_has_not_the_form_is_stale) {
    for (const char* field : {"max-age", "max-age=", "max-age=-1", "max-age=+1", "max-age=1.5", "max-age=6e1", "max-age=60s", "max-age=\"\"", "max-age=\"6\\0\"",
                              "max-age=60 30", "max-age =60", "max-age= 60", "max-age=60;x", "=60", "max-age=60, x=", "max-age=60, x=\"", "max-age=60, \"x\"",
                              "max-age=60, x=\"a\"b", "max-age=60, x=\"\\", "max-age=60, {}", "max-age=60\r\nx", "max-age=60, \xc3\xa4"})
        EXPECT_EQ(lifetime({field}), 0) << field;
    EXPECT_EQ(lifetime({"max-age=60, x=\"\""}), 60) << "an empty quoted string has the form";
    EXPECT_EQ(lifetime({std::string("max-age=60\0", 11)}), 0);
}

TEST(cache_control, no_more_is_read_than_the_bounds_allow) {
    std::string many = "max-age=60";
    for (int i = 1; i < 64; ++i) many += ",x";
    EXPECT_EQ(lifetime({many}), 60);
    EXPECT_EQ(lifetime({many, "x"}), 0);
    EXPECT_EQ(lifetime({"max-age=60" + std::string(4096 - 10, ',')}), 60);
    EXPECT_EQ(lifetime({"max-age=60" + std::string(4096 - 10, ','), ","}), 0);
    EXPECT_EQ(lifetime(std::vector<std::string>(10'000, std::string(100, ' '))), 0);
}

TEST(cache_control, age_is_taken_off_and_ignored_when_it_is_no_number) {
    EXPECT_EQ(fresh({{"cache-control", "max-age=60"}, {"AGE", "20"}}), 40);
    EXPECT_EQ(fresh({{"Cache-Control", "max-age=60"}, {"Age", " 20, 50"}}), 40);
    EXPECT_EQ(fresh({{"Cache-Control", "max-age=60"}, {"Age", "99999999999999999999"}}), 0);
    for (const char* age : {"", "-5", "soon", "1 2", "0x10", "9.5"}) EXPECT_EQ(fresh({{"Cache-Control", "max-age=60"}, {"Age", age}}), 60) << age;
    EXPECT_EQ(fresh({{"Age", "20"}}), -1);
    EXPECT_EQ(fresh({{"Cache-Control", "public"}, {"X", "max-age=1"}, {"CACHE-CONTROL", "max-age=50"}}), 50) << "all fields of the name";
}

}  // namespace
