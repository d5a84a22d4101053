// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "engine/flow/ports.hpp"
#include "engine/flow/ring_queue.hpp"
#include "engine/observe/shard_metrics.hpp"

namespace callgate::flow {

/// Collects what waits for a signature, by provider. A batch is whatever is queued when the provider has a slot
/// free: one item when idle, many under load, no timer. Responses go first, since each one ends a request.
class signing_batcher {
  public:
    /// Signatures made on the shard's own thread between two looks at I/O (architecture.md 2.5).
    static constexpr std::size_t inline_items_per_round = 16;

    /// Deadline of the request of that tag; 0 = it is gone, and left out of the batch.
    using deadline_of = std::function<std::int64_t(request_tag)>;

    signing_batcher(std::uint32_t shard, completion_sink& sink, observe::shard_metrics& metrics)
        : shard_(shard), sink_(sink), metrics_(metrics) {}

    void enqueue(const std::shared_ptr<key_port>& provider, const key_binding& key, std::uint32_t purpose,
                 std::span<const std::uint8_t> message, pinned_ptr hold, request_tag tag);
    /// Hands over what fits. `inline_budget` counts down the signatures made before sign() returned.
    void flush(const deadline_of& deadlines, std::size_t& inline_budget);
    /// A job came back. False: it is none of ours.
    [[nodiscard]] bool completed(const sign_job& job);
    /// Keeps the job's memory for the next batch.
    void recycle(std::unique_ptr<sign_job> job);
    /// Something is queued for a provider with a free slot.
    [[nodiscard]] bool can_flush() const;
    /// A provider that signs on our thread is so far behind that starting more requests only makes them older in
    /// here, where they are no longer cheap to drop. Others do not count: one of them that hangs must not hold up
    /// requests that do not need it.
    [[nodiscard]] bool saturated() const;
    /// Lets go of providers without work that are not in the list.
    void keep_only(const std::vector<std::shared_ptr<key_port>>& providers);

  private:
    struct waiting {
        cg_key key = 0;
        std::uint32_t purpose = 0;
        std::span<const std::uint8_t> message;
        pinned_ptr hold;
        request_tag tag = 0;
    };
    struct lane {
        std::shared_ptr<key_port> port;
        ring_queue<waiting> outer, inner;
        std::uint32_t in_flight = 0;
        bool signs_inline = true;  // until it shows otherwise
    };
    [[nodiscard]] static bool has_slot(const lane& l);
    static void forget_dead(lane& l, const deadline_of& deadlines);
    std::unique_ptr<sign_job> make_job(lane& l, std::size_t max, const deadline_of& deadlines, std::int64_t& deadline_ns);

    std::uint32_t shard_;
    completion_sink& sink_;
    observe::shard_metrics& metrics_;
    std::map<std::uint32_t, lane> lanes_;
    std::uint32_t next_lane_ = 1;
    std::vector<std::unique_ptr<sign_job>> spare_;
};

}  // namespace callgate::flow
