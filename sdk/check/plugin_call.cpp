// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/plugin_call.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>

namespace callgate::check {
namespace {

bool measuring = false;

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

/// How long each thread of this process has been ready without a processor. A call that waits for a lock whose holder
/// has none is not the plugin's doing, so that time of the others is taken off. Looked up at most every 10 ms.
class starvation {
  public:
    static starvation& get() {
        static auto* s = new starvation;
        return *s;
    }
    void sample() {
        const auto now = now_ns();
        if (now - at_.load() < 10'000'000) return;
        const std::lock_guard lock(mutex_);
        if (now - at_.load() < 10'000'000) return;
        before_ = read_all();
        at_ = now;
    }
    /// The longest any other thread has waited since the last sample.
    std::int64_t of_others() {
        const std::lock_guard lock(mutex_);
        std::int64_t longest = 0;
        for (const auto& [tid, delay] : read_all()) {
            if (tid == ::gettid()) continue;
            const auto i = before_.find(tid);
            longest = std::max(longest, delay - (i == before_.end() ? 0 : i->second));
        }
        return longest;
    }

  private:
    static std::map<pid_t, std::int64_t> read_all() {
        std::map<pid_t, std::int64_t> out;
        DIR* tasks = ::opendir("/proc/self/task");
        if (tasks == nullptr) return out;
        while (const dirent* e = ::readdir(tasks)) {
            if (e->d_name[0] == '.') continue;
            char path[64];
            std::snprintf(path, sizeof path, "/proc/self/task/%.20s/schedstat", e->d_name);
            const int file = ::open(path, O_RDONLY | O_CLOEXEC);
            char text[96];
            const auto n = file < 0 ? -1 : ::read(file, text, sizeof text - 1);
            if (file >= 0) ::close(file);
            if (n <= 0) continue;
            text[n] = 0;
            char* end = nullptr;
            std::strtoll(text, &end, 10);
            out[static_cast<pid_t>(std::atoi(e->d_name))] = std::strtoll(end, nullptr, 10);
        }
        ::closedir(tasks);
        return out;
    }
    std::atomic<std::int64_t> at_{0};
    std::mutex mutex_;
    std::map<pid_t, std::int64_t> before_;
};

std::string milliseconds(std::int64_t ns) { return std::to_string(ns / 1'000'000) + " ms"; }

}  // namespace

void measure_stalls() noexcept { measuring = true; }
bool stalls_are_measured() noexcept { return measuring && current_role() == role::shard; }

stall_meter::stall_meter() noexcept : wall_(0), cpu_(0), delay_(0) {
    if (stalls_are_measured()) starvation::get().sample();
    delay_ = run_delay_ns();
    cpu_ = thread_cpu_ns();
    wall_ = now_ns();
}

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
    auto r = meter.stop();
    const auto& limits = the_stall_limits();
    if (r.blocked_ns > limits.blocked_ns) r.blocked_ns -= starvation::get().of_others();
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
