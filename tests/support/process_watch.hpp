// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <poll.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace callgate::test {

/// Waits for something a child process does: it looks again whenever a file of a directory changes, and
/// stops when the process ends. Does not reap the child.
class process_watch {
  public:
    enum class outcome : std::uint8_t { ready, ended, late };

    /// `directory`: where the process writes what tells of its state (log, ports file).
    process_watch(pid_t pid, const std::string& directory)
        : process_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))), files_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
        constexpr auto changes = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO;
        if (process_ >= 0 && files_ >= 0 && ::inotify_add_watch(files_, directory.c_str(), changes) >= 0) return;
        close();
        throw std::runtime_error("cannot watch a process and " + directory);
    }
    ~process_watch() { close(); }
    process_watch(const process_watch&) = delete;
    process_watch& operator=(const process_watch&) = delete;

    /// The watch stands from the constructor on: what happened before the first look is seen by it.
    template <class Ready>
    outcome until(Ready&& ready, std::chrono::milliseconds limit) {
        const auto end = std::chrono::steady_clock::now() + limit;
        for (;;) {
            if (ready()) return outcome::ready;
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
            if (left <= 0) return outcome::late;
            pollfd fds[] = {{files_, POLLIN, 0}, {process_, POLLIN, 0}};
            if (::poll(fds, 2, static_cast<int>(left)) < 0 && errno != EINTR) throw std::runtime_error("poll failed");
            if (fds[1].revents != 0) return ready() ? outcome::ready : outcome::ended;
            alignas(inotify_event) char events[4096];
            while (::read(files_, events, sizeof events) > 0) {
            }
        }
    }

  private:
    void close() noexcept {
        if (process_ >= 0) ::close(process_);
        if (files_ >= 0) ::close(files_);
    }
    int process_, files_;
};

}  // namespace callgate::test
