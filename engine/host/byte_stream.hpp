// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/stream.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "engine/host/control_loop.hpp"

/// Streams of bytes that a plugin produces (cg_rpc_chunk, cg_admin_chunk) and the engine consumes.
namespace callgate::host {

class stream_hub;

/// The consumer's half of one stream. Holds at most window chunks; the plugin gets credit for what was taken.
class byte_stream : public std::enable_shared_from_this<byte_stream> {
  public:
    static constexpr std::uint32_t window = 8;

    struct taken_bytes {
        std::deque<std::string> chunks;  ///< one for each event
        bool ended = false;              ///< after these; nothing follows
        cg_status status = CG_OK;        ///< of the end
        std::string error;               ///< of the end; the plugin's text
    };

    byte_stream(std::weak_ptr<stream_hub> hub, cg_stream id, const cg_stream_control& control, std::size_t max_chunk)
        : hub_(std::move(hub)), id_(id), control_(control), max_chunk_(max_chunk) {}

    [[nodiscard]] cg_stream id() const noexcept { return id_; }
    /// [any] `changed` is called on any thread whenever there is something to take; also right away when there is already.
    /// It must not call back into the stream. Once.
    void listen(std::function<void()> changed);
    /// [any] Everything that is there; what was taken comes back to the plugin as credit.
    [[nodiscard]] taken_bytes take();
    /// [any] Nobody reads on. `reason`: CG_CANCEL_*.
    void cancel(std::int32_t reason);

  private:
    friend class stream_hub;
    enum class state : std::uint8_t { opening, open, ended };

    const std::weak_ptr<stream_hub> hub_;
    const cg_stream id_;
    const cg_stream_control control_;
    const std::size_t max_chunk_;
    mutable std::mutex mutex_;  // guards the rest
    state state_ = state::opening;
    bool unread_ = false;     // the consumer is gone
    std::uint32_t credits_ = window;
    std::deque<std::string> chunks_;
    cg_status status_ = CG_OK;
    std::string error_;
    std::function<void()> changed_;
};

/// Open streams of one instance. What the plugin holds is the hub and a number, so an event that comes when nobody waits any
/// more is harmless.
class stream_hub : public std::enable_shared_from_this<stream_hub> {
  public:
    stream_hub(std::shared_ptr<control_loop> loop, operation_owner& owner) : loop_(std::move(loop)), owner_(owner) {}

    /// [control] A stream that an operation is about to open.
    std::shared_ptr<byte_stream> make(const cg_stream_control& control, std::size_t max_chunk);
    /// Of make(), for the opening call.
    [[nodiscard]] cg_stream_sink sink(const byte_stream& s) noexcept;
    /// [any] The operation completed: the stream is open, or there is none.
    void opened(byte_stream& s);
    void refused(const byte_stream& s);
    /// [control] The instance stopped: consumers see CG_E_CANCELLED, the plugin is not called any more. Returns how many streams
    /// it left without an end.
    std::size_t close();

  private:
    friend class byte_stream;
    std::shared_ptr<byte_stream> find(cg_stream id);
    void event(cg_stream id, const cg_stream_event* e);
    void end(cg_stream id, const cg_stream_end* e);
    /// False: it had ended already.
    bool finish(const std::shared_ptr<byte_stream>& s, cg_status status, std::string error);
    void to_plugin(const byte_stream& s, std::uint32_t credits, std::int32_t cancel_reason);

    const std::shared_ptr<control_loop> loop_;
    operation_owner& owner_;
    std::mutex mutex_;
    std::map<cg_stream, std::shared_ptr<byte_stream>> streams_;
    cg_stream last_ = 0;
    bool closed_ = false;
};

}  // namespace callgate::host
