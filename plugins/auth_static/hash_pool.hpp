// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/auth_backend.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "plugins/auth_static/users_file.hpp"

namespace callgate::auth_static {

enum class priority : std::uint8_t {
    idle,   ///< SCHED_IDLE: runs only where no other thread wants the processor
    low,    ///< SCHED_BATCH and nice 19
    normal,
};

struct hash_options {
    std::size_t threads = 1;
    std::size_t queue = 256;                      ///< jobs waiting
    std::size_t per_user = 4;                     ///< waiting or running for one user name
    std::size_t per_host = 64;                    ///< the same for one client address
    std::chrono::nanoseconds max_wait = std::chrono::seconds(1);
    priority sched = priority::idle;
};

/// One password login. The request's memory lives until `op` is answered.
struct hash_job {
    sdk::op_handle op;
    sdk::request_view request;
    std::string_view password;
    password_hash hash;  ///< to check against; for an unknown user one that nothing matches
    entry_ptr entry;     ///< nullptr: deny whatever the hash says
};

/// Password hashing on threads of its own. Whatever keeps a job from being hashed answers it UNAVAILABLE:
/// only a finished hash denies. submit and cancel are [any], the rest [control].
class hash_pool {
  public:
    /// Called on a pool thread with the verdict of a finished hash; answers job.op.
    using finish = std::function<void(hash_job& job, bool matches)>;

    hash_pool(sdk::host_ref host, hash_options options, finish done);
    hash_pool(const hash_pool&) = delete;
    hash_pool& operator=(const hash_pool&) = delete;
    ~hash_pool();

    void start();
    void submit(hash_job&& job);
    /// Answers the job of that operation when it still waits; a running hash ends by itself.
    void cancel(cg_op op);
    /// `op` is answered when nothing waits or runs any more.
    void drain(sdk::op_handle&& op);
    /// Answers what waits, waits for what runs (one hash), ends the threads.
    void stop();

    [[nodiscard]] std::size_t waiting() const;

  private:
    struct queued {
        hash_job job;
        std::int64_t since_ns;
        std::string user, host;
    };
    void work();
    void lower_priority() const;
    /// Why the job must not be hashed; empty when it may.
    [[nodiscard]] std::string_view obstacle(const queued& q) const;
    void leave(const queued& q);  // under mutex_
    static void shed(hash_job& job, std::string_view reason_id, std::string_view reason);

    sdk::host_ref host_;
    const hash_options options_;
    const finish done_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<queued> queue_;
    std::unordered_map<std::string, std::size_t> users_, hosts_;  // waiting or running
    std::size_t running_ = 0;
    std::int64_t hash_ns_ = 0;  // moving average of what one hash takes
    bool stopping_ = false;
    sdk::op_handle drained_;
    std::vector<std::thread> threads_;
};

}  // namespace callgate::auth_static
