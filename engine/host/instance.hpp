// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/auth_backend.h>
#include <callgate/abi/key_provider.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/error.hpp"
#include "engine/flow/ports.hpp"
#include "engine/host/control_loop.hpp"
#include "engine/host/manifest.hpp"
#include "engine/host/services.hpp"

namespace callgate::host {

struct instance_options {
    std::string name{};         ///< of the configuration
    std::string plugin{};       ///< file callgate_<plugin>.so
    std::string type{};         ///< factory; empty = the only one of the kind
    std::string config_json{};  ///< checked against the factory's schema already; empty = {}
    std::string base_dir{};     ///< relative paths of the configuration start here
    std::uint32_t max_in_flight = 1024;  ///< operations at once, over all shards, overdue ones included
    std::int64_t timeout_ns = 0;         ///< 0 = what the request's deadline leaves
    breaker_options breaker{};
    watchdog_options watchdog{};
    std::vector<std::string> uses{};          ///< "keys/NAME", "store/NAME": what it may call (instance/1); "nats/CLUSTER" (nats/1)
    std::map<std::string, nats_opener> nats{};  ///< by cluster, of those under `uses`
    std::shared_ptr<secret_vault> secrets{};  ///< what config_json has handles of; see seal_secrets
};

struct health_report {
    std::uint32_t state = CG_HEALTH_DOWN;
    std::string text;
};

/// A key as its provider described it.
struct key_description {
    cg_key key = 0;
    std::uint32_t algorithm = 0;  ///< CG_KEY_*
    std::uint32_t flags = 0, generation = 0;
    std::string label, nkey;      ///< nkey is checked: canonical, of a kind that fits the algorithm
    std::uint64_t max_message_bytes = 0;
    std::int64_t not_after_unix_s = 0;
};

/// One configured use of a plugin. Life: made, start, attach on every shard, (serves), drain, stop, detach on
/// every shard, destroy. [control] unless tagged. An instance that was started and whose stop failed or never came
/// is not freed when its last reference goes (its threads may still call us); that is logged.
class instance : public std::enable_shared_from_this<instance> {
  public:
    using done = std::function<void(result<void>)>;

    /// Errors carry the plugin's text and name the instance.
    static result<std::shared_ptr<instance>> make(std::shared_ptr<control_loop> loop, std::shared_ptr<const manifest> library,
                                                  const factory_info& factory, instance_options options,
                                                  std::shared_ptr<shared_services> shared = std::make_shared<shared_services>());
    instance(const instance&) = delete;
    instance& operator=(const instance&) = delete;

    [[nodiscard]] const std::string& name() const noexcept { return options_.name; }
    [[nodiscard]] std::uint32_t kind() const noexcept { return kind_; }
    [[nodiscard]] const manifest& library() const noexcept { return *library_; }
    [[nodiscard]] const instance_options& options() const noexcept { return options_; }
    [[nodiscard]] const instance_metrics& metrics() const noexcept { return owner_.metrics; }        ///< [any]
    /// [any] What the plugin counts itself; may outlive the instance.
    [[nodiscard]] std::shared_ptr<const metrics_service> plugin_metrics() const noexcept { return services_.exported(); }
    [[nodiscard]] const circuit_breaker& breaker() const noexcept { return owner_.breaker; }         ///< [any]
    /// [any] What the host itself sees, whatever the plugin says of its health: degraded while its breaker is not closed or the
    /// watchdog has something to say, down while both.
    [[nodiscard]] health_report seen() const;
    [[nodiscard]] std::vector<nats_report> nats() const { return services_.nats().report(); }

    /// Each calls `then` exactly once, later, on the control thread: error deadline when the plugin does not
    /// answer in time. start also lists a key provider's keys.
    void start(std::int64_t timeout_ns, done then);
    void drain(std::int64_t timeout_ns, done then);
    void stop(std::int64_t timeout_ns, done then);
    /// health fails at once (errc::busy) while the plugin still owes the answer to an earlier one.
    void health(std::int64_t timeout_ns, std::function<void(result<health_report>)> then);

    /// [shard] After start, before the first request of that shard.
    result<void> attach(std::uint32_t shard);
    /// [shard] After stop. Ends operations the plugin still owes.
    void detach(std::uint32_t shard);
    /// After stop and all detaches (or when never started): frees the plugin's instance.
    result<void> destroy();

    /// Reads the files behind the instance's secrets again and tells the plugin which changed.
    void reread_secrets() { if (phase_ == phase::started) services_.secrets().reread(); }

    /// Of a module: its routes (fixed when start has completed) and the streams it opened.
    [[nodiscard]] module_services& modules() noexcept { return services_.modules(); }

    /// nullptr when the instance is of another kind. They share the life of the instance.
    [[nodiscard]] std::shared_ptr<flow::auth_port> auth();
    [[nodiscard]] std::shared_ptr<flow::key_port> keys_port();
    /// After start: by label. Provider indices of key_binding are the caller's.
    [[nodiscard]] const std::map<std::string, key_description>& keys() const noexcept { return keys_; }

