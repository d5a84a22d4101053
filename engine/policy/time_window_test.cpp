// SPDX-License-Identifier: Apache-2.0
#include "engine/policy/time_window.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/policy/policy_fixture.hpp"

namespace callgate::policy {
namespace {

using ::testing::HasSubstr;

std::int64_t at(const std::string& text) {
    const auto t = parse_moment(text);
    EXPECT_TRUE(t) << text;
    return t.value_or(0);
}

std::vector<time_window> windows(const std::string& yaml) {
    std::vector<finding> found;
    const auto tree = parse_yaml(yaml, "w.yaml", found);
    auto out = parse_time_windows(*tree, "time", reporter("w.yaml", found));
    for (const auto& f : found) ADD_FAILURE() << f.message();
    return out;
}
time_window window(const std::string& yaml) { return windows(yaml).at(0); }

TEST(time_window, is_open_from_its_beginning_up_to_its_end_on_its_days) {
    const auto w = window("{zone: Europe/Berlin, days: [mon, tue, wed, thu, fri], from: 08:00, to: 18:00}");
    EXPECT_FALSE(w.holds(at("2026-01-05T07:59:59+01:00"))) << "a Monday";
    EXPECT_TRUE(w.holds(at("2026-01-05T08:00:00+01:00")));
    EXPECT_TRUE(w.holds(at("2026-01-09T17:59:59+01:00"))) << "a Friday";
    EXPECT_FALSE(w.holds(at("2026-01-09T18:00:00+01:00")));
    EXPECT_FALSE(w.holds(at("2026-01-10T12:00:00+01:00"))) << "a Saturday";
    EXPECT_TRUE(w.holds(at("2026-07-06T06:00:00Z"))) << "in summer 08:00 there is 06:00 UTC";
    EXPECT_FALSE(w.holds(at("2026-07-06T16:00:00Z")));
    const auto sunday = window("{zone: UTC, days: sun, from: 23:00, to: 24:00}");
    EXPECT_TRUE(sunday.holds(at("2026-01-04T23:59:59Z")));
    EXPECT_FALSE(sunday.holds(at("2026-01-05T00:00:00Z")));
}

TEST(time_window, over_midnight_belongs_to_the_day_it_begins_on) {
    const auto w = window("{zone: Europe/Berlin, days: [fri], from: 22:00, to: 06:00}");
    EXPECT_FALSE(w.holds(at("2026-01-09T05:00:00+01:00"))) << "Friday morning is Thursday's";
    EXPECT_FALSE(w.holds(at("2026-01-09T21:59:59+01:00")));
    EXPECT_TRUE(w.holds(at("2026-01-09T22:00:00+01:00")));
    EXPECT_TRUE(w.holds(at("2026-01-10T05:59:59+01:00")));
    EXPECT_FALSE(w.holds(at("2026-01-10T06:00:00+01:00")));
    EXPECT_FALSE(w.holds(at("2026-01-10T23:00:00+01:00")));
    const auto sunday = window("{zone: UTC, days: [sun], from: 23:00, to: 01:00}");
    EXPECT_TRUE(sunday.holds(at("2026-01-05T00:30:00Z"))) << "the week turns too";
}

TEST(time_window, of_an_hour_that_is_skipped_nothing_is_in_it) {
    // Berlin, 2026-03-29: 01:59:59 is followed by 03:00:00, at 01:00 UTC.
    const auto across = window("{zone: Europe/Berlin, from: 02:30, to: 04:00}");
    EXPECT_FALSE(across.holds(at("2026-03-29T00:59:59Z")));
    EXPECT_TRUE(across.holds(at("2026-03-29T01:00:00Z")));
    EXPECT_TRUE(across.holds(at("2026-03-29T01:59:59Z")));
    EXPECT_FALSE(across.holds(at("2026-03-29T02:00:00Z")));
    EXPECT_EQ(across.next_boundary(at("2026-03-29T00:30:00Z")), at("2026-03-29T01:00:00Z"));
    EXPECT_EQ(across.next_boundary(at("2026-03-29T01:00:00Z")), at("2026-03-29T02:00:00Z"));
    const auto inside = window("{zone: Europe/Berlin, from: 02:10, to: 02:50}");
    for (auto t = at("2026-03-28T23:00:00Z"); t < at("2026-03-29T22:00:00Z"); t += 60) EXPECT_FALSE(inside.holds(t)) << t;
}

TEST(time_window, an_hour_that_comes_twice_is_in_it_twice) {
    // Berlin, 2026-10-25: 02:59:59 is followed by 02:00:00, at 01:00 UTC.
    const auto w = window("{zone: Europe/Berlin, from: 02:00, to: 02:30}");
    const std::pair<const char*, bool> steps[] = {{"2026-10-24T23:59:59Z", false}, {"2026-10-25T00:00:00Z", true}, {"2026-10-25T00:29:59Z", true},
                                                  {"2026-10-25T00:30:00Z", false}, {"2026-10-25T01:00:00Z", true}, {"2026-10-25T01:29:59Z", true},
                                                  {"2026-10-25T01:30:00Z", false}};
    for (const auto& [when, open] : steps) EXPECT_EQ(w.holds(at(when)), open) << when;
    EXPECT_EQ(w.next_boundary(at("2026-10-25T00:30:00Z")), at("2026-10-25T01:00:00Z")) << "the clocks go back";
}

TEST(time_window, no_boundary_is_passed_over_anywhere) {
    struct place { const char* zone; const char* around; };
    // Half an hour of daylight saving; a day that never was; a change at midnight; a zone without any.
    for (const auto& p : {place{"Europe/Berlin", "2026-03-29T00:00:00Z"}, place{"America/New_York", "2026-11-01T06:00:00Z"}, place{"Australia/Lord_Howe", "2026-04-04T15:00:00Z"},
                          place{"Pacific/Apia", "2011-12-30T10:00:00Z"}, place{"America/Santiago", "2026-09-06T04:00:00Z"}, place{"Asia/Kathmandu", "2026-01-01T00:00:00Z"}}) {
        for (const std::string hours : {"from: 02:15, to: 02:45", "from: 23:40, to: 00:20", "days: [sun, tue]", "days: [fri, sat], from: 01:45, to: 24:00", "from: 03:00, to: 02:00"}) {
            const auto w = window("{zone: " + std::string(p.zone) + ", " + hours + "}");
            const auto middle = at(p.around);
            for (auto t = middle - 2 * 86400; t < middle + 2 * 86400; t += 60) {
                const auto b = w.next_boundary(t);
                ASSERT_GT(b, t);
                if (w.holds(t) != w.holds(t + 60)) { ASSERT_LE(b, t + 60) << p.zone << " {" << hours << "} " << t; }
            }
        }
    }
}

TEST(time_window, daylight_saving_goes_on_behind_the_last_year_that_is_written_down) {
    const auto w = window("{zone: America/New_York, from: 09:00, to: 10:00}");
    EXPECT_TRUE(w.holds(at("2060-07-01T13:30:00Z"))) << "summer";
    EXPECT_TRUE(w.holds(at("2060-01-05T14:30:00Z"))) << "winter";
    EXPECT_EQ(time_zone::find("UTC")->next_change(0), INT64_MAX);
}

TEST(time_window, moments_are_rfc_3339_and_nothing_else) {
    EXPECT_EQ(parse_moment("1970-01-01T00:00:00Z"), 0);
    EXPECT_EQ(parse_moment("2026-03-29T02:30:00.9+02:00"), at("2026-03-29T00:30:00Z"));
    for (const char* bad : {"", "now", "infinite-future", "2026-03-29", "2026-03-29T02:30:00", "2026-13-01T00:00:00Z", " 2026-03-29T02:30:00Z", "1969-12-31T23:59:59Z",
                            "99999-01-01T00:00:00Z", "2026-03-29T02:30:00Zx", "2026-03-29T02:30:00ZZZZZZZZZZZZZZZZZZZZZZZZZZZZ"})
        EXPECT_FALSE(parse_moment(bad)) << bad;
}

// ---- in rules ----------------------------------------------------------------------------------------
constexpr char office[] = R"(
policy:
  max_ttl: 2h
  rules:
    - {name: maintenance, when: {time: {zone: UTC, days: [wed], from: "12:30", to: "13:00"}}, deny: true}
    - name: staff
      when:
        backend: corp
        time:
          - {zone: UTC, from: "09:00", to: "12:00"}
          - {zone: UTC, from: "12:00", to: "18:00"}
      grant: {account: APP, sub: {allow: [a]}}
    - {name: guard, when: {not: {time: {zone: UTC, from: "06:00", to: "22:00"}}}, grant: {account: BLUE, sub: {allow: [b]}, ttl: 1h}}
)";

decision ask(const compiled& p, const std::string& when, double jitter = 0) {
    identity who;
    who.backend = "corp";
    who.subject = "alice";
    return p.decide({}, who, at(when), jitter);
}

TEST(time_windows_in_rules, a_grant_ends_when_another_rule_would_decide) {
    const auto c = testing::compile_text(office);
    ASSERT_TRUE(c.policy) << c.messages();
    const auto expect = [&](const std::string& when, const std::string& rule, const std::string& end) {
        const auto d = ask(*c.policy, when);
        ASSERT_TRUE(d.allow) << when << ": " << d.reason;
        EXPECT_EQ(d.rule, rule) << when;
        EXPECT_EQ(d.grant.exp, at(end)) << when;
    };
    expect("2026-01-05T10:00:00Z", "staff", "2026-01-05T12:00:00Z");
    expect("2026-01-05T11:00:00Z", "staff", "2026-01-05T13:00:00Z");  // two windows that touch are one
    expect("2026-01-05T17:30:00Z", "staff", "2026-01-05T18:00:00Z");
    expect("2026-01-07T12:00:00Z", "staff", "2026-01-07T12:30:00Z");  // an earlier rule begins to hold
    expect("2026-01-07T13:00:00Z", "staff", "2026-01-07T15:00:00Z");
    expect("2026-01-05T22:00:00Z", "guard", "2026-01-05T23:00:00Z");
    expect("2026-01-05T05:40:00Z", "guard", "2026-01-05T06:00:00Z");
    EXPECT_EQ(ask(*c.policy, "2026-01-07T12:45:00Z").reason_id, "rule_denies");
    EXPECT_EQ(ask(*c.policy, "2026-01-05T20:00:00Z").reason_id, "no_rule");
    EXPECT_EQ(ask(*c.policy, "2026-01-05T17:59:57Z").reason_id, "window_ends");
    EXPECT_TRUE(ask(*c.policy, "2026-01-05T17:59:55Z").allow);
    for (const double jitter : {0.3, 0.999}) {
        const auto end = ask(*c.policy, "2026-01-05T17:30:00Z", jitter).grant.exp;
        EXPECT_LT(end, at("2026-01-05T18:00:00Z")) << "jitter only shortens";
        EXPECT_GT(end, at("2026-01-05T17:50:00Z"));
    }
}

TEST(time_windows_in_rules, a_credential_or_ttl_that_ends_sooner_still_counts) {
    const auto c = testing::compile_text(office);
    ASSERT_TRUE(c.policy) << c.messages();
    identity who;
    who.backend = "corp";
    who.subject = "alice";
    who.credential_exp = at("2026-01-05T17:40:00Z");
    EXPECT_EQ(c.policy->decide({}, who, at("2026-01-05T17:30:00Z"), 0).grant.exp, who.credential_exp);
}

TEST(time_windows_in_rules, a_grant_over_too_many_boundaries_ends_early_and_not_late) {
    std::string text = "policy:\n  max_ttl: 8784h\n  allow_long_ttl: true\n  rules:\n    - name: day\n      when: {not: {time: [";
    for (int i = 0; i < 60; ++i) text += (i ? ", " : "") + std::string("{zone: UTC, days: [mon], from: \"00:") + (i < 10 ? "0" : "") + std::to_string(i) + "\", to: \"01:00\"}";
    text += "]}}\n      grant: {account: APP, sub: {allow: [a]}}\n";
    const auto c = testing::compile_text(text);
    ASSERT_TRUE(c.policy) << c.messages();
    const auto d = ask(*c.policy, "2026-01-06T02:00:00Z");
    ASSERT_TRUE(d.allow);
    EXPECT_LE(d.grant.exp, at("2026-01-12T00:00:00Z")) << "the next Monday";
    EXPECT_GT(d.grant.exp, at("2026-01-08T00:00:00Z"));
}

TEST(time_windows_in_rules, cases_set_the_clock) {
    const std::string tests = R"(  tests:
    - {name: in the office, now: "2026-01-05T17:30:00Z", identity: {backend: corp, subject: a}, expect: {rule: staff, ttl: 30m}}
    - {name: with an offset, now: "2026-01-05T10:30:00+01:00", identity: {backend: corp, subject: a}, expect: {rule: staff}}
    - {name: at night, now: "2026-01-05T23:30:00Z", identity: {backend: corp, subject: a}, expect: {rule: guard, account: BLUE, ttl: 1h}}
    - {name: too late, now: "2026-01-05T20:30:00Z", identity: {backend: corp, subject: a}, expect: {deny: no_rule}}
    - {name: at the very end, now: "2026-01-05T17:59:58Z", identity: {backend: corp, subject: a}, expect: {deny: window_ends}}
)";
    const auto good = testing::compile_text(office + tests);
    EXPECT_TRUE(good.policy) << good.messages();
    auto wrong = office + tests;
    wrong.replace(wrong.find("ttl: 30m"), 8, "ttl: 31m");
    EXPECT_THAT(testing::compile_text(wrong).messages(), HasSubstr("policy test \"in the office\" fails: ttl: expected 31m, got 30m"));
    wrong = office + tests;
    wrong.replace(wrong.find("2026-01-05T17:30:00Z"), 20, "yesterday at half pa");
    EXPECT_THAT(testing::compile_text(wrong).messages(), HasSubstr("policy.tests[0].now: must be a moment such as 2027-01-15T08:00:00Z or"));
}

