// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/sdk/host.hpp>
#include <limits>
#include <utility>

namespace callgate::sdk {

/// The duty to answer one operation: exactly once by construction. Move-only. Whoever holds it answers;
/// dropping it answers CG_E_ABANDONED, so a lost handle is an error the host sees and never a hanging
/// login. May move between threads; use on one thread at a time.
class op_handle {
  public:
    op_handle() noexcept = default;
    op_handle(const cg_host* host, cg_op op) noexcept : host_(host), op_(op) {}
    op_handle(op_handle&& o) noexcept : host_(o.host_), op_(std::exchange(o.op_, 0)) {}
    op_handle& operator=(op_handle&& o) noexcept {
        if (this != &o) {
            abandon();
            host_ = o.host_;
            op_ = std::exchange(o.op_, 0);
        }
        return *this;
    }
    op_handle(const op_handle&) = delete;
    op_handle& operator=(const op_handle&) = delete;
    ~op_handle() { abandon(); }

    /// True while the answer is still owed.
    explicit operator bool() const noexcept { return op_ != 0; }
    /// For cancel(): says which operation is meant. 0 when answered.
    [[nodiscard]] cg_op id() const noexcept { return op_; }

    /// Nanoseconds; negative when past, INT64_MAX without a deadline, 0 when answered.
    [[nodiscard]] std::int64_t time_left_ns() const noexcept { return op_ == 0 ? 0 : host_->core->time_left_ns(host_, op_); }
    [[nodiscard]] bool cancelled() const noexcept { return op_ == 0 || host_->core->is_cancelled(host_, op_) != 0; }
    /// Zeroed memory that lives until the answer; nullptr when the operation's 64 KiB are spent.
    [[nodiscard]] void* scratch(std::size_t size, std::size_t align = alignof(std::max_align_t)) const noexcept {
        return op_ == 0 ? nullptr : host_->core->scratch(host_, op_, size, align);
    }

    /// Answers CG_OK. `result` is the struct the operation defines and may die when this returns.
    void succeed(const void* result = nullptr) noexcept {
        auto c = make<cg_completion>();
        c.status = CG_OK;
        c.result = result;
        finish(c);
    }
    /// As succeed, with a result the host reads until it calls release(ctx), once, on any thread.
    void succeed_until_released(const void* result, void (*release)(void*), void* ctx) noexcept {
        if (op_ == 0) {
            release(ctx);
            return;
        }
        auto c = make<cg_completion>();
        c.status = CG_OK;
        c.result = result;
        c.release = release;
        c.release_ctx = ctx;
        finish(c);
    }
    /// `code` is one of CG_E_*; the text says what was wrong and what to do, never a secret.
    void fail(cg_status code, std::string_view text, std::string_view where = {}, std::uint32_t retry_after_ms = 0) noexcept {
        auto e = make<cg_error>();
        e.code = code < 0 ? code : CG_E_INTERNAL;
        e.retry_after_ms = retry_after_ms;
        e.text = to_c(text);
        e.where = to_c(where);
        auto c = make<cg_completion>();
        c.status = e.code;
        c.error = &e;
        finish(c);
    }

  private:
    void finish(const cg_completion& c) noexcept {
        // Cleared first: the host may run anything of ours inside complete().
        const cg_op op = std::exchange(op_, 0);
        if (op != 0) host_->core->complete(host_, op, &c);
    }
    void abandon() noexcept {
        if (op_ != 0) fail(CG_E_ABANDONED, "the plugin dropped this operation without an answer");
    }

    const cg_host* host_ = nullptr;
    cg_op op_ = 0;
};

}  // namespace callgate::sdk
