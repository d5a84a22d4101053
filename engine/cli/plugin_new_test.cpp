// SPDX-License-Identifier: Apache-2.0
// `callgate plugin new`: what it writes and what it leaves alone. That the project builds is shown by tests/sdk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/cli/cmd_plugin_new.hpp"
#include "engine/cli/deployment_test.hpp"

namespace callgate::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct plugin_new : testing::Test {
    const callgate::test::temp_dir tmp;
    plugin_new_request request{"auth_acme", "c++", tmp.file("made"), CALLGATE_SOURCE_DIR "/sdk/template"};
    std::ostringstream out;
};

TEST_F(plugin_new, writes_the_template_under_the_new_name) {
    const auto r = run_plugin_new(request, out);
    ASSERT_TRUE(r) << r.error().message();
    const auto files = test::snapshot(request.directory);
    for (const char* name : {"CMakeLists.txt", "auth_acme.hpp", "auth_acme.cpp", "auth_acme_test.cpp", "plugin.cpp", "check/good.yaml", "README.md", "check/good.yaml"})
        EXPECT_TRUE(files.contains(name)) << name;
    for (const auto& [name, text] : files) EXPECT_EQ(text.find("my_auth"), std::string::npos) << name;
    EXPECT_THAT(test::slurp(request.directory + "/plugin.cpp"), HasSubstr("org.example.auth_acme"));
    struct stat st{};
    ASSERT_EQ(::stat((request.directory + "/ci.sh").c_str(), &st), 0);
    EXPECT_NE(st.st_mode & 0100, 0u);
    EXPECT_THAT(out.str(), HasSubstr("cd " + request.directory));
    EXPECT_THAT(out.str(), HasSubstr("callgate-plugin-check b/*.so"));
}

TEST_F(plugin_new, c_needs_no_cxx_file) {
    request.language = "c";
    ASSERT_TRUE(run_plugin_new(request, out));
    for (const auto& [name, text] : test::snapshot(request.directory)) EXPECT_FALSE(name.ends_with(".cpp") || name.ends_with(".hpp")) << name;
    EXPECT_TRUE(fs::exists(request.directory + "/auth_acme.c"));
}

TEST_F(plugin_new, overwrites_nothing_and_then_writes_nothing) {
    fs::create_directory(request.directory);
    std::ofstream(request.directory + "/plugin.cpp") << "mine";
    const auto before = test::snapshot(request.directory);
    const auto r = run_plugin_new(request, out);
    ASSERT_FALSE(r);
    EXPECT_THAT(r.error().message(), HasSubstr("plugin.cpp: exists and is never overwritten"));
    EXPECT_EQ(test::snapshot(request.directory), before);
    // A link that leads nowhere is in the way too.
    fs::remove(request.directory + "/plugin.cpp");
    fs::create_symlink("/nowhere", request.directory + "/README.md");
    EXPECT_FALSE(run_plugin_new(request, out));
    EXPECT_FALSE(fs::exists(request.directory + "/plugin.cpp"));
    // What else is in the folder does not matter.
    fs::remove(request.directory + "/README.md");
    std::ofstream(request.directory + "/notes.txt") << "mine";
    EXPECT_TRUE(run_plugin_new(request, out));
}

TEST_F(plugin_new, takes_away_what_it_wrote_when_writing_fails) {
    std::ofstream(tmp.file("made")) << "a file where the folder should be";
    ASSERT_FALSE(run_plugin_new(request, out));
    fs::remove(tmp.file("made"));
    // The third file of the plan cannot be made: its folder's name is taken by a file.
    const auto templates = tmp.file("templates");
    fs::create_directories(templates + "/cpp/z");
    std::ofstream(templates + "/cpp/CMakeLists.txt") << "x";
    std::ofstream(templates + "/cpp/z/deep") << "x";
    fs::create_directory(request.directory);
    std::ofstream(request.directory + "/z") << "mine";
    request.templates = templates;
    ASSERT_FALSE(run_plugin_new(request, out));
    EXPECT_EQ(test::snapshot(request.directory).size(), 1u);
}

TEST_F(plugin_new, names_are_small_and_plain) {
    for (const char* bad : {"", "Acme", "1acme", "_acme", "acme_", "ac__me", "ac-me", "ac me", "../acme", "acme.so", "\xc3\xa9t\xc3\xa9"}) {
        request.name = bad;
        const auto r = run_plugin_new(request, out);
        ASSERT_FALSE(r) << bad;
        EXPECT_EQ(r.error().code, errc::invalid) << bad;
    }
    request.name = std::string(41, 'a');
    EXPECT_FALSE(run_plugin_new(request, out));
    request.name = std::string(40, 'a');
    EXPECT_TRUE(run_plugin_new(request, out));
}

TEST_F(plugin_new, missing_template_says_where_it_looked) {
    request.templates = tmp.file("none");
    const auto r = run_plugin_new(request, out);
    ASSERT_FALSE(r);
    EXPECT_THAT(r.error().message(), HasSubstr(tmp.file("none/cpp")));
    EXPECT_THAT(r.error().message(), HasSubstr("--template"));
}

TEST_F(plugin_new, executable_finds_its_template_and_knows_two_languages) {
    const auto made = tmp.file("by_command");
    const auto r = test::run_command({CALLGATE_EXECUTABLE, "plugin", "new", "acme", "--lang", "c", "--dir", made}, "");
    EXPECT_EQ(r.status, 0) << r.err;
    EXPECT_TRUE(fs::exists(made + "/acme.c"));
    EXPECT_EQ(test::run_command({CALLGATE_EXECUTABLE, "plugin", "new", "acme", "--lang", "pascal"}, "").status, 2);
    EXPECT_EQ(test::run_command({CALLGATE_EXECUTABLE, "plugin", "new", "Acme", "--dir", tmp.file("x")}, "").status, 1);
}

}  // namespace
}  // namespace callgate::cli
