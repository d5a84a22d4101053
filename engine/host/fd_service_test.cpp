// SPDX-License-Identifier: Apache-2.0
#include "engine/host/fd_service.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/host/services_fixture.hpp"

namespace callgate::host::test {
namespace {

class fd_service_test : public capability_test {
  protected:
    const cg_fd_api& fds = api<cg_fd_api>(CG_EXT_FD);
    int pair[2] = {-1, -1};

    void SetUp() override { ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0); }
    void TearDown() override {
        for (const int fd : pair)
            if (fd >= 0) ::close(fd);
    }
    struct seen {
        fd_service_test* test;
        int reads = 0, writes = 0;
        bool take = true;      // read what is there
        std::uint64_t drop = 0;  // unwatch this one from inside
        std::string got{};
        static void fn(void* p, std::int32_t fd, std::uint32_t event) {
            auto& s = *static_cast<seen*>(p);
            ++(event == CG_FD_READ ? s.reads : s.writes);
            char buffer[64];
            if (event == CG_FD_READ && s.take)
                if (const auto n = ::read(fd, buffer, sizeof buffer); n > 0) s.got.append(buffer, static_cast<std::size_t>(n));
            if (s.drop != 0) {
                EXPECT_EQ(s.test->fds.unwatch(s.test->host, s.drop), CG_OK);
            }
        }
    };
    bool send(const char* text) { return ::write(pair[1], text, std::strlen(text)) > 0; }
};

TEST_F(fd_service_test, readiness_is_told_once_for_what_is_read_and_again_while_it_is_not) {
    seen s{this};
    std::uint64_t id = 0;
    ASSERT_TRUE(send("early"));
    ASSERT_EQ(fds.watch(host, pair[0], CG_FD_READ, &seen::fn, &s, &id), CG_OK);
    EXPECT_EQ(s.reads, 0) << "never inside watch";
    ASSERT_TRUE(run_until([&] { return s.reads == 1; }));
    EXPECT_EQ(s.got, "early");
    for (int i = 0; i < 20; ++i) io.poll_one();
    EXPECT_EQ(s.reads, 1);
    s.take = false;
    ASSERT_TRUE(send("more"));
    ASSERT_TRUE(run_until([&] { return s.reads == 4; })) << "level triggered";
    s.take = true;
    ASSERT_TRUE(run_until([&] { return s.got == "earlymore"; }));
    ::close(std::exchange(pair[1], -1));
    const auto before = s.reads;
    EXPECT_TRUE(run_until([&] { return s.reads > before; })) << "end of stream";
    EXPECT_EQ(fds.unwatch(host, id), CG_OK);
    EXPECT_EQ(fds.unwatch(host, id), CG_E_NOT_FOUND);
    EXPECT_EQ(under_test.close(), 0u);
}

TEST_F(fd_service_test, nothing_comes_after_unwatch_not_even_what_was_queued) {
    seen a{this}, b{this};
    std::uint64_t first = 0, second = 0;
    ASSERT_EQ(fds.watch(host, pair[0], CG_FD_WRITE, &seen::fn, &a, &first), CG_OK);
    ASSERT_EQ(fds.watch(host, pair[0], CG_FD_WRITE, &seen::fn, &b, &second), CG_OK) << "the same descriptor";
    // Both are ready in the same turn; whichever comes first takes the other away.
    a.drop = second;
    b.drop = first;
    ASSERT_TRUE(run_until([&] { return a.writes + b.writes > 0; }));
    a.drop = b.drop = 0;
    auto& silent = a.writes > 0 ? b : a;
    auto& heard = a.writes > 0 ? a : b;
    ASSERT_TRUE(run_until([&] { return heard.writes > 5; }));
    EXPECT_EQ(silent.writes, 0);
    // From its own function, which may end the object.
    heard.drop = a.writes > 0 ? first : second;
    const auto before = heard.writes;
    ASSERT_TRUE(run_until([&] { return heard.writes == before + 1; }));
    for (int i = 0; i < 20; ++i) io.poll_one();
    EXPECT_EQ(heard.writes, before + 1);
}

TEST_F(fd_service_test, both_events_are_told_apart) {
    seen s{this};
    std::uint64_t id = 0;
    ASSERT_TRUE(send("x"));
    ASSERT_EQ(fds.watch(host, pair[0], CG_FD_READ | CG_FD_WRITE, &seen::fn, &s, &id), CG_OK);
    ASSERT_TRUE(run_until([&] { return s.reads == 1 && s.writes > 1; }));
    EXPECT_EQ(s.got, "x");
}

TEST_F(fd_service_test, what_cannot_be_watched_is_refused_and_the_number_is_bounded) {
    seen s{this};
    std::uint64_t id = 0;
    EXPECT_EQ(fds.watch(host, -1, CG_FD_READ, &seen::fn, &s, &id), CG_E_INVALID);
    EXPECT_EQ(fds.watch(host, pair[0], 0, &seen::fn, &s, &id), CG_E_INVALID);
    EXPECT_EQ(fds.watch(host, pair[0], 4, &seen::fn, &s, &id), CG_E_INVALID);
    EXPECT_EQ(fds.watch(host, pair[0], CG_FD_READ, nullptr, &s, &id), CG_E_INVALID);
    EXPECT_EQ(fds.watch(host, pair[0], CG_FD_READ, &seen::fn, &s, nullptr), CG_E_INVALID);
    const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    EXPECT_EQ(fds.watch(host, file, CG_FD_READ, &seen::fn, &s, &id), CG_E_INVALID) << "a regular file";
    ::close(file);
    for (int i = 0; i < 64; ++i) ASSERT_EQ(fds.watch(host, pair[0], CG_FD_READ, &seen::fn, &s, &id), CG_OK);
    EXPECT_EQ(fds.watch(host, pair[0], CG_FD_READ, &seen::fn, &s, &id), CG_E_BUSY);
    EXPECT_EQ(under_test.close(), 64u);
    EXPECT_EQ(fds.watch(host, pair[0], CG_FD_READ, &seen::fn, &s, &id), CG_E_CANCELLED);
    ASSERT_TRUE(send("x"));
    for (int i = 0; i < 20; ++i) io.poll_one();
    EXPECT_EQ(s.reads, 0);
}

}  // namespace
}  // namespace callgate::host::test
