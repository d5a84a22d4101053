// SPDX-License-Identifier: Apache-2.0
#include "engine/policy/document.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace callgate::policy {
namespace {

using testing::HasSubstr;

std::string findings_of(const std::string& yaml) {
    std::vector<finding> out;
    if (auto tree = parse_yaml(yaml, "f.yaml", out)) expand_environment(*tree, "f.yaml", out);
    std::string all;
    for (const auto& f : out) all += f.message() + "\n";
    return all;
}

TEST(document, keeps_lines_types_and_order) {
    std::vector<finding> out;
    const auto tree = parse_yaml("a: 1\nb:\n  - x\n  - 'true'\nc: {d: true}\n", "f.yaml", out);
    ASSERT_TRUE(tree);
    EXPECT_TRUE(out.empty());
    EXPECT_EQ(tree->find("a")->as_integer(), 1);
    EXPECT_EQ(tree->find("b")->items[1].line, 4);
    EXPECT_FALSE(tree->find("b")->items[1].as_bool()) << "quoted is text";
    EXPECT_EQ(tree->find("c")->find("d")->as_bool(), true);
    EXPECT_EQ(tree->members[2].line, 5);
    EXPECT_EQ(tree->find("missing"), nullptr);
}

TEST(document, json_follows_the_types) {
    std::vector<finding> out;
    const auto tree = parse_yaml("{a: 1, b: '1', c: true, d: ~, e: [x, -2.5e3], f: 0644, g: \"q\\\"\\n\", h: yes, i: , j: 'null', k: .5, l: 1.}", "f", out);
    ASSERT_TRUE(tree);
    EXPECT_EQ(to_json(*tree), R"({"a":1,"b":"1","c":true,"d":null,"e":["x",-2.5e3],"f":"0644","g":"q\"\u000a","h":"yes","i":null,"j":"null","k":".5","l":"1."})");
}

TEST(document, refuses_what_yaml_cpp_takes_silently) {
    EXPECT_THAT(findings_of("a: 1\nb: 2\na: 3\n"), HasSubstr("f.yaml:3: a: appears twice in the same mapping, first in line 1"));
    EXPECT_THAT(findings_of("x:\n  y: {k: 1, k: 2}\n"), HasSubstr("f.yaml:2: x.y.k: appears twice"));
    EXPECT_THAT(findings_of("a: &n 1\nb: *n\n"), HasSubstr("f.yaml:2: b: an alias"));
    EXPECT_THAT(findings_of("a: &n {x: 1}\nb:\n  <<: *n\n"), HasSubstr("f.yaml:3: b.<<: merge keys"));
    EXPECT_THAT(findings_of("a: !!binary aGk=\n"), HasSubstr("a type tag"));
    EXPECT_THAT(findings_of("a: 1\n---\nb: 2\n"), HasSubstr("a second YAML document"));
    EXPECT_THAT(findings_of("? [a, b]\n: 1\n"), HasSubstr("a key must be a plain word"));
    EXPECT_THAT(findings_of("a: [1\n"), HasSubstr("not valid YAML"));
    EXPECT_THAT(findings_of("a: \"\xff\"\n"), HasSubstr("not UTF-8"));
    EXPECT_THAT(findings_of(std::string("a: b\0c\n", 7)), HasSubstr("not UTF-8"));
}

TEST(document, is_bounded) {
    EXPECT_THAT(findings_of(std::string(max_document_bytes + 1, ' ')), HasSubstr("more than the"));
    EXPECT_THAT(findings_of(std::string(65, '[') + std::string(65, ']')), HasSubstr("nested deeper than 64 levels"));
    EXPECT_EQ(findings_of(std::string(64, '[') + std::string(64, ']')), "");
    std::string many = "[";
    for (std::size_t i = 0; i < max_document_nodes; ++i) many += "a,";
    EXPECT_THAT(findings_of(many + "]"), HasSubstr("more than 100000 values"));
    // The classic bomb: every level names the one before nine times. No alias is ever followed.
    std::string bomb = "a0: &a0 [x]\n";
    for (int i = 1; i < 10; ++i) {
        const auto n = std::to_string(i), b = std::to_string(i - 1);
        bomb += "a" + n + ": &a" + n + " [*a" + b + ",*a" + b + ",*a" + b + "]\n";
    }
    EXPECT_THAT(findings_of(bomb), HasSubstr("aliases are not supported"));
}

