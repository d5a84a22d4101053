// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/terminal.hpp"

#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace callgate::cli {
namespace {

/// Echo is off while this lives; signals wait, so that a terminal is never left without echo.
class silent_terminal {
  public:
    silent_terminal() {
        sigset_t stop;
        sigemptyset(&stop);
        for (const int s : {SIGINT, SIGTERM, SIGQUIT, SIGTSTP, SIGHUP}) sigaddset(&stop, s);
        ::sigprocmask(SIG_BLOCK, &stop, &signals_);
        ok_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
        termios now = before_;
        now.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        if (ok_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &now);
    }
    ~silent_terminal() {
        if (ok_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
        ::sigprocmask(SIG_SETMASK, &signals_, nullptr);
    }
    silent_terminal(const silent_terminal&) = delete;
    silent_terminal& operator=(const silent_terminal&) = delete;

  private:
    termios before_{};
    sigset_t signals_{};
    bool ok_ = false;
};

void say(const char* text) { (void)!::write(STDERR_FILENO, text, std::strlen(text)); }

// Byte by byte: what comes after the line belongs to somebody else.
result<crypto::secret> read_line(std::size_t max_bytes) {
    crypto::secret buffer(max_bytes + 1);
    std::size_t size = 0;
    for (;;) {
        const ssize_t n = ::read(STDIN_FILENO, buffer.data() + size, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return make_error(errc::unavailable, std::string("cannot read standard input: ") + std::strerror(errno));
        if (n == 0 || buffer.data()[size] == '\n') break;
        if (++size > max_bytes) return make_error(errc::invalid, "the password is longer than " + std::to_string(max_bytes) + " bytes");
    }
    if (size > 0 && buffer.data()[size - 1] == '\r') --size;
    if (size == 0) return make_error(errc::invalid, "no password on standard input; type one, or pipe one line in");
    return crypto::secret::copy_of(buffer.bytes().first(size));
}

}  // namespace

result<crypto::secret> read_password(std::size_t max_bytes) {
    if (!::isatty(STDIN_FILENO)) return read_line(max_bytes);
    const silent_terminal quiet;
    say("Password: ");
    auto first = read_line(max_bytes);
    say("\n");
    if (!first) return first;
    say("Again: ");
    auto second = read_line(max_bytes);
    say("\n");
    if (!second) return second;
    if (!first->equals(second->bytes())) return make_error(errc::invalid, "the two passwords differ; try again");
    return first;
}

result<std::string> read_input(const std::string& path, std::size_t max_bytes) {
    const bool standard = path == "-";
    const int fd = standard ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return make_error(errno == ENOENT ? errc::not_found : errc::permission, std::string("cannot read it: ") + std::strerror(errno), path);
    std::string text;
    char buffer[16'384];
    result<std::string> out = std::string{};
    for (;;) {
        const ssize_t n = ::read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            out = make_error(errc::unavailable, std::string("cannot read it: ") + std::strerror(errno), standard ? "standard input" : path);
            break;
        }
        if (n == 0) {
            out = std::move(text);
            break;
        }
        text.append(buffer, static_cast<std::size_t>(n));
        if (text.size() > max_bytes) {
            out = make_error(errc::invalid, "is larger than " + std::to_string(max_bytes) + " bytes", standard ? "standard input" : path);
            break;
        }
    }
    crypto::wipe(buffer, sizeof buffer);
    if (!standard) ::close(fd);
    return out;
}

}  // namespace callgate::cli
