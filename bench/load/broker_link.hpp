// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/wire.hpp"

namespace callgate::load {

/// One connection to the nats-server that carries the requests of simulated servers. Blocking until it is open, then
/// non-blocking: the caller polls fd(). What is sent is not copied. One thread. Every failure throws std::runtime_error that
/// names the server: a run without its broker has no meaning.
class broker_link {
  public:
    /// Connects, logs in (5 s each) and subscribes to the replies of each hash ($SYS._INBOX.<hash>.*).
    broker_link(const server_address& to, const std::vector<std::string>& hashes);
    ~broker_link();
    broker_link(const broker_link&) = delete;
    broker_link& operator=(const broker_link&) = delete;

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] const std::string& server_version() const noexcept { return version_; }
    [[nodiscard]] bool wants_write() const noexcept { return next_ < out_.size(); }
    /// `text` must stay where it is until wants_write() is false again.
    void queue(std::string_view text) { out_.push_back({const_cast<char*>(text.data()), text.size()}); }
    /// Writes what the socket takes.
    void flush();
    /// Reads what there is, at most what the buffer of 1 MiB takes. True: something came.
    bool fill();
    /// Calls on_message(subject, payload) for each whole message that fill() brought; the views end with the call.
    void drain(const std::function<void(std::string_view, std::string_view)>& on_message);

  private:
    void open(const server_address& to);
    void log_in(const server_address& to, const std::vector<std::string>& hashes);
    /// Blocking: the next operation.
    server_op wait_op();
    [[noreturn]] void fail(const std::string& what) const;
    void drop_consumed();

    std::string where_, version_;
    int fd_ = -1;
    std::vector<char> in_;
    std::size_t begin_ = 0, end_ = 0;
    std::vector<iovec> out_;
    std::size_t next_ = 0;
};

}  // namespace callgate::load
