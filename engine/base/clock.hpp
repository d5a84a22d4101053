// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <ctime>

namespace callgate {

/// Source of time. Tests hand in a manual one; everything that decides by time asks here.
class clock_source {
  public:
    virtual ~clock_source() = default;
    /// CLOCK_MONOTONIC, nanoseconds. Any thread.
    [[nodiscard]] virtual std::int64_t mono_ns() const noexcept = 0;
    /// Wall clock, seconds since the epoch. Any thread.
    [[nodiscard]] virtual std::int64_t wall_s() const noexcept = 0;
    /// Wall clock, milliseconds since the epoch, for records. Any thread.
    [[nodiscard]] virtual std::int64_t wall_ms() const noexcept { return wall_s() * 1000; }
};

class system_clock_source final : public clock_source {
  public:
    [[nodiscard]] std::int64_t mono_ns() const noexcept override { return read(CLOCK_MONOTONIC); }
    [[nodiscard]] std::int64_t wall_s() const noexcept override { return read(CLOCK_REALTIME) / 1'000'000'000; }
    [[nodiscard]] std::int64_t wall_ms() const noexcept override { return read(CLOCK_REALTIME) / 1'000'000; }

  private:
    static std::int64_t read(clockid_t id) noexcept {
        timespec t{};
        ::clock_gettime(id, &t);
        return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
    }
};

class manual_clock final : public clock_source {
  public:
    std::int64_t mono = 1'000'000'000'000;
    std::int64_t wall = 1'800'000'000;
    [[nodiscard]] std::int64_t mono_ns() const noexcept override { return mono; }
    [[nodiscard]] std::int64_t wall_s() const noexcept override { return wall; }
    void advance_ns(std::int64_t ns) { mono += ns; carry_ += ns; wall += carry_ / 1'000'000'000; carry_ %= 1'000'000'000; }

  private:
    std::int64_t carry_ = 0;
};

}  // namespace callgate
