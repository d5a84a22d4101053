// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "sdk/check/workload.hpp"

/// Requests to claim stores (callgate/abi/draft/claim_store.h).
namespace callgate::check {
[[nodiscard]] std::unique_ptr<workload> claim_workload(instance& i);
}  // namespace callgate::check
