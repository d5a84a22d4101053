// SPDX-License-Identifier: Apache-2.0
#include "engine/flow/shard_engine.hpp"

#include <callgate/crypto/random.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <utility>

#include "engine/base/log.hpp"
#include "engine/flow/admission.hpp"
#include "engine/flow/audit.hpp"
#include "engine/flow/callout_fsm.hpp"
#include "engine/flow/deadline_heap.hpp"
#include "engine/flow/key_agreements.hpp"
#include "engine/flow/kick_schedule.hpp"
#include "engine/flow/reply_subject.hpp"
#include "engine/flow/ring_queue.hpp"
#include "engine/flow/signing_batcher.hpp"

namespace callgate::flow {
namespace {

using observe::drop_reason;
using observe::stage;

// Between two looks at I/O.
constexpr std::size_t starts_per_round = 64, resumes_per_round = 256, verifications_per_round = 16, stale_per_round = 4096;

class engine final : public shard_engine {
  public:
    engine(std::uint32_t shard, const clock_source& clock, reply_port& world, audit_port& audit, observe::shard_metrics& metrics,
           std::shared_ptr<replay_set> replays, const std::shared_ptr<key_tables>& tables)
        : clock_(clock), world_(world), audit_(audit), metrics_(metrics), context_(shard, clock, world, std::move(replays), tables),
          batcher_(shard, *this, metrics), agreements_(shard), signer_keys_(tables) {
        std::array<std::uint8_t, 12> seed;
        crypto::random_bytes(seed);
        std::memcpy(&context_.jitter_state, seed.data(), 8);
        std::memcpy(&run_id_, seed.data() + 8, 4);
    }

    ~engine() override {
        // Destroying the shard answers nobody; what was under way is counted, so that sums agree.
        for (std::size_t i = 0; i < queue_.size() + in_flight_; ++i) count_drop(drop_reason::shutdown);
        metrics_.queued.set(0);
        metrics_.in_flight.set(0);
    }

    void use(std::shared_ptr<const flow_config> config) override {
        config_ = std::move(config);
        const std::size_t limit = std::max(std::size_t{config_->max_in_flight} * 2 * arena_pool::block_bytes, 4 * config_->max_queued_bytes);
        if (!pool_ || limit != pool_limit_) pool_ = std::make_shared<arena_pool>(limit);
        pool_limit_ = limit;
        kicks_.set_rate(config_->kicks_per_second);
        batcher_.keep_only(config_->providers);
    }

    void offer(callout_message&& message) override {
        metrics_.received.add();
        if (!config_) return refuse(drop_reason::shutdown, "no configuration yet");
        if (message.payload.size() > config_->max_request_bytes) return refuse(drop_reason::oversized, "request is larger than callout.max_request_bytes");
        if (!is_reply_subject(message.reply)) return refuse(drop_reason::bad_reply_subject, "reply subject is not of the form $SYS._INBOX.<id>.<id>");
        if (!queue_.push(std::move(message), config_->max_queued, config_->max_queued_bytes)) {
            drop_stale();
            if (!queue_.push(std::move(message), config_->max_queued, config_->max_queued_bytes))
                return refuse(drop_reason::queue_full, "more requests wait than admission.max_queued allows");
        }
        metrics_.queued.set(static_cast<std::int64_t>(queue_.size()));
    }

    bool run() override {
        std::size_t starts = starts_per_round, resumes = resumes_per_round, verifications = verifications_per_round;
        std::size_t signatures = signing_batcher::inline_items_per_round;
        expire();
        drop_stale();
        metrics_.kicked.add(kicks_.run(clock_.mono_ns(), world_));
        // Finishing goes before starting: it frees slots, and those requests are the oldest.
        for (bool moved = true; moved;) {
            moved = deliver(resumes, verifications);
            moved = start(starts) || moved;
            batcher_.flush([this](request_tag t) { const auto* s = find(t); return s ? s->fsm.data().deadline_ns : 0; }, signatures);
            moved = moved || (completions() && resumes != 0 && verifications != 0);
        }
        metrics_.queued.set(static_cast<std::int64_t>(queue_.size()));
        metrics_.in_flight.set(static_cast<std::int64_t>(in_flight_));
        note_tables();
        return completions() || batcher_.can_flush() || (config_ && !queue_.empty() && can_start());
    }

