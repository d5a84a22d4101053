// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/http_client.h>
#include <callgate/abi/ext/snapshot.h>
#include <callgate/abi/ext/timer.h>
#include <callgate/sdk/host.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

/// Host capabilities with owners. `host_ref::query<ext::timer>()` gives the bare table.
namespace callgate::sdk {

namespace ext {
struct timer {
    using api = cg_timer_api;
    static constexpr std::string_view id = CG_EXT_TIMER;
};
struct snapshot {
    using api = cg_snapshot_api;
    static constexpr std::string_view id = CG_EXT_SNAPSHOT;
};
struct http_client {
    using api = cg_http_client_api;
    static constexpr std::string_view id = CG_EXT_HTTP_CLIENT;
};
}  // namespace ext

namespace detail {
template <class Call>
void guard_callback(const host_ref& host, std::string_view what, Call&& call) noexcept {
    try {
        call();
    } catch (const std::exception& e) {
        host.log(log_level::error, "a callback failed", {{"callback", what}, {"reason", e.what()}});
    } catch (...) {
        host.log(log_level::error, "a callback failed", {{"callback", what}});
    }
}
}  // namespace detail

/// One one-shot timer of the control thread. All of it is [control]; there a cancelled timer never fires.
class one_shot_timer {
  public:
    /// Throws status_error when the host has no timers.
    explicit one_shot_timer(host_ref host) : host_(host), api_(&host.require<ext::timer>()) {}
    one_shot_timer(const one_shot_timer&) = delete;
    one_shot_timer& operator=(const one_shot_timer&) = delete;
    ~one_shot_timer() { cancel(); }

    /// Replaces what was armed. Throws status_error when the host refuses.
    void arm(std::chrono::nanoseconds after, std::function<void()> fn) {
        cancel();
        fn_ = std::move(fn);
        const cg_status s = api_->start(host_.get(), std::max<std::int64_t>(0, after.count()), &fire, this, &id_);
        if (s != CG_OK) {
            id_ = 0;
            throw status_error(s, "the host refused a timer; too many are armed");
        }
        armed_ = true;
    }
    void cancel() noexcept {
        if (std::exchange(armed_, false)) api_->cancel(host_.get(), id_);
    }
    [[nodiscard]] bool armed() const noexcept { return armed_; }

  private:
    static void fire(void* ctx) noexcept {
        auto& self = *static_cast<one_shot_timer*>(ctx);
        self.armed_ = false;
        // Moved out: the callback may arm this timer again or end its owner.
        auto fn = std::move(self.fn_);
        detail::guard_callback(host_ref{self.host_}, "timer", fn);
    }

    host_ref host_;
    const cg_timer_api* api_;
    std::function<void()> fn_;
    std::uint64_t id_ = 0;
    bool armed_ = false;
};

/// An immutable T, swapped whole. read() is [any] and never waits; publish() is [any]; made and destroyed
/// on [control], when no reader is inside.
template <class T>
class snapshot_cell {
  public:
    /// Pins the object it shows; short-lived, stays on its thread, at most 8 per thread at once.
    class pin {
      public:
        pin(const cg_snapshot_api* api, cg_snapshot_cell* cell) noexcept : api_(api), cell_(cell) {
            object_ = static_cast<const T*>(api_->acquire(cell_, &id_));
        }
        pin(const pin&) = delete;
        pin& operator=(const pin&) = delete;
        ~pin() { api_->release(cell_, id_); }
        explicit operator bool() const noexcept { return object_ != nullptr; }
        const T& operator*() const noexcept { return *object_; }
        const T* operator->() const noexcept { return object_; }
        [[nodiscard]] const T* get() const noexcept { return object_; }

      private:
        const cg_snapshot_api* api_;
        cg_snapshot_cell* cell_;
        std::uint32_t id_ = 0;
        const T* object_;
    };

    explicit snapshot_cell(const host_ref& host) : api_(&host.require<ext::snapshot>()) {
        const cg_status s = api_->create(host.get(), [](void* p) noexcept { delete static_cast<const T*>(p); }, &cell_);
        if (s != CG_OK) throw status_error(s, "the host refused a snapshot cell");
    }
    snapshot_cell(const snapshot_cell&) = delete;
    snapshot_cell& operator=(const snapshot_cell&) = delete;
    ~snapshot_cell() { api_->destroy(cell_); }

    void publish(std::unique_ptr<const T> object) noexcept { api_->publish(cell_, const_cast<T*>(object.release())); }
    [[nodiscard]] pin read() const noexcept { return pin{api_, cell_}; }

