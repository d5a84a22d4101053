// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>

namespace callgate::host {

enum class breaker_state : std::uint8_t { closed, open, half_open };

struct breaker_options {
    std::uint32_t failures = 16;                     ///< in a row, until it opens; 0 = never for that reason
    std::int64_t open_ns = 1'000'000'000;            ///< first pause; doubles with every failed probe
    std::int64_t longest_open_ns = 30'000'000'000;
};

/// Keeps requests away from an instance that fails or does not answer: after some failures in a row it
/// refuses at once for a while, then lets one through as a probe. Any thread; free of locks while all is well.
class circuit_breaker {
  public:
    explicit circuit_breaker(breaker_options options) noexcept : options_(options), pause_ns_(options.open_ns) {}

    /// May an operation start now? A true in half_open is the probe: its outcome must be reported.
    [[nodiscard]] bool admit(std::int64_t now_ns) noexcept;
    void succeeded() noexcept;
    void failed(std::int64_t now_ns) noexcept;
    /// Opens it whatever has been counted: the instance hangs. A probe may close it again.
    void trip(std::int64_t now_ns) noexcept;
    /// The operation that admit() let through was not started after all (no room): a probe is given back.
    void not_started() noexcept;
    [[nodiscard]] breaker_state state() const noexcept { return state_.load(std::memory_order_relaxed); }
    /// How often it opened, failed probes included.
    [[nodiscard]] std::uint64_t opened() const noexcept { return opened_.load(std::memory_order_relaxed); }

  private:
    void open(std::int64_t now_ns) noexcept;

    const breaker_options options_;
    std::atomic<breaker_state> state_{breaker_state::closed};
    std::atomic<std::uint32_t> failures_{0};
    std::atomic<std::uint64_t> opened_{0};
    std::mutex mutex_;  // guards what follows and every change of state_
    std::int64_t pause_ns_;
    std::int64_t open_until_ns_ = 0;
    bool probing_ = false;
};

}  // namespace callgate::host
