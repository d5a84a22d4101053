// SPDX-License-Identifier: Apache-2.0
#include "bench/load/peer_book.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace callgate::load {
namespace {

constexpr std::size_t block_bytes = std::size_t{4} << 20;
constexpr std::string_view inbox_prefix = "$SYS._INBOX.";
// A service that invents a new error text for each reply must not fill the report.
constexpr std::size_t max_reasons = 50;

void count(std::map<std::string, std::uint64_t>& reasons, const std::string& reason, std::uint64_t by = 1) {
    const bool room = reasons.size() < max_reasons || reasons.contains(reason);
    reasons[room ? reason : std::string("(other)")] += by;
}

}  // namespace

attempt& peer_book::add(made_request made, std::uint64_t client) {
    if (attempts_.size() >= max_requests) throw std::runtime_error(fmt::format("more than {} requests in one run: shorten it, each is kept until its reply is verified", max_requests));
    attempts_.push_back({});
    attempts_.back().made = std::move(made);
    attempts_.back().client = client;
    return attempts_.back();
}

std::string_view peer_book::keep(std::string_view payload) {
    if (payload.empty()) return {};
    if (kept_bytes_ + payload.size() > max_reply_bytes) throw std::runtime_error("the replies of one run are larger than 2 GiB: shorten the run");
    if (block_size_ - block_used_ < payload.size()) {
        // Not zeroed: that would stop the clock's thread for a millisecond.
        block_size_ = std::max(block_bytes, payload.size());
        blocks_.push_back(std::make_unique_for_overwrite<char[]>(block_size_));
        block_used_ = 0;
    }
    char* at = blocks_.back().get() + block_used_;
    std::copy(payload.begin(), payload.end(), at);
    block_used_ += payload.size();
    kept_bytes_ += payload.size();
    return {at, payload.size()};
}

attempt* peer_book::take_reply(std::string_view subject, std::string_view payload, std::int64_t now_ns) {
    const auto dot = subject.rfind('.');
    const auto id = dot == subject.npos || !subject.starts_with(inbox_prefix) ? std::nullopt : decode_inbox_id(subject.substr(dot + 1));
    const bool known = id && *id < attempts_.size() && subject.substr(inbox_prefix.size(), dot - inbox_prefix.size()) == maker_.servers()[attempts_[*id].made.server].hash;
    if (!known || attempts_[*id].sent_ns == 0) {
        ++stray_;
        return nullptr;
    }
    auto& a = attempts_[*id];
    if (++a.replies > 1) return nullptr;
    a.replied_ns = now_ns;
    a.payload = keep(payload);
    return &a;
}

peer_totals peer_book::judge(std::uint64_t first, const expectation& expected, std::int64_t wall_offset_ns) const {
    const std::size_t workers = std::max(1u, std::thread::hardware_concurrency());
    std::vector<peer_totals> parts(workers);
    {
        std::vector<std::jthread> threads;
        for (std::size_t w = 0; w < workers; ++w)
            threads.emplace_back([&, w] {
                auto& t = parts[w];
                for (std::uint64_t i = first + w; i < attempts_.size(); i += workers) {
                    const auto& a = attempts_[i];
                    if (a.sent_ns == 0) continue;
                    ++t.sent;
                    if (a.replies == 0) {
                        ++t.unanswered;
                        continue;
                    }
                    ++(a.given_up ? t.late : t.replied);
                    t.doubled += a.replies - 1;
                    const auto verdict = judge_reply(a.payload, a.made.user_nkey, maker_.servers()[a.made.server], expected, (a.replied_ns + wall_offset_ns) / 1'000'000'000);
                    if (verdict.what == judgement::verdict::allowed) {
                        ++t.allowed;
                    } else if (verdict.what == judgement::verdict::denied) {
                        ++t.denied;
                        count(t.denied_reasons, verdict.reason);
                    } else {
                        ++t.invalid;
                        count(t.invalid_reasons, verdict.reason);
                    }
                }
            });
    }
    peer_totals sum;
    for (const auto& t : parts) {
        sum.sent += t.sent;
        sum.replied += t.replied;
        sum.late += t.late;
        sum.unanswered += t.unanswered;
        sum.doubled += t.doubled;
        sum.allowed += t.allowed;
        sum.denied += t.denied;
        sum.invalid += t.invalid;
        for (const auto& [reason, n] : t.invalid_reasons) count(sum.invalid_reasons, reason, n);
        for (const auto& [reason, n] : t.denied_reasons) count(sum.denied_reasons, reason, n);
    }
    sum.stray = stray_;
    return sum;
}

}  // namespace callgate::load
