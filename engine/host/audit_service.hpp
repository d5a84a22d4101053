// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/audit.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/clock.hpp"

namespace callgate::host {

/// A record of a plugin instance, checked and bounded; the source is the host's word.
struct audit_note {
    std::string source;  ///< "module/admin"
    std::string action, outcome, identity;
    std::vector<std::pair<std::string, std::string>> fields;
};

/// What the runtime offers for them. The function outlives every instance.
struct audit_port {
    /// [any] False: a sink had no room.
    std::function<bool(audit_note&&)> record{};
};

/// audit/1 of one instance.
class audit_service {
  public:
    audit_service(const clock_source& clock, std::shared_ptr<const audit_port> port, std::string name)
        : clock_(clock), port_(std::move(port)), name_(std::move(name)), tokens_(CG_AUDIT_NOTES_BURST) {}

    /// [control] Before create(): what the instance is. Not for audit sinks, whose own records would come back to them.
    void enable(std::uint32_t kind);
    /// [any] null: not for this instance, or there is no audit trail.
    [[nodiscard]] const cg_audit_api* table() const noexcept { return source_.empty() || !port_ ? nullptr : &api; }
    /// [any]
    cg_status record(const cg_audit_note* note);
    void close() noexcept { closed_ = true; }

    static const cg_audit_api api;

  private:
    [[nodiscard]] bool admit();

    const clock_source& clock_;
    const std::shared_ptr<const audit_port> port_;
    const std::string name_;
    std::string source_;
    std::atomic<bool> closed_{false};
    std::mutex mutex_;
    double tokens_;
    std::int64_t last_ns_ = 0;
};

}  // namespace callgate::host
