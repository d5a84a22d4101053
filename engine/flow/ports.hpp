// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <callgate/abi/auth_backend.h>
#include <callgate/abi/key_provider.h>
#include <callgate/crypto/ed25519.hpp>
#include <callgate/crypto/secret.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/error.hpp"
#include "engine/policy/policy.hpp"

/// What the request flow needs of the world. Implemented by host/ (plugins), net/ by way of runtime/
/// (publishing, kicking) and by tests. Everything is called on the shard's thread unless tagged [any].
namespace callgate::flow {

/// Memory behind a cg_auth_request or a message to sign. A plugin may read it until it completes, which can
/// be long after the request was answered or dropped; so it is counted, apart from the request's slot.
class pinned {
  public:
    virtual ~pinned() = default;
    friend void intrusive_ptr_add_ref(const pinned* p) noexcept { p->count_.fetch_add(1, std::memory_order_relaxed); }
    friend void intrusive_ptr_release(const pinned* p) noexcept {
        if (p->count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete p;
    }

  private:
    mutable std::atomic<std::uint32_t> count_{0};
};
using pinned_ptr = boost::intrusive_ptr<const pinned>;

/// Names a request of one shard; stays harmless when the request is gone. 0 = none.
using request_tag = std::uint64_t;

/// A backend's reply, copied out of the plugin's memory.
struct auth_result {
    std::uint32_t verdict = CG_VERDICT_UNAVAILABLE;
    std::string reason_id;  ///< checked: [a-z0-9_]{1,40}
    std::string reason;
    std::optional<policy::identity> who;
    std::optional<policy::backend_grant> grant;
    std::uint32_t cache_ttl_s = 0;
    std::vector<std::pair<std::string, std::string>> explain;
};

/// One round trip to a key provider. Owned by whoever works on it; comes back whole.
struct sign_job {
    struct item {
        cg_key key = 0;
        std::uint32_t purpose = 0;  ///< CG_SIGN_*
        cg_status status = CG_E_INTERNAL;
        std::span<const std::uint8_t> message;  ///< inside `hold`
        pinned_ptr hold;
        request_tag tag = 0;
        std::uint8_t signature[64] = {};
    };
    std::vector<item> items;
    cg_status status = CG_OK;  ///< of the whole batch
    std::uint32_t provider = 0; ///< names the batcher's lane that sent it; comes back as it was
};

/// What a claim store has under a key.
struct stored_result {
    enum class state : std::uint8_t { found, missing, unavailable } what = state::unavailable;
    std::shared_ptr<const std::string> document;  ///< when found
    std::uint64_t revision = 0;
    std::string reason;                           ///< when unavailable; for the operator
};

/// Receives completions. Always on the shard's thread; possibly inside the call that started the operation.
class completion_sink {
  public:
    virtual ~completion_sink() = default;
    virtual void on_auth(request_tag tag, auth_result&& result) = 0;
    virtual void on_signed(std::unique_ptr<sign_job> job) = 0;
    virtual void on_shared(request_tag tag, result<crypto::secret> shared) = 0;
    /// Only for who asks claim stores.
    virtual void on_stored(request_tag /*tag*/, stored_result&& /*result*/) {}
};

/// One auth backend instance.
class auth_port {
  public:
    virtual ~auth_port() = default;
    [[nodiscard]] virtual std::string_view name() const = 0;
    /// Exactly one on_auth(tag) follows, UNAVAILABLE when the plugin refuses, fails, has too much in flight
    /// or does not complete before deadline_ns (CLOCK_MONOTONIC). `request` lies inside `memory`.
    virtual void authenticate(std::uint32_t shard, const cg_auth_request& request, pinned_ptr memory, std::int64_t deadline_ns,
                              request_tag tag, completion_sink& sink) = 0;
};

/// A key as the flow uses it: which provider, which handle, which public key.
struct key_binding {
    std::uint32_t provider = 0;  ///< index into the providers of this configuration
    cg_key key = 0;
    std::string nkey;            ///< public text, 56 characters
    crypto::key_bytes public_bytes{};
    bool verify = true;          ///< the engine checks its signatures before they leave (false: key_file does)
};

/// One key provider instance.
class key_port {
  public:
    virtual ~key_port() = default;
    [[nodiscard]] virtual std::string_view name() const = 0;
    [[nodiscard]] virtual std::uint32_t max_batch() const = 0;
    [[nodiscard]] virtual std::uint32_t max_in_flight() const = 0;
    /// Exactly one on_signed follows, with every item's status set.
    virtual void sign(std::uint32_t shard, std::unique_ptr<sign_job> job, std::int64_t deadline_ns, completion_sink& sink) = 0;
    /// Exactly one on_shared follows: 32 bytes of crypto_box_beforenm.
    virtual void export_shared(std::uint32_t shard, cg_key key, const crypto::key_bytes& peer, std::int64_t deadline_ns,
                               request_tag tag, completion_sink& sink) = 0;
};

/// One claim store instance, as far as decisions need it.
class store_port {
  public:
    virtual ~store_port() = default;
    [[nodiscard]] virtual std::string_view name() const = 0;
    /// Exactly one on_stored(tag) follows: unavailable when the plugin refuses, fails, has too much in flight or does not
    /// answer before deadline_ns. `key` is well-formed; it may be gone when this returns.
    virtual void get(std::uint32_t shard, std::string_view key, std::int64_t deadline_ns, request_tag tag, completion_sink& sink) = 0;
};

/// Where replies go. `link` is the index of the link the request arrived on.
class reply_port {
  public:
    virtual ~reply_port() = default;
    /// False: could not be sent (not connected, buffer full); counted, never retried.
    /// cold: use the separate link (decisions.md, Engine 2) if it leads to the same server as `link`.
    virtual bool send_reply(std::uint32_t link, bool cold, std::string_view subject, std::span<const std::uint8_t> payload) = 0;
    /// Is `link` connected to that very server, not to another one of its cluster or supercluster?
    [[nodiscard]] virtual bool leads_to(std::uint32_t link, std::string_view server_id) const = 0;
    /// Closes a pending connection at its server so that the client comes again (shed). [shard] returns at once.
    virtual void kick(std::uint32_t link, std::string_view server_id, std::uint64_t cid) = 0;
    [[nodiscard]] virtual bool can_kick(std::uint32_t link) const = 0;
    /// Is that server on the configured or discovered list?
    [[nodiscard]] virtual bool is_pinned(std::uint32_t link, std::string_view server_id) const = 0;
};

/// One record for each decision; strings are owned because sinks run elsewhere.
struct audit_record {
    std::int64_t unix_ms = 0;
    std::string correlation_id, server_id, server_name, client_host, client_kind, identity, issuer, backend, route, rule,
        account, verdict, reason_id, reason, user_nkey, permissions_hash;
    std::uint64_t client_id = 0;
    std::int64_t latency_us = 0;
    std::int64_t exp_unix_s = 0;
};

class audit_port {
  public:
    virtual ~audit_port() = default;
    /// False: no room. With fail_closed the flow then sheds instead of answering ALLOW.
    virtual bool record(audit_record&& r) = 0;
    [[nodiscard]] virtual bool fail_closed() const = 0;
};

}  // namespace callgate::flow
