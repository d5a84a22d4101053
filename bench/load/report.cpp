// SPDX-License-Identifier: Apache-2.0
#include "bench/load/report.hpp"

#include <sys/utsname.h>

#include <boost/json.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace callgate::load {
namespace {

namespace json = boost::json;

// Three digits after the point are all a figure in ms needs (1 µs).
double rounded(double value, double scale = 1000) { return std::round(value * scale) / scale; }
double ms(std::int64_t ns) { return rounded(static_cast<double>(ns) / 1e6); }

std::string processor_model() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    return "unknown";
}

std::string cell(const json::value& v) {
    if (v.is_null()) return "-";
    if (v.is_string()) return std::string(v.get_string());
    if (v.is_double()) return fmt::format("{}", rounded(v.get_double()));
    return json::serialize(v);
}

bool is_scalar(const json::value& v) { return !v.is_object() && !v.is_array(); }

// A password in a URL is no matter of the report.
std::string without_login(const std::string& word) {
    const auto scheme = word.find("://"), at = word.rfind('@');
    return scheme == word.npos || at == word.npos ? word : word.substr(0, scheme + 3) + "..." + word.substr(at);
}

}  // namespace

json::object latency_json(const histogram& h) {
    return {{"count", h.count()}, {"min_ms", ms(h.min_ns())}, {"mean_ms", ms(static_cast<std::int64_t>(h.mean_ns()))}, {"p50_ms", ms(h.quantile_ns(0.5))},
            {"p90_ms", ms(h.quantile_ns(0.9))}, {"p99_ms", ms(h.quantile_ns(0.99))}, {"p99_9_ms", ms(h.quantile_ns(0.999))}, {"max_ms", ms(h.max_ns())}};
}

json::object counts_json(const std::map<std::string, std::uint64_t>& counts) {
    json::object out;
    for (const auto& [name, count] : counts) out[name] = count;
    return out;
}

json::array cpu_json(const cpu_meter& meter, std::uint64_t callouts, std::int64_t elapsed_ns) {
    json::array out;
    for (std::size_t i = 0; i < meter.processes().size(); ++i) {
        const auto used = static_cast<double>(meter.used_ns(i));
        json::object row{{"name", meter.processes()[i].name}, {"pid", meter.processes()[i].pid}, {"cpu_ms", rounded(used / 1e6)}};
        if (callouts > 0 && used > 0) {
            row["us_per_callout"] = rounded(used / 1e3 / static_cast<double>(callouts));
            row["callouts_per_s_per_core"] = std::round(static_cast<double>(callouts) / used * 1e9);
        } else {
            row["us_per_callout"] = row["callouts_per_s_per_core"] = nullptr;
        }
        row["busy"] = elapsed_ns > 0 ? rounded(used / static_cast<double>(elapsed_ns)) : 0;
        out.push_back(std::move(row));
    }
    return out;
}

json::value reached_json(const std::vector<std::int64_t>& entries_ns, std::size_t clients, double share) {
    const auto needed = static_cast<std::size_t>(std::ceil(share * static_cast<double>(clients) - 1e-9));
    if (needed == 0 || entries_ns.size() < needed) return nullptr;
    return ms(entries_ns[needed - 1]);
}

json::object machine_json(const std::vector<std::string>& command) {
    utsname kernel{};
    ::uname(&kernel);
    std::string line;
    for (const auto& word : command) line += (line.empty() ? "" : " ") + without_login(word);
    return {{"command", line}, {"version", CALLGATE_VERSION}, {"processor", processor_model()}, {"processors", std::thread::hardware_concurrency()},
            {"kernel", std::string(kernel.sysname) + " " + kernel.release}, {"time", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}};
}

void print_rows(const json::array& rows, std::string_view title) {
    if (rows.empty()) return;
    constexpr std::size_t most = 60;
    std::vector<std::string> titles;
    for (const auto& [name, value] : rows.front().as_object())
        if (is_scalar(value)) titles.emplace_back(name);
    std::vector<std::vector<std::string>> cells;
    std::vector<std::size_t> widths;
    for (const auto& t : titles) widths.push_back(t.size());
    for (std::size_t i = 0; i < std::min(rows.size(), most); ++i) {
        auto& line = cells.emplace_back();
        for (std::size_t c = 0; c < titles.size(); ++c) {
            line.push_back(cell(rows[i].as_object().at(titles[c])));
            widths[c] = std::max(widths[c], line.back().size());
        }
    }
    fmt::print("{}\n ", title);
    for (std::size_t c = 0; c < titles.size(); ++c) fmt::print(" {:>{}}", titles[c], widths[c]);
    for (const auto& line : cells) {
        fmt::print("\n ");
        for (std::size_t c = 0; c < line.size(); ++c) fmt::print(" {:>{}}", line[c], widths[c]);
    }
    fmt::print("\n");
    if (rows.size() > most) fmt::print("  ... {} more rows, all of them with --json\n", rows.size() - most);
}

void print_members(const json::object& members, std::string_view title) {
    fmt::print("{}\n", title);
    for (const auto& [name, value] : members)
        if (is_scalar(value)) fmt::print("  {:<24} {}\n", std::string_view(name), cell(value));
}

void print_result(const json::object& result) {
    // Order of the sections; what a mode does not have is left out.
    for (const auto* name : {"machine", "load", "counts", "storm", "recovery", "cpu", "latency", "interval"}) {
        const auto* section = result.if_contains(name);
        if (!section) continue;
        if (const auto* rows = section->if_array()) print_rows(*rows, name);
        else print_members(section->as_object(), name);
        if (!section->is_object()) continue;
        for (const auto& [inner, value] : section->as_object())
            if (const auto* reasons = value.if_object(); reasons && !reasons->empty()) print_members(*reasons, fmt::format("{}: {}", name, std::string_view(inner)));
    }
    std::fflush(stdout);
}

void write_json(const std::string& path, const json::object& result) {
    std::ofstream file(path, std::ios::trunc);
    file << json::serialize(result) << '\n';
    if (!file.flush()) throw std::runtime_error(fmt::format("--json {}: cannot be written", path));
}

}  // namespace callgate::load