TEST(time_windows_in_rules, what_is_wrong_is_said_with_its_line) {
    const auto messages = [](const std::string& window) {
        return testing::compile_text("policy:\n  rules:\n    - name: r\n      when: {time: " + window + "}\n      grant: {account: APP, sub: {allow: [a]}}\n").messages();
    };
    const std::pair<std::string, std::string> rows[] = {
        {"{from: 08:00, to: 09:00}", "p.yaml:4: policy.rules[0].when.time.zone: is missing"},
        {"{zone: Europe/Berlim, from: 08:00}", ".time.zone: \"Europe/Berlim\" is not in this machine's time zone database; write an IANA name such as Europe/Berlin or UTC (package tzdata)"},
        {"{zone: ../../etc/passwd, from: 08:00}", ".time.zone: \"../../etc/passwd\" is not in"},
        {"{zone: /usr/share/zoneinfo/UTC, from: 08:00}", ".time.zone: \"/usr/share/zoneinfo/UTC\" is not in"},
        {"{zone: right/UTC, from: 08:00}", ".time.zone: \"right/UTC\" is not in"},
        {"{zone: UTC, from: 8:00}", ".time.from: must be a time of day such as \"08:00\" or \"17:30:00\", not"},
        {"{zone: UTC, from: 24:00}", ".time.from: must be a time of day"},
        {"{zone: UTC, to: 24:01}", ".time.to: must be a time of day such as \"08:00\" or \"17:30:00\" or \"24:00\", not \"24:01\""},
        {"{zone: UTC, from: 08:60}", ".time.from: must be"},
        {"{zone: UTC, from: 08:00, to: 08:00}", ".time.to: is the same as from"},
        {"{zone: UTC, from: 08:00, to: 00:00}", ".time.to: is the beginning of the day; write 24:00 for its end"},
        {"{zone: UTC}", ".when.time: is every moment of every day"},
        {"{zone: UTC, days: [mon, monday]}", ".time.days: \"monday\" is not one of mon, tue"},
        {"{zone: UTC, days: [mon, mon]}", ".time.days: names mon twice"},
        {"{zone: UTC, days: []}", ".time.days: is an empty list"},
        {"{zone: UTC, hours: 9}", ".time.hours: unknown key"},
        {"[]", ".when.time: must have 1 to 64 windows"},
        {"[{zone: UTC, days: [mon]}, noon]", ".when.time[1]: must be a mapping with the keys zone, days, from, to, not"},
    };
    for (const auto& [text, message] : rows) EXPECT_THAT(messages(text), HasSubstr(message)) << text;
    EXPECT_THAT(testing::compile_text("routes:\n  - {name: a, when: {time: {zone: UTC, days: [mon]}}, chain: [users]}\npolicy:\n  rules:\n    - {name: r, when: always, deny: true}\n").messages(),
                HasSubstr("p.yaml:2: routes[0].when.time: is asked in policy.rules"));
    EXPECT_THAT(testing::compile_text("policy:\n  rules:\n    - {name: r, when: always, grant: {account: APP, sub: {allow: [a]}, times: []}}\n").messages(),
                HasSubstr("policy.rules[0].grant.times: nats-server does not check it for users of an auth callout; write when: {time:"));
}

}  // namespace
}  // namespace callgate::policy
