// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/hash_pool.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace callgate::auth_static {
namespace {

/// Processor time rather than wall time: at low priority the latter says how busy others are.
std::int64_t thread_cpu_ns() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

hash_pool::hash_pool(sdk::host_ref host, hash_options options, finish done) : host_(host), options_(options), done_(std::move(done)) {}

hash_pool::~hash_pool() { stop(); }

void hash_pool::start() {
    for (std::size_t i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { work(); });
}

void hash_pool::shed(hash_job& job, std::string_view reason_id, std::string_view reason) {
    sdk::reply_builder{}.unavailable(reason_id, reason).send(job.op);
}

void hash_pool::submit(hash_job&& job) {
    std::string user(job.request.user().substr(0, 256));
    std::string client(job.request.client_host().substr(0, 64));
    std::string_view full;
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) {
            full = "shutting_down";
        } else if (queue_.size() >= options_.queue) {
            full = "hash_queue_full";
        } else if (const auto u = users_.find(user); u != users_.end() && u->second >= options_.per_user) {
            full = "hash_share_of_user";
        } else if (const auto h = hosts_.find(client); h != hosts_.end() && h->second >= options_.per_host) {
            full = "hash_share_of_host";
        } else {
            ++users_[user];
            ++hosts_[client];
            queue_.push_back({std::move(job), host_.now_ns(), std::move(user), std::move(client)});
        }
    }
    if (full.empty())
        wake_.notify_one();
    else
        shed(job, full, "too many password logins wait");
}

void hash_pool::leave(const queued& q) {
    const auto drop = [](auto& counts, const std::string& key) {
        const auto i = counts.find(key);
        if (--i->second == 0) counts.erase(i);
    };
    drop(users_, q.user);
    drop(hosts_, q.host);
}

void hash_pool::cancel(cg_op op) {
    std::unique_lock lock(mutex_);
    const auto i = std::find_if(queue_.begin(), queue_.end(), [&](const queued& q) { return q.job.op.id() == op; });
    if (i == queue_.end()) return;
    queued q = std::move(*i);
    queue_.erase(i);
    leave(q);
    auto drained = queue_.empty() && running_ == 0 ? std::move(drained_) : sdk::op_handle{};
    lock.unlock();
    shed(q.job, "cancelled", "the login was given up while it waited for its turn");
    if (drained) drained.succeed();
}

std::string_view hash_pool::obstacle(const queued& q) const {
    if (stopping_) return "shutting_down";
    if (q.job.op.cancelled()) return "cancelled";
    if (host_.now_ns() - q.since_ns > options_.max_wait.count()) return "hash_wait_too_long";
    // A hash that ends after the deadline is work for nobody.
    if (q.job.op.time_left_ns() <= hash_ns_) return "out_of_time";
    return {};
}

void hash_pool::lower_priority() const {
    int failed = 0;
    const sched_param none{};
    if (options_.sched == priority::idle) {
        failed = ::pthread_setschedparam(::pthread_self(), SCHED_IDLE, &none);
    } else if (options_.sched == priority::low) {
        failed = ::pthread_setschedparam(::pthread_self(), SCHED_BATCH, &none);
        const auto self = static_cast<id_t>(::syscall(SYS_gettid));
        if (failed == 0 && ::setpriority(PRIO_PROCESS, self, 19) != 0) failed = errno;
    }
    if (failed != 0)
        host_.log(sdk::log_level::warn, "cannot lower the priority of password hashing; it may slow other logins down",
                  {{"reason", std::strerror(failed)}});
}

void hash_pool::work() {
    ::pthread_setname_np(::pthread_self(), "cg-hash");
    lower_priority();
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        queued q = std::move(queue_.front());
        queue_.pop_front();
        const auto hindered = obstacle(q);
        ++running_;
        lock.unlock();
        std::int64_t took = 0;
        try {
            if (!hindered.empty()) {
                shed(q.job, hindered, "the password was not looked at");
            } else {
                const auto from = thread_cpu_ns();
                const bool matches = verify_password(q.job.hash, q.job.password);
                took = thread_cpu_ns() - from;
                done_(q.job, matches);
            }
        } catch (const std::exception& e) {
            if (q.job.op) q.job.op.fail(CG_E_INTERNAL, e.what());
        }
        lock.lock();
        // Without a new sample it shrinks: one slow hash must not turn everybody away for good.
        hash_ns_ = hash_ns_ == 0 ? took : hash_ns_ + (took - hash_ns_) / 8;
        leave(q);
        --running_;
        if (queue_.empty() && running_ == 0 && drained_) {
            auto drained = std::move(drained_);
            lock.unlock();
            drained.succeed();
            lock.lock();
        }
    }
}

void hash_pool::drain(sdk::op_handle&& op) {
    {
        const std::lock_guard lock(mutex_);
        if (!queue_.empty() || running_ != 0) {
            drained_ = std::move(op);
            return;
        }
    }
    op.succeed();
}

void hash_pool::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    for (auto& t : threads_) t.join();
    threads_.clear();
}

std::size_t hash_pool::waiting() const {
    const std::lock_guard lock(mutex_);
    return queue_.size();
}

}  // namespace callgate::auth_static
