// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/instance.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <string_view>
#include <vector>

#include "engine/base/clock.hpp"
#include "engine/base/mpsc_inbox.hpp"
#include "engine/host/breaker.hpp"

/// Asynchronous operations: the cg_op handles that plugins hold, and the way back of their results.
///
/// An operation is begun on a shard's thread (or on the control thread, which counts as one shard more) and
/// its result is delivered there, exactly once: with what the plugin completed, or with a failure when the
/// plugin refused it or the deadline passed. Apart from that, the operation itself lives until the plugin
/// completes it, so its memory stays valid for a plugin that is late; it then counts as in flight.
namespace callgate::host {

/// Why an operation was not handed to the plugin.
enum class refusal : std::uint8_t {
    none,
    not_attached,  ///< to the shard that asks
    no_time,       ///< its deadline has passed
    breaker_open,
    busy           ///< max_in_flight reached, overdue operations included; or a limit of the instance's kind
};
inline constexpr std::size_t refusal_count = 5;
/// Predicate for a message whose subject is the instance: "has too many operations in flight".
[[nodiscard]] std::string_view to_string(refusal r) noexcept;
/// CG_E_UNAVAILABLE, CG_E_DEADLINE or CG_E_BUSY; CG_OK for none.
[[nodiscard]] cg_status status_of(refusal r) noexcept;

/// Counters of one instance; any thread reads them.
struct instance_metrics {
    std::atomic<std::uint64_t> started{0};    ///< operations handed to the plugin
    std::atomic<std::uint64_t> completed{0};  ///< answered by it, in time
    std::atomic<std::uint64_t> failed{0};     ///< of these: with a status other than CG_OK; and refused ones
    std::atomic<std::uint64_t> overdue{0};    ///< not answered before their deadline
    std::atomic<std::uint64_t> late{0};       ///< answered after it
    std::array<std::atomic<std::uint64_t>, refusal_count> rejected{};  ///< not handed over, by refusal
    std::atomic<std::uint64_t> faults{0};     ///< breaches of the ABI: second completion, unusable result, exception, ...
    std::atomic<std::uint32_t> in_flight{0};  ///< not completed by the plugin yet, overdue ones included
    std::atomic<std::uint32_t> owed{0};       ///< of these: overdue
    std::atomic<std::uint32_t> stuck{0};      ///< of these: for longer than watchdog_options::max_age_ns

    [[nodiscard]] std::uint64_t refused() const noexcept {
        std::uint64_t n = 0;
        for (const auto& r : rejected) n += r.load(std::memory_order_relaxed);
        return n;
    }
    [[nodiscard]] std::uint64_t refused(refusal why) const noexcept { return rejected[static_cast<std::size_t>(why)].load(std::memory_order_relaxed); }
};

/// When an instance that does not complete is taken for one that hangs: its breaker opens, and its health says so.
struct watchdog_options {
    std::uint32_t max_owed = 0;                ///< overdue operations at once; more trip it. 0 = half of max_in_flight, at least 1
    std::int64_t max_age_ns = 10'000'000'000;  ///< an operation that is overdue for longer trips it, once
};

/// What an operation needs of the instance it belongs to. Outlives its operations.
struct operation_owner {
    operation_owner(breaker_options b, std::uint32_t max_in_flight_, watchdog_options w = {})
        : breaker(b), max_in_flight(max_in_flight_), max_owed(w.max_owed != 0 ? w.max_owed : max_in_flight_ < 2 ? 1 : max_in_flight_ / 2), max_age_ns(w.max_age_ns) {}
    cg_instance* plugin = nullptr;
    void (*cancel)(cg_instance*, cg_op, std::int32_t) = nullptr;
    instance_metrics metrics;
    circuit_breaker breaker;
    const std::uint32_t max_in_flight;  ///< of operations that count
    const std::uint32_t max_owed;
    const std::int64_t max_age_ns;
    std::atomic<std::uint32_t> counted{0};
};

enum class taken : std::uint8_t { ok, failed, fault };

/// The part of an operation that depends on what is asked.
class operation_body {
  public:
    virtual ~operation_body() = default;
    /// [any] Copies the plugin's answer; its memory may be gone afterwards. At most once.
    virtual taken take(const cg_completion& completion) = 0;
    /// [shard] After take(): hands the answer on.
    virtual void deliver() = 0;
    /// [shard] Instead of both: CG_E_DEADLINE, CG_E_CANCELLED or what the plugin refused with. The body lives on
    /// until the plugin completes when the plugin still may use its memory.
    virtual void fail(cg_status status) = 0;
};

class operation_table {
  public:
    /// `wake` [any] makes somebody call drain(shard) on that shard's thread, soon. Shard `shards` is control.
    /// Behind it are `max_lanes` lanes: threads that use the table as shards do and serve no requests.
    operation_table(std::uint32_t shards, const clock_source& clock, std::function<void(std::uint32_t)> wake);
    operation_table(const operation_table&) = delete;
    operation_table& operator=(const operation_table&) = delete;
    ~operation_table();

