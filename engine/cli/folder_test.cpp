// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "engine/cli/deployment_test.hpp"

namespace callgate::cli {
namespace {

using testing::HasSubstr;

mode_t mode_of(const std::string& path) {
    struct stat st{};
    EXPECT_EQ(::stat(path.c_str(), &st), 0) << path;
    return st.st_mode & 07777;
}

TEST(folder, files_have_the_mode_asked_for_whatever_the_umask) {
    const callgate::test::temp_dir tmp;
    const mode_t before = ::umask(077);
    auto f = folder::open(tmp.file("d"));
    ASSERT_TRUE(f) << f.error().message();
    ASSERT_TRUE(f->create("open", "x", 0644));
    ASSERT_TRUE(f->make_directory("sub"));
    ASSERT_TRUE(f->create("sub/closed", "x", 0600));
    ::umask(before);
    EXPECT_EQ(mode_of(tmp.file("d")), 0700u);
    EXPECT_EQ(mode_of(tmp.file("d/open")), 0644u);
    EXPECT_EQ(mode_of(tmp.file("d/sub")), 0700u);
    EXPECT_EQ(mode_of(tmp.file("d/sub/closed")), 0600u);
}

TEST(folder, create_never_replaces_and_leaves_nothing_behind) {
    const callgate::test::temp_dir tmp;
    auto f = folder::open(tmp.file("d"));
    ASSERT_TRUE(f->create("k", "first", 0600));
    const auto again = f->create("k", "second", 0600);
    ASSERT_FALSE(again);
    EXPECT_THAT(again.error().message(), HasSubstr("never overwritten"));
    EXPECT_THAT(test::snapshot(tmp.file("d")), testing::ElementsAre(testing::Pair("k", "first")));
}

TEST(folder, one_process_at_a_time) {
    const callgate::test::temp_dir tmp;
    {
        auto first = folder::open(tmp.file("d"));
        ASSERT_TRUE(first);
        auto second = folder::open(tmp.file("d"));
        ASSERT_FALSE(second);
        EXPECT_THAT(second.error().message(), HasSubstr("another callgate init"));
    }
    EXPECT_TRUE(folder::open(tmp.file("d")));
}

TEST(folder, a_secret_others_can_read_is_refused_and_named) {
    const callgate::test::temp_dir tmp;
    auto f = folder::open(tmp.file("d"));
    for (const mode_t mode : {0640, 0604, 0660, 0620}) {
        test::spit(tmp.file("d/k"), "secret-text", mode);
        const auto read = f->read_secret("k");
        ASSERT_FALSE(read) << std::oct << mode;
        EXPECT_THAT(read.error().message(), HasSubstr("d/k: can be read by others"));
        EXPECT_THAT(read.error().message(), testing::Not(HasSubstr("secret-text")));
    }
    test::spit(tmp.file("d/k"), "secret-text", 0600);
    const auto read = f->read_secret("k");
    ASSERT_TRUE(read && *read);
    EXPECT_EQ((**read).text(), "secret-text");
}

TEST(folder, links_and_folders_in_the_way_are_refused) {
    const callgate::test::temp_dir tmp;
    auto f = folder::open(tmp.file("d"));
    test::spit(tmp.file("elsewhere"), "x", 0600);
    std::filesystem::create_symlink(tmp.file("elsewhere"), tmp.file("d/link"));
    std::filesystem::create_directory(tmp.file("d/dir"));
    test::spit(tmp.file("d/file"), "x", 0600);
    EXPECT_FALSE(f->read_secret("link"));
    EXPECT_FALSE(f->read("dir"));
    EXPECT_FALSE(f->make_directory("file"));
    EXPECT_FALSE(f->create("link", "y", 0600));
    EXPECT_EQ(test::slurp(tmp.file("elsewhere")), "x");
}

TEST(folder, one_that_others_can_write_is_refused) {
    const callgate::test::temp_dir tmp;
    std::filesystem::create_directory(tmp.file("d"));
    ASSERT_EQ(::chmod(tmp.file("d").c_str(), 0777), 0);
    const auto f = folder::open(tmp.file("d"));
    ASSERT_FALSE(f);
    EXPECT_THAT(f.error().message(), HasSubstr("can be written by others"));
    const auto missing = folder::open(tmp.file("no/such/place"));
    ASSERT_FALSE(missing);
    EXPECT_THAT(missing.error().message(), HasSubstr("folder above it does not exist"));
}

}  // namespace
}  // namespace callgate::cli
