// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/snapshot.h>
#include <callgate/abi/host.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/base/log.hpp"
#include "engine/base/snapshot_cell.hpp"
#include "engine/host/control_loop.hpp"
#include "engine/host/fd_service.hpp"
#include "engine/host/nats_service.hpp"
#include "engine/host/secret_service.hpp"
#include "engine/host/shared_services.hpp"

namespace callgate::host {

class timer_service;  // timer/1
class http_client;    // http-client/1

/// Lets `burst` records through at once and `per_second` on average. Any thread.
class log_limiter {
  public:
    log_limiter(std::uint32_t burst, std::uint32_t per_second) noexcept : tokens_(burst), burst_(burst), per_second_(per_second) {}
    /// True: write it; then `suppressed` says how many were held back before.
    [[nodiscard]] bool admit(std::int64_t now_ns, std::uint64_t& suppressed) noexcept;

  private:
    std::mutex mutex_;
    double tokens_;
    const double burst_, per_second_;
    std::int64_t last_ns_ = 0;
    std::uint64_t suppressed_ = 0;
};

/// What one instance gets from its host: cg_core and the capabilities (sdk/docs/abi.md, "Host capabilities").
/// Lives from before create() until after destroy().
class services {
  public:
    services(std::shared_ptr<control_loop> loop, operation_owner& owner, std::string instance_name, std::uint32_t abi_minor,
             std::shared_ptr<shared_services> shared = std::make_shared<shared_services>(), std::shared_ptr<secret_vault> secrets = nullptr,
             std::vector<std::string> uses = {}, std::map<std::string, nats_opener> nats = {});
    services(const services&) = delete;
    services& operator=(const services&) = delete;
    ~services();

    [[nodiscard]] const cg_host* host() const noexcept { return &host_; }
    /// [control] After the plugin's stop: drops timers, exchanges, jobs and watches it left behind; their functions are not called.
    /// Returns how many there were (each a breach of the ABI).
    std::size_t close();

    static services& of(const cg_host* host) noexcept { return *static_cast<services*>(host->impl); }
    [[nodiscard]] control_loop& loop() noexcept { return *loop_; }
    [[nodiscard]] operation_owner& owner() noexcept { return owner_; }
    [[nodiscard]] timer_service& timers() noexcept { return *timers_; }
    [[nodiscard]] http_client& http() noexcept { return *http_; }
    [[nodiscard]] fd_service& descriptors() noexcept { return descriptors_; }
    [[nodiscard]] event_service& events() noexcept { return *events_; }
    [[nodiscard]] audit_service& audit() noexcept { return *audit_; }
    [[nodiscard]] instance_calls& calls() noexcept { return *calls_; }
    [[nodiscard]] nats_service& nats() noexcept { return nats_; }
    [[nodiscard]] const nats_service& nats() const noexcept { return nats_; }
    [[nodiscard]] module_services& modules() noexcept { return *modules_; }
    [[nodiscard]] secret_service& secrets() noexcept { return secrets_; }
    [[nodiscard]] worker_service& workers() noexcept { return *workers_; }
    [[nodiscard]] metrics_service& metrics() noexcept { return *metrics_; }
    [[nodiscard]] std::shared_ptr<const metrics_service> exported() const noexcept { return metrics_; }
    [[nodiscard]] shared_services& shared() noexcept { return *shared_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    // snapshot/1
    cg_snapshot_cell* create_cell(void (*destroy)(void*));
    void publish(cg_snapshot_cell* cell, void* object);
    void destroy_cell(cg_snapshot_cell* cell);
    void write_log(std::int32_t level, cg_str message, const cg_log_field* fields, std::size_t count, std::size_t stride);

  private:
    static void collect_later(const std::weak_ptr<cg_snapshot_cell>& cell, boost::asio::io_context& io);

    std::shared_ptr<control_loop> loop_;
    operation_owner& owner_;
    std::string name_;
    cg_host host_{};
    log_limiter limiter_{200, 50};
    std::shared_ptr<timer_service> timers_;
    std::shared_ptr<http_client> http_;
    std::shared_ptr<shared_services> shared_;
    std::shared_ptr<metrics_service> metrics_;
    std::shared_ptr<worker_service> workers_;
    std::shared_ptr<event_service> events_;
    std::shared_ptr<instance_calls> calls_;
    std::shared_ptr<module_services> modules_;
    std::unique_ptr<audit_service> audit_;
    nats_service nats_;
    fd_service descriptors_;
    secret_service secrets_;
    std::mutex cells_mutex_;
    std::map<cg_snapshot_cell*, std::shared_ptr<cg_snapshot_cell>> cells_;
};

}  // namespace callgate::host