TEST(document, environment_is_put_into_values_and_never_shown) {
    ASSERT_EQ(::setenv("CALLGATE_TEST_VALUE", "12", 1), 0);
    ::unsetenv("CALLGATE_TEST_ABSENT");
    std::vector<finding> out;
    auto tree = parse_yaml("a: ${CALLGATE_TEST_VALUE}\nb: 'x-${CALLGATE_TEST_VALUE}-$${y}-$z'\nc: $G\n", "f", out);
    ASSERT_TRUE(tree);
    expand_environment(*tree, "f", out);
    EXPECT_TRUE(out.empty());
    EXPECT_EQ(tree->find("a")->as_integer(), 12);
    EXPECT_EQ(tree->find("b")->text, "x-12-${y}-$z");
    EXPECT_EQ(tree->find("c")->text, "$G");
    EXPECT_EQ(tree->find("a")->shown(), "the value taken from the environment");
    EXPECT_THAT(findings_of("a:\n - ${CALLGATE_TEST_ABSENT}\n"), HasSubstr("f.yaml:2: a[0]: environment variable CALLGATE_TEST_ABSENT is not set"));
    for (const std::string bad : {"${", "${}", "${A B}", "${1A}", "x${A"}) EXPECT_THAT(findings_of("a: '" + bad + "'\n"), HasSubstr("name of an environment variable")) << bad;
}

TEST(document, environment_cannot_add_structure) {
    ASSERT_EQ(::setenv("CALLGATE_TEST_VALUE", "x\nroutes: []", 1), 0);
    std::vector<finding> out;
    auto tree = parse_yaml("a: ${CALLGATE_TEST_VALUE}\n", "f", out);
    ASSERT_TRUE(tree);
    expand_environment(*tree, "f", out);
    EXPECT_EQ(tree->members.size(), 1u);
    EXPECT_EQ(tree->find("a")->text, "x\nroutes: []");
}

TEST(document, durations_and_sizes) {
    EXPECT_EQ(parse_duration("30s"), 30'000'000'000);
    EXPECT_EQ(parse_duration("500ms"), 500'000'000);
    EXPECT_EQ(parse_duration("1h30m"), 5'400'000'000'000);
    EXPECT_EQ(parse_duration("0"), 0);
    for (const std::string bad : {"", "30", "s", "1.5s", "-1s", "1s1h", "1h1h", "1 s", "99999999999h", "1sec", "+1s"}) EXPECT_FALSE(parse_duration(bad)) << bad;
    EXPECT_EQ(parse_size("64KiB"), 65536);
    EXPECT_EQ(parse_size("1MiB"), 1 << 20);
    EXPECT_EQ(parse_size("1024"), 1024);
    for (const std::string bad : {"", "1KB", "1k", "-1", "1MiB1", "8589934592GiB1GiB", "99999999999GiB"}) EXPECT_FALSE(parse_size(bad)) << bad;
    EXPECT_EQ(duration_text(5'400'000'000'000), "1h30m");
    EXPECT_EQ(duration_text(0), "0s");
}

TEST(document, suggests_the_nearest_word_only_when_it_is_near) {
    const std::string_view words[] = {"account", "issuer", "xkeys"};
    EXPECT_EQ(nearest("acount", words), "account");
    EXPECT_EQ(nearest("xkey", words), "xkeys");
    EXPECT_EQ(nearest("banana", words), "");
    EXPECT_EQ(nearest(std::string(1000, 'x'), words), "");
}

TEST(document, messages_show_values_bounded_and_printable) {
    node n;
    n.type = node::kind::scalar;
    n.text = "a\nb\x7f";
    EXPECT_EQ(n.shown(), "\"a?b?\"");
    n.text = std::string(63, 'a') + "\xc3\xa9" + "zzz";
    EXPECT_EQ(n.shown(), "\"" + std::string(63, 'a') + "...\"") << "never half a character";
}

TEST(document, review_4_5_a_seed_in_the_wrong_place_is_not_quoted) {
    const std::string seed = "SA" + std::string(28, 'Q') + std::string(28, '7');
    std::vector<finding> out;
    const reporter to("f.yaml", out);
    to.error(1, "limits." + seed, "must be a number, not \"" + seed + "\"");
    to.warning(2, "limits", "copied badly: " + seed.substr(0, 55));
    EXPECT_EQ(out[0].message(), "f.yaml:1: limits.SA" + std::string(56, '*') + ": must be a number, not \"SA" + std::string(56, '*') + "\"");
    EXPECT_EQ(out[1].text, "copied badly: SA" + std::string(53, '*'));
    to.error(3, "accounts.APP", "knows no key A" + std::string(55, 'Q'));
    EXPECT_THAT(out[2].text, HasSubstr(std::string(55, 'Q')));
}

TEST(document, reads_regular_files_only) {
    const auto dir = std::filesystem::temp_directory_path() / ("callgate_document_" + std::to_string(::getpid()));
    std::filesystem::create_directories(dir);
    std::vector<finding> out;
    EXPECT_FALSE(read_document(dir.string(), out));
    EXPECT_FALSE(read_document((dir / "absent").string(), out));
    EXPECT_FALSE(read_document("/dev/zero", out));
    ASSERT_EQ(out.size(), 3u);
    EXPECT_THAT(out[1].text, HasSubstr("cannot be opened"));
    std::ofstream(dir / "a.yaml") << "a: 1\n";
    EXPECT_EQ(read_document((dir / "a.yaml").string(), out), "a: 1\n");
    std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace callgate::policy
