// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/control_loop.hpp"

#include <time.h>

#include <exception>
#include <utility>

#include "sdk/check/guarded.hpp"
#include "sdk/check/recorder.hpp"

namespace callgate::check {
namespace {
thread_local role my_role = role::foreign;
thread_local std::uint32_t my_shard = 0;
}  // namespace

role current_role() noexcept { return my_role; }
std::uint32_t current_shard() noexcept { return my_shard; }
std::string current_thread_name() {
    switch (my_role) {
        case role::control: return "control";
        case role::shard: return "shard " + std::to_string(my_shard);
        default: return "a thread of the plugin";
    }
}

std::int64_t now_ns() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

control_loop& control_loop::get() {
    // Never destroyed: threads of a plugin may call after main has ended.
    static auto* loop = new control_loop;
    return *loop;
}

void control_loop::adopt() {
    my_role = role::control;
    progress::name_thread("control");
}

void control_loop::post(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
    ++changes_;
    changed_.notify_all();
}

std::uint64_t control_loop::arm(const void* owner, std::int64_t after_ns, std::function<void()> fire) {
    const std::lock_guard lock(mutex_);
    const auto id = ++last_timer_;
    timers_[id] = {owner, now_ns() + after_ns, std::move(fire)};
    ++changes_;
    changed_.notify_all();
    return id;
}

bool control_loop::disarm(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    return timers_.erase(id) != 0;
}

std::size_t control_loop::armed(const void* owner) {
    const std::lock_guard lock(mutex_);
    std::size_t n = 0;
    for (const auto& [id, t] : timers_) n += t.owner == owner ? 1 : 0;
    return n;
}

void control_loop::drop(const void* owner) {
    const std::lock_guard lock(mutex_);
    std::erase_if(timers_, [&](const auto& t) { return t.second.owner == owner; });
}

void control_loop::wake() {
    const std::lock_guard lock(mutex_);
    ++changes_;
    changed_.notify_all();
}

bool control_loop::run_one() {
    std::function<void()> work;
    {
        const std::lock_guard lock(mutex_);
        if (!posted_.empty()) {
            work = std::move(posted_.front());
            posted_.pop_front();
        } else {
            auto best = timers_.end();
            for (auto i = timers_.begin(); i != timers_.end(); ++i)
                if (best == timers_.end() || i->second.due < best->second.due) best = i;
            if (best == timers_.end() || best->second.due > now_ns()) return false;
            work = std::move(best->second.fire);
            timers_.erase(best);
        }
    }
    work();
    return true;
}

bool control_loop::wait_until(const std::function<bool()>& done, std::chrono::nanoseconds limit) {
    const std::int64_t until = now_ns() + limit.count();
    for (;;) {
        std::uint64_t seen = 0;
        {
            const std::lock_guard lock(mutex_);
            seen = changes_;
        }
        while (run_one()) {
            if (done()) return true;
            if (now_ns() >= until) break;
        }
        if (done()) return true;
        const auto now = now_ns();
        if (now >= until) return false;
        std::unique_lock lock(mutex_);
        std::int64_t next = until;
        for (const auto& [id, t] : timers_) next = std::min(next, t.due);
        if (next > now) changed_.wait_for(lock, std::chrono::nanoseconds(next - now), [&] { return changes_ != seen; });
    }
}

void control_loop::run_for(std::chrono::nanoseconds time) {
    wait_until([] { return false; }, time);
}

struct shard_threads::worker {
    std::thread thread;
    std::mutex mutex;
    std::condition_variable changed;
    std::function<void()> work;
    bool busy = false;
    bool ending = false;
    std::exception_ptr failure;

    void loop(std::uint32_t index) {
        my_role = role::shard;
        my_shard = index;
        progress::name_thread("shard " + std::to_string(index));
        use_fault_stack();
        std::unique_lock lock(mutex);
        for (;;) {
            changed.wait(lock, [&] { return ending || busy; });
            if (!busy) return;
            lock.unlock();
            try {
                work();
            } catch (...) {
                failure = std::current_exception();
            }
            lock.lock();
            busy = false;
            control_loop::get().wake();
        }
    }
    bool idle() {
        const std::lock_guard lock(mutex);
        return !busy;
    }
};

shard_threads::shard_threads(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
        workers_.push_back(std::make_unique<worker>());
        workers_.back()->thread = std::thread([w = workers_.back().get(), i] { w->loop(i); });
    }
}

shard_threads::~shard_threads() {
    for (auto& w : workers_) {
        {
            const std::lock_guard lock(w->mutex);
            w->ending = true;
            w->changed.notify_all();
        }
        if (w->idle()) {
            w->thread.join();
        } else {
            // It is inside the plugin for good; the process ends soon and takes it along.
            w->thread.detach();
            (void)w.release();
        }
    }
}

void shard_threads::run_all(const std::function<void(std::uint32_t)>& work, std::chrono::nanoseconds limit) {
    for (std::uint32_t i = 0; i < size(); ++i) {
        auto& w = *workers_[i];
        const std::lock_guard lock(w.mutex);
        w.work = [work, i] { work(i); };
        w.busy = true;
        w.changed.notify_all();
    }
    const auto all_idle = [&] {
        for (auto& w : workers_)
            if (!w->idle()) return false;
        return true;
    };
    if (!control_loop::get().wait_until(all_idle, limit)) {
        const auto where = progress::in_calls();
        recorder::violated("threads.never_blocks", (where.empty() ? "a call on a shard" : where) +
                                                        " has not returned: a shard waits for nothing; keep the cg_op, return CG_OK and complete it later");
        throw cannot_judge("threads.never_blocks", "a call on a shard does not return");
    }
    for (auto& w : workers_)
        if (w->failure) std::rethrow_exception(std::exchange(w->failure, nullptr));
}

void shard_threads::run(std::uint32_t shard, const std::function<void()>& work, std::chrono::nanoseconds limit) {
    auto& w = *workers_.at(shard);
    {
        const std::lock_guard lock(w.mutex);
        w.work = work;
        w.busy = true;
        w.changed.notify_all();
    }
    if (!control_loop::get().wait_until([&] { return w.idle(); }, limit)) {
        const auto where = progress::in_calls();
        recorder::violated("threads.never_blocks", (where.empty() ? "a call on a shard" : where) +
                                                        " has not returned: a shard waits for nothing; keep the cg_op, return CG_OK and complete it later");
        throw cannot_judge("threads.never_blocks", "a call on a shard does not return");
    }
    if (w.failure) std::rethrow_exception(std::exchange(w.failure, nullptr));
}

}  // namespace callgate::check
