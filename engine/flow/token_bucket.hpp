// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>

namespace callgate::flow {

/// Bounds a rate. Starts full; `burst` tokens at most.
class token_bucket {
  public:
    token_bucket(double per_second, double burst) noexcept : rate_(per_second), burst_(burst), tokens_(burst) {}
    void set_rate(double per_second, double burst) noexcept {
        rate_ = per_second;
        burst_ = burst;
        tokens_ = std::min(tokens_, burst_);
    }
    [[nodiscard]] bool take(std::int64_t now_ns) noexcept {
        if (last_ns_ == 0) last_ns_ = now_ns;
        if (now_ns > last_ns_) {
            tokens_ = std::min(burst_, tokens_ + static_cast<double>(now_ns - last_ns_) * 1e-9 * rate_);
            last_ns_ = now_ns;
        }
        if (tokens_ < 1.0) return false;
        tokens_ -= 1.0;
        return true;
    }

  private:
    double rate_, burst_, tokens_;
    std::int64_t last_ns_ = 0;
};

}  // namespace callgate::flow
