// SPDX-License-Identifier: Apache-2.0
#include "bench/load/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace callgate::load {

schedule::schedule(double from_rate, double to_rate, std::int64_t duration_ns) : from_(from_rate), to_(to_rate), duration_ns_(duration_ns) {
    if (!(from_ > 0) || !(to_ > 0) || !std::isfinite(from_) || !std::isfinite(to_)) throw std::invalid_argument("a rate must be above 0 requests a second");
    if (duration_ns_ <= 0) throw std::invalid_argument("the duration must be above 0");
    const double mean = (from_ + to_) / 2 * static_cast<double>(duration_ns_) / 1e9;
    // Request 0 is at the start and the last one before the end.
    count_ = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::llround(mean)));
}

std::int64_t schedule::intended_ns(std::uint64_t index) const noexcept {
    const double n = static_cast<double>(index);
    const double slope = (to_ - from_) / (static_cast<double>(duration_ns_) / 1e9);
    // from·t + slope·t²/2 = n, in the form that stays exact as the slope nears 0.
    const double root = std::sqrt(std::max(0.0, from_ * from_ + 2 * slope * n));
    return std::min(static_cast<std::int64_t>(2 * n / (from_ + root) * 1e9), duration_ns_);
}

double schedule::rate_at(std::int64_t after_start_ns) const noexcept {
    const double share = std::clamp(static_cast<double>(after_start_ns) / static_cast<double>(duration_ns_), 0.0, 1.0);
    return from_ + (to_ - from_) * share;
}

}  // namespace callgate::load