    std::int64_t next_deadline_ns() const override {
        std::int64_t next = std::min(deadlines_.next_ns(), kicks_.next_ns());
        if (!queue_.empty()) next = std::min(next, stale_at(queue_.front()));
        return next;
    }

    std::size_t pending() const override { return queue_.size() + in_flight_; }

    // completion_sink: only taken down here, worked on in run(), since the call may come from inside one of ours
    void on_auth(request_tag tag, auth_result&& result) override { auths_.push_back({tag, std::move(result)}); }
    void on_signed(std::unique_ptr<sign_job> job) override {
        if (!job) return;
        if (!batcher_.completed(*job)) return metrics_.late_completions.add(job->items.size());
        signed_.push_back(std::move(job));
    }
    void on_stored(request_tag tag, stored_result&& result) override { stored_.emplace_back(tag, std::move(result)); }
    void on_shared(request_tag tag, result<crypto::secret> shared) override { shareds_.emplace_back(tag, std::move(shared)); }

  private:
    // What a slot waits for; a completion of another kind is not its.
    enum class awaited : std::uint8_t { nothing, agreement, backend, store, signature };
    struct slot {
        explicit slot(flow_context& c) : fsm(c) {}
        callout_fsm fsm;
        std::uint64_t serial = 0;  // of the operation under way; each has its own, so a second completion finds nothing
        awaited waits_for = awaited::nothing;
    };
    static constexpr unsigned index_bits = 24;
    [[nodiscard]] static request_tag tag_of(std::uint32_t index, const slot& s) { return s.serial << index_bits | index; }

    [[nodiscard]] slot* find(request_tag tag) {
        const auto index = static_cast<std::size_t>(tag & ((1u << index_bits) - 1));
        if (index >= slots_.size()) return nullptr;
        auto& s = *slots_[index];
        return s.waits_for != awaited::nothing && s.serial == tag >> index_bits ? &s : nullptr;
    }
    [[nodiscard]] slot* take(request_tag tag, awaited kind) {
        auto* s = find(tag);
        if (s == nullptr || s->waits_for != kind) {
            metrics_.late_completions.add();
            return nullptr;
        }
        s->waits_for = awaited::nothing;
        return s;
    }
    [[nodiscard]] static std::uint32_t index_of(request_tag tag) { return static_cast<std::uint32_t>(tag & ((1u << index_bits) - 1)); }

    [[nodiscard]] bool completions() const { return !auths_.empty() || !stored_.empty() || !signed_.empty() || !shareds_.empty(); }
    [[nodiscard]] bool can_start() const { return in_flight_ < std::min<std::size_t>(config_->max_in_flight, 1u << index_bits) && !batcher_.saturated(); }

    [[nodiscard]] std::int64_t stale_at(const callout_message& m) const {
        const auto learned = context_.servers.budget(server_hash(m.reply));
        const auto budget = learned != 0 ? learned : config_->default_budget_ns;
        return m.arrival_ns + static_cast<std::int64_t>(static_cast<double>(budget) * config_->age_limit);
    }

    void drop_stale() {
        const auto now = clock_.mono_ns();
        for (std::size_t n = 0; n < stale_per_round && !queue_.empty() && stale_at(queue_.front()) <= now; ++n) {
            (void)queue_.pop();
            refuse(drop_reason::too_old, "waited longer than admission.age_limit of its server's time budget");
        }
    }

    void expire() {
        const auto now = clock_.mono_ns();
        while (deadlines_.next_ns() <= now) {
            const auto index = deadlines_.next_slot();
            act(index, slots_[index]->fsm.resume({.what = event::kind::out_of_time}));
        }
    }

