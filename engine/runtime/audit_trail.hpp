// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/clock.hpp"
#include "engine/host/audit_service.hpp"
#include "engine/host/audit_sink.hpp"

namespace callgate::runtime {

/// JSON line of a decision, or of a plugin's note.
[[nodiscard]] std::string to_json_line(const flow::audit_record& r);
[[nodiscard]] std::string to_json_line(const host::audit_note& n, std::int64_t unix_ms);

/// The audit sinks of one configuration. Immutable; all [any].
class audit_trail {
  public:
    struct target {
        std::shared_ptr<host::audit_sink> sink;
        bool required = false;  ///< without it there is no record, and nobody is let in
    };
    enum class outcome : std::uint8_t {
        everywhere,
        somewhere,  ///< a sink that is not required lost it
        refused     ///< a required sink cannot take it; no sink has it
    };

    explicit audit_trail(std::vector<target> targets);
    outcome record(flow::audit_record&& r) const;
    outcome record(host::audit_note&& n, std::int64_t unix_ms) const;
    [[nodiscard]] bool fail_closed() const noexcept { return fail_closed_; }

  private:
    outcome hand_over(host::audit_event&& e) const;

    const std::vector<target> targets_;
    bool fail_closed_ = false;
};

/// Where plugins' records go: to the sinks of the configuration that is in use. [any]
class audit_relay {
  public:
    explicit audit_relay(const clock_source& clock) : clock_(clock) {}
    void use(std::shared_ptr<const audit_trail> trail);
    bool record(host::audit_note&& n) const;

  private:
    const clock_source& clock_;
    mutable std::mutex mutex_;
    std::shared_ptr<const audit_trail> trail_;
};

}  // namespace callgate::runtime
