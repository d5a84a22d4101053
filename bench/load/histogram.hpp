// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

namespace callgate::load {

/// Counts of durations in logarithmic buckets, after the idea of HDR histograms: 128 buckets for each power of two, so a
/// value read back is at most 1/128 too large. 36 KiB whatever is recorded. One thread.
class histogram {
  public:
    /// Above 2^42 ns (73 minutes) a value is counted as that.
    static constexpr std::int64_t max_value_ns = std::int64_t{1} << 42;

    histogram() : counts_(bucket_count, 0) {}
    /// Negative values count as 0.
    void record(std::int64_t value_ns) noexcept;
    void add(const histogram& other) noexcept;

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::int64_t max_ns() const noexcept { return max_; }  ///< exact; 0 when empty
    [[nodiscard]] std::int64_t min_ns() const noexcept { return count_ == 0 ? 0 : min_; }
    [[nodiscard]] double mean_ns() const noexcept { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }
    /// The smallest bound that at least `share` (0..1) of the values do not exceed; 0 when empty.
    [[nodiscard]] std::int64_t quantile_ns(double share) const noexcept;

  private:
    static constexpr int sub_bits = 7;
    static constexpr std::size_t sub_count = std::size_t{1} << sub_bits;
    static constexpr std::size_t bucket_count = (42 - sub_bits + 2) * sub_count;
    static std::size_t index_of(std::uint64_t value) noexcept;
    static std::uint64_t upper_bound_of(std::size_t index) noexcept;

    std::vector<std::uint64_t> counts_;
    std::uint64_t count_ = 0;
    std::int64_t max_ = 0, min_ = max_value_ns;
    double sum_ = 0;
};

}  // namespace callgate::load