    [[nodiscard]] std::uint32_t control_shard() const noexcept { return static_cast<std::uint32_t>(shards_.size()) - 1 - max_lanes; }
    [[nodiscard]] const clock_source& clock() const noexcept { return clock_; }

    enum class weight : std::uint8_t {
        counts,  ///< against the owner's max_in_flight, and its outcome moves the breaker
        free     ///< life cycle: must also work when everything else hangs
    };

    template <class Call>
    bool run(std::uint32_t shard, operation_owner& owner, std::int64_t deadline_ns, weight w, std::unique_ptr<operation_body>&& body,
             Call&& call) {
        std::unique_ptr<operation_body> mine = std::move(body);
        return run(shard, owner, deadline_ns, w, mine, std::forward<Call>(call));
    }
    /// [shard] Begins an operation, calls `call(op)` (the plugin's function) and sees to the result. The
    /// body's deliver() or fail() may run inside. deadline_ns: CLOCK_MONOTONIC, INT64_MAX = none.
    /// False: no room, nothing was called and `body` is still the caller's.
    template <class Call>
    bool run(std::uint32_t shard, operation_owner& owner, std::int64_t deadline_ns, weight w, std::unique_ptr<operation_body>& body,
             Call&& call) {
        const cg_op op = begin(shard, owner, deadline_ns, w, body);
        if (op == 0) return false;
        const starting_scope scope(op);
        conclude(op, call(op));
        return true;
    }

    // The plugin's side, [any].
    cg_status complete(operation_owner& owner, cg_op op, const cg_completion* completion);
    [[nodiscard]] std::int64_t time_left_ns(const operation_owner& owner, cg_op op) const;
    [[nodiscard]] bool is_cancelled(const operation_owner& owner, cg_op op) const;
    void* scratch(operation_owner& owner, cg_op op, std::size_t size, std::size_t align);

    // The host's side, on the shard's thread.
    /// Delivers what has arrived.
    void drain(std::uint32_t shard);
    /// Fails what is past its deadline and tells the plugins; watches for those that do not complete even then.
    void expire(std::uint32_t shard, std::int64_t now_ns);
    /// INT64_MAX when nothing has a deadline.
    [[nodiscard]] std::int64_t next_deadline(std::uint32_t shard);
    /// Tells the plugin that the owner's operations on this shard are not wanted any more.
    void cancel_all(std::uint32_t shard, operation_owner& owner, std::int32_t reason);
    /// Nobody on this shard waits for anything any more: answers are dropped from now on.
    void forget(std::uint32_t shard);
    /// After the instance stopped: ends operations it never completed (each a fault) and frees their memory.
    void end_all(std::uint32_t shard, operation_owner& owner);

    static constexpr std::size_t scratch_bytes = 64 * 1024;
    static constexpr std::uint32_t max_lanes = 16;

  private:
    struct operation;
    struct shard_state;
    struct starting_scope {
        explicit starting_scope(cg_op op) noexcept;
        ~starting_scope();
        cg_op before;
    };

    cg_op begin(std::uint32_t shard, operation_owner& owner, std::int64_t deadline_ns, weight w, std::unique_ptr<operation_body>& body);
    void conclude(cg_op op, cg_status accepted);
    operation* find(cg_op op) const noexcept;
    void finish(shard_state& shard, operation& o);
    void overdue(shard_state& shard, operation& o, operation_owner& owner, std::int64_t now_ns);
    void tell_cancel(operation_owner& owner, cg_op op, std::int32_t reason);
    template <class F>
    void for_each_live(std::uint32_t shard, operation_owner* owner, F&& f);

    const clock_source& clock_;
    std::function<void(std::uint32_t)> wake_;
    std::vector<std::unique_ptr<shard_state>> shards_;
};

}  // namespace callgate::host
