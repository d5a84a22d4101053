// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sched.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace callgate::load {

/// A process whose CPU time is counted.
struct watched_process {
    std::string name;
    pid_t pid = 0;
};
/// "NAME=PID". Throws std::runtime_error when it is not, or when there is no such process.
[[nodiscard]] watched_process parse_watched(std::string_view text);

/// CPU time on a processor, from /proc/PID/task/*/schedstat (ns, counted by the scheduler; /proc/PID/stat has steps of 10 ms).
/// A thread that ends between two readings takes what it used since the first one with it. One thread.
class cpu_meter {
  public:
    explicit cpu_meter(std::vector<watched_process> processes) : processes_(std::move(processes)), begin_(processes_.size()), end_(processes_.size()) {}
    void start() { read(begin_); }
    void stop() { read(end_); }
    /// ns between the two; of a process that ended meanwhile what its threads had used when last seen is missing.
    [[nodiscard]] std::int64_t used_ns(std::size_t process) const;
    [[nodiscard]] const std::vector<watched_process>& processes() const noexcept { return processes_; }

  private:
    using threads = std::map<std::string, std::int64_t>;
    void read(std::vector<threads>& into) const;
    std::vector<watched_process> processes_;
    std::vector<threads> begin_, end_;
};

/// Keeps the calling thread on one processor for as long as the object lives. Throws std::runtime_error when that is not possible.
class cpu_pin {
  public:
    explicit cpu_pin(int cpu);
    ~cpu_pin();
    cpu_pin(const cpu_pin&) = delete;
    cpu_pin& operator=(const cpu_pin&) = delete;

  private:
    cpu_set_t before_{};
};

}  // namespace callgate::load
