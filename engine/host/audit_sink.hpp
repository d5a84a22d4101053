// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/audit_sink.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engine/base/error.hpp"
#include "engine/flow/ports.hpp"
#include "engine/host/instance.hpp"

namespace callgate::host {

/// One audit record as every sink gets it. Immutable once it is handed over.
struct audit_event {
    std::uint32_t kind = CG_AUDIT_DECISION;
    flow::audit_record record{};  ///< of a note: unix_ms, identity; verdict is its outcome
    std::string source{}, action{};
    std::string line{};           ///< JSON and its line feed

    [[nodiscard]] std::size_t bytes() const noexcept;  ///< about what it costs to keep
};
using audit_event_ptr = std::shared_ptr<const audit_event>;

/// An audit sink plugin behind a bounded queue and a thread of its own. What the sink does not take waits here; what does not
/// fit is lost and counted. Nothing here makes the thread that offers a record wait.
class audit_sink : public std::enable_shared_from_this<audit_sink> {
  public:
    struct options {
        std::size_t queue_bytes = std::size_t{8} << 20;
        std::int64_t stall_ns = 2'000'000'000;   ///< a call that is open for longer is cancelled and shown
        std::int64_t retry_ns = 1'000'000'000;   ///< after a failure
        std::int64_t full_ns = 20'000'000;       ///< after "none taken"
        std::int64_t reopen_ns = 5'000'000'000;  ///< deadline of reopen
    };
    struct report {
        std::uint64_t written = 0, lost = 0;
        std::size_t waiting = 0, waiting_bytes = 0;
        std::string fault;  ///< why it takes nothing at the moment; empty = it does
    };

    /// [control] After the instance's start. Error abi when it is no audit sink, or one without write.
    static result<std::shared_ptr<audit_sink>> open(std::shared_ptr<instance> owner, options o);
    static result<std::shared_ptr<audit_sink>> open(std::shared_ptr<instance> owner) { return open(std::move(owner), options{}); }
    ~audit_sink();
    audit_sink(const audit_sink&) = delete;
    audit_sink& operator=(const audit_sink&) = delete;

    [[nodiscard]] const std::string& name() const noexcept { return owner_->name(); }

    // [any]
    /// Room for a record, to be followed by push() or give_back(). `strict`: only while the sink takes records. False is counted as a
    /// lost record.
    [[nodiscard]] bool reserve(std::size_t bytes, bool strict);
    void give_back(std::size_t bytes);
    void push(audit_event_ptr event);
    [[nodiscard]] report state() const;
    /// Logs that it takes nothing any more, or takes records again; once for each change.
    void announce();

    /// A reload may change it; what waits already stays.
    void set_queue_bytes(std::size_t bytes) noexcept { queue_bytes_ = bytes; }

    // [control]
    /// `then` on the control thread: when the sink has opened its target anew, cannot, or is stalled (then it does so later).
    void reopen(instance::done then);
    /// Takes no more records, lets the sink have what waits, flushes; all within `limit_ns` and a second. `then` on the control
    /// thread; false: the plugin holds its thread, nothing of the instance may be taken away. At most once.
    void close(std::int64_t limit_ns, std::function<void(bool ended)> then);

  private:
    struct waiting {
        audit_event_ptr event;
        std::uint64_t lost_before;
    };
    class open_call;
    class open_write;

    audit_sink(std::shared_ptr<instance> owner, const cg_audit_sink_api& api, options o) : owner_(std::move(owner)), api_(api), options_(o) {}
    void loop();
    bool step(std::unique_lock<std::mutex>& lock);
    std::int64_t next_ns() const;
    void begin_write(std::unique_lock<std::mutex>& lock);
    void begin(std::unique_lock<std::mutex>& lock, cg_status (*function)(cg_instance*, cg_op), std::int64_t limit_ns, std::function<void(result<void>)> then);
    void wrote(std::size_t offered, std::uint64_t taken, const result<void>& outcome, std::int64_t retry_ns);
    [[nodiscard]] std::string fault(std::int64_t now_ns) const;
    [[nodiscard]] std::string stalled_text() const;

    const std::shared_ptr<instance> owner_;
    const cg_audit_sink_api api_;
    const options options_;
    std::atomic<std::size_t> queue_bytes_{options_.queue_bytes};
    std::uint32_t lane_ = 0;

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<waiting> queue_;     // what is offered stays here until it is taken
    std::size_t bytes_ = 0;         // of the queue and of reservations
    std::uint64_t lost_since_ = 0;  // since the last push
    std::uint64_t written_ = 0, lost_ = 0;
    std::string failure_;           // of the last write; empty = it worked
    std::int64_t retry_at_ns_ = 0;
    bool woken_ = false, closing_ = false, flushed_ = false, ended_ = false;
    std::int64_t close_at_ns_ = INT64_MAX;
    instance::done reopen_wanted_, reopen_waits_;
    std::function<void(bool)> closed_;
    std::string announced_;
    std::uint64_t lost_announced_ = 0;

    // The sink's thread only, but for open_since_ns_.
    bool owed_ = false;             // a call is open
    unsigned cancelled_ = 0;        // bits of reasons told to it
    std::atomic<std::int64_t> open_since_ns_{0};
    std::thread thread_;
};

}  // namespace callgate::host