    // For the adapters of this room.
    [[nodiscard]] operation_table& table() noexcept { return loop_->table(); }
    [[nodiscard]] operation_owner& owner() noexcept { return owner_; }
    [[nodiscard]] const std::shared_ptr<control_loop>& loop() noexcept { return loop_; }
    /// [control] A lane of the table for a thread that serves this instance alone; its operations end with destroy(). Once.
    result<std::uint32_t> open_lane(std::function<void()> wake);
    [[nodiscard]] cg_instance* plugin() noexcept { return owner_.plugin; }
    /// Table of the instance's kind: not null and with a struct_size, nothing more is checked for kinds other than auth
    /// backend and key provider. An adapter reads it with read_struct, refuses what its kind requires and lacks, and calls
    /// through begin(). Life: until destroy().
    [[nodiscard]] const void* api() const noexcept { return api_; }
    /// [shard] False when not attached. The control shard has a null state.
    [[nodiscard]] bool shard_state(std::uint32_t shard, void*& state) noexcept;
    /// [shard] Largest message that key signs; 0 = any size.
    [[nodiscard]] std::uint64_t message_limit(cg_key key) const noexcept {
        const auto it = message_limits_.find(key);
        return it == message_limits_.end() ? 0 : it->second;
    }
    /// [shard] or [control] Makes `call` the starting call of `op`: at once, or on the pool when the plugin may block. It then
    /// runs later, so it captures by value; what it points to belongs to the operation. `life`: not a call that waits its turn.
    template <class F>
    cg_status enter(cg_op op, F&& call, bool life = false) {
        auto inside = [this, call = std::forward<F>(call)] { return guarded(call); };
        if (!on_pool_) return inside();
        return services_.workers().enter(op, std::function<cg_status()>(std::move(inside)), life);
    }
    /// [shard] or [control] The only way for an operation of the instance's kind: when the instance may be asked now (refusal),
    /// `call(op, shard_state)` enters the plugin, now or later on the pool, so it captures by value; what it points to belongs to
    /// `body`. deadline_ns: CLOCK_MONOTONIC, cut to options().timeout_ns from now. Other than none: counted, nothing was called and
    /// `body` is still the caller's.
    template <class Call>
    [[nodiscard]] refusal begin(std::uint32_t shard, std::int64_t deadline_ns, std::unique_ptr<operation_body>& body, Call call) {
        void* state = nullptr;
        auto why = admit(shard, deadline_ns, state);
        if (why == refusal::none && !table().run(shard, owner_, deadline_ns, operation_table::weight::counts, body, [&](cg_op op) {
                return enter(op, [call, op, state] { return call(op, state); });
            })) {
            owner_.breaker.not_started();
            why = refusal::busy;
        }
        if (why != refusal::none) {
            count_refused(why);
        } else if (shard == loop_->shard()) {
            loop_->arm();
        }
        return why;
    }
    /// [any] An operation that an adapter refuses for a reason of its kind, before begin().
    void count_refused(refusal why) noexcept;

  private:
    // An exception that a plugin lets through ends its call, not the daemon.
    template <class F>
    cg_status guarded(const F& call) {
        try {
            return call();
        } catch (...) {
            threw();
            return CG_E_INTERNAL;
        }
    }
    void threw() noexcept;
    refusal admit(std::uint32_t shard, std::int64_t& deadline_ns, void*& state) noexcept;

    enum class phase : std::uint8_t { made, starting, started, draining, stopped, destroyed };
    struct shard_slot {
        void* state = nullptr;
        bool attached = false;
    };
    struct deleter;

    instance(std::shared_ptr<control_loop> loop, std::shared_ptr<const manifest> library, instance_options options,
             std::shared_ptr<shared_services> shared);
    result<void> create(const factory_info& factory);
    void call(const char* what, cg_status (*function)(cg_instance*, cg_op), std::int64_t timeout_ns,
              std::function<taken(const cg_completion&)> read, done then);
    void list_keys(std::int64_t deadline_ns, std::string from, std::size_t page, done then);
    void stopped();
    error named(error e, std::string_view what) const;

    std::shared_ptr<control_loop> loop_;
    std::shared_ptr<const manifest> library_;
    const instance_options options_;
    operation_owner owner_;
    services services_;
    std::uint32_t kind_ = 0;
    bool on_pool_ = false;  // MAY_BLOCK or SERIAL
    const void* api_ = nullptr;
    cg_lifecycle life_{};
    phase phase_ = phase::made;
    std::uint32_t lane_ = 0;  // 0 = none
    std::weak_ptr<char> health_owed_;  // set while the plugin owes an answer to health
    std::vector<shard_slot> shards_;
    std::map<std::string, key_description> keys_;
    std::unordered_map<cg_key, std::uint64_t> message_limits_;  // of keys that have one
    std::unique_ptr<flow::auth_port> auth_;
    std::unique_ptr<flow::key_port> key_port_;
    cg_key_provider_api key_api_{};
};

/// The adapters; `api` was checked by instance::make.
[[nodiscard]] std::unique_ptr<flow::auth_port> make_auth_port(instance& owner, const cg_auth_backend_api& api);
[[nodiscard]] std::unique_ptr<flow::key_port> make_key_port(instance& owner, const cg_key_provider_api& api);

}  // namespace callgate::host
