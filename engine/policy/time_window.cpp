// SPDX-License-Identifier: Apache-2.0
// Abseil's time zones: libstdc++ 12 has none, and Abseil reads the rule at the end of a zone's file too, which
// alone tells of daylight saving in later years where the file is packed without repeated transitions.
#include "engine/policy/time_window.hpp"

#include <absl/time/time.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace callgate::policy {

struct time_zone::data {
    absl::TimeZone zone;
};

namespace {

constexpr int day_s = 86400;
constexpr std::size_t max_windows = 64;
constexpr std::size_t max_zone_bytes = 64;

constexpr auto window_table = keys_of("time_window", "zone", "days", "from", "to");
constexpr std::string_view day_words[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

// The name becomes part of a path below the database; "right/" counts leap seconds, which unix time does not.
bool is_zone_name(std::string_view name) {
    const auto allowed = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+' || c == '/';
    };
    return !name.empty() && name.size() <= max_zone_bytes && name.front() >= 'A' && name.front() <= 'Z' && std::ranges::all_of(name, allowed);
}

// "08:30" or "08:30:15"; 24:00 where a window ends.
std::optional<int> parse_clock(std::string_view text) {
    if (text.size() != 5 && text.size() != 8) return std::nullopt;
    std::array<int, 3> part{};
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (i % 3 == 2) {
            if (text[i] != ':') return std::nullopt;
        } else if (text[i] < '0' || text[i] > '9') {
            return std::nullopt;
        } else {
            part[i / 3] = part[i / 3] * 10 + (text[i] - '0');
        }
    }
    const int s = part[0] * 3600 + part[1] * 60 + part[2];
    return part[1] < 60 && part[2] < 60 && s <= day_s ? std::optional(s) : std::nullopt;
}

std::optional<time_window> read_window(const node& n, const std::string& path, const reporter& to) {
    const auto errors = to.errors();
    const section s(to, n, path, window_table);
    std::string name;
    std::optional<time_zone> zone;
    if (s.required("zone") != nullptr && s.text("zone", name)) {
        zone = time_zone::find(name);
        if (!zone) s.error("zone", fmt::format("{} is not in this machine's time zone database; write an IANA name such as Europe/Berlin or UTC (package tzdata)", s.find("zone")->shown()));
    }
    std::uint8_t days = 0x7f;
    std::vector<std::string> words;
    if (s.texts("days", words)) {
        days = 0;
        if (words.empty()) s.error("days", "is an empty list; leave the key out for every day");
        for (const auto& w : words) {
            const auto found = std::ranges::find(day_words, std::string_view(w));
            if (found == std::end(day_words)) {
                const auto near = nearest(w, day_words);
                s.error("days", fmt::format("\"{}\" is not one of {}{}", w, fmt::join(day_words, ", "), near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
                continue;
            }
            const auto bit = static_cast<std::uint8_t>(1u << (found - std::begin(day_words)));
            if ((days & bit) != 0) s.error("days", fmt::format("names {} twice", w));
            days |= bit;
        }
    }
    const auto clock = [&](std::string_view key, int otherwise) {
        std::string text;
        if (!s.text(key, text)) return otherwise;
        const auto v = parse_clock(text);
        const bool fits = v && (*v < day_s || key == "to");
        if (!fits) s.error(key, fmt::format("must be a time of day such as \"08:00\" or \"17:30:00\"{}, not {}", key == "to" ? " or \"24:00\"" : "", s.find(key)->shown()));
        return fits ? *v : otherwise;
    };
    const int from = clock("from", 0), end = clock("to", day_s);
    if (to.errors() != errors || !zone) return std::nullopt;
    if (from == end || end == 0) s.error("to", end == 0 ? "is the beginning of the day; write 24:00 for its end" : "is the same as from; leave both out for the whole day");
    if (from == 0 && end == day_s && days == 0x7f) to.error(n.line, path, "is every moment of every day; say days, or from and to");
    return time_window{*zone, days, from, end};
}

}  // namespace

std::optional<time_zone> time_zone::find(std::string_view name) {
    auto d = std::make_shared<data>();
    if (!is_zone_name(name) || !absl::LoadTimeZone(std::string(name), &d->zone)) return std::nullopt;
    return time_zone(std::move(d));
}

time_zone::local_time time_zone::at(std::int64_t unix_s) const {
    const auto civil = data_->zone.At(absl::FromUnixSeconds(unix_s)).cs;
    const auto weekday = static_cast<int>(absl::GetWeekday(civil));  // 0 = Monday
    return {weekday, civil.hour() * 3600 + civil.minute() * 60 + civil.second()};
}

std::int64_t time_zone::next_change(std::int64_t unix_s) const {
    absl::TimeZone::CivilTransition change;
    if (!data_->zone.NextTransition(absl::FromUnixSeconds(unix_s), &change)) return INT64_MAX;
    return absl::ToUnixSeconds(data_->zone.At(change.to).trans);
}

bool time_window::holds(std::int64_t unix_s) const {
    const auto now = zone.at(unix_s);
    const auto on = [&](int weekday) { return ((days >> weekday) & 1) != 0; };
    if (from_s < to_s) return on(now.weekday) && now.second_of_day >= from_s && now.second_of_day < to_s;
    if (now.second_of_day >= from_s) return on(now.weekday);
    return now.second_of_day < to_s && on((now.weekday + 6) % 7);
}

std::int64_t time_window::next_boundary(std::int64_t unix_s) const {
    const int now = zone.at(unix_s).second_of_day;
    // Until the next change of the clocks the wall goes as fast as unix time.
    auto best = zone.next_change(unix_s);
    for (const int edge : {from_s, to_s, day_s}) {
        const int wait = (edge - now + day_s) % day_s;
        best = std::min(best, unix_s + (wait == 0 ? day_s : wait));
    }
    return best;
}

std::vector<time_window> parse_time_windows(const node& n, const std::string& path, const reporter& to) {
    std::vector<time_window> out;
    if (!n.is_sequence()) {
        if (auto w = read_window(n, path, to)) out.push_back(std::move(*w));
        return out;
    }
    if (n.items.empty() || n.items.size() > max_windows) to.error(n.line, path, fmt::format("must have 1 to {} windows", max_windows));
    for (std::size_t i = 0; i < n.items.size() && i < max_windows; ++i) {
        if (auto w = read_window(n.items[i], fmt::format("{}[{}]", path, i), to)) out.push_back(std::move(*w));
    }
    return out;
}

key_table time_window_table() noexcept { return window_table; }

std::optional<std::int64_t> parse_moment(const std::string& text) {
    // Abseil also takes "infinite-future" and blanks.
    if (text.size() < 20 || text.size() > 40 || text[4] != '-' || text[0] < '0' || text[0] > '9') return std::nullopt;
    absl::Time t;
    std::string ignored;
    if (!absl::ParseTime(absl::RFC3339_full, text, &t, &ignored)) return std::nullopt;
    const auto s = absl::ToUnixSeconds(t);
    return s >= 0 && s <= 253'402'300'799 ? std::optional(s) : std::nullopt;
}

}  // namespace callgate::policy
