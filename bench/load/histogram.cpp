// SPDX-License-Identifier: Apache-2.0
#include "bench/load/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace callgate::load {

std::size_t histogram::index_of(std::uint64_t value) noexcept {
    if (value < sub_count) return static_cast<std::size_t>(value);
    const int shift = std::bit_width(value) - 1 - sub_bits;
    return static_cast<std::size_t>(shift) * sub_count + static_cast<std::size_t>(value >> shift);
}

std::uint64_t histogram::upper_bound_of(std::size_t index) noexcept {
    if (index < 2 * sub_count) return index;
    const std::size_t shift = index / sub_count - 1;
    return ((static_cast<std::uint64_t>(index % sub_count + sub_count) + 1) << shift) - 1;
}

void histogram::record(std::int64_t value_ns) noexcept {
    const auto value = std::clamp<std::int64_t>(value_ns, 0, max_value_ns);
    ++counts_[index_of(static_cast<std::uint64_t>(value))];
    ++count_;
    max_ = std::max(max_, value);
    min_ = std::min(min_, value);
    sum_ += static_cast<double>(value);
}

void histogram::add(const histogram& other) noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
    min_ = std::min(min_, other.min_);
    sum_ += other.sum_;
}

std::int64_t histogram::quantile_ns(double share) const noexcept {
    if (count_ == 0) return 0;
    const double exact = std::ceil(std::clamp(share, 0.0, 1.0) * static_cast<double>(count_) - 1e-9);
    const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(std::max(exact, 1.0)), 1, count_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        seen += counts_[i];
        // The bucket's upper end, so that no percentile is told too low; the largest value is known exactly.
        if (seen >= rank) return std::min(static_cast<std::int64_t>(upper_bound_of(i)), max_);
    }
    return max_;
}

}  // namespace callgate::load
