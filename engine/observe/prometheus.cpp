// SPDX-License-Identifier: Apache-2.0
#include "engine/observe/prometheus.hpp"

#include <fmt/format.h>

#include <array>

namespace callgate::observe {
namespace {

void append_label_value(std::string& out, std::string_view v) {
    for (char c : v) {
        if (c == '\\' || c == '"') out.push_back('\\');
        if (c == '\n') out += "\\n";
        else out.push_back(c);
    }
}

}  // namespace

void exposition::family(std::string_view name, std::string_view type, std::string_view help) {
    fmt::format_to(std::back_inserter(out_), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void exposition::open(std::string_view name, std::string_view suffix, std::initializer_list<label> labels, std::span<const label> more) {
    out_ += name;
    out_ += suffix;
    bool first = true;
    const auto write = [&](const label& l) {
        const auto& [k, v] = l;
        if (k.empty()) return;
        out_.push_back(first ? '{' : ',');
        first = false;
        out_ += k;
        out_ += "=\"";
        append_label_value(out_, v);
        out_.push_back('"');
    };
    for (const auto& l : more) write(l);
    for (const auto& l : labels) write(l);
    if (!first) out_.push_back('}');
    out_.push_back(' ');
}

void exposition::sample(std::string_view name, std::initializer_list<label> labels, std::uint64_t value) {
    open(name, "", labels);
    fmt::format_to(std::back_inserter(out_), "{}\n", value);
}
void exposition::sample(std::string_view name, std::initializer_list<label> labels, std::int64_t value) {
    open(name, "", labels);
    fmt::format_to(std::back_inserter(out_), "{}\n", value);
}
void exposition::sample(std::string_view name, std::initializer_list<label> labels, double value) {
    open(name, "", labels);
    fmt::format_to(std::back_inserter(out_), "{}\n", value);
}

void exposition::sample(std::string_view name, std::span<const label> labels, std::uint64_t value) {
    open(name, "", {}, labels);
    fmt::format_to(std::back_inserter(out_), "{}\n", value);
}
void exposition::sample(std::string_view name, std::span<const label> labels, std::int64_t value) {
    open(name, "", {}, labels);
    fmt::format_to(std::back_inserter(out_), "{}\n", value);
}
void exposition::sample(std::string_view name, std::span<const label> labels, double value) {
    open(name, "", {}, labels);
    fmt::format_to(std::back_inserter(out_), "{}\n", value);
}

void exposition::histogram_samples(std::string_view name, std::span<const label> labels, std::span<const double> bounds,
                                   std::span<const std::uint64_t> counts, double sum) {
    std::uint64_t running = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        running += counts[i];
        const auto le = i < bounds.size() ? fmt::format("{}", bounds[i]) : std::string("+Inf");
        open(name, "_bucket", {{"le", le}}, labels);
        fmt::format_to(std::back_inserter(out_), "{}\n", running);
    }
    open(name, "_sum", {}, labels);
    fmt::format_to(std::back_inserter(out_), "{}\n", sum);
    open(name, "_count", {}, labels);
    fmt::format_to(std::back_inserter(out_), "{}\n", running);
}

void exposition::histogram_samples(std::string_view name, label extra, const histogram* const* shards, std::size_t count) {
    std::array<std::uint64_t, histogram::buckets> sum{};
    std::uint64_t sum_ns = 0;
    for (std::size_t s = 0; s < count; ++s) {
        for (std::size_t i = 0; i < histogram::buckets; ++i) sum[i] += shards[s]->cell(i);
        sum_ns += shards[s]->sum_ns();
    }
    std::uint64_t running = 0;
    // Every fourth bound is a power of two; the finer cells stay inside for percentiles of our own tools.
    for (std::size_t i = 0; i + 1 < histogram::buckets; ++i) {
        running += sum[i];
        if (i == 0 || i % 4 != 0) continue;
        const auto le = fmt::format("{}", static_cast<double>(histogram::upper_ns(i)) / 1e9);
        open(name, "_bucket", {extra, {"le", le}});
        fmt::format_to(std::back_inserter(out_), "{}\n", running);
    }
    running += sum[histogram::buckets - 1];
    open(name, "_bucket", {extra, {"le", "+Inf"}});
    fmt::format_to(std::back_inserter(out_), "{}\n", running);
    open(name, "_sum", {extra});
    fmt::format_to(std::back_inserter(out_), "{}\n", static_cast<double>(sum_ns) / 1e9);
    open(name, "_count", {extra});
    fmt::format_to(std::back_inserter(out_), "{}\n", running);
}

}  // namespace callgate::observe
