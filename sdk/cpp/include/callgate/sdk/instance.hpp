// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/instance.h>
#include <callgate/sdk/op.hpp>
#include <exception>
#include <memory>
#include <new>

namespace callgate::sdk {

/// What a plugin keeps for one shard. Made and destroyed on that shard.
class shard_state {
  public:
    virtual ~shard_state() = default;
};

struct health {
    std::uint32_t state = CG_HEALTH_OK;
    std::string text;  ///< which data is stale and since when; empty when OK
};

namespace detail {

/// Runs `call(op)`; an exception becomes the failure of that operation. Handlers take `op_handle&&` and
/// so leave the handle here until they move it away: what throws before that still answers with its text.
template <class Call>
cg_status guard_op(const cg_host* host, cg_op id, Call&& call) noexcept {
    op_handle op{host, id};
    try {
        call(op);
    } catch (const status_error& e) {
        if (op) op.fail(e.code(), e.what(), e.where());
    } catch (const std::bad_alloc&) {
        if (op) op.fail(CG_E_BUSY, "out of memory");
    } catch (const std::exception& e) {
        if (op) op.fail(CG_E_INTERNAL, e.what());
    } catch (...) {
        if (op) op.fail(CG_E_INTERNAL, "the plugin threw something that is not a std::exception");
    }
    // Accepted in every case: a handler that kept no handle has been answered by op's destructor.
    return CG_OK;
}

inline void write_error(cg_errbuf* out, cg_status code, std::string_view text) noexcept {
    if (out == nullptr) return;
    out->code = code;
    const std::size_t n = std::min(text.size(), out->text.cap);
    if (n != 0) std::memcpy(out->text.data, text.data(), n);
    out->text.size = n;
}

}  // namespace detail

/// Base of every plugin object: life cycle with a C vtable in front. Derive from auth_backend or
/// key_provider instead. Thread tags as in abi/instance.h.
class instance {
  public:
    instance(const instance&) = delete;
    instance& operator=(const instance&) = delete;
    virtual ~instance() = default;

    /// [control] May keep the handle and answer later. A failure stops the host's start or reload.
    virtual void start(op_handle&& op) { op.succeed(); }
    /// [shard] Once per shard after start.
    virtual std::unique_ptr<shard_state> attach_shard(std::uint32_t /*shard*/) { return nullptr; }
    /// [control] No new operations come; answer when those in flight are answered.
    virtual void drain(op_handle&& op) { op.succeed(); }
    /// [control] End threads, timers and requests. No host call after the answer.
    virtual void stop(op_handle&& op) { op.succeed(); }
    /// [control]
    [[nodiscard]] virtual sdk::health current_health() { return {}; }
    /// [any] Nobody needs that answer any more; it still has to be given once.
    virtual void cancel(cg_op /*op*/, std::int32_t /*reason*/) {}
    /// [any] Plugin-side extensions.
    [[nodiscard]] virtual const void* query(std::string_view /*extension_id*/) { return nullptr; }

    /// What create() hands out.
    [[nodiscard]] cg_instance* c_instance() noexcept { return &c_; }

  protected:
    instance(host_ref host, std::uint32_t kind, const void* api) noexcept : host_(host) {
        c_.struct_size = sizeof(cg_instance);
        c_.kind = kind;
        c_.life = &lifecycle;
        c_.api = api;
        c_.query = [](cg_instance* i, cg_str id) noexcept -> const void* {
            try {
                return of(i).query(view(id));
            } catch (...) {
                return nullptr;
            }
        };
        c_.self = this;
    }
    [[nodiscard]] const host_ref& host() const noexcept { return host_; }
    /// The object behind a handle the host passed in.
    [[nodiscard]] static instance& of(cg_instance* i) noexcept { return *static_cast<c_part*>(i)->self; }

    template <class Call>
    static cg_status guard(cg_instance* i, cg_op id, Call&& call) noexcept {
        return detail::guard_op(of(i).host_.get(), id, std::forward<Call>(call));
    }

  private:
    struct c_part : cg_instance {
        instance* self;
    };
    static const cg_lifecycle lifecycle;

    host_ref host_;
    c_part c_{};
};

inline const cg_lifecycle instance::lifecycle = {
    .struct_size = sizeof(cg_lifecycle),
    .reserved = 0,
    .start = [](cg_instance* i, cg_op op) noexcept { return guard(i, op, [&](op_handle& h) { of(i).start(std::move(h)); }); },
    .shard_attach = [](cg_instance* i, std::uint32_t shard, void** state) noexcept -> cg_status {
        try {
            *state = of(i).attach_shard(shard).release();
            return CG_OK;
        } catch (const std::exception& e) {
            of(i).host_.log(log_level::error, "cannot attach a shard", {{"reason", e.what()}});
        } catch (...) {
            of(i).host_.log(log_level::error, "cannot attach a shard");
        }
        *state = nullptr;
        return CG_E_INTERNAL;
    },
    .shard_detach = [](cg_instance*, std::uint32_t, void* state) noexcept { delete static_cast<shard_state*>(state); },
    .drain = [](cg_instance* i, cg_op op) noexcept { return guard(i, op, [&](op_handle& h) { of(i).drain(std::move(h)); }); },
    .stop = [](cg_instance* i, cg_op op) noexcept { return guard(i, op, [&](op_handle& h) { of(i).stop(std::move(h)); }); },
    .destroy = [](cg_instance* i) noexcept { delete &of(i); },
    .health = [](cg_instance* i, cg_op op) noexcept {
        return guard(i, op, [&](op_handle& h) {
            const sdk::health now = of(i).current_health();
            auto out = make<cg_health>();
            out.state = now.state;
            out.text = to_c(now.text);
            h.succeed(&out);
        });
    },
    .cancel = [](cg_instance* i, cg_op op, std::int32_t reason) noexcept {
        try {
            of(i).cancel(op, reason);
        } catch (const std::exception& e) {
            of(i).host_.log(log_level::error, "cancel failed", {{"reason", e.what()}});
        } catch (...) {
            of(i).host_.log(log_level::error, "cancel failed");
        }
    },
};

}  // namespace callgate::sdk
