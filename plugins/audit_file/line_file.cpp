// SPDX-License-Identifier: Apache-2.0
#include "plugins/audit_file/line_file.hpp"

#include <callgate/sdk/value.hpp>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace callgate::audit_file {
namespace {

constexpr std::size_t piece = 64 * 1024;

[[noreturn]] void refuse(const std::string& path, const std::string& why, const char* cure, cg_status code = CG_E_UNAVAILABLE) {
    throw sdk::status_error(code, "cannot append to " + path + ": " + why + "; " + cure, "path");
}

}  // namespace

line_file::line_file(line_file&& o) noexcept
    : fd_(std::exchange(o.fd_, -1)), regular_(o.regular_), block_(std::move(o.block_)), rest_(std::move(o.rest_)) {}

line_file& line_file::operator=(line_file&& o) noexcept {
    std::swap(fd_, o.fd_);
    std::swap(regular_, o.regular_);
    block_.swap(o.block_);
    rest_.swap(o.rest_);
    return *this;
}

line_file::~line_file() {
    if (fd_ >= 0) ::close(fd_);
}

line_file line_file::open(const std::string& path) {
    if (path == "stdout") {
        line_file out(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
        if (out.fd_ < 0) refuse("standard output", std::strerror(errno), "start the daemon with an open standard output, or name a file");
        return out;
    }
    constexpr int flags = O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    // Reading too, to see how the file ends.
    int fd = ::open(path.c_str(), O_RDWR | flags, 0600);
    if (fd < 0 && errno == EACCES) fd = ::open(path.c_str(), O_WRONLY | flags, 0600);
    if (fd < 0) {
        const int e = errno;
        if (e == ELOOP) refuse(path, "it is a symbolic link", "name the file itself", CG_E_PERMISSION);
        refuse(path, std::strerror(e), "give a path the daemon may write, in a folder that exists", e == EACCES || e == EPERM ? CG_E_PERMISSION : CG_E_UNAVAILABLE);
    }
    line_file out(fd);
    struct stat st {};
    if (::fstat(fd, &st) != 0) refuse(path, std::strerror(errno), "give another path");
    out.regular_ = S_ISREG(st.st_mode);
    if (!out.regular_ && !S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode)) refuse(path, "it is no file", "name a file or a FIFO", CG_E_INVALID);
    if (out.regular_ && st.st_size > 0) {
        // The machine, or an earlier daemon, died inside a line: the next record begins a line of its own.
        char last = '\n';
        if (::pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n') out.rest_ = "\n";
    }
    return out;
}

void line_file::add(std::string_view line) { block_ += line; }

line_file::outcome line_file::write() {
    outcome out;
    std::string all = std::exchange(rest_, {});
    const auto old = all.size();
    all += block_;
    block_.clear();
    std::size_t done = 0;
    while (done < all.size()) {
        auto size = std::min(all.size() - done, piece);
        if (!regular_) {
            // A pipe that poll calls writable takes PIPE_BUF bytes without waiting, whatever its mode.
            pollfd p{fd_, POLLOUT, 0};
            if (::poll(&p, 1, 0) <= 0 || (p.revents & POLLOUT) == 0) {
                out.full = (p.revents & (POLLERR | POLLHUP | POLLNVAL)) == 0;
                if (!out.full) out.error = EPIPE;
                break;
            }
            size = std::min<std::size_t>(size, PIPE_BUF);
        }
        const auto n = ::write(fd_, all.data() + done, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            out.full = true;
            break;
        }
        if (n <= 0) {
            out.error = n < 0 ? errno : EIO;
            break;
        }
        done += static_cast<std::size_t>(n);
    }
    out.bytes = done;
    // Up to the end of the line that `done` is in; nothing when it stands between two.
    auto end = done;
    if (done < old) end = old;
    else if (done != 0 && all[done - 1] != '\n') end = all.find('\n', done) == std::string::npos ? all.size() : all.find('\n', done) + 1;
    if (end > done) rest_ = all.substr(done, end - done);
    if (end > old) out.lines = static_cast<std::size_t>(std::count(all.begin() + static_cast<std::ptrdiff_t>(old), all.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    return out;
}

void line_file::await(int wake, int timeout_ms) const {
    pollfd p[2] = {{wake, POLLIN, 0}, {regular_ ? -1 : fd_, POLLOUT, 0}};
    (void)::poll(p, 2, timeout_ms);
}

int line_file::sync() const { return !regular_ || ::fdatasync(fd_) == 0 ? 0 : errno; }

}  // namespace callgate::audit_file
