// SPDX-License-Identifier: Apache-2.0
#include "engine/host/probe.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "engine/host/manifest.hpp"

extern char** environ;

namespace callgate::host {
namespace {

constexpr int exit_refused = 3;
constexpr std::size_t max_message = 4096;

std::string signal_name(int number) {
    const char* abbreviation = ::sigabbrev_np(number);
    return abbreviation != nullptr ? "SIG" + std::string(abbreviation) : "signal " + std::to_string(number);
}

struct pipe_ends {
    int read = -1, write = -1;
    ~pipe_ends() {
        close_write();
        if (read >= 0) ::close(read);
    }
    void close_write() {
        if (write >= 0) ::close(write);
        write = -1;
    }
};

struct spawn_actions {
    posix_spawn_file_actions_t value{};
    spawn_actions() { ::posix_spawn_file_actions_init(&value); }
    ~spawn_actions() { ::posix_spawn_file_actions_destroy(&value); }
    spawn_actions(const spawn_actions&) = delete;
    spawn_actions& operator=(const spawn_actions&) = delete;
};

}  // namespace

result<void> probe_plugin(const std::string& path, const probe_options& options) {
    if (options.command.empty()) return {};
    pipe_ends out;
    {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) return make_error(errc::internal, std::string("cannot make a pipe: ") + std::strerror(errno));
        out.read = ends[0];
        out.write = ends[1];
    }
    spawn_actions actions;
    ::posix_spawn_file_actions_addopen(&actions.value, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions.value, out.write, 1);
    ::posix_spawn_file_actions_addopen(&actions.value, 2, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addclosefrom_np(&actions.value, 3);
    std::vector<std::string> words = options.command;
    words.push_back(path);
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    pid_t child = 0;
    if (const int rc = ::posix_spawn(&child, words.front().c_str(), &actions.value, nullptr, argv.data(), environ); rc != 0)
        return make_error(errc::internal, "cannot start the plugin probe " + words.front() + ": " + std::strerror(rc));
    out.close_write();

    // The pipe ends when the child does, unless the plugin handed it to a grandchild; the deadline ends both.
    const auto end = std::chrono::steady_clock::now() + options.timeout;
    std::string said;
    bool timed_out = false;
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
        if (left <= 0) {
            timed_out = true;
            break;
        }
        pollfd p{out.read, POLLIN, 0};
        const int ready = ::poll(&p, 1, static_cast<int>(left));
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) {
            timed_out = ready == 0;
            break;
        }
        char buffer[1024];
        const auto n = ::read(out.read, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        if (said.size() < max_message) said.append(buffer, static_cast<std::size_t>(n));
    }
    if (timed_out) ::kill(child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return make_error(errc::internal, std::string("cannot wait for the plugin probe: ") + std::strerror(errno));
    if (timed_out)
        return make_error(errc::abi, "did not finish loading within " + std::to_string(options.timeout.count() / 1000) + " s");
    if (WIFSIGNALED(status)) return make_error(errc::abi, "crashed while loading (" + signal_name(WTERMSIG(status)) + ")");
    while (!said.empty() && (said.back() == '\n' || said.back() == '\0')) said.pop_back();
    if (WEXITSTATUS(status) == 0) return {};
    if (WEXITSTATUS(status) == exit_refused && !said.empty()) return make_error(errc::abi, said.substr(0, max_message));
    return make_error(errc::abi, "ended the process while loading (exit status " + std::to_string(WEXITSTATUS(status)) + ")");
}

int run_plugin_probe(const char* path) {
    // The parent reads the plain signal: no handler of a sanitizer or of our own in between, no core dump.
    for (const int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS}) ::signal(s, SIG_DFL);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);

    const auto refuse = [](const error& e) {
        std::fprintf(stdout, "%s\n", e.text.c_str());
        std::fflush(stdout);
        return exit_refused;
    };
    const auto entry = open_library(path);
    if (!entry) return refuse(entry.error());
    const auto m = negotiate(*entry);
    if (!m) return refuse(m.error());
    // _exit: destructors of the plugin are nobody's business here, and could crash.
    ::_exit(0);
}

}  // namespace callgate::host
