// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/clock.hpp"
#include "engine/host/admin_routes.hpp"
#include "engine/host/plugin_host.hpp"
#include "engine/host/store_adapter.hpp"
#include "engine/net/system_client.hpp"
#include "engine/runtime/admin_server.hpp"
#include "engine/runtime/assembly.hpp"
#include "engine/runtime/config.hpp"
#include "engine/runtime/instance_sections.hpp"
#include "engine/runtime/plugin_links.hpp"
#include "engine/runtime/shard.hpp"
#include "engine/runtime/status.hpp"

namespace callgate::runtime {

/// Starts, reloads and stops everything. All of it runs on the control thread (the one that calls run);
/// only collect_status and the two requests at the end are [any].
class supervisor {
  public:
    explicit supervisor(std::string config_path);
    ~supervisor();
    supervisor(const supervisor&) = delete;
    supervisor& operator=(const supervisor&) = delete;

    /// Blocks until the daemon has stopped. Exit code of the process.
    int run();

    /// [any]
    [[nodiscard]] status collect_status() const;

  private:
    using instance_ptr = std::shared_ptr<host::instance>;
    using done_fn = std::function<void(result<void>)>;

    /// Several answers as one: `done` with the first error once all have come, the one of whoever asks included.
    class gathering {
      public:
        explicit gathering(done_fn done) : done_(std::move(done)) {}
        void expect() noexcept { ++left_; }
        void one_less(std::optional<error> failed = {}) {
            if (failed && !failed_) failed_ = std::move(failed);
            if (--left_ != 0) return;
            if (failed_) done_(*failed_);
            else done_({});
        }

      private:
        std::size_t left_ = 1;
        std::optional<error> failed_;
        done_fn done_;
    };
    /// A plugin instance and the configuration it was made from: a reload keeps it when that is unchanged.
    struct running_instance {
        instance_options options;
        const instance_section* section = nullptr;
        std::string connections;  // plugin_links_fingerprint
        bool started = false;
        std::shared_ptr<host::store_lookup> lookup;  // of a claim store
        std::shared_ptr<host::audit_sink> sink;      // of an audit sink
        instance_ptr instance;

        [[nodiscard]] bool is(std::uint32_t abi_kind) const noexcept { return section->abi_kind == abi_kind; }
        [[nodiscard]] bool on_shards() const noexcept { return section->on_shards; }
    };
    /// The links of one cluster on every shard, and its system client.
    struct running_cluster {
        nats_options options;
        std::string fingerprint;
        std::vector<std::uint32_t> groups;  // by shard
        std::shared_ptr<net::system_client> system;
        std::uint64_t kicks_sent = 0, kicks_failed = 0;
    };
    /// A configuration that is complete but not in use yet.
    struct candidate {
        config settings;
        std::map<std::string, std::shared_ptr<running_instance>> instances;  // key: KIND/NAME, as in `uses`
        std::vector<std::shared_ptr<running_instance>> fresh;
        std::map<std::string, std::shared_ptr<running_cluster>> clusters;
        std::vector<std::shared_ptr<running_cluster>> fresh_clusters;
        std::shared_ptr<const flow::flow_config> flow;
        std::shared_ptr<const host::admin_routes> routes;  // of the modules
        std::shared_ptr<const audit_trail> audit;
    };

    void begin();
    void prepare(config&& settings, std::function<void(result<std::shared_ptr<candidate>>)> done);
    result<void> make_instances(candidate& c);
    void start_instances(std::shared_ptr<candidate> c, done_fn done);
    void start_instances(const std::shared_ptr<candidate>& c, bool modules, done_fn done);
    result<void> assemble_routes(candidate& c);
    void reopen_sinks(const std::shared_ptr<candidate>& c, done_fn done);
    result<void> assemble_audit(candidate& c);
    void end_sink(std::shared_ptr<running_instance> sink, std::function<void()> done);
    std::vector<audit_report> report_sinks();
    result<void> attach_instances(const candidate& c);
    result<void> assemble_flow(candidate& c);
    void open_clusters(std::shared_ptr<candidate> c, done_fn done);
    void await_discovery(std::shared_ptr<candidate> c, std::int64_t until_ns, std::size_t known_before, done_fn done);
    result<void> open_links(candidate& c);
    void wait_for_clusters(std::shared_ptr<candidate> c, std::int64_t until_ns, done_fn done);
    void abandon(const std::shared_ptr<candidate>& c);
    void commit(const std::shared_ptr<candidate>& c);
    void retire_cluster(std::shared_ptr<running_cluster> cluster);
    void retire_instance(std::shared_ptr<running_instance> instance, std::weak_ptr<const flow::flow_config> last_user);
    void end_instance(std::shared_ptr<running_instance> instance, std::function<void()> done);
    void end_instances(std::vector<std::shared_ptr<running_instance>> instances, std::function<void()> done);
    void await_signals();
    void reload(const std::string& who);
    void drain();
    void close_system_clients();
    void finish_stop();
    void tick();
    void refresh_views();
    void refresh_health();
    void publish_status();
    void refresh_link_counters(std::function<void()> then);
    std::shared_ptr<const host::engine_port> engine_for_modules();
    void announce_service();
    void announce_reload(const candidate& old, const candidate& now);
    void kick(const std::string& cluster, std::string server_id, std::uint64_t cid);
    void after(std::int64_t ns, std::function<void()> fn);
    void fail_start(const error& e);
    void answer(admin_request&& r, admin_server::responder then);
    void answer_by_module(admin_request&& r, admin_server::responder then);
    result<void> open_admin(const admin_options& options);

    const std::string config_path_;
    system_clock_source clock_;
    boost::asio::io_context control_{1};
    boost::asio::signal_set signals_;
    boost::asio::steady_timer tick_timer_;
    std::vector<std::unique_ptr<shard>> shards_;
    const std::shared_ptr<audit_relay> audit_relay_ = std::make_shared<audit_relay>(clock_);
    const std::shared_ptr<plugin_links> plugin_links_ = std::make_shared<plugin_links>(control_);
    std::unique_ptr<host::plugin_host> host_;
    std::unique_ptr<admin_server> admin_;
    admin_options admin_options_;
    std::shared_ptr<candidate> current_;
    std::shared_ptr<candidate> preparing_;  // until it is in use or abandoned
    std::map<std::string, std::shared_ptr<const cluster_view>> views_;  // what the shards were told, by cluster
    bool opening_ = false;  ///< the first configuration is in use and its links are not open yet
    bool reloading_ = false, reload_again_ = false, draining_ = false, stopped_ = false;
    int exit_code_ = 0;
    /// Instances whose threads may run: started, and not ended without an error.
    std::size_t live_instances_ = 0;
    std::uint64_t audit_written_before_ = 0, audit_lost_before_ = 0;  // of sinks that have ended
    bool serving_ = false;  ///< once every cluster had a link that receives
    std::uint64_t ticks_ = 0;

    mutable std::mutex status_mutex_;
    status status_;
};

/// What makes two links the same, but for their names and subscriptions.
[[nodiscard]] std::string fingerprint(const net::link_options& o);
/// What makes two entries of `nats:` the same links.
[[nodiscard]] std::string fingerprint(const nats_options& n, const callout_options& c);

}  // namespace callgate::runtime
