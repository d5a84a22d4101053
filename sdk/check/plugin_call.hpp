// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <exception>
#include <string>

#include "sdk/check/control_loop.hpp"
#include "sdk/check/recorder.hpp"

/// Every call into the plugin goes through here: named for crash reports, no exception let through, time taken.
namespace callgate::check {

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

void judge_stall(const char* function, const stall_meter& meter);
[[noreturn]] void exception_came_out(const char* function, const std::string& what);

/// Calls `f` as the plugin's function `function`. On a shard its time is judged. An exception that comes out is
/// recorded under the check that names it; then cannot_judge is thrown.
template <class F>
auto plugin_call(const char* function, F&& f) {
    const progress::call scope(function);
    const stall_meter meter;
    const struct judge {
        const char* function;
        const stall_meter& meter;
        ~judge() {
            if (current_role() == role::shard) judge_stall(function, meter);
        }
    } at_end{function, meter};
    try {
        return f();
    } catch (const std::exception& e) {
        exception_came_out(function, e.what());
    } catch (...) {
        exception_came_out(function, "something that is not a std::exception");
    }
}

}  // namespace callgate::check
