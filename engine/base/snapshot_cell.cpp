// SPDX-License-Identifier: Apache-2.0
#include "engine/base/snapshot_cell.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace callgate {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool thread_sanitizer = true;
#else
constexpr bool thread_sanitizer = false;
#endif

// The hazard slots of one thread; a cache line of their own, since every read writes one.
struct alignas(128) hazard_record {
    std::array<std::atomic<const void*>, snapshot_core::pin_depth> slots{};
    std::atomic<bool> in_use{true};
    hazard_record* next = nullptr;  // set once, before the record is reachable
};

long membarrier(int command) { return ::syscall(__NR_membarrier, command, 0, 0); }

// All records of the process. They are never freed, so a writer may walk the list without protection; there
// are never more of them than threads that read at the same time.
class hazard_domain {
  public:
    static hazard_domain& instance() {
        // Leaked on purpose: threads that outlive main's statics may still read.
        static auto* domain = new hazard_domain;
        return *domain;
    }

    // True: readers do without a fence, the writer interrupts all threads instead. False under
    // ThreadSanitizer, which does not model membarrier, and where the kernel or a seccomp filter refuses it.
    [[nodiscard]] bool asymmetric() const noexcept { return asymmetric_; }

    hazard_record* claim() {
        for (auto* r = head_.load(std::memory_order_acquire); r != nullptr; r = r->next) {
            bool free = false;
            if (r->in_use.compare_exchange_strong(free, true, std::memory_order_acquire, std::memory_order_relaxed)) return r;
        }
        auto* fresh = new hazard_record;
        fresh->next = head_.load(std::memory_order_relaxed);
        while (!head_.compare_exchange_weak(fresh->next, fresh, std::memory_order_seq_cst, std::memory_order_relaxed)) {
        }
        return fresh;
    }

    // The writer's half of the fence; false = not done, then nothing may be freed.
    [[nodiscard]] bool heavy_fence() const noexcept {
        return !asymmetric_ || membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
    }

    // Everything any thread has pinned, sorted.
    [[nodiscard]] std::vector<const void*> pinned() const {
        std::vector<const void*> out;
        for (auto* r = head_.load(std::memory_order_seq_cst); r != nullptr; r = r->next)
            for (auto& s : r->slots)
                if (const void* p = s.load(std::memory_order_seq_cst); p != nullptr) out.push_back(p);
        std::sort(out.begin(), out.end());
        return out;
    }

  private:
    hazard_domain()
        : asymmetric_(!thread_sanitizer && membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0) {}

    std::atomic<hazard_record*> head_{nullptr};
    const bool asymmetric_;
};

struct thread_record {
    hazard_record* record = nullptr;
    bool asymmetric = false;
    ~thread_record() {
        if (record == nullptr) return;
        // A pin that outlives its thread would be a slot nobody ever clears: garbage for ever.
        for (auto& s : record->slots) s.store(nullptr, std::memory_order_release);
        record->in_use.store(false, std::memory_order_release);
    }
};
thread_local thread_record t_record;

}  // namespace

