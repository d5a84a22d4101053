// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace callgate::audit_file {

/// A file to which whole lines are appended: regular, FIFO, device, or standard output. One thread at a time.
class line_file {
  public:
    /// What a write came to. `error`: errno; 0 = everything was written, or nothing more at the moment (a full pipe).
    struct outcome {
        std::size_t lines = 0;  ///< of those added
        std::size_t bytes = 0;
        int error = 0;
        bool full = false;  ///< a pipe or terminal takes nothing at the moment
    };

    line_file() = default;
    line_file(line_file&& o) noexcept;
    line_file& operator=(line_file&& o) noexcept;
    ~line_file();

    /// Created 0600; symbolic links, folders and sockets are refused. "stdout" is standard output. Never waits for a reader.
    /// Throws sdk::status_error.
    static line_file open(const std::string& path);

    /// Adds a line to what write() writes.
    void add(std::string_view line);
    [[nodiscard]] std::size_t pending() const noexcept { return block_.size(); }
    /// Writes what was added, in pieces of at most 64 KiB. A line of which a part is written counts as written: its rest is kept and
    /// goes first the next time, so that a full disk never leaves half a line in the middle. What is not written is dropped.
    outcome write();
    /// Becomes writable, at most `timeout_ms` later, or `wake` readable. Of a regular file: at once.
    void await(int wake, int timeout_ms) const;
    /// fdatasync; 0 or errno. Nothing to do for what is no regular file.
    [[nodiscard]] int sync() const;
    /// Bytes of a line that is half written.
    [[nodiscard]] std::size_t torn() const noexcept { return rest_.size(); }

  private:
    explicit line_file(int fd) noexcept : fd_(fd) {}

    int fd_ = -1;
    bool regular_ = false;
    std::string block_, rest_;
};

}  // namespace callgate::audit_file
