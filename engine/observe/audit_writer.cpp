// SPDX-License-Identifier: Apache-2.0
#include "engine/observe/audit_writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/base/clock.hpp"
#include "engine/base/log.hpp"

namespace callgate::observe {
namespace {

constexpr std::size_t queue_limit = 8u << 20;

result<int> open_file(const std::string& path) {
    if (path == "stdout") {
        const int fd = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        if (fd < 0) return make_error(errc::unavailable, std::string("standard output: ") + std::strerror(errno), "audit.path");
        return fd;
    }
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return make_error(errc::unavailable, "cannot open audit file " + path + ": " + std::strerror(errno) +
                                                 "; give a path the daemon may write", "audit.path");
    return fd;
}

}  // namespace

result<std::unique_ptr<audit_writer>> audit_writer::open(const std::string& path) {
    auto fd = open_file(path);
    if (!fd) return fd.error();
    return std::unique_ptr<audit_writer>(new audit_writer(path, *fd));
}

audit_writer::audit_writer(std::string path, int fd) : path_(std::move(path)), fd_(fd), thread_([this] { loop(); }) {}

audit_writer::~audit_writer() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
    ::close(fd_);
}

bool audit_writer::append(std::string&& line) {
    if (const auto until = refuse_until_ns_.load(std::memory_order_relaxed);
        until != 0 && system_clock_source{}.mono_ns() < until) {
        lost_.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    bool first = false;
    {
        const std::lock_guard lock(mutex_);
        if (queued_bytes_ + line.size() > queue_limit) {
            lost_.fetch_add(1, std::memory_order_relaxed);
            return false;
        }
        queued_bytes_ += line.size();
        first = queue_.empty();
        queue_.push_back(std::move(line));
    }
    if (first) wake_.notify_one();
    return true;
}

result<void> audit_writer::reopen() {
    auto fd = open_file(path_);
    if (!fd) return fd.error();
    const std::lock_guard lock(mutex_);
    // The writer thread uses fd_ outside the lock; dup2 swaps the file under the number it holds.
    if (::dup3(*fd, fd_, O_CLOEXEC) < 0) {
        const int e = errno;
        ::close(*fd);
        return make_error(errc::internal, std::string("dup3: ") + std::strerror(e), path_);
    }
    ::close(*fd);
    return {};
}

void audit_writer::flush() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return queue_.empty() && !busy_; });
}

void audit_writer::loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
        if (queue_.empty()) return;
        std::deque<std::string> lines;
        lines.swap(queue_);
        queued_bytes_ = 0;
        busy_ = true;
        lock.unlock();
        write_all(lines);
        lock.lock();
        busy_ = false;
        if (queue_.empty()) idle_.notify_all();
    }
}

void audit_writer::write_all(const std::deque<std::string>& lines) {
    std::string block;
    std::size_t in_block = 0;
    auto put = [&] {
        std::size_t done = 0;
        while (done < block.size()) {
            const auto n = ::write(fd_, block.data() + done, block.size() - done);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) {
                // Refusing for a second keeps a full disk from turning every login into a failed write.
                const int e = errno;
                if (refuse_until_ns_.exchange(system_clock_source{}.mono_ns() + 1'000'000'000) == 0)
                    log::error("audit file cannot be written; records are lost until it can", {{"path", path_}, {"error", std::strerror(e)}});
                lost_.fetch_add(in_block, std::memory_order_relaxed);
                block.clear();
                in_block = 0;
                return;
            }
            done += static_cast<std::size_t>(n);
        }
        refuse_until_ns_ = 0;
        written_.fetch_add(in_block, std::memory_order_relaxed);
        block.clear();
        in_block = 0;
    };
    for (const auto& l : lines) {
        block += l;
        ++in_block;
        if (block.size() >= 64 * 1024) put();
    }
    if (!block.empty()) put();
}

}  // namespace callgate::observe