    bool start(std::size_t& budget) {
        bool moved = false;
        while (budget != 0 && config_ && !queue_.empty() && can_start()) {
            drop_stale();
            if (queue_.empty()) break;
            --budget;
            moved = true;
            callout_message m = queue_.pop();
            const std::size_t bytes = 4 * m.payload.size() + (std::size_t{1} << 20);
            request_memory_ptr memory(new request_memory(pool_, bytes));
            const auto id = correlation_id(memory->bytes);
            if (id.empty()) {
                // Plugins that never complete keep the memory of their requests: this is where that ends.
                refuse(drop_reason::slab_full, "no memory for the request: plugins hold on to too many");
                continue;
            }
            const auto index = acquire();
            auto& s = *slots_[index];
            s.fsm.begin(std::move(m), config_, std::move(memory), id);
            deadlines_.set(index, s.fsm.data().deadline_ns);
            act(index, s.fsm.resume({.what = event::kind::start}));
        }
        return moved;
    }

    [[nodiscard]] std::string_view correlation_id(arena& memory) {
        char* text = memory.make_text(24);
        if (text == nullptr) return {};
        constexpr char hex[] = "0123456789abcdef";
        const std::uint64_t n = ++sequence_;
        for (int i = 0; i < 8; ++i) text[i] = hex[run_id_ >> (28 - 4 * i) & 15];
        for (int i = 0; i < 16; ++i) text[8 + i] = hex[n >> (60 - 4 * i) & 15];
        return {text, 24};
    }

    [[nodiscard]] std::uint32_t acquire() {
        ++in_flight_;
        if (free_.empty()) {
            slots_.push_back(std::make_unique<slot>(context_));
            return static_cast<std::uint32_t>(slots_.size() - 1);
        }
        const auto index = free_.back();
        free_.pop_back();
        return index;
    }

    void release(std::uint32_t index) {
        auto& s = *slots_[index];
        deadlines_.remove(index);
        s.waits_for = awaited::nothing;
        ++s.serial;
        s.fsm.end();
        free_.push_back(index);
        --in_flight_;
    }

    bool deliver(std::size_t& resumes, std::size_t& verifications) {
        bool moved = false;
        while (resumes != 0 && verifications != 0 && !signed_.empty()) {
            moved = true;
            auto& job = *signed_.front();
            for (; signed_done_ < job.items.size() && resumes != 0 && verifications != 0; ++signed_done_) {
                --resumes;
                deliver_signature(job, job.items[signed_done_], verifications);
            }
            if (signed_done_ < job.items.size()) break;
            signed_done_ = 0;
            batcher_.recycle(std::move(signed_.front()));
            signed_.pop_front();
        }
        for (; resumes != 0 && !shareds_.empty(); --resumes) {
            moved = true;
            auto [id, shared] = std::move(shareds_.front());
            shareds_.pop_front();
            const auto waiters = agreements_.completed(id, std::move(shared), clock_.mono_ns(), context_.shared_keys);
            if (!waiters) {
                metrics_.late_completions.add();
                continue;
            }
            for (const auto tag : *waiters)
                if (auto* s = take(tag, awaited::agreement)) act(index_of(tag), s->fsm.resume({.what = event::kind::agreed}));
        }
        for (; resumes != 0 && !auths_.empty(); --resumes) {
            moved = true;
            auto [tag, reply] = std::move(auths_.front());
            auths_.pop_front();
            if (auto* s = take(tag, awaited::backend)) act(index_of(tag), s->fsm.resume({.what = event::kind::backend_replied, .reply = &reply}));
        }
        for (; resumes != 0 && !stored_.empty(); --resumes) {
            moved = true;
            auto [tag, found] = std::move(stored_.front());
            stored_.pop_front();
            if (auto* s = take(tag, awaited::store)) act(index_of(tag), s->fsm.resume({.what = event::kind::looked_up, .stored = &found}));
        }
        return moved;
    }

    void deliver_signature(const sign_job& job, const sign_job::item& item, std::size_t& verifications) {
        auto* s = take(item.tag, awaited::signature);
        if (s == nullptr) return;
        auto& r = s->fsm.data();
        bool good = job.status == CG_OK && item.status == CG_OK;
        if (good && r.signer->verify) {
            // Over our own text, not what came back with the job: the provider is not of this process's making.
            --verifications;
            good = signer_keys_.verify(r.token.signing_input(), item.signature, r.signer->public_bytes);
            if (good)
                signer_keys_.proven(r.signer->public_bytes, clock_.mono_ns());
            else
                log::error("signature does not verify: not sent",
                           {{"provider", r.config->providers[r.signer->provider]->name()}, {"key", r.signer->nkey}});
        }
        event e{.what = good ? event::kind::signed_ : event::kind::sign_failed};
        e.signature = item.signature;
        act(index_of(item.tag), s->fsm.resume(e));
    }

