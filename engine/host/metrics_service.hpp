// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/metrics.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace callgate::host {

/// Which kind each name has, over all instances of the process: an exposition cannot show one name as two kinds. [any]
class metric_names {
  public:
    /// False when another instance has it as another kind.
    [[nodiscard]] bool claim(const std::string& name, std::uint32_t kind);
    void give_back(const std::string& name);

  private:
    struct use {
        std::uint32_t kind;
        std::size_t count;
    };
    std::mutex mutex_;
    std::map<std::string, use> names_;
};

/// metrics/1 of one instance. define() on the control thread until freeze(); the rest is [any] and takes no lock.
/// Shared, so that a scrape may read it while the instance goes.
class metrics_service {
  public:
    static constexpr std::size_t max_metrics = CG_METRICS_MAX;

    metrics_service(std::uint32_t shards, std::shared_ptr<metric_names> names) : shards_(shards), names_(std::move(names)) {}
    metrics_service(const metrics_service&) = delete;
    metrics_service& operator=(const metrics_service&) = delete;
    ~metrics_service();

    /// [control]
    cg_status define(const cg_metric_definition& d, cg_metric& metric, std::string& why);
    void freeze() noexcept { frozen_ = true; }
    /// [any] `what`: CG_METRIC_COUNTER for add, ...
    void add(cg_metric metric, std::uint32_t shard, std::uint64_t n) noexcept;
    void set(cg_metric metric, std::uint32_t shard, std::int64_t value) noexcept;
    void change(cg_metric metric, std::uint32_t shard, std::int64_t delta) noexcept;
    void observe(cg_metric metric, std::uint32_t shard, std::int64_t value) noexcept;

    /// One series, summed over the shards.
    struct series {
        std::string name, help;
        std::uint32_t kind = 0, unit = 0;
        std::vector<std::pair<std::string, std::string>> labels;
        std::int64_t value = 0;             ///< gauge; counter, as u64
        std::vector<std::int64_t> bounds;   ///< histogram
        std::vector<std::uint64_t> counts;  ///< one more than bounds
        std::int64_t sum = 0;
    };
    /// [any]
    [[nodiscard]] std::vector<series> read() const;

    static const cg_metrics_api api;

  private:
    // One cache line pair each, so that no two shards write to the same.
    struct alignas(128) line {
        std::array<std::atomic<std::uint64_t>, 16> cells{};
    };
    struct definition {
        std::string name, help;
        std::uint32_t kind = 0, unit = 0;
        std::vector<std::pair<std::string, std::string>> labels;
        std::vector<std::int64_t> bounds;
        std::size_t lines_per_shard = 1;
        std::unique_ptr<line[]> lines;
        [[nodiscard]] std::atomic<std::uint64_t>& cell(std::uint32_t shard, std::size_t i) const noexcept {
            return lines[shard * lines_per_shard + i / 16].cells[i % 16];
        }
    };
    [[nodiscard]] const definition* find(cg_metric m, std::uint32_t kind) const noexcept {
        if (m == 0 || m > max_metrics) return nullptr;
        const auto* found = metrics_[m - 1].load(std::memory_order_acquire);
        return found != nullptr && found->kind == kind ? found : nullptr;
    }
    [[nodiscard]] std::uint32_t slot(std::uint32_t shard) const noexcept { return shard < shards_ ? shard : shards_; }

    const std::uint32_t shards_;
    const std::shared_ptr<metric_names> names_;
    bool frozen_ = false;
    std::size_t count_ = 0;
    std::array<std::atomic<definition*>, max_metrics> metrics_{};  // filled in order, never emptied
};

/// Metrics of one instance and the labels that tell it from the others.
struct exported_metrics {
    std::string kind, instance;
    std::shared_ptr<const metrics_service> metrics;
};
/// Prometheus text 0.0.4, one family for each name. [any]
[[nodiscard]] std::string render_plugin_metrics(std::span<const exported_metrics> instances);

}  // namespace callgate::host
