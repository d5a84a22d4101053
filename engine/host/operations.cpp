// SPDX-License-Identifier: Apache-2.0
#include "engine/host/operations.hpp"

#include <callgate/crypto/secret.hpp>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <limits>

#include "engine/host/abi_read.hpp"

namespace callgate::host {
namespace {

constexpr std::uint32_t chunk_slots = 256;
constexpr std::uint32_t max_chunks = 1024;
constexpr std::size_t first_block = 4096;

// Handle: generation (32) | shard (8) | slot (24). The generation is never 0, so no handle is.
constexpr cg_op make_handle(std::uint32_t generation, std::uint32_t shard, std::uint32_t slot) {
    return (cg_op{generation} << 32) | (cg_op{shard} << 24) | slot;
}
constexpr std::uint32_t generation_of(cg_op op) { return static_cast<std::uint32_t>(op >> 32); }
constexpr std::uint32_t shard_of(cg_op op) { return static_cast<std::uint32_t>(op >> 24) & 0xff; }
constexpr std::uint32_t slot_of(cg_op op) { return static_cast<std::uint32_t>(op) & 0xffffff; }

// The operation whose starting call is on this thread's stack: only its own completion may be delivered in
// place, as nobody else's caller expects one there.
thread_local cg_op t_starting = 0;

void count(std::atomic<std::uint64_t>& c) { c.fetch_add(1, std::memory_order_relaxed); }

// Memory a plugin asks for during one operation.
class scratch_arena {
  public:
    ~scratch_arena() { clear(); }
    void* allocate(std::size_t size, std::size_t align) {
        if (align == 0 || align > 64 || (align & (align - 1)) != 0 || size > operation_table::scratch_bytes) return nullptr;
        if (!blocks_.empty()) {
            auto& b = blocks_.back();
            const auto at = (b.used + align - 1) & ~(align - 1);
            if (at <= b.size && b.size - at >= size) {
                b.used = at + size;
                return b.data + at;
            }
        }
        const auto left = operation_table::scratch_bytes - total_;
        const auto want = std::min(left, std::max(size, first_block));
        if (want < size || want == 0) return nullptr;
        const auto rounded = (want + 63) & ~std::size_t{63};
        auto* data = static_cast<unsigned char*>(std::aligned_alloc(64, rounded));
        if (data == nullptr) return nullptr;
        std::fill_n(data, rounded, static_cast<unsigned char>(0));
        total_ += want;
        blocks_.push_back({data, want, size});
        return data;
    }
    void clear() noexcept {
        for (auto& b : blocks_) {
            crypto::wipe(b.data, b.used);  // plugins keep credentials here
            std::free(b.data);
        }
        blocks_.clear();
        total_ = 0;
    }

  private:
    struct block {
        unsigned char* data;
        std::size_t size, used;
    };
    std::vector<block> blocks_;
    std::size_t total_ = 0;
};

}  // namespace

std::string_view to_string(refusal r) noexcept {
    switch (r) {
        case refusal::none: break;
        case refusal::not_attached: return "is not attached to this shard";
        case refusal::no_time: return "has no time left";
        case refusal::breaker_open: return "failed repeatedly and is given a pause";
        case refusal::busy: return "has too many operations in flight";
    }
    return "takes the operation";
}

cg_status status_of(refusal r) noexcept {
    switch (r) {
        case refusal::none: return CG_OK;
        case refusal::no_time: return CG_E_DEADLINE;
        case refusal::busy: return CG_E_BUSY;
        case refusal::not_attached:
        case refusal::breaker_open: break;
    }
    return CG_E_UNAVAILABLE;
}

enum class phase : std::uint8_t {
    free,
    live,     // the plugin owes a completion
    copying,  // a thread of the plugin is inside complete()
    done      // waits in the inbox for its shard
};

struct operation_table::operation : inbox_node {
    mutable std::mutex mutex;  // guards all down to `scratch`
    std::uint32_t generation = 1;
    host::phase phase = phase::free;
    bool answered = false;   // the requester has its answer: deadline, or nobody is there any more
    bool cancelled = false;
    bool overdue = false;    // and counted as owed
    bool stuck = false;      // the watchdog has seen it
    weight w = weight::counts;
    std::int64_t deadline_ns = 0;
    operation_owner* owner = nullptr;
    scratch_arena scratch;
    // Shard thread, and the completing thread while `phase` is copying.
    std::unique_ptr<operation_body> body;
    cg_op handle = 0;
};

struct operation_table::shard_state {
    struct timed {
        std::int64_t deadline_ns;
        cg_op op;
        bool operator>(const timed& o) const noexcept { return deadline_ns > o.deadline_ns; }
    };
    struct chunk {
        std::array<operation, chunk_slots> slots;
    };

