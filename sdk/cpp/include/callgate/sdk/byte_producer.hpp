// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/rpc.h>
#include <callgate/abi/ext/draft/admin_http.h>
#include <callgate/sdk/stream.hpp>
#include <deque>
#include <optional>

namespace callgate::sdk {

/// Producer's half of a stream of bytes: keeps what there is no credit for, cuts what is larger than a chunk. [any], locked
/// inside. Dropped without an end it ends with CG_E_ABANDONED.
class byte_producer {
  public:
    static constexpr std::size_t max_chunk = CG_RPC_MAX_CHUNK_BYTES;
    static_assert(CG_RPC_MAX_CHUNK_BYTES == CG_ADMIN_MAX_CHUNK_BYTES && sizeof(cg_rpc_chunk) == sizeof(cg_admin_chunk));

    explicit byte_producer(const cg_stream_sink* sink) : source_(sink) {}

    [[nodiscard]] cg_stream id() const noexcept { return source_.id(); }
    /// Nobody reads any more; end() is still owed.
    [[nodiscard]] bool cancelled() const noexcept { return source_.cancelled(); }
    /// The end was delivered.
    [[nodiscard]] bool ended() const {
        const std::lock_guard lock(mutex_);
        return source_.ended();
    }
    /// Bytes that wait for credit: stop writing when there are many.
    [[nodiscard]] std::size_t waiting() const {
        const std::lock_guard lock(mutex_);
        return waiting_bytes_;
    }
    /// One event, or several when it is larger than a chunk. After end() it does nothing.
    void write(std::string_view bytes) {
        const std::lock_guard lock(mutex_);
        if (end_) return;
        for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), max_chunk))) {
            waiting_.emplace_back(bytes.substr(0, max_chunk));
            waiting_bytes_ += waiting_.back().size();
        }
        pump();
    }
    /// After everything that was written. The first call counts.
    void end(cg_status status = CG_OK, std::string text = {}) {
        const std::lock_guard lock(mutex_);
        if (!end_) end_.emplace(status, std::move(text));
        pump();
    }

    /// For the owner of the stream, see sdk::module: just before the operation is completed; credits; cancel.
    void open() noexcept { source_.open(); }
    void add_credits(std::uint32_t n) {
        source_.add_credits(n);
        const std::lock_guard lock(mutex_);
        pump();
    }
    void cancel() {
        source_.mark_cancelled();
        const std::lock_guard lock(mutex_);
        // What was written and never read is missing, whatever the writer said of the end.
        if (!waiting_.empty()) end_.reset();
        waiting_.clear();
        waiting_bytes_ = 0;
        if (!end_) end_.emplace(CG_E_CANCELLED, std::string{});
        pump();
    }

  private:
    void pump() {
        // The consumer may give credit inside on_event.
        if (std::exchange(pumping_, true)) return;
        while (!waiting_.empty() && source_.credits() != 0) {
            const std::string next = std::move(waiting_.front());
            waiting_.pop_front();
            waiting_bytes_ -= next.size();
            auto chunk = make<cg_rpc_chunk>();
            chunk.bytes = {reinterpret_cast<const std::uint8_t*>(next.data()), next.size()};
            if (!source_.event(&chunk, {})) break;
        }
        if (waiting_.empty() && end_) source_.end(end_->first, end_->second);
        pumping_ = false;
    }

    mutable std::recursive_mutex mutex_;
    stream_source source_;
    std::deque<std::string> waiting_;
    std::size_t waiting_bytes_ = 0;
    std::optional<std::pair<cg_status, std::string>> end_;
    bool pumping_ = false;
};

}  // namespace callgate::sdk
