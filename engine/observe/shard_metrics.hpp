// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "engine/observe/histogram.hpp"

namespace callgate::observe {

/// Single-writer counter: the shard adds, any thread reads.
class counter {
  public:
    void add(std::uint64_t n = 1) noexcept { v_.store(v_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t value() const noexcept { return v_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> v_{0};
};
class gauge {
  public:
    void set(std::int64_t n) noexcept { v_.store(n, std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t value() const noexcept { return v_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::int64_t> v_{0};
};

enum class stage : std::uint8_t { queue, open, verify, authenticate, policy, sign, reply, total };
inline constexpr std::size_t stage_count = 8;
[[nodiscard]] std::string_view to_string(stage s) noexcept;

/// Why no reply was sent; never a denial.
enum class drop_reason : std::uint8_t {
    too_old, queue_full, slab_full, oversized, bad_reply_subject, not_decodable, bad_signature, wrong_audience, wrong_subject,
    issuer_mismatch, expired, from_future, bad_user_nkey, replayed, server_not_pinned, plaintext_refused, unknown_xkey,
    xkey_mismatch, backend_unavailable, out_of_time, sign_failed, shutdown, audit_full, send_failed, silent_deny
};
inline constexpr std::size_t drop_reason_count = 25;
[[nodiscard]] std::string_view to_string(drop_reason r) noexcept;

/// Cells of one shard; written by its thread only. Labelled families are bounded: names come from the
/// configuration and from the fixed reason lists, never from the wire.
struct alignas(128) shard_metrics {
    counter received, replied_allow, replied_deny, dropped_total, kicked, batches, batch_items, late_completions;
    /// Signatures accepted by a precomputed table; good ones a table refused (a fault of the machine).
    counter verified_by_table, tables_misjudged;
    std::array<counter, drop_reason_count> dropped;
    std::array<histogram, stage_count> stages;
    gauge in_flight, queued, verify_tables;
    /// verdicts{verdict,reason,backend}: label triple -> count. At most 1,024 triples; more go to "other".
    /// The lock is taken by the shard once a decision and by a scrape; it is never held across a call.
    void count_verdict(std::string_view verdict, std::string_view reason_id, std::string_view backend);
    [[nodiscard]] std::map<std::array<std::string, 3>, std::uint64_t> verdicts() const;

    shard_metrics();
    ~shard_metrics();

  private:
    struct verdict_table;
    std::unique_ptr<verdict_table> verdicts_;
};

}  // namespace callgate::observe
