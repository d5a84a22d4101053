// SPDX-License-Identifier: Apache-2.0
// kill -9 before every single system call of init that changes something: the next run completes the
// deployment, and a key that was there before it is still the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include <filesystem>
#include <sstream>

#include "engine/cli/cmd_init.hpp"
#include "engine/cli/deployment_test.hpp"

namespace callgate::cli {
namespace {

namespace fs = std::filesystem;

bool is_root_of_trust(const std::string& name) { return name.ends_with(".nk") || name.ends_with(".password"); }

/// Runs init in a child that kills itself before change number `step` (1 = first). False when it came
/// through alive, that is when it has fewer changes.
bool killed_at(int step, const std::string& dir, const init_request& request) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        int left = step;
        std::ostringstream out;
        const auto outcome = run_init(dir, request, out, [&left](std::string_view, std::string_view) {
            if (--left == 0) ::kill(::getpid(), SIGKILL);
        });
        ::_exit(outcome ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) return true;
    EXPECT_EQ(WEXITSTATUS(status), 0);
    return false;
}

void complete(const std::string& dir, const init_request& request) {
    std::ostringstream out;
    const auto outcome = run_init(dir, request, out);
    ASSERT_TRUE(outcome) << outcome.error().message();
}

/// All files are there, no temporary one is, and a further run finds nothing to do.
void expect_complete(const std::string& dir, const std::map<std::string, std::string>& reference, int step) {
    const auto now = test::snapshot(dir);
    for (const auto& [name, bytes] : reference) EXPECT_TRUE(now.contains(name)) << name << " after a kill at step " << step;
    for (const auto& [name, bytes] : now) EXPECT_TRUE(reference.contains(name)) << name << " is left over after a kill at step " << step;
    std::ostringstream out;
    const auto again = run_init(dir, {}, out);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_THAT(out.str(), testing::HasSubstr("nothing changed")) << "after a kill at step " << step;
    EXPECT_THAT(out.str(), testing::Not(testing::HasSubstr("differs"))) << "after a kill at step " << step;
    EXPECT_EQ(test::snapshot(dir), now);
}

/// Thousands of fsyncs: a kill loses nothing that the kernel has, so a file system in memory tells the same.
std::string memory_backed() {
    return ::access("/dev/shm", W_OK) == 0 && ::setenv("TMPDIR", "/dev/shm", 1) == 0 ? "/dev/shm" : "disk";
}

class init_resume : public testing::TestWithParam<deployment_mode> {
  protected:
    const std::string where = memory_backed();
    callgate::test::temp_dir tmp;
    const std::string dir = tmp.file("d");
    init_request request = [] {
        init_request r;
        r.mode = std::string(to_string(GetParam()));
        return r;
    }();
    std::map<std::string, std::string> reference = [this] {
        complete(tmp.file("reference"), request);
        return test::snapshot(tmp.file("reference"));
    }();
};

TEST_P(init_resume, after_a_kill_at_any_point_the_next_run_completes) {
    int step = 1;
    for (; killed_at(step, dir, request); ++step) {
        const auto before = fs::exists(dir) ? test::snapshot(dir) : std::map<std::string, std::string>{};
        complete(dir, request);
        expect_complete(dir, reference, step);
        const auto after = test::snapshot(dir);
        for (const auto& [name, bytes] : before) {
            if (name.ends_with(".callgate-new") || name == plan_file) continue;
            EXPECT_EQ(after.at(name), bytes) << name << " was replaced after a kill at step " << step;
        }
        if (HasFailure()) return;
        fs::remove_all(dir);
    }
    EXPECT_GT(step, 50) << "the hook is not called for every change";
}

TEST_P(init_resume, force_config_killed_at_any_point_is_finished_by_a_run_without_it) {
    auto forced = request;
    forced.force_config = true;
    forced.listen = "127.0.0.1:5222";
    complete(dir, request);
    fs::copy(dir, tmp.file("before"), fs::copy_options::recursive);
    complete(dir, forced);
    const auto wanted = test::snapshot(dir);
    int step = 1;
    const auto start_over = [&] {
        fs::remove_all(dir);
        fs::copy(tmp.file("before"), dir, fs::copy_options::recursive);
    };
    for (start_over(); killed_at(step, dir, forced); ++step, start_over()) {
        const auto keys = test::snapshot(dir);
        auto second = request;
        second.listen = forced.listen;
        std::ostringstream out;
        // Killed before the new plan was written, the folder is as it was, and says so.
        if (!run_init(dir, second, out)) complete(dir, forced);
        const auto after = test::snapshot(dir);
        for (const auto& [name, bytes] : keys)
            if (is_root_of_trust(name)) {
                EXPECT_EQ(after.at(name), bytes) << name << " at step " << step;
            }
        EXPECT_THAT(after.at("nats-server.conf"), testing::HasSubstr("127.0.0.1:5222")) << "at step " << step;
        expect_complete(dir, wanted, step);
        if (HasFailure()) return;
    }
    EXPECT_GT(step, 20) << "the hook is not called for every change";
}

INSTANTIATE_TEST_SUITE_P(modes, init_resume, testing::Values(deployment_mode::config, deployment_mode::operator_),
                         [](const auto& tested) { return std::string(to_string(tested.param)); });

}  // namespace
}  // namespace callgate::cli
