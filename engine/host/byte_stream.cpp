// SPDX-License-Identifier: Apache-2.0
#include "engine/host/byte_stream.hpp"

#include <callgate/abi/draft/rpc.h>
#include <callgate/abi/ext/draft/admin_http.h>

#include <utility>

#include "engine/base/log.hpp"
#include "engine/host/abi_read.hpp"

namespace callgate::host {

// One reader for both.
static_assert(sizeof(cg_rpc_chunk) == sizeof(cg_admin_chunk) && offsetof(cg_rpc_chunk, bytes) == offsetof(cg_admin_chunk, bytes));

void byte_stream::listen(std::function<void()> changed) {
    bool now = false;
    {
        const std::lock_guard lock(mutex_);
        changed_ = changed;
        now = !chunks_.empty() || state_ == state::ended;
    }
    if (now) changed();
}

byte_stream::taken_bytes byte_stream::take() {
    taken_bytes out;
    {
        const std::lock_guard lock(mutex_);
        out.chunks = std::exchange(chunks_, {});
        out.ended = state_ == state::ended;
        out.status = status_;
        out.error = error_;
        if (out.ended) return out;
        credits_ += static_cast<std::uint32_t>(out.chunks.size());
    }
    if (!out.chunks.empty())
        if (const auto hub = hub_.lock()) hub->to_plugin(*this, static_cast<std::uint32_t>(out.chunks.size()), 0);
    return out;
}

void byte_stream::cancel(std::int32_t reason) {
    {
        const std::lock_guard lock(mutex_);
        unread_ = true;
        chunks_.clear();
        changed_ = nullptr;
        if (state_ == state::ended) return;
    }
    if (const auto hub = hub_.lock()) hub->to_plugin(*this, 0, reason);
}

std::shared_ptr<byte_stream> stream_hub::make(const cg_stream_control& control, std::size_t max_chunk) {
    const std::lock_guard lock(mutex_);
    auto s = std::make_shared<byte_stream>(weak_from_this(), ++last_, control, max_chunk);
    streams_.emplace(s->id(), s);
    return s;
}

cg_stream_sink stream_hub::sink(const byte_stream& s) noexcept {
    cg_stream_sink out{};
    out.struct_size = sizeof out;
    out.initial_credits = byte_stream::window;
    out.stream = s.id();
    out.ctx = this;
    out.on_event = [](void* ctx, cg_stream id, const cg_stream_event* e) noexcept { static_cast<stream_hub*>(ctx)->event(id, e); };
    out.on_end = [](void* ctx, cg_stream id, const cg_stream_end* e) noexcept { static_cast<stream_hub*>(ctx)->end(id, e); };
    return out;
}

void stream_hub::opened(byte_stream& s) {
    const std::lock_guard lock(s.mutex_);
    if (s.state_ == byte_stream::state::opening) s.state_ = byte_stream::state::open;
}

void stream_hub::refused(const byte_stream& s) {
    const std::lock_guard lock(mutex_);
    streams_.erase(s.id());
}

std::shared_ptr<byte_stream> stream_hub::find(cg_stream id) {
    const std::lock_guard lock(mutex_);
    const auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second;
}

void stream_hub::event(cg_stream id, const cg_stream_event* theirs) {
    const auto s = find(id);
    cg_stream_event e{};
    cg_rpc_chunk c{};
    if (!s) return;
    const bool readable = read_struct(theirs, e) && read_struct(static_cast<const cg_rpc_chunk*>(e.payload), c) && (c.bytes.data != nullptr || c.bytes.size == 0);
    const char* wrong = nullptr;
    bool too_late = false;
    std::function<void()> changed;
    {
        const std::lock_guard lock(s->mutex_);
        // Opening: the operation ran out of time before the stream was opened.
        if (s->state_ == byte_stream::state::opening) too_late = true;
        else if (s->state_ == byte_stream::state::ended) wrong = "an event after the end";
        else if (!readable) wrong = "an event without bytes";
        else if (c.bytes.size > s->max_chunk_) wrong = "a chunk above 64 KiB";
        else if (s->credits_ == 0) wrong = "an event without credit";
        else {
            --s->credits_;
            if (s->unread_) return;
            s->chunks_.emplace_back(reinterpret_cast<const char*>(c.bytes.data), c.bytes.size);
            changed = s->changed_;
        }
    }
    if (too_late) return to_plugin(*s, 0, CG_CANCEL_DEADLINE);
    if (wrong == nullptr) {
        if (changed) changed();
        return;
    }
    owner_.metrics.faults.fetch_add(1, std::memory_order_relaxed);
    // One that goes on after that is counted, not told each time.
    if (!finish(s, CG_E_INTERNAL, wrong)) return;
    log::warn("a plugin broke the rules of its stream", {{"what", wrong}});
    to_plugin(*s, 0, CG_CANCEL_REQUESTER);
}

void stream_hub::end(cg_stream id, const cg_stream_end* theirs) {
    const auto s = find(id);
    if (!s) return;
    cg_stream_end e{};
    cg_error why{};
    if (!read_struct(theirs, e)) e.status = CG_E_INTERNAL;
    const bool explained = read_struct(e.error, why);
    finish(s, e.status > 0 ? CG_E_INTERNAL : e.status, explained ? bounded(why.text, 1024) : std::string{});
    const std::lock_guard lock(mutex_);
    streams_.erase(id);
}

bool stream_hub::finish(const std::shared_ptr<byte_stream>& s, cg_status status, std::string error) {
    std::function<void()> changed;
    {
        const std::lock_guard lock(s->mutex_);
        if (s->state_ == byte_stream::state::ended) return false;
        s->state_ = byte_stream::state::ended;
        s->status_ = status;
        s->error_ = std::move(error);
        changed = s->changed_;
    }
    if (changed) changed();
    return true;
}

// On the control thread only, where the instance is also stopped: so it is never called afterwards.
void stream_hub::to_plugin(const byte_stream& s, std::uint32_t credits, std::int32_t cancel_reason) {
    loop_->post([weak = weak_from_this(), id = s.id(), control = s.control_, credits, cancel_reason] {
        const auto hub = weak.lock();
        if (!hub || hub->closed_ || hub->owner_.plugin == nullptr || !hub->find(id)) return;
        if (credits != 0 && control.request != nullptr) control.request(hub->owner_.plugin, id, credits);
        if (cancel_reason != 0 && control.cancel != nullptr) control.cancel(hub->owner_.plugin, id, cancel_reason);
    });
}

std::size_t stream_hub::close() {
    closed_ = true;
    std::map<cg_stream, std::shared_ptr<byte_stream>> left;
    {
        const std::lock_guard lock(mutex_);
        left = std::exchange(streams_, {});
    }
    std::size_t without_end = 0;
    for (const auto& [id, s] : left) {
        {
            const std::lock_guard lock(s->mutex_);
            if (s->state_ == byte_stream::state::open) ++without_end;
        }
        finish(s, CG_E_CANCELLED, "the plugin instance was stopped");
    }
    return without_end;
}

}  // namespace callgate::host