    /// Executes what the machine asked for. Never calls back into it: what completes at once is in the queues.
    void act(std::uint32_t index, action a) {
        auto& s = *slots_[index];
        auto& r = s.fsm.data();
        const auto wait_for = [&](awaited what) {
            ++s.serial;
            s.waits_for = what;
            // The request itself may have said how long its server waits.
            deadlines_.set(index, r.deadline_ns);
            return tag_of(index, s);
        };
        switch (a.what) {
            case action::kind::agree: {
                const auto& own = r.config->xkeys[r.xkey];
                const auto tag = wait_for(awaited::agreement);
                if (own.provider < r.config->providers.size() &&
                    agreements_.start(*r.config->providers[own.provider], own, r.peer, r.deadline_ns, clock_.mono_ns(), tag, *this))
                    return;
                s.waits_for = awaited::nothing;
                return act(index, s.fsm.resume({.what = event::kind::not_agreed}));
            }
            case action::kind::authenticate: {
                const auto tag = wait_for(awaited::backend);
                return a.backend->authenticate(context_.shard, *r.ask, pinned_ptr(r.memory.get()), r.deadline_ns, tag, *this);
            }
            case action::kind::look_up: {
                const auto tag = wait_for(awaited::store);
                return a.store->get(context_.shard, r.decision.stored->key, r.deadline_ns, tag, *this);
            }
            case action::kind::sign: {
                const auto tag = wait_for(awaited::signature);
                if (r.signer->provider < r.config->providers.size())
                    return batcher_.enqueue(r.config->providers[r.signer->provider], *r.signer, a.purpose, r.token.signing_input(),
                                            pinned_ptr(r.memory.get()), tag);
                s.waits_for = awaited::nothing;
                return act(index, s.fsm.resume({.what = event::kind::sign_failed}));
            }
            case action::kind::reply: reply(r, a); break;
            case action::kind::shed: shed(r, a.why); break;
            case action::kind::drop:
                count_drop(a.why);
                warn(a.why, a.detail);
                if (!r.verdict.empty()) decided(r);
                break;
        }
        finish_stages(r);
        release(index);
    }

    void reply(request& r, const action& a) {
        const bool allow = r.verdict == "allow";
        if (audit_.fail_closed() && !audit_.record(make_audit_record(r, clock_.mono_ns(), clock_.wall_ms()))) {
            if (allow) {
                // Without a record nobody gets in; the client is told to try again, not that it is refused.
                r.verdict = "unavailable";
                r.decision.reason_id = "audit_full";
                count_drop(drop_reason::audit_full);
                warn(drop_reason::audit_full, "audit sink has no room and is fail_closed");
                metrics_.count_verdict(r.verdict, r.decision.reason_id, r.backend);
                return schedule_kick(r);
            }
        }
        const bool sent = world_.send_reply(r.link, r.cold, r.reply, a.payload);
        const auto now = clock_.mono_ns();
        r.spent_ns[static_cast<std::size_t>(stage::reply)] = now - r.stage_began_ns;
        if (sent) {
            (allow ? metrics_.replied_allow : metrics_.replied_deny).add();
            if (allow) context_.servers.replied(r.claims.server.id, r.account->placement, now);
        } else {
            count_drop(drop_reason::send_failed);
            warn(drop_reason::send_failed, "reply could not be handed to the link");
        }
        metrics_.count_verdict(r.verdict, r.decision.reason_id, r.backend);
        if (!audit_.fail_closed()) {
            auto record = make_audit_record(r, now, clock_.wall_ms());
            if (!sent) record.reason = "reply could not be sent; " + record.reason;
            (void)audit_.record(std::move(record));
        }
    }

