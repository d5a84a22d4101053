// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/metrics.h>
#include <callgate/sdk/host.hpp>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

/// metrics/1 with owners. Define them in create or start: the host refuses it later.
namespace callgate::sdk {

namespace ext {
struct metrics {
    using api = cg_metrics_api;
    static constexpr std::string_view id = CG_EXT_METRICS;
};
}  // namespace ext

/// Label values are fixed when the metric is defined.
using metric_labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

namespace detail {
/// Copied freely. Without the capability (an older host) it counts nothing and nothing fails.
class metric {
  public:
    metric() = default;

  protected:
    /// [control] Throws status_error with the host's words when the definition breaks a rule.
    metric(const host_ref& host, std::uint32_t kind, std::string_view name, std::string_view help, metric_labels labels,
           std::span<const std::int64_t> bounds = {}, std::uint32_t unit = CG_METRIC_PLAIN) {
        const auto* api = host.query<ext::metrics>();
        if (api == nullptr) return;
        std::vector<cg_metric_label> l;
        for (const auto& [k, v] : labels) l.push_back({to_c(k), to_c(v)});
        auto d = make<cg_metric_definition>();
        d.kind = kind;
        d.name = to_c(name);
        d.help = to_c(help);
        d.labels = l.data();
        d.label_count = l.size();
        d.labels_stride = sizeof(cg_metric_label);
        d.unit = unit;
        d.bounds = bounds.data();
        d.bound_count = bounds.size();
        char text[256];
        auto error = make<cg_errbuf>();
        error.text = {reinterpret_cast<std::uint8_t*>(text), sizeof text, 0};
        if (const auto s = api->define(host.get(), &d, &id_, &error); s != CG_OK)
            throw status_error(s, "metric \"" + std::string(name) + "\": " + std::string(text, std::min(error.text.size, sizeof text)));
        api_ = api;
        host_ = host.get();
    }
    const cg_metrics_api* api_ = nullptr;
    const cg_host* host_ = nullptr;
    cg_metric id_ = 0;
};
}  // namespace detail

/// `shard`: the shard the caller is on, or CG_METRIC_NO_SHARD. All [any], no lock.
class metric_counter : public detail::metric {
  public:
    metric_counter() = default;
    /// [control] `name` ends in "_total".
    metric_counter(const host_ref& host, std::string_view name, std::string_view help, metric_labels labels = {},
                   std::uint32_t unit = CG_METRIC_PLAIN)
        : metric(host, CG_METRIC_COUNTER, name, help, labels, {}, unit) {}
    void add(std::uint32_t shard = CG_METRIC_NO_SHARD, std::uint64_t n = 1) const noexcept {
        if (api_ != nullptr) api_->add(host_, id_, shard, n);
    }
};

class metric_gauge : public detail::metric {
  public:
    metric_gauge() = default;
    metric_gauge(const host_ref& host, std::string_view name, std::string_view help, metric_labels labels = {},
                 std::uint32_t unit = CG_METRIC_PLAIN)
        : metric(host, CG_METRIC_GAUGE, name, help, labels, {}, unit) {}
    void set(std::int64_t value, std::uint32_t shard = CG_METRIC_NO_SHARD) const noexcept {
        if (api_ != nullptr) api_->set(host_, id_, shard, value);
    }
    void change(std::int64_t delta, std::uint32_t shard = CG_METRIC_NO_SHARD) const noexcept {
        if (api_ != nullptr) api_->change(host_, id_, shard, delta);
    }
};

class metric_histogram : public detail::metric {
  public:
    metric_histogram() = default;
    /// `bounds`: rising upper bounds, in the unit that observe() is given.
    metric_histogram(const host_ref& host, std::string_view name, std::string_view help, std::span<const std::int64_t> bounds,
                     metric_labels labels = {}, std::uint32_t unit = CG_METRIC_PLAIN)
        : metric(host, CG_METRIC_HISTOGRAM, name, help, labels, bounds, unit) {}
    void observe(std::int64_t value, std::uint32_t shard = CG_METRIC_NO_SHARD) const noexcept {
        if (api_ != nullptr) api_->observe(host_, id_, shard, value);
    }
};

}  // namespace callgate::sdk
