// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/auth_backend.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
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
    /// Threads at normal priority for jobs that the others leave lying; 0 to max_reserve. None with priority::normal.
    std::size_t reserve = 1;
    std::chrono::nanoseconds reserve_after = std::chrono::milliseconds(200);  ///< what they let a job wait
};

inline constexpr std::size_t max_reserve = 4;

/// One password login. The request's memory lives until `op` is answered; a hash may run longer than that,
/// so the pool copies the password.
struct hash_job {
    sdk::op_handle op;
    sdk::request_view request;
    std::string_view password;
    password_hash hash;  ///< to check against; for an unknown user one that nothing matches
    entry_ptr entry;     ///< nullptr: deny whatever the hash says
};

/// Password hashing on threads of its own. Whatever keeps a job from being hashed answers it UNAVAILABLE:
/// only a finished hash denies. submit and cancel are [any], the rest [control].
///
/// Threads at idle priority stand still while others of their scheduling group use the processors, and a
/// process without CAP_SYS_NICE cannot raise them again. So reserve threads at normal priority take what is
/// due: a job that has waited for `reserve_after`, or one that a hashing thread holds for as long and for
/// more than twice the processor time of a hash. The latter is then hashed twice; whoever is first answers.
///
/// For the same reason a thread at idle priority must not stop where others wait for it. The kernel locks the whole
/// process's memory map while one thread maps, unmaps or faults memory in; so the control thread maps and unmaps all
/// that hashes work in.
class hash_pool {
  public:
    /// Called on a pool thread with the verdict of a finished hash; answers job.op. job.password and job.hash are empty.
    using finish = std::function<void(hash_job& job, bool matches)>;

    /// Whether the password matches, at the hash's whole cost. Other than verify_password in tests.
    using verify = std::function<bool(const password_hash& hash, std::string_view password, hash_memory& memory)>;

    hash_pool(sdk::host_ref host, hash_options options, finish done, verify matches = verify_password);
    hash_pool(const hash_pool&) = delete;
    hash_pool& operator=(const hash_pool&) = delete;
    ~hash_pool();

    /// Maps memory for hashes of up to that many bytes, one piece for each thread; never less than before. Before
    /// start(), and before logins that need more. Throws std::bad_alloc and leaves everything as it was.
    void provide_memory(std::size_t bytes);
    /// Unmaps pieces that were in use when larger ones came.
    void unmap_outgrown();
    void start();
    void submit(hash_job&& job);
    /// Answers the job of that operation if nobody has yet; a running hash ends by itself.
    void cancel(cg_op op);
    /// `op` is answered when no job is unanswered any more.
    void drain(sdk::op_handle&& op);
    /// Answers what waits, waits for what runs (one hash), ends the threads.
    void stop();

    [[nodiscard]] std::size_t waiting() const;
    /// Jobs that reserve threads have taken since the start.
    [[nodiscard]] std::uint64_t taken_by_reserve() const;

  private:
    struct pending {
        pending(hash_job&& j, std::int64_t now_ns);
        ~pending();
        hash_job job;  // goes to whoever answers
        const password_hash hash;
        std::string password;
        const std::int64_t since_ns;
        std::int64_t begun_ns = 0;
        bool begun = false;     // a thread has it
        bool reserved = false;  // a reserve thread has it, or has looked at it in vain
        bool answered = false;
        const std::string user, host;
    };
    using pending_ref = std::shared_ptr<pending>;

    void work();
    void stand_by();
    void lower_priority() const;
    /// For work() and stand_by(). All of them run under `lock` and let it go for what takes long.
    void take_first(std::unique_lock<std::mutex>& lock, bool reserved);
    void hash(std::unique_lock<std::mutex>& lock, const pending_ref& p);
    void shed(std::unique_lock<std::mutex>& lock, const pending_ref& p, std::string_view reason_id, std::string_view reason);
    /// After the answer: gives the shares of user and host back, and ends the drain when it was the last.
    void leave(std::unique_lock<std::mutex>& lock, const pending& p);
    [[nodiscard]] std::size_t thread_count() const noexcept { return options_.threads + (options_.sched == priority::normal ? 0 : options_.reserve); }
    void report_reserve(std::unique_lock<std::mutex>& lock);

    // Under mutex_.
    [[nodiscard]] hash_memory borrow_memory();
    void return_memory(hash_memory&& memory);
    /// What a reserve thread must look at next, and when; nullptr = nothing.
    [[nodiscard]] pending_ref next_due(std::int64_t& due_ns) const;
    /// Why `p` must not be hashed; empty when it may.
    [[nodiscard]] std::string_view obstacle(const pending& p) const;
    /// Makes the caller the one who answers `p`; nullopt when somebody has.
    [[nodiscard]] std::optional<hash_job> claim(const pending_ref& p);

    sdk::host_ref host_;
    const hash_options options_;
    const finish done_;
    const verify matches_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;  // hashing threads
    std::condition_variable aged_;  // reserve threads
    std::deque<pending_ref> queue_;
    std::vector<pending_ref> running_;   // unanswered
    std::unordered_map<std::string, std::size_t> users_, hosts_;  // unanswered
    std::vector<hash_memory> memory_;    // not in use; with room for all pieces
    std::vector<hash_memory> outgrown_;  // the same
    std::size_t memory_bytes_ = 0;       // of each piece
    std::int64_t hash_ns_ = 0;       // moving average of what one hash takes
    std::int64_t next_look_ns_ = std::numeric_limits<std::int64_t>::max();  // of the reserve; the largest number = when it is told to
    std::uint64_t taken_by_reserve_ = 0, reported_ = 0;
    std::int64_t reported_ns_ = 0;  // 0 = never
    bool stopping_ = false;
    sdk::op_handle drained_;
    std::vector<std::thread> threads_;
};

}  // namespace callgate::auth_static
