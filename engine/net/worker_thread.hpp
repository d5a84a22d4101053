// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace callgate::net {

/// Runs the blocking calls of one link one after another: connecting, and waiting for a PONG. The thread is
/// made at the first job.
class worker_thread {
  public:
    worker_thread() = default;
    ~worker_thread() { stop(); }
    worker_thread(const worker_thread&) = delete;
    worker_thread& operator=(const worker_thread&) = delete;

    /// Any thread. After stop() the job is dropped.
    void run(std::function<void()> job) {
        const std::scoped_lock lock(mutex_);
        if (stopping_) return;
        jobs_.push_back(std::move(job));
        if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
        wake_.notify_one();
    }
    /// Waits for the job that runs, drops the others.
    void stop() {
        stop_with([] {});
    }
    /// Same; calls `urge` ten times a second while the job runs.
    template <class Urge>
    void stop_with(Urge&& urge) {
        std::deque<std::function<void()>> dropped;
        {
            std::unique_lock lock(mutex_);
            stopping_ = true;
            wake_.notify_all();
            dropped.swap(jobs_);
            while (!idle_.wait_for(lock, std::chrono::milliseconds(100), [this] { return !running_; })) urge();
        }
        if (thread_.joinable()) thread_.join();
    }

  private:
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
            if (stopping_) return;
            auto job = std::move(jobs_.front());
            jobs_.pop_front();
            running_ = true;
            lock.unlock();
            job();
            job = nullptr;  // what it holds is released here, not under the lock
            lock.lock();
            running_ = false;
            idle_.notify_all();
        }
    }
    std::mutex mutex_;
    std::condition_variable wake_, idle_;
    std::deque<std::function<void()>> jobs_;
    std::thread thread_;
    bool stopping_ = false, running_ = false;
};

}  // namespace callgate::net