    void shed(request& r, drop_reason why) {
        count_drop(why);
        decided(r);
        schedule_kick(r);
    }

    void decided(request& r) {
        metrics_.count_verdict(r.verdict, r.decision.reason_id, r.backend);
        (void)audit_.record(make_audit_record(r, clock_.mono_ns(), clock_.wall_ms()));
    }

    // Only verified requests come here: a kick closes somebody's connection.
    void schedule_kick(const request& r) {
        if (!r.verified || r.claims.client.id == 0 || !world_.can_kick(r.link)) return;
        const auto due = r.arrival_ns + static_cast<std::int64_t>(static_cast<double>(r.budget_ns) * r.config->kick_after);
        kicks_.add(r.link, r.claims.server.id, r.claims.client.id, due, r.arrival_ns + r.budget_ns);
    }

    void note_tables() {
        auto& servers = context_.servers.keys;
        metrics_.verified_by_table.add(servers.take_by_table() + signer_keys_.take_by_table());
        metrics_.verify_tables.set(static_cast<std::int64_t>(servers.tables() + signer_keys_.tables()));
        const auto misjudged = servers.take_misjudged() + signer_keys_.take_misjudged();
        if (misjudged == 0) return;
        metrics_.tables_misjudged.add(misjudged);
        log::error("a verification table refused a signature that is good: table dropped; if this comes again, test this machine's memory and CPU",
                   {{"shard", context_.shard}});
    }

    void finish_stages(request& r) {
        r.spent_ns[static_cast<std::size_t>(stage::total)] = clock_.mono_ns() - r.arrival_ns;
        for (std::size_t i = 0; i < observe::stage_count; ++i)
            if (r.spent_ns[i] >= 0) metrics_.stages[i].record_ns(r.spent_ns[i]);
    }

    void count_drop(drop_reason why) {
        metrics_.dropped_total.add();
        metrics_.dropped[static_cast<std::size_t>(why)].add();
    }
    void refuse(drop_reason why, std::string_view detail) {
        count_drop(why);
        warn(why, detail);
    }
    // A flood of bad requests must not become a flood of log lines.
    void warn(drop_reason why, std::string_view detail) {
        if (!log::enabled(log::level::warn) || !warnings_.take(clock_.mono_ns())) return;
        log::warn("callout request got no reply", {{"reason", observe::to_string(why)}, {"detail", detail}, {"shard", context_.shard}});
    }

    const clock_source& clock_;
    reply_port& world_;
    audit_port& audit_;
    observe::shard_metrics& metrics_;
    std::shared_ptr<const flow_config> config_;
    std::shared_ptr<arena_pool> pool_;
    std::size_t pool_limit_ = 0;
    flow_context context_;
    admission_queue queue_;
    std::vector<std::unique_ptr<slot>> slots_;
    std::vector<std::uint32_t> free_;
    std::size_t in_flight_ = 0;
    deadline_heap deadlines_;
    kick_schedule kicks_;
    signing_batcher batcher_;
    key_agreements agreements_;
    key_ranking signer_keys_;  // of other people's key providers; apart, so that no stranger's server key competes with them
    token_bucket warnings_{1, 5};
    ring_queue<std::pair<request_tag, auth_result>> auths_;
    ring_queue<std::unique_ptr<sign_job>> signed_;
    std::deque<std::pair<request_tag, stored_result>> stored_;
    std::size_t signed_done_ = 0;  // items of signed_.front() already delivered
    std::deque<std::pair<request_tag, result<crypto::secret>>> shareds_;
    std::uint64_t sequence_ = 0;
    std::uint32_t run_id_ = 0;
};

}  // namespace

std::unique_ptr<shard_engine> shard_engine::make(std::uint32_t shard, const clock_source& clock, reply_port& replies, audit_port& audit,
                                                 observe::shard_metrics& metrics, std::shared_ptr<replay_set> replays,
                                                 std::shared_ptr<key_tables> tables) {
    if (!tables) tables = std::make_shared<key_tables>();
    return std::make_unique<engine>(shard, clock, replies, audit, metrics, std::move(replays), tables);
}

}  // namespace callgate::flow
