// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/hash_pool.hpp"

#include <algorithm>
#include <callgate/crypto/secret.hpp>
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

constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t report_interval_ns = 60'000'000'000;

/// Processor time rather than wall time: at low priority the latter says how busy others are.
std::int64_t thread_cpu_ns() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

void answer_unavailable(hash_job& job, std::string_view reason_id, std::string_view reason) {
    sdk::reply_builder{}.unavailable(reason_id, reason).send(job.op);
}

}  // namespace

hash_pool::pending::pending(hash_job&& j, std::int64_t now_ns)
    : job(std::move(j)),
      hash(std::move(job.hash)),
      // One byte more than can match, so that what is too long stays too long.
      password(job.password.substr(0, max_password_bytes + 1)),
      since_ns(now_ns),
      user(job.request.user().substr(0, 256)),
      host(job.request.client_host().substr(0, 64)) {
    job.password = {};
}

hash_pool::pending::~pending() { crypto::wipe(password.data(), password.size()); }

hash_pool::hash_pool(sdk::host_ref host, hash_options options, finish done, verify matches)
    : host_(host), options_(options), done_(std::move(done)), matches_(std::move(matches)) {
    running_.reserve(options_.threads + options_.reserve);
}

hash_pool::~hash_pool() { stop(); }

void hash_pool::provide_memory(std::size_t bytes) {
    unmap_outgrown();
    std::vector<hash_memory> fresh;
    {
        const std::lock_guard lock(mutex_);
        if (bytes <= memory_bytes_) return;
    }
    fresh.reserve(thread_count());
    while (fresh.size() < thread_count()) fresh.emplace_back(bytes);
    std::vector<hash_memory> old;
    {
        const std::lock_guard lock(mutex_);
        // No more than are lent can come back before the next call.
        outgrown_.reserve(thread_count());
        old.swap(memory_);
        memory_.swap(fresh);
        memory_bytes_ = memory_.front().size();
    }
}

void hash_pool::unmap_outgrown() {
    std::vector<hash_memory> old;
    old.reserve(thread_count());
    const std::lock_guard lock(mutex_);
    old.swap(outgrown_);
}

hash_memory hash_pool::borrow_memory() {
    if (memory_.empty()) return {};
    auto memory = std::move(memory_.back());
    memory_.pop_back();
    return memory;
}

void hash_pool::return_memory(hash_memory&& memory) {
    if (memory.size() == 0) return;
    (memory.size() < memory_bytes_ ? outgrown_ : memory_).push_back(std::move(memory));
}

void hash_pool::start() {
    for (std::size_t i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { work(); });
    if (options_.sched == priority::normal) return;
    for (std::size_t i = 0; i < options_.reserve; ++i) threads_.emplace_back([this] { stand_by(); });
}

void hash_pool::submit(hash_job&& job) {
    const auto p = std::make_shared<pending>(std::move(job), host_.now_ns());
    std::string_view full;
    bool look = false;
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) {
            full = "shutting_down";
        } else if (queue_.size() >= options_.queue) {
            full = "hash_queue_full";
        } else if (const auto u = users_.find(p->user); u != users_.end() && u->second >= options_.per_user) {
            full = "hash_share_of_user";
        } else if (const auto h = hosts_.find(p->host); h != hosts_.end() && h->second >= options_.per_host) {
            full = "hash_share_of_host";
        } else {
            ++users_[p->user];
            ++hosts_[p->host];
            // Waking the reserve for every login would cost the shards two switches each.
            look = p->since_ns + options_.reserve_after.count() < next_look_ns_;
            queue_.push_back(p);
        }
    }
    if (!full.empty()) return answer_unavailable(p->job, full, "too many password logins wait");
    wake_.notify_one();
    if (look) aged_.notify_one();
}

std::optional<hash_job> hash_pool::claim(const pending_ref& p) {
    if (p->answered) return std::nullopt;
    p->answered = true;
    std::erase(running_, p);
    return std::move(p->job);
}

void hash_pool::leave(std::unique_lock<std::mutex>& lock, const pending& p) {
    const auto drop = [](auto& counts, const std::string& key) {
        const auto i = counts.find(key);
        if (--i->second == 0) counts.erase(i);
    };
    drop(users_, p.user);
    drop(hosts_, p.host);
    // users_ has every job that is not answered.
    if (!users_.empty() || !drained_) return;
    auto drained = std::move(drained_);
    lock.unlock();
    drained.succeed();
    lock.lock();
}

void hash_pool::shed(std::unique_lock<std::mutex>& lock, const pending_ref& p, std::string_view reason_id, std::string_view reason) {
    auto job = claim(p);
    if (!job) return;
    lock.unlock();
    answer_unavailable(*job, reason_id, reason);
    lock.lock();
    leave(lock, *p);
}

void hash_pool::cancel(cg_op op) {
    std::unique_lock lock(mutex_);
    const auto is = [&](const pending_ref& p) { return p->job.op.id() == op; };
    pending_ref p;
    if (const auto q = std::find_if(queue_.begin(), queue_.end(), is); q != queue_.end()) {
        p = std::move(*q);
        queue_.erase(q);
    } else if (const auto r = std::find_if(running_.begin(), running_.end(), is); r != running_.end()) {
        p = *r;
    }
    if (p) shed(lock, p, "cancelled", "the login was given up before its password was hashed");
}

