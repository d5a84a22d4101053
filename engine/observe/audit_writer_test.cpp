// SPDX-License-Identifier: Apache-2.0
#include "engine/observe/audit_writer.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

using callgate::observe::audit_writer;

namespace {
struct folder {
    std::string path;
    folder() {
        char t[] = "/tmp/callgate-audit-XXXXXX";
        path = ::mkdtemp(t);
    }
    ~folder() { std::filesystem::remove_all(path); }
};
std::string slurp(const std::string& p) {
    std::ifstream in(p);
    return {std::istreambuf_iterator<char>(in), {}};
}
}  // namespace

TEST(audit_writer, writes_every_line_in_order_to_a_file_only_the_owner_reads) {
    folder f;
    auto w = audit_writer::open(f.path + "/a.jsonl");
    ASSERT_TRUE(w) << w.error().message();
    std::string expected;
    for (int i = 0; i < 5000; ++i) {
        expected += std::to_string(i) + "\n";
        ASSERT_TRUE((*w)->append(std::to_string(i) + "\n"));
    }
    (*w)->flush();
    EXPECT_EQ(slurp(f.path + "/a.jsonl"), expected);
    EXPECT_EQ((*w)->written(), 5000u);
    struct stat st{};
    ASSERT_EQ(::stat((f.path + "/a.jsonl").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST(audit_writer, reopen_follows_rotation) {
    folder f;
    auto w = audit_writer::open(f.path + "/a.jsonl");
    ASSERT_TRUE(w);
    ASSERT_TRUE((*w)->append("one\n"));
    (*w)->flush();
    std::filesystem::rename(f.path + "/a.jsonl", f.path + "/a.1");
    ASSERT_TRUE((*w)->reopen());
    ASSERT_TRUE((*w)->append("two\n"));
    (*w)->flush();
    EXPECT_EQ(slurp(f.path + "/a.1"), "one\n");
    EXPECT_EQ(slurp(f.path + "/a.jsonl"), "two\n");
}

TEST(audit_writer, full_disk_is_counted_and_refused_without_blocking) {
    auto w = audit_writer::open("/dev/full");
    ASSERT_TRUE(w) << w.error().message();
    ASSERT_TRUE((*w)->append("x\n"));
    (*w)->flush();
    EXPECT_EQ((*w)->lost(), 1u);
    EXPECT_FALSE((*w)->append("y\n"));
    EXPECT_EQ((*w)->lost(), 2u);
}

TEST(audit_writer, a_path_that_cannot_be_opened_names_path_and_cure) {
    auto w = audit_writer::open("/proc/nowhere/a");
    ASSERT_FALSE(w);
    EXPECT_NE(w.error().message().find("/proc/nowhere/a"), std::string::npos);
}
