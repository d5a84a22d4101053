// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace callgate {

/// Holds one immutable object at a time (a JWKS, a configuration). Readers never wait, neither for a
/// writer nor for a reader that was preempted; writers wait for each other only. A replaced object is
/// destroyed by the first publish() or collect() that finds no reader holding it.
///
/// A reader pins at most `pin_depth` objects at once on one thread, over all cells together, and releases
/// a pin on the thread that took it. Threads claim their slots at the first pin (which may allocate) and
/// give them back when they end.
class snapshot_core {
  public:
    static constexpr std::uint32_t pin_depth = 8;
    static constexpr std::uint32_t no_pin = UINT32_MAX;

    explicit snapshot_core(void (*destroy)(void*)) noexcept : destroy_(destroy) {}
    snapshot_core(const snapshot_core&) = delete;
    snapshot_core& operator=(const snapshot_core&) = delete;
    /// No reader may be inside. Destroys the current object and all garbage.
    ~snapshot_core();

    /// [any] Takes ownership; nullptr empties the cell. Runs destructors of garbage on the calling thread.
    /// Returns how many replaced objects are still held by readers: somebody should collect() later.
    std::size_t publish(void* object);
    /// [any] Destroys garbage nobody holds any more; returns how much is left.
    std::size_t collect();

    /// [any] nullptr and no_pin when the cell is empty or this thread has pin_depth pins already.
    [[nodiscard]] const void* acquire(std::uint32_t& pin) const noexcept;
    /// [any] On the thread of the acquire. no_pin is ignored.
    static void release(std::uint32_t pin) noexcept;
    /// [any] Pins this thread holds; for tests and contract checks.
    [[nodiscard]] static std::uint32_t pins_held() noexcept;

  private:
    std::size_t reclaim(std::unique_lock<std::mutex>& lock);

    std::atomic<void*> current_{nullptr};
    void (*destroy_)(void*);
    std::mutex writers_;
    std::vector<void*> retired_;
};

/// Typed face of snapshot_core.
template <class T>
class snapshot_cell {
  public:
    /// A pinned object; keep it short and on its thread.
    class pin {
      public:
        pin() noexcept = default;
        pin(pin&& o) noexcept : object_(std::exchange(o.object_, nullptr)), slot_(std::exchange(o.slot_, snapshot_core::no_pin)) {}
        pin& operator=(pin&& o) noexcept {
            if (this != &o) {
                snapshot_core::release(slot_);
                object_ = std::exchange(o.object_, nullptr);
                slot_ = std::exchange(o.slot_, snapshot_core::no_pin);
            }
            return *this;
        }
        pin(const pin&) = delete;
        pin& operator=(const pin&) = delete;
        ~pin() { snapshot_core::release(slot_); }

        [[nodiscard]] const T* get() const noexcept { return object_; }
        const T& operator*() const noexcept { return *object_; }
        const T* operator->() const noexcept { return object_; }
        explicit operator bool() const noexcept { return object_ != nullptr; }

      private:
        friend class snapshot_cell;
        const T* object_ = nullptr;
        std::uint32_t slot_ = snapshot_core::no_pin;
    };

    snapshot_cell() : core_([](void* p) { delete static_cast<T*>(p); }) {}

    std::size_t publish(std::unique_ptr<T> object) { return core_.publish(object.release()); }
    std::size_t collect() { return core_.collect(); }
    [[nodiscard]] pin read() const noexcept {
        pin p;
        p.object_ = static_cast<const T*>(core_.acquire(p.slot_));
        return p;
    }

  private:
    snapshot_core core_;
};

}  // namespace callgate