// Why no reader ever sees a destroyed object. A reader does
//   R1  p = load current          R2  store p into its slot      R3  fence      R4  load current again, equal to p?
// and a writer does
//   W1  exchange current (p -> q) W2  fence                      W3  load all slots, destroy p unless found.
//
//  1. The fences (R3, W2) are both full ones in effect. In the symmetric variant R2, R4, W1 and W3 are
//     seq_cst. In the asymmetric one R3 only stops the compiler, and W2 is membarrier(PRIVATE_EXPEDITED),
//     which runs a full barrier on every running thread of the process between the writer's accesses before
//     and after it (a thread that is not running passed one when it was switched out). So each reader's R3
//     lies, as a whole, before or after W2, with the strength of a full fence.
//  2. R3 before W2: the store R2 is visible to W3, so the writer finds p and keeps it, unless the reader has
//     cleared the slot already, see 4.
//  3. R3 after W2: R4 sees W1's value or a later one. Equal to p is then possible only when p was published
//     anew, i.e. it is a live object; otherwise the reader tries again. It never dereferences p before R4.
//  4. The reader's last use of the object is before its release store into the slot (of nullptr, or of the
//     next object: R2 is a release too, since C++20 no longer counts a thread's later plain stores to the
//     release sequence). W3 is an acquire, so when it does not find p any more, all uses happened before
//     the destruction.
//  5. The object's construction happened before W1 (release) and R1/R4 are acquires.
//  6. A thread whose record is pushed to the list after W3 read the list head: its R3 comes after that push,
//     a read-modify-write with seq_cst, and in the asymmetric variant the same argument as in 1 to 3 holds:
//     if the push was not visible to W3, R3 came after W2 and R4 sees W1.
//  7. Retries: each one means that a writer has published in between, so some thread always gets on; readers
//     hold nothing others wait for.
const void* snapshot_core::acquire(std::uint32_t& pin) const noexcept {
    pin = no_pin;
    const void* p = current_.load(std::memory_order_acquire);  // R1
    if (p == nullptr) return nullptr;
    auto& mine = t_record;
    if (mine.record == nullptr) {
        auto& domain = hazard_domain::instance();
        mine.record = domain.claim();
        mine.asymmetric = domain.asymmetric();
    }
    std::uint32_t slot = 0;
    while (slot < pin_depth && mine.record->slots[slot].load(std::memory_order_relaxed) != nullptr) ++slot;
    if (slot == pin_depth) return nullptr;
    auto& hazard = mine.record->slots[slot];
    for (;;) {
        const void* again;
        if (mine.asymmetric) {
            hazard.store(p, std::memory_order_release);            // R2
            std::atomic_signal_fence(std::memory_order_seq_cst);   // R3
            again = current_.load(std::memory_order_acquire);      // R4
        } else {
            hazard.store(p, std::memory_order_seq_cst);
            again = current_.load(std::memory_order_seq_cst);
        }
        if (again == p) break;
        p = again;
        if (p == nullptr) {
            hazard.store(nullptr, std::memory_order_release);
            return nullptr;
        }
    }
    pin = slot;
    return p;
}

void snapshot_core::release(std::uint32_t pin) noexcept {
    if (pin >= pin_depth || t_record.record == nullptr) return;
    t_record.record->slots[pin].store(nullptr, std::memory_order_release);
}

std::uint32_t snapshot_core::pins_held() noexcept {
    if (t_record.record == nullptr) return 0;
    std::uint32_t n = 0;
    for (auto& s : t_record.record->slots) n += s.load(std::memory_order_relaxed) != nullptr;
    return n;
}

std::size_t snapshot_core::publish(void* object) {
    std::unique_lock lock(writers_);
    retired_.reserve(retired_.size() + 1);  // so that nothing can fail once the old object is out
    if (void* old = current_.exchange(object, std::memory_order_seq_cst); old != nullptr) retired_.push_back(old);  // W1
    return reclaim(lock);
}

std::size_t snapshot_core::collect() {
    std::unique_lock lock(writers_);
    return reclaim(lock);
}

std::size_t snapshot_core::reclaim(std::unique_lock<std::mutex>& lock) {
    if (retired_.empty()) return 0;
    auto& domain = hazard_domain::instance();
    if (!domain.heavy_fence()) return retired_.size();  // W2
    const auto held = domain.pinned();                  // W3
    const auto keep = std::partition(retired_.begin(), retired_.end(),
                                     [&](void* p) { return std::binary_search(held.begin(), held.end(), p); });
    std::vector<void*> dead(keep, retired_.end());
    retired_.erase(keep, retired_.end());
    const auto left = retired_.size();
    // Destructors are the owner's code and may publish into another cell, or take their time.
    lock.unlock();
    for (void* p : dead) destroy_(p);
    return left;
}

snapshot_core::~snapshot_core() {
    for (void* p : retired_) destroy_(p);
    if (void* p = current_.load(std::memory_order_acquire); p != nullptr) destroy_(p);
}

}  // namespace callgate
