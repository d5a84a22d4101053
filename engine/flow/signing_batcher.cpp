// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/signing_batcher.hpp"

#include <algorithm>
#include <utility>

namespace callgate::flow {

void signing_batcher::enqueue(const std::shared_ptr<key_port>& provider, const key_binding& key, std::uint32_t purpose,
                              std::span<const std::uint8_t> message, pinned_ptr hold, request_tag tag) {
    auto it = std::find_if(lanes_.begin(), lanes_.end(), [&](const auto& l) { return l.second.port == provider; });
    if (it == lanes_.end()) {
        while (next_lane_ == 0 || lanes_.contains(next_lane_)) ++next_lane_;
        it = lanes_.emplace(next_lane_++, lane{}).first;
        it->second.port = provider;
    }
    auto& queue = purpose == CG_SIGN_AUTH_RESPONSE ? it->second.outer : it->second.inner;
    queue.push_back({key.key, purpose, message, std::move(hold), tag});
}

bool signing_batcher::has_slot(const lane& l) {
    return l.in_flight < std::max<std::uint32_t>(l.port->max_in_flight(), 1) && !(l.outer.empty() && l.inner.empty());
}

bool signing_batcher::can_flush() const {
    return std::any_of(lanes_.begin(), lanes_.end(), [](const auto& l) { return has_slot(l.second); });
}

bool signing_batcher::saturated() const {
    return std::any_of(lanes_.begin(), lanes_.end(), [](const auto& entry) {
        const auto& l = entry.second;
        return l.signs_inline && l.outer.size() + l.inner.size() > 2 * inline_items_per_round;
    });
}

std::unique_ptr<sign_job> signing_batcher::make_job(lane& l, std::size_t max, const deadline_of& deadlines, std::int64_t& deadline_ns) {
    std::unique_ptr<sign_job> job;
    if (spare_.empty()) {
        job = std::make_unique<sign_job>();
    } else {
        job = std::move(spare_.back());
        spare_.pop_back();
    }
    for (auto* queue : {&l.outer, &l.inner}) {
        while (!queue->empty() && job->items.size() < max) {
            auto w = std::move(queue->front());
            queue->pop_front();
            const auto deadline = deadlines(w.tag);
            if (deadline == 0) continue;  // answered or given up meanwhile: a signature nobody waits for
            // The youngest decides: the provider must not give up on it because an older one is late.
            deadline_ns = std::max(deadline_ns, deadline);
            sign_job::item item;
            item.key = w.key;
            item.purpose = w.purpose;
            item.message = w.message;
            item.hold = std::move(w.hold);
            item.tag = w.tag;
            job->items.push_back(std::move(item));
        }
    }
    return job;
}

void signing_batcher::forget_dead(lane& l, const deadline_of& deadlines) {
    for (auto* queue : {&l.outer, &l.inner})
        while (!queue->empty() && deadlines(queue->front().tag) == 0) queue->pop_front();
}

void signing_batcher::flush(const deadline_of& deadlines, std::size_t& inline_budget) {
    for (auto& [id, l] : lanes_) {
        // What waits for a provider that hangs holds its request's memory. The oldest end first.
        forget_dead(l, deadlines);
        while (has_slot(l)) {
            std::size_t max = std::max<std::uint32_t>(l.port->max_batch(), 1);
            if (l.signs_inline) {
                if (inline_budget == 0) break;
                max = std::min(max, inline_budget);
            }
            std::int64_t deadline_ns = 0;
            auto job = make_job(l, max, deadlines, deadline_ns);
            if (job->items.empty()) {
                recycle(std::move(job));
                continue;
            }
            job->provider = id;
            const auto items = job->items.size();
            metrics_.batches.add();
            metrics_.batch_items.add(items);
            const auto before = ++l.in_flight;
            const auto port = l.port;
            port->sign(shard_, std::move(job), deadline_ns, sink_);
            // completed() was called inside sign(): this provider works on our thread.
            l.signs_inline = l.in_flight < before;
            if (l.signs_inline) inline_budget -= std::min(inline_budget, items);
        }
    }
}

bool signing_batcher::completed(const sign_job& job) {
    const auto it = lanes_.find(job.provider);
    if (it == lanes_.end() || it->second.in_flight == 0) return false;
    --it->second.in_flight;
    return true;
}

void signing_batcher::recycle(std::unique_ptr<sign_job> job) {
    if (spare_.size() >= 8) return;
    job->items.clear();
    job->status = CG_OK;
    job->provider = 0;
    spare_.push_back(std::move(job));
}

void signing_batcher::keep_only(const std::vector<std::shared_ptr<key_port>>& providers) {
    std::erase_if(lanes_, [&](const auto& entry) {
        const auto& l = entry.second;
        return l.in_flight == 0 && l.outer.empty() && l.inner.empty() &&
               std::find(providers.begin(), providers.end(), l.port) == providers.end();
    });
}

}  // namespace callgate::flow
