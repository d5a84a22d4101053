// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/policy/document.hpp"

/// `time:` of a condition: hours of the day and weekdays in a place's own time. nats-server checks the `times`
/// of a user JWT only for users that it authenticates itself, not for those of a callout (protocol.md 3.7), so
/// the engine does. Internal to the room.
namespace callgate::policy {

/// A zone of the machine's tz database. A copy is cheap; every function is [any] and does not throw.
class time_zone {
  public:
    /// "Europe/Berlin", "UTC". nullopt = not a zone the database knows. Read once for the life of the process.
    [[nodiscard]] static std::optional<time_zone> find(std::string_view name);

    struct local_time {
        int weekday = 0;        ///< 0 = Monday
        int second_of_day = 0;  ///< as the clock on the wall shows it, 0 to 86399
    };
    [[nodiscard]] local_time at(std::int64_t unix_s) const;
    /// Next moment after unix_s at which clocks there are put forward or back; INT64_MAX = never.
    [[nodiscard]] std::int64_t next_change(std::int64_t unix_s) const;

  private:
    struct data;
    explicit time_zone(std::shared_ptr<const data> d) : data_(std::move(d)) {}
    std::shared_ptr<const data> data_;
};

/// From `from` up to but without `to`, on the days it begins. A window with `to` before `from` ends on the next
/// day and belongs to the day it begins on. What the clock on the wall shows decides: of an hour that is skipped
/// nothing is in the window, an hour that comes twice is in it twice.
struct time_window {
    time_zone zone;
    std::uint8_t days = 0x7f;   ///< bit 0 = Monday
    int from_s = 0;             ///< second of the day
    int to_s = 86400;

    [[nodiscard]] bool holds(std::int64_t unix_s) const;
    /// A moment after unix_s, before which holds() does not change.
    [[nodiscard]] std::int64_t next_boundary(std::int64_t unix_s) const;
};

/// One mapping {zone, days, from, to} or a list of them. Reports everything wrong.
[[nodiscard]] std::vector<time_window> parse_time_windows(const node& n, const std::string& path, const reporter& to);
[[nodiscard]] key_table time_window_table() noexcept;

/// "2026-03-29T02:30:00+02:00" or with Z (RFC 3339), 1970 to 9999; unix seconds, fractions cut. nullopt = not one.
[[nodiscard]] std::optional<std::int64_t> parse_moment(const std::string& text);

}  // namespace callgate::policy
