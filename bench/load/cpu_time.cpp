// SPDX-License-Identifier: Apache-2.0
#include "bench/load/cpu_time.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace callgate::load {

watched_process parse_watched(std::string_view text) {
    const auto at = text.find('=');
    const auto number = at == text.npos ? std::string_view{} : text.substr(at + 1);
    watched_process out;
    const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), out.pid);
    if (at == 0 || number.empty() || failure != std::errc{} || end != number.data() + number.size() || out.pid <= 0)
        throw std::runtime_error(fmt::format("--pid {}: expected NAME=PID", text));
    out.name = text.substr(0, at);
    if (!std::filesystem::exists(fmt::format("/proc/{}/task", out.pid))) throw std::runtime_error(fmt::format("--pid {}: there is no such process", text));
    return out;
}

void cpu_meter::read(std::vector<threads>& into) const {
    for (std::size_t i = 0; i < processes_.size(); ++i) {
        into[i].clear();
        std::error_code ended;
        for (std::filesystem::directory_iterator entry(fmt::format("/proc/{}/task", processes_[i].pid), ended), none; !ended && entry != none; entry.increment(ended)) {
            std::ifstream file(entry->path() / "schedstat");
            std::int64_t on_cpu_ns = 0;
            if (file >> on_cpu_ns) into[i][entry->path().filename()] = on_cpu_ns;
        }
    }
}

std::int64_t cpu_meter::used_ns(std::size_t process) const {
    std::int64_t sum = 0;
    for (const auto& [thread, used] : end_.at(process)) {
        const auto before = begin_.at(process).find(thread);
        sum += used - (before == begin_.at(process).end() ? 0 : before->second);
    }
    return sum;
}

cpu_pin::cpu_pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < 0 || cpu >= CPU_SETSIZE) throw std::runtime_error(fmt::format("--cpu {}: no such processor", cpu));
    CPU_SET(static_cast<std::size_t>(cpu), &set);
    if (::sched_getaffinity(0, sizeof before_, &before_) != 0 || ::sched_setaffinity(0, sizeof set, &set) != 0)
        throw std::runtime_error(fmt::format("--cpu {}: {}", cpu, std::strerror(errno)));
}

cpu_pin::~cpu_pin() { ::sched_setaffinity(0, sizeof before_, &before_); }

}  // namespace callgate::load
