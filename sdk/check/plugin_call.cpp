// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/plugin_call.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

namespace callgate::check {
namespace {

std::int64_t thread_cpu_ns() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

/// Time this thread was ready to run and had no processor; -1 when the kernel does not tell.
std::int64_t run_delay_ns() noexcept {
    thread_local const struct descriptor {
        int file = ::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
        ~descriptor() { ::close(file); }
    } mine;
    char text[96];
    const auto n = mine.file < 0 ? -1 : ::pread(mine.file, text, sizeof text - 1, 0);
    if (n <= 0) return -1;
    text[n] = 0;
    char* end = nullptr;
    std::strtoll(text, &end, 10);
    return std::strtoll(end, nullptr, 10);
}

std::string milliseconds(std::int64_t ns) { return std::to_string(ns / 1'000'000) + " ms"; }

}  // namespace

stall_meter::stall_meter() noexcept : wall_(now_ns()), cpu_(thread_cpu_ns()), delay_(run_delay_ns()) {}

stall_meter::reading stall_meter::stop() const noexcept {
    const auto delay = run_delay_ns();
    const auto cpu = thread_cpu_ns() - cpu_;
    const auto wall = now_ns() - wall_;
    // Without schedstat a loaded machine cannot be told from a wait; only long ones are believed then.
    const auto blocked = delay < 0 ? (wall - cpu) / 10 : wall - cpu - (delay - delay_);
    return {blocked, cpu};
}

stall_limits& the_stall_limits() noexcept {
    static stall_limits limits;
    return limits;
}

void judge_stall(const char* function, const stall_meter& meter) {
    const auto r = meter.stop();
    const auto& limits = the_stall_limits();
    if (r.blocked_ns > limits.blocked_ns)
        recorder::violated("threads.never_blocks", std::string(function) + "() waited " + milliseconds(r.blocked_ns) + " on " + current_thread_name() +
                                                        " (limit " + milliseconds(limits.blocked_ns) +
                                                        "); every login of that shard waits with it: hand the work to a thread of the plugin or to a host capability, "
                                                        "return CG_OK and complete later");
    else if (r.cpu_ns > limits.cpu_ns)
        recorder::violated("threads.never_blocks", std::string(function) + "() computed for " + milliseconds(r.cpu_ns) + " on " + current_thread_name() +
                                                        " (limit " + milliseconds(limits.cpu_ns) + "): hand long work, password hashes for one, to a thread of the plugin");
}

void exception_came_out(const char* function, const std::string& what) {
    recorder::violated("operations.no_exception", std::string("an exception came out of ") + function + "(): " + what +
                                                      "; the daemon would end there: catch everything at the C boundary and complete the operation with CG_E_INTERNAL");
    throw cannot_judge("operations.no_exception", std::string("an exception came out of ") + function + "()");
}

}  // namespace callgate::check