  private:
    const cg_snapshot_api* api_;
    cg_snapshot_cell* cell_ = nullptr;
};

struct http_request {
    std::string method = "GET";
    std::string url{};
    std::vector<std::pair<std::string, std::string>> headers{};
    std::string body{};
    std::chrono::nanoseconds timeout{0};  ///< whole exchange; 0 = 10 s
    std::uint64_t max_body_bytes = 0;     ///< 0 = 1 MiB
    std::uint32_t flags = 0;              ///< CG_HTTP_*
    std::string ca_file{};                 ///< PEM; empty = the system's
};

/// Valid during the callback it is passed to.
class http_response_view {
  public:
    explicit http_response_view(const cg_http_response* r) noexcept : r_(copy_in(r)) {}
    /// CG_OK: a response arrived whole, whatever its code.
    [[nodiscard]] cg_status status() const noexcept { return r_.status; }
    [[nodiscard]] int code() const noexcept { return r_.http_status; }
    [[nodiscard]] std::string_view error() const noexcept { return view(r_.error); }
    [[nodiscard]] std::string_view body() const noexcept {
        return {reinterpret_cast<const char*>(r_.body.data), r_.body.data == nullptr ? 0 : r_.body.size};
    }
    /// First header of that name, ASCII case ignored; empty when absent.
    [[nodiscard]] std::string_view header(std::string_view name) const noexcept {
        std::string_view first;
        bool found = false;
        each_header(name, [&](std::string_view value) {
            if (!found) first = value;
            found = true;
        });
        return first;
    }
    /// Calls `f` with the value of every header of that name, in order, ASCII case ignored.
    template <class F>
    void each_header(std::string_view name, F&& f) const {
        if (r_.headers == nullptr || r_.headers_stride < sizeof(cg_http_header)) return;
        for (std::size_t i = 0; i < r_.header_count; ++i) {
            const auto& h = *reinterpret_cast<const cg_http_header*>(reinterpret_cast<const unsigned char*>(r_.headers) +
                                                                     i * r_.headers_stride);
            const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
            const auto n = view(h.name);
            if (std::equal(n.begin(), n.end(), name.begin(), name.end(),
                           [&](char a, char b) { return lower(a) == lower(b); }))
                f(view(h.value));
        }
    }

  private:
    cg_http_response r_;
};

/// Starts an exchange; `done` runs exactly once on [control], unless this throws status_error. Whoever
/// captures its own `this` in `done` waits for it, or cancels by the id returned here and then waits.
inline std::uint64_t start_http(const host_ref& host, const http_request& request,
                                std::function<void(const http_response_view&)> done) {
    struct exchange {
        host_ref host;
        std::function<void(const http_response_view&)> done;
    };
    const auto& api = host.require<ext::http_client>();
    auto ctx = std::make_unique<exchange>(exchange{host, std::move(done)});
    std::vector<cg_http_header> headers;
    for (const auto& [name, value] : request.headers) headers.push_back({to_c(name), to_c(value)});
    auto r = make<cg_http_request>();
    r.flags = request.flags;
    r.method = to_c(request.method);
    r.url = to_c(request.url);
    r.headers = headers.data();
    r.header_count = headers.size();
    r.headers_stride = sizeof(cg_http_header);
    r.body = {reinterpret_cast<const std::uint8_t*>(request.body.data()), request.body.size()};
    r.timeout_ns = request.timeout.count();
    r.max_body_bytes = request.max_body_bytes;
    r.ca_file = to_c(request.ca_file);
    r.ctx = ctx.get();
    r.on_done = [](void* p, const cg_http_response* response) noexcept {
        const std::unique_ptr<exchange> self(static_cast<exchange*>(p));
        detail::guard_callback(self->host, "http", [&] { self->done(http_response_view{response}); });
    };
    char text[256];
    auto error = make<cg_errbuf>();
    error.text = {reinterpret_cast<std::uint8_t*>(text), sizeof text, 0};
    std::uint64_t id = 0;
    const cg_status s = api.start(host.get(), &r, &id, &error);
    if (s != CG_OK) {
        const std::string why(text, std::min(error.text.size, sizeof text));
        throw status_error(s, why.empty() ? "the host did not start the exchange, status " + std::to_string(s) : why, request.url);
    }
    // The exchange belongs to on_done from here on.
    static_cast<void>(ctx.release());
    return id;
}

}  // namespace callgate::sdk
