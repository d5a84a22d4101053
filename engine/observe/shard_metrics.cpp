// SPDX-License-Identifier: Apache-2.0
#include "engine/observe/shard_metrics.hpp"

#include <mutex>

namespace callgate::observe {

std::string_view to_string(stage s) noexcept {
    static constexpr std::array<std::string_view, stage_count> names{"queue",  "open", "verify", "authenticate",
                                                                     "policy", "sign", "reply",  "total"};
    return names[static_cast<std::size_t>(s)];
}

std::string_view to_string(drop_reason r) noexcept {
    static constexpr std::array<std::string_view, drop_reason_count> names{
        "too_old",       "queue_full",   "slab_full",         "oversized",        "bad_reply_subject",
        "not_decodable", "bad_signature", "wrong_audience",   "wrong_subject",    "issuer_mismatch",
        "expired",       "from_future",  "bad_user_nkey",     "replayed",         "server_not_pinned",
        "plaintext_refused", "unknown_xkey", "xkey_mismatch", "backend_unavailable", "out_of_time",
        "sign_failed",   "shutdown",     "audit_full",        "send_failed",      "silent_deny"};
    return names[static_cast<std::size_t>(r)];
}

struct shard_metrics::verdict_table {
    static constexpr std::size_t limit = 1024;
    mutable std::mutex mutex;
    std::map<std::array<std::string, 3>, std::uint64_t, std::less<>> counts;
};

shard_metrics::shard_metrics() : verdicts_(std::make_unique<verdict_table>()) {}
shard_metrics::~shard_metrics() = default;

void shard_metrics::count_verdict(std::string_view verdict, std::string_view reason_id, std::string_view backend) {
    std::array<std::string, 3> key{std::string(verdict), std::string(reason_id), std::string(backend)};
    const std::lock_guard lock(verdicts_->mutex);
    auto& counts = verdicts_->counts;
    if (auto it = counts.find(key); it != counts.end()) {
        ++it->second;
        return;
    }
    if (counts.size() >= verdict_table::limit) key = {std::string(verdict), "other", "other"};
    ++counts[std::move(key)];
}

std::map<std::array<std::string, 3>, std::uint64_t> shard_metrics::verdicts() const {
    const std::lock_guard lock(verdicts_->mutex);
    return {verdicts_->counts.begin(), verdicts_->counts.end()};
}

}  // namespace callgate::observe
