// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/clock.hpp"
#include "engine/base/error.hpp"
#include "engine/host/instance.hpp"
#include "engine/host/library.hpp"
#include "engine/host/probe.hpp"

/// Plugins for the runtime and the CLI: loading, instances, and the shards' part in delivering results.
namespace callgate::host {

class plugin_host {
  public:
    struct options {
        std::uint32_t shards = 1;  ///< 1..64
        library_options libraries;
        /// [any] Makes drain(shard) run on that shard's thread, soon. Never called for the control thread.
        std::function<void(std::uint32_t)> wake;
        /// What modules may read of the engine; null in a command-line tool, where they run OFFLINE.
        std::shared_ptr<const engine_port> engine{};
        /// Where the records of plugins go (audit/1); null in a command-line tool.
        std::shared_ptr<const audit_port> audit{};
    };

    /// `control` is run by one thread, on which everything is called that is not tagged otherwise; it and
    /// `clock` outlive the host. Throws std::invalid_argument when `shards` is out of range.
    plugin_host(boost::asio::io_context& control, const clock_source& clock, options o);
    plugin_host(const plugin_host&) = delete;
    plugin_host& operator=(const plugin_host&) = delete;
    /// Instances should have been retired before; those that were not keep what they need.
    ~plugin_host();

    /// Blocks for as long as the plugin takes to load, at most the probe's timeout. Its data for
    /// `callgate plugin list|inspect`.
    result<std::shared_ptr<const manifest>> load(const std::string& plugin) { return loader_.load(plugin); }
    result<std::shared_ptr<const manifest>> load_file(const std::string& path) { return loader_.load_file(path); }
    /// Directories and pins of a new configuration.
    void configure(library_options o) {
        o.offline = loader_.options().offline;
        loader_.configure(std::move(o));
    }

    /// Loads the plugin and creates an instance of that kind (CG_KIND_*). not_found names the types there are.
    result<std::shared_ptr<instance>> make_instance(std::uint32_t kind, instance_options o);
    /// The factory make_instance would use, so that a configuration can be checked against its schema before.
    result<factory_info> find_factory(std::uint32_t kind, const std::string& plugin, const std::string& type);

    /// The whole way out of an instance: drain, stop, detach on every shard, destroy. `run_on_shard` runs a function on
    /// a shard's thread; `timeout_ns` holds for drain and for stop each. A drain that fails is no obstacle: the
    /// operations that are left are cancelled. `then` gets the first error.
    void retire(std::shared_ptr<instance> i, std::int64_t timeout_ns,
                std::function<void(std::uint32_t, std::function<void()>)> run_on_shard, instance::done then);

    /// [any] To every instance that subscribed (events/1).
    void publish(const host_event& e) { shared_->events->publish(e); }
    /// [any] For whoever caches verdicts (cache-invalidate/1).
    [[nodiscard]] std::shared_ptr<const verdict_invalidations> invalidations() const { return shared_->invalidations; }

    [[nodiscard]] std::uint32_t shards() const noexcept { return loop_->shard(); }
    /// Shard index under which the control thread itself may authenticate, sign or agree on keys.
    [[nodiscard]] std::uint32_t control_shard() const noexcept { return loop_->shard(); }

    /// [shard] Delivers completions that arrived from other threads.
    void drain(std::uint32_t shard) { loop_->table().drain(shard); }
    /// [shard] Answers what is past its deadline.
    void expire(std::uint32_t shard, std::int64_t now_ns) { loop_->table().expire(shard, now_ns); }
    /// [shard] CLOCK_MONOTONIC of the earliest deadline; INT64_MAX = none.
    [[nodiscard]] std::int64_t next_deadline(std::uint32_t shard) { return loop_->table().next_deadline(shard); }
    /// [shard] The shard's sinks go away: nothing that is in flight is delivered any more.
    void forget(std::uint32_t shard) { loop_->table().forget(shard); }

  private:
    struct choice {
        std::shared_ptr<const manifest> library;
        const factory_info* factory = nullptr;
    };
    result<choice> choose(std::uint32_t kind, const std::string& plugin, const std::string& type);

    std::shared_ptr<control_loop> loop_;
    const std::shared_ptr<shared_services> shared_ = std::make_shared<shared_services>();
    library_loader loader_;
};

}  // namespace callgate::host
