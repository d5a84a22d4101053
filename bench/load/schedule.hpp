// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace callgate::load {

/// When each request of an open loop is meant to be sent: at a constant rate, or at one that grows or falls linearly over
/// the duration. What is sent late counts from here, so a generator or service that stalls cannot hide requests
/// (coordinated omission). A value; any thread.
class schedule {
  public:
    /// Rates in requests a second, above 0; duration above 0. Throws std::invalid_argument otherwise.
    schedule(double from_rate, double to_rate, std::int64_t duration_ns);
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    /// ns after the start; request 0 is due at 0.
    [[nodiscard]] std::int64_t intended_ns(std::uint64_t index) const noexcept;
    /// Requests a second at that moment; the last rate after the end.
    [[nodiscard]] double rate_at(std::int64_t after_start_ns) const noexcept;
    [[nodiscard]] std::int64_t duration_ns() const noexcept { return duration_ns_; }

  private:
    double from_, to_;
    std::int64_t duration_ns_;
    std::uint64_t count_;
};

/// What the requests not yet answered are worth in time: how many milliseconds of the offered load are waiting
/// (FreeRADIUS load.h). A service that keeps up has about its latency; one that does not grows without bound.
[[nodiscard]] inline double backlog_ms(std::uint64_t in_flight, double rate) noexcept {
    return rate > 0 ? static_cast<double>(in_flight) * 1000.0 / rate : 0;
}

}  // namespace callgate::load
