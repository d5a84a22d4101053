// SPDX-License-Identifier: Apache-2.0
#include "plugins/audit_file/audit_file.hpp"

#include <callgate/sdk/testing/audit_client.hpp>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace {

using namespace callgate::sdk;
using callgate::audit_file::line_file;
using callgate::audit_file::sink;

struct folder {
    std::string path;
    folder() {
        std::string t = (std::filesystem::temp_directory_path() / "callgate-audit-XXXXXX").string();
        path = ::mkdtemp(t.data());
    }
    ~folder() { std::filesystem::remove_all(path); }
    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;
};

std::string slurp(const std::string& p) {
    std::ifstream in(p);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// One sink on the file a.jsonl of its folder, or on another path.
struct running {
    test::fake_host host;
    test::driver driver;
    test::audit_client client;
    running(const folder& f, const std::string& config) : driver(host, factory_of<sink>, config, f.path), client(host, driver.get()) {}
};
struct audit_file_test : ::testing::Test {
    folder f;
    const std::string file = f.path + "/a.jsonl";
    std::unique_ptr<running> make(const std::string& config = R"({"path":"a.jsonl"})") {
        auto r = std::make_unique<running>(f, config);
        const auto c = r->driver.start();
        EXPECT_EQ(c.status, CG_OK) << c.error;
        return r;
    }
};

TEST_F(audit_file_test, lines_stand_in_order_in_a_file_that_only_the_owner_reads) {
    auto r = make();
    std::string expected;
    for (int n = 0; n < 20; ++n) {
        std::vector<std::string> lines;
        for (int i = 0; i < 200; ++i) {
            lines.push_back("{\"n\":" + std::to_string(n * 200 + i) + ",\"x\":\"" + std::string(500, 'x') + "\"}");
            expected += lines.back() + "\n";
        }
        ASSERT_EQ(r->client.write(lines).taken, 200u);
    }
    EXPECT_TRUE(slurp(file) == expected);
    struct stat st {};
    ASSERT_EQ(::stat(file.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600u);
    EXPECT_EQ(r->host.metric("audit_file_bytes_total"), static_cast<std::int64_t>(expected.size()));
    EXPECT_EQ(r->host.faults(), 0);
}

TEST_F(audit_file_test, every_sync_mode_writes_and_flushes) {
    for (const std::string mode : {"never", "interval", "always"}) {
        auto r = make(R"({"path":"a.jsonl","fsync":")" + mode + R"(","fsync_interval":"10ms"})");
        EXPECT_EQ(r->client.write({mode}).taken, 1u);
        EXPECT_EQ(r->client.flush().status, CG_OK);
    }
    EXPECT_EQ(slurp(file), "never\ninterval\nalways\n");
}

TEST_F(audit_file_test, reopen_follows_rotation_and_a_failed_one_keeps_the_old_file) {
    auto r = make();
    ASSERT_EQ(r->client.write({"one"}).taken, 1u);
    std::filesystem::rename(file, f.path + "/a.1");
    ASSERT_EQ(r->client.write({"still the old one"}).taken, 1u);
    ASSERT_EQ(r->client.reopen().status, CG_OK);
    ASSERT_EQ(r->client.write({"two"}).taken, 1u);
    EXPECT_EQ(slurp(f.path + "/a.1"), "one\nstill the old one\n");
    EXPECT_EQ(slurp(file), "two\n");
    std::filesystem::rename(file, f.path + "/a.2");
    std::filesystem::create_symlink(f.path + "/elsewhere", file);
    const auto c = r->client.reopen();
    EXPECT_EQ(c.status, CG_E_PERMISSION);
    EXPECT_NE(c.error.find("symbolic link"), std::string::npos) << c.error;
    ASSERT_EQ(r->client.write({"three"}).taken, 1u);
    EXPECT_EQ(slurp(f.path + "/a.2"), "two\nthree\n");
    EXPECT_FALSE(std::filesystem::exists(f.path + "/elsewhere"));
}

TEST_F(audit_file_test, full_disk_is_a_failure_with_its_cure_and_health_shows_it) {
    auto r = make(R"({"path":"/dev/full"})");
    const auto c = r->client.write({"x", "y"});
    EXPECT_EQ(c.status, CG_E_UNAVAILABLE);
    EXPECT_EQ(c.error, "cannot write /dev/full: No space left on device; make room, nothing has to be restarted");
    const auto h = r->driver.health();
    EXPECT_EQ(h.health_state, CG_HEALTH_DEGRADED);
    EXPECT_EQ(h.health_text, c.error);
    EXPECT_EQ(r->host.metric("audit_file_errors_total"), 1);
    EXPECT_TRUE(r->host.logs().empty()) << "the host says it, once";
}

// A file that may grow no further (RLIMIT_FSIZE) behaves as a disk that is full in the middle of a line.
TEST_F(audit_file_test, a_line_that_was_half_written_is_finished_first_when_there_is_room_again) {
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    auto r = make();
    const rlimit tight{25, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
    const auto c = r->client.write({"0123456789", "abcdefghij", "ABCDEFGHIJ"});
    EXPECT_EQ(c.status, CG_OK);
    EXPECT_EQ(c.taken, 3u) << "of the third a part is written, so it is the sink's";
    const auto full = r->client.write({"klmno"});
    EXPECT_EQ(full.status, CG_E_UNAVAILABLE);
    EXPECT_EQ(slurp(file), "0123456789\nabcdefghij\nABC");
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_EQ(r->client.write({"klmno"}).taken, 1u);
    EXPECT_EQ(slurp(file), "0123456789\nabcdefghij\nABCDEFGHIJ\nklmno\n");
    EXPECT_EQ(r->driver.health().health_state, CG_HEALTH_OK);
}

TEST_F(audit_file_test, a_torn_last_line_of_an_earlier_life_does_not_swallow_the_next_record) {
    std::ofstream(file) << "{\"whole\":1}\n{\"torn\":";
    auto r = make();
    EXPECT_EQ(r->client.write({"{\"next\":1}"}).taken, 1u);
    EXPECT_EQ(slurp(file), "{\"whole\":1}\n{\"torn\":\n{\"next\":1}\n");
}

TEST_F(audit_file_test, a_fifo_without_reader_holds_up_nobody_and_gives_back_what_it_did_not_take) {
    const auto fifo = f.path + "/fifo";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    auto r = make(R"({"path":"fifo"})");
    std::vector<std::string> lines(200, std::string(999, 'x'));
    const auto op = r->client.write_op(lines);
    // It fills the pipe and then waits; nothing tells when that is, so cancel until it has.
    r->driver.cancel(op);
    const auto c = r->host.wait(op).value();
    ASSERT_EQ(c.status, CG_OK) << c.error;
    EXPECT_LT(c.taken, 200u);
    EXPECT_EQ(r->client.flush().status, CG_OK);
    const auto again = r->client.write_op(lines);
    EXPECT_FALSE(r->host.done(again) && r->host.wait(again)->taken == 200u);
    const int reader = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(reader, 0);
    std::string got;
    char buffer[4096];
    while (!r->host.done(again)) {
        pollfd p{reader, POLLIN, 0};
        if (::poll(&p, 1, 1000) <= 0) continue;
        if (const auto n = ::read(reader, buffer, sizeof buffer); n > 0) got.append(buffer, static_cast<std::size_t>(n));
    }
    EXPECT_EQ(r->host.wait(again)->taken, 200u);
    for (ssize_t n = 0; (n = ::read(reader, buffer, sizeof buffer)) > 0;) got.append(buffer, static_cast<std::size_t>(n));
    ::close(reader);
    EXPECT_EQ(got.size(), (c.taken + 200) * 1000);
    for (std::size_t at = 0; at < got.size(); at += 1000) ASSERT_EQ(got[at + 999], '\n') << "no line is torn";
}

TEST_F(audit_file_test, stop_ends_a_write_that_waits) {
    ASSERT_EQ(::mkfifo((f.path + "/fifo").c_str(), 0600), 0);
    auto r = make(R"({"path":"fifo"})");
    const auto op = r->client.write_op(std::vector<std::string>(200, std::string(999, 'x')));
    EXPECT_EQ(r->driver.stop().status, CG_OK);
    EXPECT_TRUE(r->host.done(op));
}

TEST_F(audit_file_test, a_second_call_before_the_answer_is_refused) {
    ASSERT_EQ(::mkfifo((f.path + "/fifo").c_str(), 0600), 0);
    auto r = make(R"({"path":"fifo"})");
    const auto op = r->client.write_op(std::vector<std::string>(200, std::string(999, 'x')));
    EXPECT_EQ(r->client.flush().status, CG_E_BUSY);
    r->driver.cancel(op);
    EXPECT_EQ(r->host.wait(op)->status, CG_OK);
}

TEST_F(audit_file_test, what_cannot_be_opened_is_named_with_its_cure) {
    const auto refused = [&](const std::string& config) {
        running r(f, config);
        const auto c = r.driver.start();
        EXPECT_NE(c.status, CG_OK) << config;
        EXPECT_EQ(c.where, "path");
        return c.error;
    };
    EXPECT_NE(refused(R"({"path":"nowhere/a"})").find(f.path + "/nowhere/a: No such file or directory; give a path"), std::string::npos);
    EXPECT_NE(refused(R"({"path":"."})").find("Is a directory"), std::string::npos);
    std::filesystem::create_symlink("/etc/hostname", f.path + "/link");
    EXPECT_NE(refused(R"({"path":"link"})").find("symbolic link"), std::string::npos);
    test::fake_host host;
    for (const auto* bad : {R"({"path":"a","fsync":"sometimes"})", R"({"path":"a","fsync_interval":"1h"})", "{}"})
        EXPECT_THROW(test::driver(host, factory_of<sink>, bad), std::runtime_error) << bad;
}

TEST(line_file, a_line_longer_than_a_piece_is_written_whole) {
    const folder f;
    auto file = line_file::open(f.path + "/a");
    const auto line = std::string(300'000, 'y') + "\n";
    file.add(line);
    const auto r = file.write();
    EXPECT_EQ(r.lines, 1u);
    EXPECT_EQ(r.error, 0);
    EXPECT_TRUE(slurp(f.path + "/a") == line);
}

}  // namespace
