// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

/// The harness's threads as the ABI's tags name them: the process's main thread is [control], shards are threads of
/// their own, everything else is the plugin's.
namespace callgate::check {

enum class role : std::uint8_t { foreign, control, shard };
[[nodiscard]] role current_role() noexcept;
[[nodiscard]] std::uint32_t current_shard() noexcept;
/// "control", "shard 2" or "a thread of the plugin".
[[nodiscard]] std::string current_thread_name();
[[nodiscard]] std::int64_t now_ns() noexcept;

/// Timers and posted work of the control thread, for every host of the process.
class control_loop {
  public:
    static control_loop& get();
    /// The calling thread is [control] from now on.
    void adopt();
    /// [any]
    void post(std::function<void()> work);
    /// [any] `owner` groups timers for drop().
    std::uint64_t arm(const void* owner, std::int64_t after_ns, std::function<void()> fire);
    /// [any] False when it fired or is running.
    bool disarm(std::uint64_t id);
    [[nodiscard]] std::size_t armed(const void* owner);
    void drop(const void* owner);
    /// [any] Makes wait_until look at its condition again.
    void wake();
    /// [control] Runs what is due until `done()` or the time is over; returns done(). `done` may be called often and
    /// must lock for itself.
    bool wait_until(const std::function<bool()>& done, std::chrono::nanoseconds limit);
    /// [control] Runs what is due for that long.
    void run_for(std::chrono::nanoseconds time);

  private:
    struct timer {
        const void* owner;
        std::int64_t due;
        std::function<void()> fire;
    };
    bool run_one();
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t changes_ = 0;
    std::deque<std::function<void()>> posted_;
    std::map<std::uint64_t, timer> timers_;
    std::uint64_t last_timer_ = 0;
};

/// `count` shard threads. Made and destroyed on [control].
class shard_threads {
  public:
    explicit shard_threads(std::uint32_t count);
    ~shard_threads();
    shard_threads(const shard_threads&) = delete;
    shard_threads& operator=(const shard_threads&) = delete;
    [[nodiscard]] std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(workers_.size()); }
    /// [control] Runs `work` there and waits for its end, serving timers meanwhile. When it does not end within
    /// `limit` the check that names blocking is recorded and cannot_judge thrown; what `work` throws is thrown here.
    void run(std::uint32_t shard, const std::function<void()>& work, std::chrono::nanoseconds limit);
    /// As run, on all shards at once.
    void run_all(const std::function<void(std::uint32_t)>& work, std::chrono::nanoseconds limit);

  private:
    struct worker;
    std::vector<std::unique_ptr<worker>> workers_;
};

}  // namespace callgate::check
