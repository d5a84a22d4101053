// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/audit_sink.h>
#include <callgate/sdk/instance.hpp>

/// Audit sinks (draft/audit_sink.h).
namespace callgate::sdk {

/// The events of one write; lives until the write is answered. Copied freely.
class audit_batch {
  public:
    explicit audit_batch(const cg_audit_batch* batch) noexcept : batch_(copy_in(batch)) {
        if (batch_.events == nullptr) batch_.count = 0;
    }
    [[nodiscard]] std::size_t size() const noexcept { return batch_.count; }
    /// With the fields both sides know; those of a newer or older host read as absent.
    [[nodiscard]] cg_audit_event operator[](std::size_t i) const noexcept {
        return copy_in(reinterpret_cast<const cg_audit_event*>(reinterpret_cast<const unsigned char*>(batch_.events) + i * batch_.stride));
    }
    /// The record as JSON with its line feed.
    [[nodiscard]] std::string_view line(std::size_t i) const noexcept { return view((*this)[i].line); }

  private:
    cg_audit_batch batch_;
};

/// Base of an audit sink. One write, flush or reopen is open at a time: the next comes when the one before was answered.
class audit_sink : public instance {
  public:
    static constexpr std::uint32_t kind = CG_KIND_AUDIT_SINK;

    /// [audit] Returns within 1 ms; answer with took() when the target has the events, or fail: then all are offered again.
    /// cancel(op) asks to answer soon.
    virtual void write(op_handle&& op, const audit_batch& batch) = 0;
    /// [audit] Answer when everything taken is safe.
    virtual void flush(op_handle&& op) { op.succeed(); }
    /// [audit] Open anew what may have been moved away. A failure leaves the old target in use.
    virtual void reopen(op_handle&& op) { op.succeed(); }

  protected:
    explicit audit_sink(host_ref host) noexcept : instance(host, kind, &api) {}
    /// The first `count` events are this sink's; the others will be offered again.
    static void took(op_handle&& op, std::size_t count) noexcept {
        auto t = make<cg_audit_taken>();
        t.count = count;
        op.succeed(&t);
    }

  private:
    static audit_sink& me(cg_instance* i) noexcept { return static_cast<audit_sink&>(of(i)); }
    static const cg_audit_sink_api api;
};

inline const cg_audit_sink_api audit_sink::api = {
    .struct_size = sizeof(cg_audit_sink_api),
    .reserved = 0,
    .write = [](cg_instance* i, cg_op op, const cg_audit_batch* batch) noexcept {
        return guard(i, op, [&](op_handle& h) { me(i).write(std::move(h), audit_batch(batch)); });
    },
    .flush = [](cg_instance* i, cg_op op) noexcept { return guard(i, op, [&](op_handle& h) { me(i).flush(std::move(h)); }); },
    .reopen = [](cg_instance* i, cg_op op) noexcept { return guard(i, op, [&](op_handle& h) { me(i).reopen(std::move(h)); }); },
};

}  // namespace callgate::sdk