    // Chunks are added by the shard's thread and read by any; they stay until the table ends.
    std::array<std::atomic<chunk*>, max_chunks> chunks{};
    std::uint32_t slots = 0;
    std::vector<std::uint32_t> free_slots;
    std::vector<timed> deadlines;  // heap, earliest on top; entries of finished operations are dropped late
    std::uint32_t live = 0;
    mpsc_inbox inbox;
    std::uint32_t index = 0;

    ~shard_state() {
        for (auto& c : chunks) delete c.load(std::memory_order_relaxed);
    }
    operation* slot(std::uint32_t n) const noexcept {
        if (n >= chunk_slots * max_chunks) return nullptr;
        auto* c = chunks[n / chunk_slots].load(std::memory_order_acquire);
        return c == nullptr ? nullptr : &c->slots[n % chunk_slots];
    }
    bool grow() {
        const auto n = slots / chunk_slots;
        if (n == max_chunks) return false;
        chunks[n].store(new chunk, std::memory_order_release);
        for (std::uint32_t i = chunk_slots; i-- > 0;) free_slots.push_back(slots + i);
        slots += chunk_slots;
        return true;
    }
    void pop_deadline() {
        std::pop_heap(deadlines.begin(), deadlines.end(), std::greater<>{});
        deadlines.pop_back();
    }
    void push_deadline(timed t) {
        deadlines.push_back(t);
        std::push_heap(deadlines.begin(), deadlines.end(), std::greater<>{});
    }
};

operation_table::starting_scope::starting_scope(cg_op op) noexcept : before(t_starting) { t_starting = op; }
operation_table::starting_scope::~starting_scope() { t_starting = before; }

operation_table::operation_table(std::uint32_t shards, const clock_source& clock, std::function<void(std::uint32_t)> wake)
    : clock_(clock), wake_(std::move(wake)) {
    for (std::uint32_t i = 0; i <= shards + max_lanes; ++i) {
        shards_.push_back(std::make_unique<shard_state>());
        shards_.back()->index = i;
    }
}

operation_table::~operation_table() = default;

operation_table::operation* operation_table::find(cg_op op) const noexcept {
    if (generation_of(op) == 0 || shard_of(op) >= shards_.size()) return nullptr;
    return shards_[shard_of(op)]->slot(slot_of(op));
}

cg_op operation_table::begin(std::uint32_t shard, operation_owner& owner, std::int64_t deadline_ns, weight w,
                             std::unique_ptr<operation_body>& body) {
    auto& s = *shards_[shard];
    if (w == weight::counts && owner.counted.fetch_add(1, std::memory_order_relaxed) >= owner.max_in_flight) {
        owner.counted.fetch_sub(1, std::memory_order_relaxed);
        return 0;
    }
    if (s.free_slots.empty() && !s.grow()) {
        if (w == weight::counts) owner.counted.fetch_sub(1, std::memory_order_relaxed);
        return 0;
    }
    const auto slot = s.free_slots.back();
    s.free_slots.pop_back();
    auto& o = *s.slot(slot);
    cg_op op = 0;
    {
        const std::lock_guard lock(o.mutex);
        op = make_handle(o.generation, shard, slot);
        o.phase = phase::live;
        o.answered = o.cancelled = o.overdue = o.stuck = false;
        o.w = w;
        o.deadline_ns = deadline_ns;
        o.owner = &owner;
        o.body = std::move(body);
        o.handle = op;
    }
    ++s.live;
    owner.metrics.in_flight.fetch_add(1, std::memory_order_relaxed);
    count(owner.metrics.started);
    if (deadline_ns != INT64_MAX) {
        // Finished operations leave entries behind; without this a fast backend with long deadlines would
        // collect them.
        if (s.deadlines.size() > 2 * std::size_t{s.live} + 64) {
            std::erase_if(s.deadlines, [&](const shard_state::timed& t) {
                const auto* other = find(t.op);
                const std::lock_guard lock(other->mutex);
                return other->generation != generation_of(t.op);
            });
            std::make_heap(s.deadlines.begin(), s.deadlines.end(), std::greater<>{});
        }
        s.push_deadline({deadline_ns, op});
    }
    return op;
}

void operation_table::conclude(cg_op op, cg_status accepted) {
    if (accepted == CG_OK) return;
    auto& o = *find(op);
    operation_owner* owner = nullptr;
    {
        const std::lock_guard lock(o.mutex);
        // Completed and refused: the completion stands. The slot may even serve another operation by now.
        if (o.generation != generation_of(op) || o.phase != phase::live) {
            if (o.generation == generation_of(op)) count(o.owner->metrics.faults);
            return;
        }
        o.phase = phase::done;
        o.answered = true;
        owner = o.owner;
    }
    count(owner->metrics.failed);
    if (o.w == weight::counts) owner->breaker.failed(clock_.mono_ns());
    auto body = std::move(o.body);
    finish(*shards_[shard_of(op)], o);
    body->fail(accepted < 0 ? accepted : CG_E_INTERNAL);
}

cg_status operation_table::complete(operation_owner& owner, cg_op op, const cg_completion* completion) {
    auto* o = find(op);
    if (o == nullptr) {
        count(owner.metrics.faults);
        return CG_E_NOT_FOUND;
    }
    bool answered = false;
    {
        const std::lock_guard lock(o->mutex);
        if (o->generation != generation_of(op) || o->phase != phase::live || o->owner != &owner) {
            count(owner.metrics.faults);
            return CG_E_NOT_FOUND;
        }
        o->phase = phase::copying;
        answered = o->answered;
    }
    cg_completion c{};
    const bool readable = read_struct(completion, c);
    if (!readable) {
        count(owner.metrics.faults);
        c.status = CG_E_INTERNAL;
    }
    if (!answered) {
        const auto outcome = o->body->take(c);
        if (outcome == taken::fault) count(owner.metrics.faults);
        if (outcome != taken::ok) count(owner.metrics.failed);
        count(owner.metrics.completed);
        if (o->w == weight::counts) outcome == taken::ok ? owner.breaker.succeeded() : owner.breaker.failed(clock_.mono_ns());
    } else {
        count(owner.metrics.late);
    }
    if (c.release != nullptr) c.release(c.release_ctx);
    {
        const std::lock_guard lock(o->mutex);
        o->phase = phase::done;
    }
    auto& s = *shards_[shard_of(op)];
    if (t_starting == op) {
        auto body = std::move(o->body);
        finish(s, *o);
        if (!answered) body->deliver();
        return CG_OK;
    }
    if (s.inbox.push(*o)) wake_(s.index);
    return CG_OK;
}

std::int64_t operation_table::time_left_ns(const operation_owner& owner, cg_op op) const {
    const auto* o = find(op);
    if (o == nullptr) return 0;
    const std::lock_guard lock(o->mutex);
    if (o->generation != generation_of(op) || o->phase != phase::live || o->owner != &owner) return 0;
    return o->deadline_ns == INT64_MAX ? INT64_MAX : o->deadline_ns - clock_.mono_ns();
}

bool operation_table::is_cancelled(const operation_owner& owner, cg_op op) const {
    const auto* o = find(op);
    if (o == nullptr) return true;
    const std::lock_guard lock(o->mutex);
    if (o->generation != generation_of(op) || o->phase != phase::live || o->owner != &owner) return true;
    return o->cancelled || clock_.mono_ns() >= o->deadline_ns;
}

void* operation_table::scratch(operation_owner& owner, cg_op op, std::size_t size, std::size_t align) {
    auto* o = find(op);
    if (o == nullptr) return nullptr;
    const std::lock_guard lock(o->mutex);
    if (o->generation != generation_of(op) || o->phase != phase::live || o->owner != &owner) {
        count(owner.metrics.faults);
        return nullptr;
    }
    return o->scratch.allocate(size, align);
}

// Gives the slot back; from here on the handle means nothing.
void operation_table::finish(shard_state& s, operation& o) {
    operation_owner* owner = nullptr;
    std::uint32_t slot = 0;
    {
        const std::lock_guard lock(o.mutex);
        owner = o.owner;
        slot = slot_of(o.handle);
        if (++o.generation == 0) o.generation = 1;
        o.phase = phase::free;
        o.owner = nullptr;
        o.scratch.clear();
        o.body.reset();
        if (o.w == weight::counts) owner->counted.fetch_sub(1, std::memory_order_relaxed);
        if (o.overdue) owner->metrics.owed.fetch_sub(1, std::memory_order_relaxed);
        if (o.stuck) owner->metrics.stuck.fetch_sub(1, std::memory_order_relaxed);
    }
    --s.live;
    s.free_slots.push_back(slot);
    // Last: whoever waits for 0 before destroying the owner may see it at once.
    owner->metrics.in_flight.fetch_sub(1, std::memory_order_release);
}

void operation_table::drain(std::uint32_t shard) {
    auto& s = *shards_[shard];
    for (auto* node = s.inbox.take_all(); node != nullptr;) {
        auto& o = *static_cast<operation*>(node);
        node = node->next_in_inbox;
        bool answered = false;
        {
            const std::lock_guard lock(o.mutex);
            answered = o.answered;
        }
        auto body = std::move(o.body);
        finish(s, o);
        if (!answered) body->deliver();
    }
}

void operation_table::tell_cancel(operation_owner& owner, cg_op op, std::int32_t reason) {
    if (owner.cancel != nullptr && owner.plugin != nullptr) owner.cancel(owner.plugin, op, reason);
}

void operation_table::expire(std::uint32_t shard, std::int64_t now_ns) {
    auto& s = *shards_[shard];
    while (!s.deadlines.empty() && s.deadlines.front().deadline_ns <= now_ns) {
        const cg_op op = s.deadlines.front().op;
        s.pop_deadline();
        auto& o = *find(op);
        operation_owner* owner = nullptr;
        bool watched = false;
        {
            const std::lock_guard lock(o.mutex);
            // copying or done: the answer is on its way and a moment late; it is delivered all the same.
            if (o.generation != generation_of(op) || o.phase != phase::live) continue;
            owner = o.owner;
            watched = o.overdue;
            if (o.answered && !watched) continue;
            o.answered = o.cancelled = true;
            o.stuck = watched;
        }
        if (watched) {
            owner->metrics.stuck.fetch_add(1, std::memory_order_relaxed);
            owner->breaker.trip(now_ns);
            continue;
        }
        count(owner->metrics.overdue);
        if (o.w == weight::counts) overdue(s, o, *owner, now_ns);
        // The plugin may be completing on another thread right now, but it does not touch the body of an
        // answered operation, and the slot is given back on this thread only.
        o.body->fail(CG_E_DEADLINE);
        tell_cancel(*owner, op, CG_CANCEL_DEADLINE);
    }
}

// The plugin owes it from now on.
void operation_table::overdue(shard_state& s, operation& o, operation_owner& owner, std::int64_t now_ns) {
    {
        const std::lock_guard lock(o.mutex);
        o.overdue = true;
    }
    owner.breaker.failed(now_ns);
    if (owner.metrics.owed.fetch_add(1, std::memory_order_relaxed) + 1 > owner.max_owed) owner.breaker.trip(now_ns);
    if (o.deadline_ns <= INT64_MAX - owner.max_age_ns) s.push_deadline({o.deadline_ns + owner.max_age_ns, o.handle});
}

std::int64_t operation_table::next_deadline(std::uint32_t shard) {
    auto& s = *shards_[shard];
    while (!s.deadlines.empty()) {
        const auto& t = s.deadlines.front();
        const auto& o = *find(t.op);
        {
            const std::lock_guard lock(o.mutex);
            if (o.generation == generation_of(t.op) && (!o.answered || (o.overdue && !o.stuck))) return t.deadline_ns;
        }
        s.pop_deadline();
    }
    return INT64_MAX;
}

template <class F>
void operation_table::for_each_live(std::uint32_t shard, operation_owner* owner, F&& f) {
    auto& s = *shards_[shard];
    for (std::uint32_t n = 0; n < s.slots; ++n) {
        auto& o = *s.slot(n);
        std::unique_lock lock(o.mutex);
        if (o.phase != phase::free && (owner == nullptr || o.owner == owner)) f(o, lock);
    }
}

void operation_table::cancel_all(std::uint32_t shard, operation_owner& owner, std::int32_t reason) {
    for_each_live(shard, &owner, [&](operation& o, std::unique_lock<std::mutex>& lock) {
        if (o.phase != phase::live || o.cancelled) return;
        o.cancelled = true;
        const auto op = o.handle;
        lock.unlock();
        tell_cancel(owner, op, reason);
    });
}

void operation_table::forget(std::uint32_t shard) {
    for_each_live(shard, nullptr, [](operation& o, std::unique_lock<std::mutex>&) { o.answered = o.cancelled = true; });
}

void operation_table::end_all(std::uint32_t shard, operation_owner& owner) {
    drain(shard);
    auto& s = *shards_[shard];
    for_each_live(shard, &owner, [&](operation& o, std::unique_lock<std::mutex>& lock) {
        if (o.phase != phase::live) return;
        count(owner.metrics.faults);
        const bool answered = o.answered;
        o.phase = phase::done;
        o.answered = true;
        lock.unlock();
        auto body = std::move(o.body);
        finish(s, o);
        if (!answered) body->fail(CG_E_ABANDONED);
    });
}


}  // namespace callgate::host
