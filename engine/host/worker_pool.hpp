// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/worker.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/host/control_loop.hpp"

namespace callgate::host {

class worker_queue;

/// Threads for plugin code that blocks; made when they are needed. Queues take turns, and none has more than its share of the
/// threads. All [any]. The destructor waits for jobs that run.
class worker_pool {
  public:
    static constexpr std::size_t max_threads = 32;
    static constexpr std::size_t spare_threads = 8;  ///< beyond those, for urgent jobs only

    worker_pool() = default;
    worker_pool(const worker_pool&) = delete;
    worker_pool& operator=(const worker_pool&) = delete;
    ~worker_pool();

  private:
    friend class worker_queue;
    void offer(std::shared_ptr<worker_queue> queue, bool urgent);  // under the lock
    void work();

    std::mutex mutex_;  // of the queues too
    std::condition_variable changed_;
    std::deque<std::shared_ptr<worker_queue>> ready_;  // each at most once
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool ending_ = false;
};

/// Jobs of one instance, in order. [any]
class worker_queue : public std::enable_shared_from_this<worker_queue> {
  public:
    struct job {
        std::function<void()> run;
        std::function<void()> dropped{};  ///< instead of run; may be empty
    };
    worker_queue(std::shared_ptr<worker_pool> pool, std::size_t max_running, bool urgent_overtakes)
        : pool_(std::move(pool)), max_running_(max_running), urgent_overtakes_(urgent_overtakes) {}

    /// Urgent jobs go first and, where they may overtake, beyond max_running. False: closed.
    [[nodiscard]] bool push(job j, bool urgent = false);
    /// Takes away what has not begun, urgent ones too when `all`; calls `dropped` of each; returns how many.
    std::size_t drop(bool all);
    /// drop(true), and nothing is taken any more.
    std::size_t close();
    /// Calls f once, on any thread, as soon as no job runs: at once, or after the last.
    void when_idle(std::function<void()> f);

  private:
    friend class worker_pool;
    [[nodiscard]] bool startable() const noexcept {
        return (!urgent_.empty() && (urgent_overtakes_ || running_ < max_running_)) || (!jobs_.empty() && running_ < max_running_);
    }

    const std::shared_ptr<worker_pool> pool_;
    const std::size_t max_running_;
    const bool urgent_overtakes_;
    // Under the pool's lock.
    std::deque<job> urgent_, jobs_;
    std::size_t running_ = 0;
    bool queued_ = false, closed_ = false;
    std::function<void()> idle_;
};

/// worker/1 of one instance, and the way on which the host calls a plugin that may block. [any] unless tagged.
class worker_service : public std::enable_shared_from_this<worker_service> {
  public:
    static constexpr std::size_t max_jobs = CG_WORKER_MAX_JOBS;
    static constexpr std::size_t max_running = 8;

    worker_service(std::shared_ptr<control_loop> loop, std::shared_ptr<worker_pool> pool, operation_owner& owner)
        : loop_(std::move(loop)), pool_(std::move(pool)), owner_(owner) {}
    /// [control] Before the first job. `serial`: one job at a time.
    void begin(bool serial);
    /// [control] The plugin's start is about to be called: run() takes jobs from here on.
    void open();

    cg_status run(void (*fn)(void*), void (*done)(void*), void* ctx);
    /// Calls `call` on the pool and, when it refuses, ends the operation with its status. An operation that nobody waits for
    /// any more when its turn comes ends without the call. `urgent`: life cycle, which must get through when all else hangs.
    cg_status enter(cg_op op, std::function<cg_status()> call, bool urgent);

    /// A function of the plugin that another capability owes it; not one of max_jobs. False: after stop.
    bool post(worker_queue::job j) { return queue_ && queue_->push(std::move(j)); }

    /// [control] Calls of the plugin that have not begun end with CG_E_CANCELLED.
    void drop_calls() { queue_->drop(false); }
    /// [control] `then` gets true on the control thread when no job runs any more, false when `timeout_ns` was not enough.
    void when_idle(std::int64_t timeout_ns, std::function<void(bool)> then);
    /// [control] Nothing of the plugin is called any more; returns how many jobs and `done` calls were left.
    std::size_t close();

    static const cg_worker_api api;

  private:
    void finished(void (*done)(void*), void* ctx);

    const std::shared_ptr<control_loop> loop_;
    const std::shared_ptr<worker_pool> pool_;
    operation_owner& owner_;
    std::shared_ptr<worker_queue> queue_;
    std::mutex mutex_;
    std::size_t jobs_ = 0;
    bool open_ = false, closed_ = false;
};

}  // namespace callgate::host