std::string_view hash_pool::obstacle(const pending& p) const {
    if (stopping_) return "shutting_down";
    if (p.job.op.cancelled()) return "cancelled";
    if (!p.begun && host_.now_ns() - p.since_ns > options_.max_wait.count()) return "hash_wait_too_long";
    // A hash that ends after the deadline is work for nobody.
    if (p.job.op.time_left_ns() <= hash_ns_) return "out_of_time";
    return {};
}

void hash_pool::lower_priority() const {
    if (options_.sched == priority::normal) return;
    // While it still runs: see the class.
    warm_up_hashing();
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

void hash_pool::hash(std::unique_lock<std::mutex>& lock, const pending_ref& p) {
    if (p->reserved) ++taken_by_reserve_;
    auto memory = borrow_memory();
    lock.unlock();
    std::int64_t took = 0;
    bool matches = false;
    std::string failed;
    try {
        const auto from = thread_cpu_ns();
        matches = matches_(p->hash, p->password, memory);
        took = thread_cpu_ns() - from;
    } catch (const std::exception& e) {
        failed = e.what();
    }
    lock.lock();
    return_memory(std::move(memory));
    hash_ns_ = hash_ns_ == 0 ? took : hash_ns_ + (took - hash_ns_) / 8;
    auto job = claim(p);
    if (!job) return;
    lock.unlock();
    try {
        if (failed.empty()) done_(*job, matches);
    } catch (const std::exception& e) {
        failed = e.what();
    }
    if (job->op && !failed.empty()) job->op.fail(CG_E_INTERNAL, failed);
    lock.lock();
    leave(lock, *p);
}

void hash_pool::take_first(std::unique_lock<std::mutex>& lock, bool reserved) {
    const auto p = std::move(queue_.front());
    queue_.pop_front();
    if (const auto hindered = obstacle(*p); !hindered.empty()) {
        // Without a new sample it shrinks: one slow hash must not turn everybody away for good.
        hash_ns_ -= hash_ns_ / 8;
        return shed(lock, p, hindered, "the password was not looked at");
    }
    p->begun = true;
    p->begun_ns = host_.now_ns();
    p->reserved = reserved;
    running_.push_back(p);
    hash(lock, p);
}

void hash_pool::work() {
    ::pthread_setname_np(::pthread_self(), "cg-hash");
    lower_priority();
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        if (stopping_) return;
        take_first(lock, false);
    }
}

hash_pool::pending_ref hash_pool::next_due(std::int64_t& due_ns) const {
    pending_ref first;
    due_ns = never;
    const auto consider = [&](const pending_ref& p, std::int64_t at) {
        if (at < due_ns) due_ns = at, first = p;
    };
    const auto after = options_.reserve_after.count();
    for (const auto& p : running_)
        if (!p->reserved) consider(p, std::max(p->since_ns + after, p->begun_ns + 2 * hash_ns_));
    if (!queue_.empty()) consider(queue_.front(), queue_.front()->since_ns + after);
    return first;
}

void hash_pool::report_reserve(std::unique_lock<std::mutex>& lock) {
    const auto taken = taken_by_reserve_ - reported_;
    const auto now = host_.now_ns();
    if (taken == 0 || (reported_ != 0 && now - reported_ns_ < report_interval_ns)) return;
    reported_ = taken_by_reserve_;
    reported_ns_ = now;
    lock.unlock();
    host_.log(sdk::log_level::warn,
              "the threads for password hashing do not keep up; the reserve hashes at normal priority, which slows other logins down. "
              "Give the machine more processors, put callgate into a scheduling group of its own, or lower the cost of the hashes",
              {{"logins", std::to_string(taken)}});
    lock.lock();
}

void hash_pool::stand_by() {
    ::pthread_setname_np(::pthread_self(), "cg-hash-reserve");
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        std::int64_t due_ns = never;
        const auto p = next_due(due_ns);
        const auto now = host_.now_ns();
        if (due_ns > now) {
            next_look_ns_ = due_ns;
            if (p)
                aged_.wait_for(lock, std::chrono::nanoseconds(due_ns - now));
            else
                aged_.wait(lock);
            next_look_ns_ = never;
        } else if (!p->begun) {
            take_first(lock, true);
            report_reserve(lock);
        } else {
            p->reserved = true;
            // What hinders it is left to the thread that has it, or to cancel.
            if (!obstacle(*p).empty()) continue;
            hash(lock, p);
            report_reserve(lock);
        }
    }
}

void hash_pool::drain(sdk::op_handle&& op) {
    {
        const std::lock_guard lock(mutex_);
        if (!users_.empty()) {
            drained_ = std::move(op);
            return;
        }
    }
    op.succeed();
}

void hash_pool::stop() {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
    aged_.notify_all();
    while (!queue_.empty()) {
        const auto p = std::move(queue_.front());
        queue_.pop_front();
        shed(lock, p, "shutting_down", "the password was not looked at");
    }
    lock.unlock();
    for (auto& t : threads_) t.join();
    threads_.clear();
}

std::size_t hash_pool::waiting() const {
    const std::lock_guard lock(mutex_);
    return queue_.size();
}

std::uint64_t hash_pool::taken_by_reserve() const {
    const std::lock_guard lock(mutex_);
    return taken_by_reserve_;
}

}  // namespace callgate::auth_static
