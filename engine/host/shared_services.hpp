// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>

#include "engine/host/metrics_service.hpp"
#include "engine/host/worker_pool.hpp"

namespace callgate::host {

/// What the services of all instances of one plugin_host share. Lives as long as any of them.
struct shared_services {
    std::shared_ptr<metric_names> names = std::make_shared<metric_names>();
    std::shared_ptr<worker_pool> pool = std::make_shared<worker_pool>();
};

}  // namespace callgate::host
