// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/auth_backend.h>
#include <callgate/abi/entry.h>
#include <callgate/abi/key_provider.h>

#include "sdk/check/checked_host.hpp"
#include "sdk/check/control_loop.hpp"
#include "sdk/check/plugin_call.hpp"
#include "sdk/check/settings.hpp"

/// The plugin under test in this process, and one instance of it driven through its C interface.
namespace callgate::check {

struct loaded_plugin {
    std::string path;
    void* library = nullptr;
    cg_plugin_entry_fn entry = nullptr;
    const cg_manifest* manifest = nullptr;
    const cg_factory* factory = nullptr; ///< the one under test
    std::uint32_t kind = 0;
    std::int64_t load_ns = 0; ///< dlopen and entry
};

/// dlopen, entry, manifest, choice of the factory. What fails is recorded under the check that names it; then
/// cannot_judge is thrown.
loaded_plugin load_plugin(const settings& s, const std::string& path, host_shape shape = host_shape::present);
/// The factory that `s` means, or an error text.
const cg_factory* choose_factory(const settings& s, const cg_manifest& manifest, std::string& error);
/// Calls the entry with an offer of that shape; `major` and `minor` as given.
cg_status negotiate(cg_plugin_entry_fn entry, const cg_manifest** manifest, std::uint32_t major, std::uint32_t minor,
                    host_shape shape = host_shape::present);

/// Reader of operations without a result.
[[nodiscard]] result_reader no_result();
[[nodiscard]] result_reader health_result();
struct health_value {
    std::uint32_t state = 0;
    std::string text;
};

class instance {
  public:
    instance(const settings& s, const loaded_plugin& plugin, good_config config, host_shape shape = host_shape::present, std::uint32_t shards = 0);
    ~instance() = default;
    instance(const instance&) = delete;
    instance& operator=(const instance&) = delete;

    // ---- [control] life cycle
    /// Returns create's status and leaves its text in `error`; no rule is judged but those of memory and threads.
    cg_status try_create(std::string& error, std::size_t error_room = 1024);
    /// As try_create; a refusal is recorded under lifecycle.good_configs.
    void create();
    /// A control operation to its end; nullptr functions count as done. Records one that never completes.
    answer control(const char* function, cg_status (*fn)(cg_instance*, cg_op), result_reader reader);
    /// The operation without waiting for it; 0 when the function is NULL.
    cg_op begin_control(const char* function, cg_status (*fn)(cg_instance*, cg_op), result_reader reader);
    answer start();
    void attach_all();
    void detach_all();
    answer drain() { return control("drain", life_.drain, no_result()); }
    answer stop();
    void destroy();
    answer health() { return control("health", life_.health, health_result()); }
    /// create, start, attach; throws cannot_judge when one fails.
    void up();
    /// drain, stop, detach, destroy.
    void down();

    // ---- operations
    /// [shard] or [control] Calls `fn(op)` as the plugin's `function` and tells the host what it returned.
    template <class F>
    cg_op begin(const char* function, result_reader reader, std::int64_t left_ns, std::vector<std::shared_ptr<guarded_block>> memory, F&& fn,
                bool cancelled = false) {
        const cg_op op = host_->begin(function, std::move(reader), left_ns, std::move(memory));
        if (cancelled) host_->mark_cancelled(op);
        const cg_status status = plugin_call(function, [&] { return fn(op); });
        host_->returned(op, status);
        return op;
    }
    /// [any]
    void cancel(cg_op op, std::int32_t reason);
    /// [control] Waits for all; false when one did not complete in time.
    bool wait(const std::vector<cg_op>& ops, std::chrono::nanoseconds limit);
    /// [control] As wait with the settings' patience; one that does not complete is recorded under `check` and
    /// cannot_judge thrown.
    void must_complete(const std::vector<cg_op>& ops, const char* check = "operations.completes", const std::string& when = {});
    /// [control] Runs `work` on one shard, or all.
    void on_shard(std::uint32_t shard, const std::function<void()>& work);
    void on_all_shards(const std::function<void(std::uint32_t)>& work);

    [[nodiscard]] cg_instance* c() const noexcept { return instance_; }
    [[nodiscard]] const cg_lifecycle& life() const noexcept { return life_; }
    [[nodiscard]] checked_host& host() noexcept { return *host_; }
    [[nodiscard]] void* shard_state(std::uint32_t shard) const noexcept { return states_[shard]; }
    [[nodiscard]] std::uint32_t shards() const noexcept { return shards_; }
    [[nodiscard]] const settings& options() const noexcept { return settings_; }
    [[nodiscard]] std::uint32_t kind() const noexcept { return plugin_.kind; }
    [[nodiscard]] const good_config& config() const noexcept { return config_; }
    [[nodiscard]] host_shape shape() const noexcept { return shape_; }
    template <class Api>
    [[nodiscard]] Api api(const char* name) const {
        return read_checked(static_cast<const Api*>(api_), name);
    }

  private:
    const settings& settings_;
    const loaded_plugin& plugin_;
    good_config config_;
    host_shape shape_;
    std::uint32_t shards_;
    std::unique_ptr<checked_host> host_;
    std::unique_ptr<shard_threads> threads_;
    cg_instance* instance_ = nullptr;
    const void* api_ = nullptr;
    cg_lifecycle life_{};
    std::vector<void*> states_;
    bool attached_ = false;
};

}  // namespace callgate::check
