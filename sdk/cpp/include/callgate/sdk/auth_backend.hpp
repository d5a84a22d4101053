// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/auth_backend.h>
#include <callgate/sdk/instance.hpp>
#include <callgate/sdk/reply.hpp>

namespace callgate::sdk {

/// The request as this plugin was compiled to see it. Copying is cheap; the strings it points to live
/// until the operation is answered, also on other threads.
class request_view {
  public:
    explicit request_view(const cg_auth_request* request) noexcept : r_(copy_in(request)) {}

    [[nodiscard]] const cg_auth_request& raw() const noexcept { return r_; }
    /// Policy tests and explain: no side effect, no counting of failures.
    [[nodiscard]] bool simulated() const noexcept { return (r_.flags & CG_REQUEST_SIMULATE) != 0; }
    [[nodiscard]] bool shadow() const noexcept { return (r_.flags & CG_REQUEST_SHADOW) != 0; }
    /// The server's signature, or its xkey, stands behind what the request says.
    [[nodiscard]] bool trusted() const noexcept { return r_.trust == CG_TRUST_VERIFIED || r_.trust == CG_TRUST_PROVEN_XKEY; }
    /// The shard that asks; also the index for metrics.
    [[nodiscard]] std::uint32_t shard() const noexcept { return r_.shard; }
    [[nodiscard]] std::int64_t now_unix_s() const noexcept { return r_.now_unix_s; }

    /// What the route chose as credential, and from which field.
    [[nodiscard]] std::string_view credential() const noexcept { return view(r_.credential); }
    [[nodiscard]] std::uint32_t credential_source() const noexcept { return r_.credential_source; }
    [[nodiscard]] std::string_view user() const noexcept { return view(r_.user); }
    [[nodiscard]] std::string_view pass() const noexcept { return view(r_.pass); }
    [[nodiscard]] std::string_view auth_token() const noexcept { return view(r_.auth_token); }
    [[nodiscard]] std::string_view jwt() const noexcept { return view(r_.jwt); }
    [[nodiscard]] std::string_view nkey() const noexcept { return view(r_.nkey); }
    [[nodiscard]] std::string_view sig() const noexcept { return view(r_.sig); }
    [[nodiscard]] std::string_view client_nonce() const noexcept { return view(r_.client_nonce); }
    [[nodiscard]] std::string_view client_host() const noexcept { return view(r_.client_host); }
    [[nodiscard]] std::string_view server_id() const noexcept { return view(r_.server_id); }
    [[nodiscard]] std::string_view user_nkey() const noexcept { return view(r_.user_nkey); }
    [[nodiscard]] std::string_view correlation_id() const noexcept { return view(r_.correlation_id); }

    [[nodiscard]] std::size_t earlier_count() const noexcept {
        return r_.earlier == nullptr || r_.earlier_stride < sizeof(std::uint32_t) ? 0 : r_.earlier_count;
    }
    /// Identity found by the i-th earlier backend of the chain.
    [[nodiscard]] cg_identity earlier(std::size_t i) const noexcept {
        const auto* base = reinterpret_cast<const unsigned char*>(r_.earlier);
        return copy_in(reinterpret_cast<const cg_identity*>(base + i * r_.earlier_stride));
    }

  private:
    cg_auth_request r_;
};

/// Base of an auth backend. A class to be listed in CALLGATE_PLUGIN also has
///   static constexpr std::string_view type, summary, config_schema;
///   static std::unique_ptr<auth_backend> create(host_ref, const create_args&);
class auth_backend : public instance {
  public:
    static constexpr std::uint32_t kind = CG_KIND_AUTH_BACKEND;

    /// [shard] Must not block. `state` is what attach_shard made. Answers by reply_builder::send, at once
    /// or later on any thread; an exception, a dropped handle and op.fail all read as UNAVAILABLE.
    virtual void authenticate(shard_state* state, op_handle&& op, const request_view& request) = 0;

  protected:
    explicit auth_backend(host_ref host) noexcept : instance(host, kind, &c_table_) {}

  private:
    static const cg_auth_backend_api c_table_;
};

inline const cg_auth_backend_api auth_backend::c_table_ = {
    .struct_size = sizeof(cg_auth_backend_api),
    .reserved = 0,
    .authenticate = [](cg_instance* i, void* state, cg_op op, const cg_auth_request* request) noexcept {
        return guard(i, op, [&](op_handle& h) {
            static_cast<auth_backend&>(of(i)).authenticate(static_cast<shard_state*>(state), std::move(h), request_view{request});
        });
    },
};

}  // namespace callgate::sdk
