// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/nats.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/host/control_loop.hpp"
#include "engine/host/nats_port.hpp"
#include "engine/host/worker_pool.hpp"

namespace callgate::host {

class nats_channel;

/// Of one connection of one instance, since it was opened.
struct nats_report {
    std::string cluster;
    bool connected = false;
    std::uint64_t published = 0, received = 0, requests = 0;
    std::uint64_t failed = 0;  ///< requests that ended otherwise than with an answer
    std::uint64_t lost_in = 0, lost_out = 0;
};

/// nats/1 of one instance. [any] unless tagged.
class nats_service {
  public:
    /// `uses`: "nats/CLUSTER"; `openers`: by cluster, empty where there is no runtime.
    nats_service(std::shared_ptr<control_loop> loop, operation_owner& owner, std::shared_ptr<worker_service> workers, std::string instance,
                 std::vector<std::string> uses, std::map<std::string, nats_opener> openers);
    ~nats_service();
    nats_service(const nats_service&) = delete;
    nats_service& operator=(const nats_service&) = delete;

    /// [control]
    cg_status open(std::string_view cluster, cg_nats& handle, std::string& why);
    /// Null: no such handle.
    [[nodiscard]] std::shared_ptr<nats_channel> channel(cg_nats handle) const;
    /// [control] Messages that wait are not delivered any more; requests still are answered.
    void end_delivery();
    /// [control] No function of the plugin is called any more; returns how many requests were open.
    std::size_t close();
    /// [control]
    [[nodiscard]] std::vector<nats_report> report() const;

    static const cg_nats_api api;

  private:
    const std::shared_ptr<control_loop> loop_;
    operation_owner& owner_;
    const std::shared_ptr<worker_service> workers_;
    const std::string instance_;
    const std::vector<std::string> uses_;
    const std::map<std::string, nats_opener> openers_;
    mutable std::mutex mutex_;
    std::vector<std::shared_ptr<nats_channel>> channels_;  // handle - 1
    bool closed_ = false;
};

}  // namespace callgate::host
