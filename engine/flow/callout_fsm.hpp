// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "engine/flow/replay_set.hpp"
#include "engine/flow/request.hpp"
#include "engine/flow/server_book.hpp"

namespace callgate::flow {

/// What the requests of one shard share. All of it belongs to the shard's thread, except the replay set, which
/// all shards have in common.
struct flow_context {
    flow_context(std::uint32_t shard_index, const clock_source& time, const reply_port& port, std::shared_ptr<replay_set> seen,
                 std::shared_ptr<key_tables> tables = std::make_shared<key_tables>())
        : shard(shard_index), clock(time), world(port), replays(std::move(seen)), servers(server_book::default_servers, server_book::default_pairs, std::move(tables)) {}
    std::uint32_t shard;
    const clock_source& clock;
    const reply_port& world;  ///< asked only whether a server is pinned
    codec::request_reader reader;
    codec::response_writer writer;
    shared_key_cache shared_keys;
    const std::shared_ptr<replay_set> replays;
    server_book servers;
    std::uint64_t jitter_state = 0;
    /// Uniform in [0,1).
    [[nodiscard]] double next_jitter() noexcept;
};

struct event {
    enum class kind : std::uint8_t {
        start,           ///< taken from the queue
        agreed,          ///< the shared key asked for is in the cache, or its failure is
        not_agreed,      ///< no key agreement was possible now
        backend_replied,
        looked_up,       ///< the claim store answered, or could not
        signed_,
        sign_failed,
        out_of_time,
    } what = kind::start;
    auth_result* reply = nullptr;                  ///< backend_replied; may be moved from
    stored_result* stored = nullptr;               ///< looked_up
    std::span<const std::uint8_t> signature = {};  ///< signed_: 64 bytes, already verified where that is asked for
};

struct action {
    enum class kind : std::uint8_t {
        agree,         ///< make the shared key of request::xkey and request::peer; then agreed or not_agreed
        authenticate,  ///< ask `backend` with request::ask; then backend_replied
        look_up,       ///< ask `store` for the key of the decision; then looked_up
        sign,          ///< sign request::token with request::signer; then signed_ or sign_failed
        reply,         ///< send `payload`; the end
        shed,          ///< no reply although the request is good; the end
        drop,          ///< no reply; the end
    } what = kind::drop;
    observe::drop_reason why = observe::drop_reason::not_decodable;  ///< shed, drop
    std::string detail = {};                                        ///< for the log, from our own words only
    auth_port* backend = nullptr;
    store_port* store = nullptr;
    std::uint32_t purpose = 0;  ///< sign: CG_SIGN_*
    std::span<const std::uint8_t> payload = {};
};

/// The life of one request as a machine without I/O: resume() takes what happened and returns what to do next.
/// Exactly one of reply, shed and drop ends it; events after that are an error of the caller.
class callout_fsm {
  public:
    explicit callout_fsm(flow_context& context) noexcept : c_(context) {}

    /// Makes it a new request. `memory` has the correlation id in it.
    void begin(callout_message&& message, std::shared_ptr<const flow_config> config, request_memory_ptr memory,
               std::string_view correlation_id);
    [[nodiscard]] action resume(event e);
    /// Lets go of everything; the memory may live on in a plugin.
    void end() noexcept;

    [[nodiscard]] const request& data() const noexcept { return r_; }
    [[nodiscard]] request& data() noexcept { return r_; }
    [[nodiscard]] bool over() const noexcept { return state_ == state::over; }

  private:
    enum class state : std::uint8_t { idle, opening, authenticating, looking_up, signing_user, signing_response, over };

    // intake.cpp: from bytes to a verified request
    action open();
    action decode(std::string_view token);
    action check();
    // decision.cpp: from a verified request to a verdict
    action route();
    action next_backend();
    action judge(auth_result& reply);
    action look_up();
    action judge_stored(stored_result& found);
    action grant();
    action deny(std::string_view reason_id, std::string_view reason);
    bool prepare_ask();
    // callout_fsm.cpp
    action sign_user();
    action sign_response(std::string_view error);
    action send(std::string_view response);
    action shed(observe::drop_reason why, std::string detail);
    action drop(observe::drop_reason why, std::string detail);
    void close_stage(observe::stage s) noexcept;
    [[nodiscard]] arena& memory() noexcept { return r_.memory->bytes; }

    flow_context& c_;
    request r_;
    state state_ = state::idle;
};

}  // namespace callgate::flow
