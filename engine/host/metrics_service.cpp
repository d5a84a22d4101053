// SPDX-License-Identifier: Apache-2.0
#include "engine/host/metrics_service.hpp"

#include <algorithm>

#include "engine/host/abi_read.hpp"
#include "engine/host/services.hpp"
#include "engine/observe/prometheus.hpp"

namespace callgate::host {
namespace {

constexpr std::size_t max_name = 60, max_help = 200, max_value = 100;

bool is_name(std::string_view s) {
    return !s.empty() && s.size() <= max_name && std::all_of(s.begin(), s.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}
bool is_text(std::string_view s, std::size_t limit) {
    return !s.empty() && s.size() <= limit && std::all_of(s.begin(), s.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}
double shown(std::int64_t v, std::uint32_t unit) {
    return unit == CG_METRIC_NANOSECONDS ? static_cast<double>(v) / 1e9 : static_cast<double>(v);
}

}  // namespace

bool metric_names::claim(const std::string& name, std::uint32_t kind) {
    const std::lock_guard lock(mutex_);
    auto& u = names_.try_emplace(name, use{kind, 0}).first->second;
    if (u.kind != kind) return false;
    ++u.count;
    return true;
}

void metric_names::give_back(const std::string& name) {
    const std::lock_guard lock(mutex_);
    if (const auto it = names_.find(name); it != names_.end() && --it->second.count == 0) names_.erase(it);
}

metrics_service::~metrics_service() {
    for (std::size_t i = 0; i < count_; ++i) {
        const std::unique_ptr<definition> m(metrics_[i].load(std::memory_order_relaxed));
        if (names_) names_->give_back(m->name);
    }
}

cg_status metrics_service::define(const cg_metric_definition& d, cg_metric& handle, std::string& why) {
    const auto wrong = [&](std::string text) {
        why = std::move(text);
        return CG_E_INVALID;
    };
    if (frozen_) {
        why = "metrics are defined until start has completed, not later";
        return CG_E_PERMISSION;
    }
    if (count_ == max_metrics) {
        why = "256 metrics are defined already";
        return CG_E_BUSY;
    }
    auto m = std::make_unique<definition>();
    m->name = bounded(d.name, max_name + 1);
    m->help = bounded(d.help, max_help + 1);
    m->kind = d.kind;
    m->unit = d.unit;
    if (!is_name(m->name)) return wrong("the name of a metric is 1 to 60 of a-z and _");
    const auto named = [&](const std::string& rest) { return "metric \"" + m->name + "\": " + rest; };
    if (!is_text(m->help, max_help)) return wrong(named("help must be one line of 1 to 200 printable ASCII characters"));
    if (m->kind < CG_METRIC_COUNTER || m->kind > CG_METRIC_HISTOGRAM) return wrong(named("unknown kind"));
    if (m->unit > CG_METRIC_NANOSECONDS) return wrong(named("unknown unit"));
    const bool counter = m->kind == CG_METRIC_COUNTER;
    if (counter && !m->name.ends_with("_total")) return wrong(named("the name of a counter ends in _total"));
    if (m->unit == CG_METRIC_NANOSECONDS && !m->name.ends_with(counter ? "_seconds_total" : "_seconds"))
        return wrong(named(counter ? "a counter of time is called ..._seconds_total" : "a metric of time is called ..._seconds"));
    if (d.label_count > CG_METRIC_MAX_LABELS || (d.label_count != 0 && d.labels == nullptr)) return wrong(named("at most 8 labels"));
    for (std::size_t i = 0; i < d.label_count; ++i) {
        const auto l = read_element(d.labels, i, d.labels_stride);
        auto name = bounded(l.name, max_name + 1);
        auto value = bounded(l.value, max_value + 1);
        if (!is_name(name) || name.starts_with("__")) return wrong(named("the name of a label is 1 to 60 of a-z and _, not beginning with __"));
        if (name == "le" || name == "kind" || name == "instance") return wrong(named("the label \"" + name + "\" is the host's own"));
        if (!is_text(value, max_value)) return wrong(named("the value of label \"" + name + "\" must be 1 to 100 printable ASCII characters"));
        if (std::any_of(m->labels.begin(), m->labels.end(), [&](const auto& other) { return other.first == name; }))
            return wrong(named("label \"" + name + "\" is there twice"));
        m->labels.emplace_back(std::move(name), std::move(value));
    }
    std::sort(m->labels.begin(), m->labels.end());
    std::size_t cells = 1;
    if (m->kind == CG_METRIC_HISTOGRAM) {
        if (d.bounds == nullptr || d.bound_count == 0 || d.bound_count > CG_METRIC_MAX_BOUNDS) return wrong(named("a histogram has 1 to 32 bounds"));
        m->bounds.assign(d.bounds, d.bounds + d.bound_count);
        if (std::adjacent_find(m->bounds.begin(), m->bounds.end(), std::greater_equal<>{}) != m->bounds.end() || m->bounds.front() < 0)
            return wrong(named("bounds are not negative and rise"));
        cells = m->bounds.size() + 2;  // "+Inf", and the sum
    } else if (d.bound_count != 0) {
        return wrong(named("only histograms have bounds"));
    }
    for (std::size_t i = 0; i < count_; ++i) {
        const auto& other = *metrics_[i].load(std::memory_order_relaxed);
        if (other.name != m->name) continue;
        if (other.kind != m->kind || other.unit != m->unit || other.help != m->help || other.bounds != m->bounds)
            return wrong(named("is defined with another kind, unit, help or bounds already"));
        if (other.labels == m->labels) return wrong(named("is defined with the same labels already"));
    }
    if (names_ && !names_->claim(m->name, m->kind)) return wrong(named("another instance defines it with another kind"));
    m->lines_per_shard = (cells + 15) / 16;
    m->lines = std::make_unique<line[]>(m->lines_per_shard * (shards_ + 1));
    metrics_[count_].store(m.release(), std::memory_order_release);
    handle = static_cast<cg_metric>(++count_);
    return CG_OK;
}

// Relaxed throughout: a scrape wants numbers, not an order between them. Read-modify-write, since the cell for "no shard" has
// several writers; on a shard's own line that costs no traffic between cores.
void metrics_service::add(cg_metric metric, std::uint32_t shard, std::uint64_t n) noexcept {
    if (const auto* m = find(metric, CG_METRIC_COUNTER)) m->cell(slot(shard), 0).fetch_add(n, std::memory_order_relaxed);
}
void metrics_service::set(cg_metric metric, std::uint32_t shard, std::int64_t value) noexcept {
    if (const auto* m = find(metric, CG_METRIC_GAUGE)) m->cell(slot(shard), 0).store(static_cast<std::uint64_t>(value), std::memory_order_relaxed);
}
void metrics_service::change(cg_metric metric, std::uint32_t shard, std::int64_t delta) noexcept {
    if (const auto* m = find(metric, CG_METRIC_GAUGE)) m->cell(slot(shard), 0).fetch_add(static_cast<std::uint64_t>(delta), std::memory_order_relaxed);
}
void metrics_service::observe(cg_metric metric, std::uint32_t shard, std::int64_t value) noexcept {
    const auto* m = find(metric, CG_METRIC_HISTOGRAM);
    if (m == nullptr) return;
    if (value < 0) value = 0;
    const auto at = static_cast<std::size_t>(std::lower_bound(m->bounds.begin(), m->bounds.end(), value) - m->bounds.begin());
    m->cell(slot(shard), at).fetch_add(1, std::memory_order_relaxed);
    m->cell(slot(shard), m->bounds.size() + 1).fetch_add(static_cast<std::uint64_t>(value), std::memory_order_relaxed);
}

std::vector<metrics_service::series> metrics_service::read() const {
    std::vector<series> out;
    for (const auto& p : metrics_) {
        const auto* m = p.load(std::memory_order_acquire);
        if (m == nullptr) break;
        series s{m->name, m->help, m->kind, m->unit, m->labels, 0, m->bounds, {}, 0};
        const auto sum = [&](std::size_t i) {
            std::uint64_t n = 0;
            for (std::uint32_t shard = 0; shard <= shards_; ++shard) n += m->cell(shard, i).load(std::memory_order_relaxed);
            return n;
        };
        if (m->kind == CG_METRIC_HISTOGRAM) {
            for (std::size_t i = 0; i <= m->bounds.size(); ++i) s.counts.push_back(sum(i));
            s.sum = static_cast<std::int64_t>(sum(m->bounds.size() + 1));
        } else {
            s.value = static_cast<std::int64_t>(sum(0));
        }
        out.push_back(std::move(s));
    }
    return out;
}

std::string render_plugin_metrics(std::span<const exported_metrics> instances) {
    struct sample {
        const exported_metrics* of;
        metrics_service::series series;
    };
    std::map<std::string, std::vector<sample>> families;
    for (const auto& i : instances)
        if (i.metrics)
            for (auto& s : i.metrics->read()) {
                auto& family = families[s.name];
                // Names are of one kind while both instances live; this is for one that went while it was being read.
                if (family.empty() || family.front().series.kind == s.kind) family.push_back({&i, std::move(s)});
            }
    observe::exposition out;
    for (const auto& [name, samples] : families) {
        const auto full = "callgate_plugin_" + name;
        const auto kind = samples.front().series.kind;
        out.family(full, kind == CG_METRIC_COUNTER ? "counter" : kind == CG_METRIC_GAUGE ? "gauge" : "histogram", samples.front().series.help);
        for (const auto& [of, s] : samples) {
            std::vector<observe::exposition::label> labels{{"kind", of->kind}, {"instance", of->instance}};
            for (const auto& [k, v] : s.labels) labels.emplace_back(k, v);
            if (kind != CG_METRIC_HISTOGRAM) {
                if (s.unit == CG_METRIC_NANOSECONDS) out.sample(full, labels, shown(s.value, s.unit));
                else if (kind == CG_METRIC_COUNTER) out.sample(full, labels, static_cast<std::uint64_t>(s.value));
                else out.sample(full, labels, s.value);
                continue;
            }
            std::vector<double> bounds;
            for (const auto b : s.bounds) bounds.push_back(shown(b, s.unit));
            out.histogram_samples(full, labels, bounds, s.counts, shown(s.sum, s.unit));
        }
    }
    return out.take();
}

const cg_metrics_api metrics_service::api = {
    sizeof(cg_metrics_api), 0,
    [](const cg_host* host, const cg_metric_definition* definition, cg_metric* metric, cg_errbuf* error) noexcept -> cg_status {
        std::string why;
        cg_metric_definition d{};
        if (metric == nullptr || !read_struct(definition, d)) return CG_E_INVALID;
        *metric = 0;
        const auto status = services::of(host).metrics().define(d, *metric, why);
        if (status != CG_OK) write_error(error, status, why);
        return status;
    },
    [](const cg_host* h, cg_metric m, std::uint32_t shard, std::uint64_t n) noexcept { services::of(h).metrics().add(m, shard, n); },
    [](const cg_host* h, cg_metric m, std::uint32_t shard, std::int64_t v) noexcept { services::of(h).metrics().set(m, shard, v); },
    [](const cg_host* h, cg_metric m, std::uint32_t shard, std::int64_t d) noexcept { services::of(h).metrics().change(m, shard, d); },
    [](const cg_host* h, cg_metric m, std::uint32_t shard, std::int64_t v) noexcept { services::of(h).metrics().observe(m, shard, v); }};

}  // namespace callgate::host
