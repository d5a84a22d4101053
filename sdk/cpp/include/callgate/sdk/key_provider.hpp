// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/key_provider.h>
#include <callgate/sdk/instance.hpp>

namespace callgate::sdk {

/// One batch of messages to sign. Valid until the operation is answered.
class sign_batch_view {
  public:
    explicit sign_batch_view(const cg_sign_batch* batch) noexcept : b_(copy_in(batch)) {}
    [[nodiscard]] std::size_t size() const noexcept { return b_.items == nullptr || b_.stride < sizeof(cg_sign_item) ? 0 : b_.count; }
    [[nodiscard]] cg_sign_item& operator[](std::size_t i) const noexcept {
        return *reinterpret_cast<cg_sign_item*>(reinterpret_cast<unsigned char*>(b_.items) + i * b_.stride);
    }
    /// False when the batch cannot be read; fail it with CG_E_ABI.
    [[nodiscard]] bool valid() const noexcept { return b_.count == 0 || size() != 0; }

  private:
    cg_sign_batch b_;
};

/// Base of a key provider. A class to be listed in CALLGATE_PLUGIN also has
///   static constexpr std::string_view type, summary, config_schema;
///   static std::unique_ptr<key_provider> create(host_ref, const create_args&);
class key_provider : public instance {
  public:
    static constexpr std::uint32_t kind = CG_KIND_KEY_PROVIDER;

    /// [control] Result cg_key_page. `from` is empty or the `next` of the page before.
    virtual void list_keys(op_handle&& op, std::span<const std::uint8_t> from) = 0;
    /// [shard], or [control] with state nullptr. Fill signature and status of every item, then succeed().
    virtual void sign(shard_state* state, op_handle&& op, const sign_batch_view& batch) = 0;
    /// [shard] or [control]. Result cg_shared_key.
    virtual void export_shared(shard_state* /*state*/, op_handle&& op, cg_key /*key*/, std::span<const std::uint8_t> /*peer*/) {
        op.fail(CG_E_UNSUPPORTED, "this key provider holds no xkeys");
    }

  protected:
    key_provider(host_ref host, std::uint32_t max_batch, std::uint32_t max_in_flight) noexcept
        : instance(host, kind, &c_table_), limits_{sizeof(cg_key_limits), max_batch, max_in_flight, 0} {}

  private:
    static const cg_key_provider_api c_table_;
    cg_key_limits limits_;
};

inline const cg_key_provider_api key_provider::c_table_ = {
    .struct_size = sizeof(cg_key_provider_api),
    .reserved = 0,
    .limits = [](cg_instance* i) noexcept -> const cg_key_limits* { return &static_cast<key_provider&>(of(i)).limits_; },
    .list_keys = [](cg_instance* i, cg_op op, cg_bytes from) noexcept {
        return guard(i, op, [&](op_handle& h) { static_cast<key_provider&>(of(i)).list_keys(std::move(h), view(from)); });
    },
    .sign_batch = [](cg_instance* i, void* state, cg_op op, const cg_sign_batch* batch) noexcept {
        return guard(i, op, [&](op_handle& h) {
            static_cast<key_provider&>(of(i)).sign(static_cast<shard_state*>(state), std::move(h), sign_batch_view{batch});
        });
    },
    .export_shared = [](cg_instance* i, void* state, cg_op op, cg_key key, cg_bytes peer) noexcept {
        return guard(i, op, [&](op_handle& h) {
            static_cast<key_provider&>(of(i)).export_shared(static_cast<shard_state*>(state), std::move(h), key, view(peer));
        });
    },
};

}  // namespace callgate::sdk
