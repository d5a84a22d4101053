// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "engine/observe/histogram.hpp"

namespace callgate::observe {

/// Writes the Prometheus text format 0.0.4. Not thread-safe; one for each scrape.
class exposition {
  public:
    using label = std::pair<std::string_view, std::string_view>;

    /// HELP and TYPE; samples of that family follow at once.
    void family(std::string_view name, std::string_view type, std::string_view help);
    void sample(std::string_view name, std::initializer_list<label> labels, std::uint64_t value);
    void sample(std::string_view name, std::initializer_list<label> labels, std::int64_t value);
    void sample(std::string_view name, std::initializer_list<label> labels, double value);
    // Labels whose number is known at run time only.
    void sample(std::string_view name, std::span<const label> labels, std::uint64_t value);
    void sample(std::string_view name, std::span<const label> labels, std::int64_t value);
    void sample(std::string_view name, std::span<const label> labels, double value);
    /// `counts` has one more element than `bounds`, and each observation is in one of them only.
    void histogram_samples(std::string_view name, std::span<const label> labels, std::span<const double> bounds,
                           std::span<const std::uint64_t> counts, double sum);
    /// _bucket (powers of two from 2 us up), _sum and _count, in seconds; `label_value` may be empty.
    void histogram_samples(std::string_view name, label extra, const histogram* const* shards, std::size_t count);
    [[nodiscard]] std::string take() { return std::move(out_); }

  private:
    void open(std::string_view name, std::string_view suffix, std::initializer_list<label> labels, std::span<const label> more = {});
    std::string out_;
};

}  // namespace callgate::observe
