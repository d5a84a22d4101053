// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/fd.h>
#include <callgate/sdk/extensions.hpp>
#include <functional>
#include <memory>
#include <utility>

/// fd/1 (draft) with an owner.
namespace callgate::sdk {

namespace ext {
struct fd {
    using api = cg_fd_api;
    static constexpr std::string_view id = CG_EXT_FD;
};
}  // namespace ext

/// Watches one descriptor as long as it lives; the descriptor stays the caller's and is closed after it. All [control].
class fd_watch {
  public:
    /// Throws status_error when the host has no such capability.
    explicit fd_watch(host_ref host) : host_(host), api_(&host.require<ext::fd>()) {}
    fd_watch(const fd_watch&) = delete;
    fd_watch& operator=(const fd_watch&) = delete;
    ~fd_watch() { stop(); }

    /// Replaces what was watched. `fn(event)` comes with CG_FD_READ or CG_FD_WRITE for as long as that holds (level triggered); it may
    /// call start and stop. Throws status_error when the host refuses.
    void start(int fd, std::uint32_t events, std::function<void(std::uint32_t event)> fn) {
        stop();
        auto held = std::make_shared<const std::function<void(std::uint32_t)>>(std::move(fn));
        if (const auto s = api_->watch(host_.get(), fd, events, &ready, this, &id_); s != CG_OK) {
            id_ = 0;
            throw status_error(s, s == CG_E_BUSY ? "the host watches no more descriptors" : "the host cannot watch this descriptor");
        }
        fn_ = std::move(held);
    }
    void stop() noexcept {
        if (id_ != 0) (void)api_->unwatch(host_.get(), std::exchange(id_, 0));
        fn_.reset();
    }
    [[nodiscard]] bool active() const noexcept { return id_ != 0; }

  private:
    static void ready(void* ctx, std::int32_t, std::uint32_t event) noexcept {
        auto& self = *static_cast<fd_watch*>(ctx);
        const auto fn = self.fn_;  // it may stop the watch, or end its owner
        if (fn) detail::guard_callback(host_ref{self.host_}, "fd", [&] { (*fn)(event); });
    }

    host_ref host_;
    const cg_fd_api* api_;
    std::shared_ptr<const std::function<void(std::uint32_t)>> fn_;
    std::uint64_t id_ = 0;
};

}  // namespace callgate::sdk
