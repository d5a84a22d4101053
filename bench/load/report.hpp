// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <boost/json/object.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/cpu_time.hpp"
#include "bench/load/histogram.hpp"

/// The figures of a run as tables for people and as JSON for programs; both from the same object.
namespace callgate::load {

/// {"count", "min_ms", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms"}
[[nodiscard]] boost::json::object latency_json(const histogram& h);
[[nodiscard]] boost::json::object counts_json(const std::map<std::string, std::uint64_t>& counts);
/// For each process {"name", "pid", "cpu_ms", "us_per_callout", "callouts_per_s_per_core", "busy"}; callouts 0: without the middle two.
[[nodiscard]] boost::json::array cpu_json(const cpu_meter& meter, std::uint64_t callouts, std::int64_t elapsed_ns);
/// Time at which `share` of `clients` were in, of their ascending times; null when so many never were.
[[nodiscard]] boost::json::value reached_json(const std::vector<std::int64_t>& entries_ns, std::size_t clients, double share);
/// Where and with what the figures were made: command line, processor, kernel, version.
[[nodiscard]] boost::json::object machine_json(const std::vector<std::string>& command);

/// Rows with the same members; the column titles are the member names of the first row. At most 60 rows are shown.
void print_rows(const boost::json::array& rows, std::string_view title);
/// "name value" lines; objects and arrays within are left out.
void print_members(const boost::json::object& members, std::string_view title);
/// The whole result in the order a reader wants it: what it ran on, counts, latency, CPU, course.
void print_result(const boost::json::object& result);
/// Writes the object with a newline. Throws std::runtime_error that names the file.
void write_json(const std::string& path, const boost::json::object& result);

}  // namespace callgate::load
