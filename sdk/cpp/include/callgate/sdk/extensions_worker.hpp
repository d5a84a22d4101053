// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/worker.h>
#include <callgate/sdk/extensions.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

/// worker/1 (draft) with an owner.
namespace callgate::sdk {

namespace ext {
struct worker {
    using api = cg_worker_api;
    static constexpr std::string_view id = CG_EXT_WORKER;
};
}  // namespace ext

/// Jobs of one instance on the host's blocking pool. It must outlive them: answer `stop` from when_idle().
class worker_jobs {
  public:
    /// [control] Throws status_error when the host has no pool.
    explicit worker_jobs(host_ref host) : host_(host), api_(&host.require<ext::worker>()) {}
    worker_jobs(const worker_jobs&) = delete;
    worker_jobs& operator=(const worker_jobs&) = delete;

    /// [any] Runs `fn` on [worker], then `done` (may be empty) on [control], also when `fn` threw, which is logged. Throws
    /// status_error: CG_E_BUSY when 256 jobs are there, CG_E_CANCELLED after stop, CG_E_PERMISSION before start.
    void run(std::function<void()> fn, std::function<void()> done = {}) {
        auto j = std::make_unique<job>(job{this, std::move(fn), std::move(done)});
        {
            const std::lock_guard lock(mutex_);
            ++open_;
        }
        const cg_status s = api_->run(host_.get(), &work, &finish, j.get());
        if (s != CG_OK) {
            const std::lock_guard lock(mutex_);
            --open_;
            throw status_error(s, s == CG_E_BUSY ? "too many jobs wait for the host's pool" : "the host takes no job now");
        }
        static_cast<void>(j.release());  // finish() owns it
    }
    /// [control] Calls `f` once when no job is left: now, or after the last one's `done`.
    void when_idle(std::function<void()> f) {
        {
            const std::lock_guard lock(mutex_);
            if (open_ != 0) {
                idle_ = std::move(f);
                return;
            }
        }
        f();
    }
    /// [any] Jobs that were given and have not ended.
    [[nodiscard]] std::size_t open() const {
        const std::lock_guard lock(mutex_);
        return open_;
    }

  private:
    struct job {
        worker_jobs* owner;
        std::function<void()> fn, done;
    };
    static void work(void* p) noexcept {
        auto& j = *static_cast<job*>(p);
        detail::guard_callback(j.owner->host_, "worker", j.fn);
        j.fn = nullptr;
    }
    static void finish(void* p) noexcept {
        const std::unique_ptr<job> j(static_cast<job*>(p));
        auto& self = *j->owner;
        if (j->done) detail::guard_callback(self.host_, "worker done", j->done);
        std::function<void()> idle;
        {
            const std::lock_guard lock(self.mutex_);
            if (--self.open_ == 0) idle = std::exchange(self.idle_, nullptr);
        }
        // The last use of self: `idle` may end the instance.
        if (idle) detail::guard_callback(host_ref{self.host_}, "worker idle", idle);
    }

    host_ref host_;
    const cg_worker_api* api_;
    mutable std::mutex mutex_;
    std::size_t open_ = 0;
    std::function<void()> idle_;
};

}  // namespace callgate::sdk
