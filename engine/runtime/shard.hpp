// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/flow/shard_engine.hpp"
#include "engine/net/nats_link.hpp"
#include "engine/observe/shard_metrics.hpp"
#include "engine/runtime/audit_trail.hpp"

namespace callgate::runtime {

/// What every shard knows of one nats cluster (an entry of `nats:`). Immutable; replaced whole.
struct cluster_view {
    bool can_kick = false;
    std::set<std::string, std::less<>> pinned;  ///< N keys; listed or discovered
    /// Discovered: the server at the other end of a link of ours is who the URL and TLS say it is. The shard
    /// knows it before the first request comes in, the control thread may be later.
    bool trust_own_servers = false;
};

/// One link as the control thread shows it in /health and metrics.
struct link_report {
    std::uint32_t shard = 0;
    std::string cluster, name;
    bool cold = false;
    net::link_status status;
    net::link_counters counters;
};

/// One thread, one io_context, one shard_engine, its links. Public functions are [any] unless tagged.
class shard final : private net::link_handler, private flow::reply_port, private flow::audit_port {
  public:
    struct hooks {
        /// [shard] Completions of plugins wait for this shard.
        std::function<void(std::uint32_t shard)> drain_completions;
        /// [shard] Expires overdue plugin operations.
        std::function<void(std::uint32_t shard)> expire_operations;
        /// [shard] When that is due next (monotonic ns); INT64_MAX = never.
        std::function<std::int64_t(std::uint32_t shard)> next_operation_deadline;
        /// [shard] A link came up or went down.
        std::function<void()> link_changed;
        /// [shard] Ask the system account user of that cluster to kick.
        std::function<void(const std::string& cluster, std::string server_id, std::uint64_t cid)> kick;
    };

    /// `replays`: one for all shards.
    shard(std::uint32_t index, const clock_source& clock, std::shared_ptr<flow::replay_set> replays, hooks h,
          std::shared_ptr<flow::key_tables> tables = nullptr);
    ~shard() override;
    shard(const shard&) = delete;
    shard& operator=(const shard&) = delete;

    void start();
    /// Runs on the shard's thread; in order.
    void post(std::function<void()> work);
    /// Blocks the caller (never a shard) until `work` has run on the shard's thread.
    void run_and_wait(const std::function<void()>& work);
    /// [any] Something completed for this shard.
    void wake();

    /// [shard]
    void use(std::shared_ptr<const flow::flow_config> config);
    void set_audit(std::shared_ptr<const audit_trail> trail);
    void set_cluster_view(const std::string& cluster, std::shared_ptr<const cluster_view> view);
    /// [shard] Starts the links of a cluster: `count` that receive and one cold link. Returns a group number.
    result<std::uint32_t> open_links(const std::string& cluster, const net::link_options& options, std::uint32_t count);
    /// [shard] True when a receiving link of the group is connected.
    [[nodiscard]] bool group_connected(std::uint32_t group) const;
    /// Of stop_receiving and close_links: every group of the shard, also of a reload that is not finished.
    static constexpr std::uint32_t every_group = 0;
    /// [shard] Stops receiving on a group; `done` when everything the servers sent has been delivered.
    void stop_receiving(std::uint32_t group, std::int64_t limit_ns, std::function<void()> done);
    /// [shard] Closes a group's links; `done` when they are gone.
    void close_links(std::uint32_t group, std::int64_t limit_ns, std::function<void()> done);
    /// [shard] `done` when no request is queued or in flight, or limit_ns has passed.
    void when_idle(std::int64_t limit_ns, std::function<void()> done);

    [[nodiscard]] std::uint32_t index() const noexcept { return index_; }
    [[nodiscard]] const observe::shard_metrics& metrics() const noexcept { return metrics_; }
    /// Counters are those of the last refresh_counters.
    [[nodiscard]] std::vector<link_report> links() const;
    /// Copies the links' counters for links(); `done` runs on the shard. Nothing runs once the shard has stopped.
    void refresh_counters(std::function<void()> done);
    /// Ends the thread; links must be closed before.
    void stop();

  private:
    struct link_slot {
        std::unique_ptr<net::nats_link> link;
        std::string cluster;
        std::uint32_t group = 0;
        bool cold = false;
        bool closing = false;
        std::vector<std::function<void()>> closed;  // a retired group may be closed once more by the stop
    };

    void on_messages(std::span<net::inbound_message> batch) override;
    void on_status(std::uint32_t link, const net::link_status& status) override;
    bool leads_to(std::uint32_t link, std::string_view server_id) const override;
    bool send_reply(std::uint32_t link, bool cold, std::string_view subject, std::span<const std::uint8_t> payload) override;
    void kick(std::uint32_t link, std::string_view server_id, std::uint64_t cid) override;
    [[nodiscard]] bool can_kick(std::uint32_t link) const override;
    [[nodiscard]] bool is_pinned(std::uint32_t link, std::string_view server_id) const override;
    bool record(flow::audit_record&& r) override;
    [[nodiscard]] bool fail_closed() const override { return audit_ && audit_->fail_closed(); }

    void pump();
    void arm_timer();
    void check_idle();
    [[nodiscard]] const cluster_view* view_of(std::uint32_t link) const;

    const std::uint32_t index_;
    const clock_source& clock_;
    hooks hooks_;
    observe::shard_metrics metrics_;
    boost::asio::io_context io_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_;
    boost::asio::steady_timer timer_;
    std::int64_t timer_at_ns_ = INT64_MAX;
    bool pump_posted_ = false;
    std::atomic<bool> woken_{false};
    std::unique_ptr<flow::shard_engine> engine_;
    bool has_config_ = false;
    std::map<std::uint32_t, link_slot> links_;
    /// Clusters of links that were closed lately: replies to what came over them may still be under way.
    static constexpr std::size_t max_gone = 256;
    std::map<std::uint32_t, std::string> gone_;
    std::uint32_t next_link_ = 1, next_group_ = 1;
    std::map<std::string, std::shared_ptr<const cluster_view>, std::less<>> views_;
    std::shared_ptr<const audit_trail> audit_;
    struct idle_waiter {
        std::int64_t limit_ns;
        std::function<void()> done;
    };
    std::vector<idle_waiter> idle_waiters_;
    mutable std::mutex report_mutex_;  // links() is asked by the control thread
    std::map<std::uint32_t, link_report> reports_;
    std::thread thread_;
};

}  // namespace callgate::runtime
