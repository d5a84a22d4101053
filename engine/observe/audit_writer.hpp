// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "engine/base/error.hpp"

namespace callgate::observe {

/// Appends lines to a file (or standard output) on a thread of its own. A full queue or a full disk never
/// blocks a shard: the line is refused and counted.
class audit_writer {
  public:
    /// `path`: file (created 0600), or "stdout". The file is opened again by reopen() after rotation.
    static result<std::unique_ptr<audit_writer>> open(const std::string& path);
    ~audit_writer();
    audit_writer(const audit_writer&) = delete;
    audit_writer& operator=(const audit_writer&) = delete;

    /// [any] False: the queue (8 MiB) is full or the last write failed less than a second ago.
    bool append(std::string&& line);
    /// [any] For log rotation (SIGHUP). The old file stays in use when the new one cannot be opened.
    result<void> reopen();
    /// [any] Blocks until everything appended before is written or has failed.
    void flush();
    [[nodiscard]] std::uint64_t written() const noexcept { return written_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

  private:
    audit_writer(std::string path, int fd);
    void loop();
    void write_all(const std::deque<std::string>& lines);

    std::string path_;
    int fd_;
    std::mutex mutex_;
    std::condition_variable wake_, idle_;
    std::deque<std::string> queue_;
    std::size_t queued_bytes_ = 0;
    bool busy_ = false, stop_ = false;
    std::atomic<std::int64_t> refuse_until_ns_{0};
    std::atomic<std::uint64_t> written_{0}, lost_{0};
    std::thread thread_;
};

}  // namespace callgate::observe
