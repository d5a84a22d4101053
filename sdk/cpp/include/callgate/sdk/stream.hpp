// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <callgate/abi/draft/stream.h>
#include <callgate/sdk/value.hpp>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace callgate::sdk {

/// Producer's half of one open stream: counts credits and sees to it that there is exactly one end.
/// open, event and end: by one thread at a time, the producer's. The rest is [any].
/// Dropped without an end after open() it ends with CG_E_ABANDONED.
class stream_source {
  public:
    /// Copies the sink. Throws status_error(CG_E_ABI) when it cannot be called.
    explicit stream_source(const cg_stream_sink* sink) : sink_(copy_in(sink)) {
        if (sink_.on_event == nullptr || sink_.on_end == nullptr || sink_.stream == 0)
            throw status_error(CG_E_ABI, "the stream's sink has no handle, on_event or on_end");
        credits_ = sink_.initial_credits;
    }
    stream_source(const stream_source&) = delete;
    stream_source& operator=(const stream_source&) = delete;
    ~stream_source() { end(CG_E_ABANDONED, "the plugin dropped this stream"); }

    [[nodiscard]] cg_stream id() const noexcept { return sink_.stream; }
    [[nodiscard]] std::uint32_t credits() const noexcept { return credits_.load(std::memory_order_acquire); }
    [[nodiscard]] bool cancelled() const noexcept { return cancelled_.load(std::memory_order_acquire); }
    [[nodiscard]] bool ended() const noexcept { return state_ == state::ended; }

    /// Just before the opening operation is completed with CG_OK: from here on an end is owed.
    void open() noexcept {
        if (state_ == state::opening) state_ = state::open;
    }
    /// False, and nothing happens, when there is no credit or the stream is not open. `resume` at most CG_STREAM_TOKEN_MAX bytes.
    bool event(const void* payload, std::span<const std::uint8_t> resume) {
        if (state_ != state::open || resume.size() > CG_STREAM_TOKEN_MAX || !take_credit()) return false;
        last_.assign(resume.begin(), resume.end());
        auto e = make<cg_stream_event>();
        e.payload = payload;
        e.resume = to_c(resume);
        sink_.on_event(sink_.ctx, sink_.stream, &e);
        return true;
    }
    /// The first call counts; before open() it only marks the stream as ended. Without `resume` the token of the last event.
    void end(cg_status status, std::string_view text = {}) noexcept {
        const auto before = std::exchange(state_, state::ended);
        if (before != state::open) return;
        auto error = make<cg_error>();
        error.code = status;
        error.text = to_c(text);
        auto e = make<cg_stream_end>();
        e.status = status;
        e.error = status == CG_OK || status == CG_E_CANCELLED ? nullptr : &error;
        e.resume = to_c(std::span<const std::uint8_t>(last_));
        sink_.on_end(sink_.ctx, sink_.stream, &e);
    }

    /// [any] What the consumer asked for; saturates.
    void add_credits(std::uint32_t n) noexcept {
        auto now = credits_.load(std::memory_order_relaxed);
        constexpr auto most = std::numeric_limits<std::uint32_t>::max();
        while (!credits_.compare_exchange_weak(now, n > most - now ? most : now + n, std::memory_order_acq_rel)) {
        }
    }
    /// [any]
    void mark_cancelled() noexcept { cancelled_.store(true, std::memory_order_release); }

  private:
    enum class state : std::uint8_t { opening, open, ended };

    bool take_credit() noexcept {
        auto now = credits_.load(std::memory_order_relaxed);
        do {
            if (now == 0) return false;
        } while (!credits_.compare_exchange_weak(now, now - 1, std::memory_order_acq_rel));
        return true;
    }

    cg_stream_sink sink_;
    std::atomic<std::uint32_t> credits_{0};
    std::atomic<bool> cancelled_{false};
    state state_ = state::opening;
    std::vector<std::uint8_t> last_;
};

/// Open streams of an instance by handle. All of it is [any].
class stream_table {
  public:
    /// Throws status_error(CG_E_INVALID) when the handle is in use.
    void add(const std::shared_ptr<stream_source>& s) {
        const std::lock_guard lock(mutex_);
        auto& entry = streams_[s->id()];
        if (!entry.expired()) throw status_error(CG_E_INVALID, "the stream's handle is in use already");
        entry = s;
    }
    /// After the last owner let go; leaves a stream alone that is still there.
    void remove(cg_stream id) noexcept {
        const std::lock_guard lock(mutex_);
        if (const auto i = streams_.find(id); i != streams_.end() && i->second.expired()) streams_.erase(i);
    }
    /// nullptr when unknown or gone.
    [[nodiscard]] std::shared_ptr<stream_source> find(cg_stream id) const {
        const std::lock_guard lock(mutex_);
        const auto i = streams_.find(id);
        return i == streams_.end() ? nullptr : i->second.lock();
    }

  private:
    mutable std::mutex mutex_;
    std::map<cg_stream, std::weak_ptr<stream_source>> streams_;
};

}  // namespace callgate::sdk
