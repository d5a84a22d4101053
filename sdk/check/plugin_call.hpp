// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <exception>
#include <optional>
#include <string>

#include "sdk/check/control_loop.hpp"
#include "sdk/check/recorder.hpp"

/// Every call into the plugin goes through here: named for crash reports, no exception let through, time taken.
namespace callgate::check {

/// Whether calls on shards are timed in this process. Off at first: the kernel takes tens of milliseconds to forget a
/// process that looked at its threads in /proc, and most checks are about something else.
void measure_stalls() noexcept;

/// How long a call held its thread without computing (waiting for a lock, a sleep, I/O), and how long it computed.
class stall_meter {
  public:
    stall_meter() noexcept;
    struct reading {
        std::int64_t blocked_ns;
        std::int64_t cpu_ns;
    };
    [[nodiscard]] reading stop() const noexcept;

  private:
    std::int64_t wall_, cpu_, delay_;
};

struct stall_limits {
    std::int64_t blocked_ns = 50'000'000;
    std::int64_t cpu_ns = 200'000'000;
};
[[nodiscard]] stall_limits& the_stall_limits() noexcept;

/// On a shard of a process that measures.
[[nodiscard]] bool stalls_are_measured() noexcept;
void judge_stall(const char* function, const stall_meter& meter);
[[noreturn]] void exception_came_out(const char* function, const std::string& what);

/// Calls `f` as the plugin's function `function`. On a shard its time is judged. An exception that comes out is
/// recorded under the check that names it; then cannot_judge is thrown.
template <class F>
auto plugin_call(const char* function, F&& f) {
    const progress::call scope(function);
    const struct judge {
        const char* function;
        std::optional<stall_meter> meter;
        ~judge() {
            if (meter) judge_stall(function, *meter);
        }
    } at_end{function, stalls_are_measured() ? std::optional<stall_meter>(std::in_place) : std::nullopt};
    try {
        return f();
    } catch (const std::exception& e) {
        exception_came_out(function, e.what());
    } catch (...) {
        exception_came_out(function, "something that is not a std::exception");
    }
}

}  // namespace callgate::check
