// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace callgate::observe {

/// Log-linear histogram of nanoseconds: 4 buckets for each power of two from 1 us to 34 s. One writer, any
/// number of readers, no lock.
class histogram {
  public:
    static constexpr std::size_t buckets = 4 * 25 + 2;
    void record_ns(std::int64_t ns) noexcept {
        const auto i = index(ns);
        bump(cells_[i], 1);
        bump(sum_ns_, ns > 0 ? static_cast<std::uint64_t>(ns) : 0);
        bump(count_, 1);
    }
    [[nodiscard]] std::uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t sum_ns() const noexcept { return sum_ns_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t cell(std::size_t i) const noexcept { return cells_[i].load(std::memory_order_relaxed); }
    /// Upper bound of bucket i in nanoseconds; INT64_MAX for the last.
    [[nodiscard]] static constexpr std::int64_t upper_ns(std::size_t i) noexcept {
        if (i + 1 >= buckets) return INT64_MAX;
        if (i == 0) return 1024;
        const std::size_t octave = (i - 1) / 4, sub = (i - 1) % 4;
        return (std::int64_t{1024} << octave) + (std::int64_t{256} << octave) * static_cast<std::int64_t>(sub + 1);
    }
    [[nodiscard]] static constexpr std::size_t index(std::int64_t ns) noexcept {
        if (ns < 1024) return 0;
        const auto u = static_cast<std::uint64_t>(ns);
        const std::size_t octave = static_cast<std::size_t>(std::bit_width(u)) - 11;
        if (octave >= 25) return buckets - 1;
        return 1 + octave * 4 + static_cast<std::size_t>((u >> (octave + 8)) & 3);
    }

  private:
    static void bump(std::atomic<std::uint64_t>& a, std::uint64_t n) noexcept {
        a.store(a.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    std::array<std::atomic<std::uint64_t>, buckets> cells_{};
    std::atomic<std::uint64_t> sum_ns_{0}, count_{0};
};

}  // namespace callgate::observe
