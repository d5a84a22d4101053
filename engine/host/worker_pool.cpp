// SPDX-License-Identifier: Apache-2.0
#include "engine/host/worker_pool.hpp"

#include <pthread.h>

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>

#include "engine/host/services.hpp"

namespace callgate::host {

// ---- pool ----------------------------------------------------------------------------------------------

worker_pool::~worker_pool() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    for (auto& t : threads_) t.join();
}

void worker_pool::offer(std::shared_ptr<worker_queue> queue, bool urgent) {
    if (queue->queued_ || !queue->startable()) return;
    queue->queued_ = true;
    if (urgent) ready_.push_front(std::move(queue));
    else ready_.push_back(std::move(queue));
    if (ready_.size() > idle_ && threads_.size() < max_threads + (urgent ? spare_threads : 0)) threads_.emplace_back([this] { work(); });
    changed_.notify_one();
}

void worker_pool::work() {
    ::pthread_setname_np(::pthread_self(), "worker");
    std::unique_lock lock(mutex_);
    for (;;) {
        ++idle_;
        changed_.wait(lock, [&] { return ending_ || !ready_.empty(); });
        --idle_;
        if (ready_.empty()) return;
        const auto queue = std::move(ready_.front());
        ready_.pop_front();
        queue->queued_ = false;
        if (!queue->startable()) continue;  // dropped meanwhile
        const bool urgent = !queue->urgent_.empty();
        auto& from = urgent ? queue->urgent_ : queue->jobs_;
        auto job = std::move(from.front());
        from.pop_front();
        ++queue->running_;
        offer(queue, !queue->urgent_.empty());
        lock.unlock();
        job.run();
        job = {};
        lock.lock();
        std::function<void()> idle;
        if (--queue->running_ == 0) idle = std::exchange(queue->idle_, nullptr);
        offer(queue, !queue->urgent_.empty());
        if (!idle) continue;
        lock.unlock();
        idle();
        idle = nullptr;
        lock.lock();
    }
}

// ---- queue ---------------------------------------------------------------------------------------------

bool worker_queue::push(job j, bool urgent) {
    const std::lock_guard lock(pool_->mutex_);
    if (closed_) return false;
    (urgent ? urgent_ : jobs_).push_back(std::move(j));
    pool_->offer(shared_from_this(), urgent);
    return true;
}

std::size_t worker_queue::drop(bool all) {
    std::deque<job> gone;
    {
        const std::lock_guard lock(pool_->mutex_);
        gone = std::exchange(jobs_, {});
        if (all)
            for (auto& j : std::exchange(urgent_, {})) gone.push_back(std::move(j));
    }
    for (auto& j : gone)
        if (j.dropped) j.dropped();
    return gone.size();
}

std::size_t worker_queue::close() {
    {
        const std::lock_guard lock(pool_->mutex_);
        closed_ = true;
    }
    return drop(true);
}

void worker_queue::when_idle(std::function<void()> f) {
    {
        const std::lock_guard lock(pool_->mutex_);
        if (running_ != 0) {
            idle_ = std::move(f);
            return;
        }
    }
    f();
}

// ---- of one instance -----------------------------------------------------------------------------------

void worker_service::begin(bool serial) { queue_ = std::make_shared<worker_queue>(pool_, serial ? 1 : max_running, !serial); }

void worker_service::open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
}

cg_status worker_service::run(void (*fn)(void*), void (*done)(void*), void* ctx) {
    if (fn == nullptr) return CG_E_INVALID;
    {
        const std::lock_guard lock(mutex_);
        if (closed_) return CG_E_CANCELLED;
        if (!open_) return CG_E_PERMISSION;
        if (jobs_ >= max_jobs) return CG_E_BUSY;
        ++jobs_;
    }
    // Dropped ones stay in jobs_: close() counts them.
    const bool taken = queue_->push({[weak = weak_from_this(), fn, done, ctx] {
        fn(ctx);
        if (const auto self = weak.lock()) self->finished(done, ctx);
    }});
    return taken ? CG_OK : CG_E_CANCELLED;
}

void worker_service::finished(void (*done)(void*), void* ctx) {
    if (done == nullptr) {
        const std::lock_guard lock(mutex_);
        --jobs_;
        return;
    }
    loop_->post([weak = weak_from_this(), done, ctx] {
        const auto self = weak.lock();
        if (!self) return;
        {
            const std::lock_guard lock(self->mutex_);
            if (self->closed_) return;
            --self->jobs_;
        }
        done(ctx);
    });
}

cg_status worker_service::enter(cg_op op, std::function<cg_status()> call, bool urgent) {
    const auto end = [this, op](cg_status status) {
        cg_completion c{};
        c.struct_size = sizeof c;
        c.status = status < 0 ? status : CG_E_INTERNAL;
        (void)loop_->table().complete(owner_, op, &c);
    };
    const bool taken = queue_->push({[this, op, call = std::move(call), end, urgent] {
                                         if (!urgent && loop_->table().is_cancelled(owner_, op)) return end(CG_E_DEADLINE);
                                         if (const auto status = call(); status != CG_OK) end(status);
                                     },
                                     [end] { end(CG_E_CANCELLED); }},
                                    urgent);
    return taken ? CG_OK : CG_E_CANCELLED;
}

void worker_service::when_idle(std::int64_t timeout_ns, std::function<void(bool)> then) {
    struct waiting {
        boost::asio::steady_timer limit;
        std::function<void(bool)> then;
        void answer(bool idle) {
            if (const auto f = std::exchange(then, nullptr)) f(idle);
        }
    };
    auto w = std::make_shared<waiting>(waiting{boost::asio::steady_timer(loop_->io(), std::chrono::nanoseconds(timeout_ns)), std::move(then)});
    w->limit.async_wait([w](const boost::system::error_code& ec) {
        if (!ec) w->answer(false);
    });
    // The pool keeps this function until a job that hangs ends, perhaps for ever: it must not keep the loop.
    queue_->when_idle([w = std::weak_ptr(w), loop = std::weak_ptr(loop_)] {
        const auto alive = loop.lock();
        if (!alive) return;
        alive->post([w] {
            const auto waits = w.lock();
            if (!waits) return;
            waits->limit.cancel();
            waits->answer(true);
        });
    });
}

std::size_t worker_service::close() {
    if (queue_) queue_->close();
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return 0;
    return jobs_;
}

const cg_worker_api worker_service::api = {
    sizeof(cg_worker_api), 0, [](const cg_host* host, void (*fn)(void*), void (*done)(void*), void* ctx) noexcept -> cg_status {
        return services::of(host).workers().run(fn, done, ctx);
    }};

}  // namespace callgate::host
