// SPDX-License-Identifier: Apache-2.0
// spdlog stays inside this file: it is one of the heavy headers (tools/check_layers.py).
#include "engine/base/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fmt/chrono.h>
#include <memory>

#include "engine/base/escape.hpp"

namespace callgate::log {
namespace {

std::atomic<level> g_minimum{level::info};
std::atomic<format> g_format{format::text};

spdlog::logger& sink() {
    // Leaked on purpose: threads that outlive main's statics may still log.
    static auto* logger = [] {
        auto* l = new spdlog::logger("callgate", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        l->set_pattern("%v");
        l->set_level(spdlog::level::trace);
        l->flush_on(spdlog::level::trace);
        return l;
    }();
    return *logger;
}

constexpr std::string_view name(level l) {
    switch (l) {
        case level::trace: return "trace";
        case level::debug: return "debug";
        case level::info: return "info";
        case level::warn: return "warn";
        case level::error: return "error";
    }
    return "error";
}

void append_quoted(std::string& out, std::string_view s) {
    out.push_back('"');
    append_escaped(out, s);
    out.push_back('"');
}

// A message may be a plugin's. Quotes alone do no harm in one.
void append_message(std::string& out, std::string_view s) {
    std::string escaped;
    append_escaped(escaped, s);
    const auto marks = std::count_if(s.begin(), s.end(), [](char c) { return c == '"' || c == '\\'; });
    if (escaped.size() == s.size() + static_cast<std::size_t>(marks)) out += s;
    else out += '"' + escaped + '"';
}

bool plain(std::string_view s) {
    if (s.empty()) return false;
    for (unsigned char c : s)
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '=' || c == '\\') return false;
    return true;
}

}  // namespace

void configure(level minimum, format f) {
    g_minimum = minimum;
    g_format = f;
    (void)sink();
}
void set_level(level minimum) { g_minimum = minimum; }
bool enabled(level l) noexcept { return l >= g_minimum.load(std::memory_order_relaxed); }

void write(level l, std::string_view message, std::span<const field> fields) {
    if (!enabled(l)) return;
    const auto now = std::chrono::system_clock::now();
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
    const auto stamp = fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(now), ms);
    std::string line;
    line.reserve(160);
    if (g_format == format::json) {
        line += "{\"ts\":\"" + stamp + "\",\"level\":\"";
        line += name(l);
        line += "\",\"msg\":";
        append_quoted(line, message);
        for (const auto& f : fields) {
            line.push_back(',');
            append_quoted(line, f.key);
            line.push_back(':');
            append_quoted(line, f.value);
        }
        line.push_back('}');
    } else {
        line += stamp;
        line.push_back(' ');
        line += name(l);
        line.push_back(' ');
        append_message(line, message);
        for (const auto& f : fields) {
            line.push_back(' ');
            line += f.key;
            line.push_back('=');
            if (plain(f.value)) line += f.value;
            else append_quoted(line, f.value);
        }
    }
    sink().log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace callgate::log
