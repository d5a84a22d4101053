// SPDX-License-Identifier: Apache-2.0
#include "engine/base/log.hpp"

#include <gtest/gtest.h>

namespace {

using namespace callgate;

// One line of the log, without its time.
std::string line_of(log::format f, std::string_view message, std::string_view value) {
    log::configure(log::level::info, f);
    ::testing::internal::CaptureStderr();
    const log::field fields[] = {{"name", std::string(value)}};
    log::write(log::level::info, message, fields);
    auto line = ::testing::internal::GetCapturedStderr();
    log::configure(log::level::info, log::format::text);
    return line;
}

TEST(log, neither_a_message_nor_a_value_can_forge_a_line_or_hide_in_it) {
    const std::string bad = "a\nb\x1b[2J\xe2\x80\xae" "c\xe2\x80\x8b";
    const std::string shown = "a\\u000ab\\u001b[2J\\u202ec\\u200b";
    const auto text = line_of(log::format::text, bad, bad);
    EXPECT_NE(text.find(" info \"" + shown + "\" name=\"" + shown + "\"\n"), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), text.size() - 1);
    const auto json = line_of(log::format::json, bad, bad);
    EXPECT_NE(json.find("\"msg\":\"" + shown + "\",\"name\":\"" + shown + "\"}\n"), std::string::npos) << json;
    EXPECT_EQ(json.find('\n'), json.size() - 1);
}

TEST(log, an_ordinary_message_stands_as_it_was_written) {
    const auto line = line_of(log::format::text, "key \"a\\b\" of J\xc3\xb6rg", "plain");
    EXPECT_NE(line.find(" info key \"a\\b\" of J\xc3\xb6rg name=plain\n"), std::string::npos) << line;
}

}  // namespace
