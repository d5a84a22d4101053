// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>

#include "engine/host/audit_service.hpp"
#include "engine/host/event_service.hpp"
#include "engine/host/instance_calls.hpp"
#include "engine/host/metrics_service.hpp"
#include "engine/host/module_services.hpp"
#include "engine/host/verdict_invalidations.hpp"
#include "engine/host/worker_pool.hpp"

namespace callgate::host {

/// What the services of all instances of one plugin_host share. Lives as long as any of them.
struct shared_services {
    std::shared_ptr<metric_names> names = std::make_shared<metric_names>();
    std::shared_ptr<event_hub> events = std::make_shared<event_hub>();
    std::shared_ptr<verdict_invalidations> invalidations = std::make_shared<verdict_invalidations>();
    std::shared_ptr<instance_directory> directory = std::make_shared<instance_directory>();
    std::shared_ptr<const engine_port> engine{};  ///< null: there is none, as in a command-line tool
    std::shared_ptr<const audit_port> audit{};    ///< null: there is no audit trail, as in a command-line tool
    std::shared_ptr<worker_pool> pool = std::make_shared<worker_pool>();
};

}  // namespace callgate::host
