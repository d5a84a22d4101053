// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/ext/draft/nats.h>
#include <callgate/sdk/extensions.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// nats/1 (draft): a connection to a cluster that the configuration lists under `uses` as nats/CLUSTER.
namespace callgate::sdk {

namespace ext {
struct nats {
    using api = cg_nats_api;
    static constexpr std::string_view id = CG_EXT_NATS;
};
}  // namespace ext

/// What is sent; views, copied by the call that takes it.
struct nats_outgoing {
    std::string_view subject;
    std::span<const std::uint8_t> payload{};
    std::vector<std::pair<std::string_view, std::string_view>> headers{};
    std::string_view reply{};
};

/// What came; valid during the callback.
class nats_incoming {
  public:
    explicit nats_incoming(const cg_nats_message* theirs) : message_(copy_in(theirs)) {}
    [[nodiscard]] std::string_view subject() const noexcept { return view(message_.subject); }
    [[nodiscard]] std::string_view reply() const noexcept { return view(message_.reply); }
    [[nodiscard]] std::span<const std::uint8_t> payload() const noexcept { return view(message_.payload); }
    [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<const char*>(message_.payload.data), message_.payload.size}; }
    /// Messages of the subscription that were dropped just before this one.
    [[nodiscard]] std::uint64_t lost() const noexcept { return message_.lost; }
    /// The first of that name, compared byte by byte; empty when there is none.
    [[nodiscard]] std::string_view header(std::string_view name) const noexcept {
        for (std::size_t i = 0; i < message_.header_count; ++i) {
            const auto& h = *reinterpret_cast<const cg_nats_header*>(reinterpret_cast<const unsigned char*>(message_.headers) + i * message_.headers_stride);
            if (view(h.name) == name) return view(h.value);
        }
        return {};
    }

  private:
    cg_nats_message message_;
};

/// CG_OK and the answer, or why there is none and nullptr.
using nats_answered = std::function<void(cg_status, const nats_incoming*)>;
using nats_received = std::function<void(const nats_incoming&)>;

/// One connection. Made and destroyed on [control], after the last answer: `stop` waits for it. Everything else as tagged.
class nats_client {
  public:
    /// Throws status_error: CG_E_UNSUPPORTED, or CG_E_PERMISSION when the configuration does not list it under `uses`.
    nats_client(host_ref host, std::string_view cluster) : host_(host), api_(&host.require<ext::nats>()) {
        char text[256];
        auto why = make<cg_errbuf>();
        why.text = {reinterpret_cast<std::uint8_t*>(text), sizeof text, 0};
        if (const auto s = api_->open(host_.get(), to_c(cluster), &nats_, &why); s != CG_OK)
            throw status_error(s, "no connection to nats cluster \"" + std::string(cluster) + "\": " + std::string(text, std::min(why.text.size, sizeof text)));
    }
    nats_client(const nats_client&) = delete;
    nats_client& operator=(const nats_client&) = delete;
    ~nats_client() {
        for (const auto& s : subscriptions_) (void)api_->unsubscribe(host_.get(), nats_, s->id);
    }

    /// [any]
    [[nodiscard]] cg_nats_status status() const noexcept {
        auto s = make<cg_nats_status>();
        (void)api_->status(host_.get(), nats_, &s);
        return s;
    }
    /// [any] CG_OK: on its way, at most once. CG_E_UNAVAILABLE: not connected; CG_E_BUSY, CG_E_NOSPC, CG_E_INVALID: see nats.h.
    [[nodiscard]] cg_status publish(const nats_outgoing& m) const {
        const built b(m);
        return api_->publish(host_.get(), nats_, &b.message);
    }
    /// [control] `fn` runs on [control], or on [worker] with CG_NATS_ON_WORKER in `flags`, until unsubscribe() or the end of this object;
    /// one on [worker] may then still be running, so end those from stop. Throws status_error. Returns an id.
    std::uint64_t subscribe(std::string_view subject, nats_received fn, std::string_view queue = {}, std::uint32_t flags = 0) {
        auto kept = std::make_unique<subscription>(
            subscription{host_, std::make_shared<const nats_received>(std::move(fn)), 0, (flags & CG_NATS_ON_WORKER) != 0});
        auto s = make<cg_nats_subscription>();
        s.flags = flags;
        s.subject = to_c(subject);
        s.queue = to_c(queue);
        s.ctx = kept.get();
        s.on_message = [](void* p, const cg_nats_message* theirs) noexcept {
            const auto& self = *static_cast<const subscription*>(p);
            // Held: the function may end its own subscription.
            const auto held = self.fn;
            const auto host = self.host;
            detail::guard_callback(host, "nats message", [&] { (*held)(nats_incoming(theirs)); });
        };
        if (const auto status = api_->subscribe(host_.get(), nats_, &s, &kept->id); status != CG_OK)
            throw status_error(status, "the host does not subscribe \"" + std::string(subject) + "\"");
        subscriptions_.push_back(std::move(kept));
        return subscriptions_.back()->id;
    }
    /// [control]
    void unsubscribe(std::uint64_t id) noexcept {
        if (api_->unsubscribe(host_.get(), nats_, id) != CG_OK) return;
        const auto it = std::find_if(subscriptions_.begin(), subscriptions_.end(), [id](const auto& s) { return s->id == id; });
        if (it == subscriptions_.end()) return;
        // A thread of the pool may be about to read it.
        if ((*it)->on_worker) ended_.splice(ended_.end(), subscriptions_, it);
        else subscriptions_.erase(it);
    }
    /// [any] CG_OK: `done` follows, once, on [control] or, by `flags`, on [worker]. `op`: an operation that the request is made for, with
    /// which it ends; `id`: for cancel().
    [[nodiscard]] cg_status request(const nats_outgoing& m, nats_answered done, std::chrono::nanoseconds timeout = {}, cg_op op = 0,
                                    std::uint64_t* id = nullptr, std::uint32_t flags = 0) const {
        struct pending {
            host_ref host;
            nats_answered done;
        };
        auto ctx = std::make_unique<pending>(pending{host_, std::move(done)});
        const built b(m);
        auto r = make<cg_nats_request>();
        r.flags = flags;
        r.message = &b.message;
        r.timeout_ns = timeout.count();
        r.op = op;
        r.ctx = ctx.get();
        r.done = [](void* p, const cg_nats_answer* theirs) noexcept {
            const std::unique_ptr<pending> self(static_cast<pending*>(p));
            const auto a = copy_in(theirs);
            detail::guard_callback(self->host, "nats answer", [&] {
                if (a.status != CG_OK || a.message == nullptr) return self->done(a.status == CG_OK ? CG_E_INTERNAL : a.status, nullptr);
                const nats_incoming message(a.message);
                self->done(CG_OK, &message);
            });
        };
        const auto s = api_->request(host_.get(), nats_, &r, id);
        if (s == CG_OK) static_cast<void>(ctx.release());  // `done` owns it
        return s;
    }
    /// [any] The answer still comes, with CG_E_CANCELLED unless it was there already.
    void cancel(std::uint64_t id) const noexcept { api_->cancel(host_.get(), nats_, id); }

  private:
    struct subscription {
        host_ref host;
        std::shared_ptr<const nats_received> fn;
        std::uint64_t id;
        bool on_worker;
    };
    struct built {
        explicit built(const nats_outgoing& m) {
            headers.reserve(m.headers.size());
            for (const auto& [name, value] : m.headers) headers.push_back({to_c(name), to_c(value)});
            message.headers_stride = sizeof(cg_nats_header);
            message.subject = to_c(m.subject);
            message.reply = to_c(m.reply);
            message.headers = headers.data();
            message.header_count = headers.size();
            message.payload = to_c(m.payload);
        }
        built(const built&) = delete;
        std::vector<cg_nats_header> headers;
        cg_nats_message message = make<cg_nats_message>();
    };

    host_ref host_;
    const cg_nats_api* api_;
    cg_nats nats_ = 0;
    std::list<std::unique_ptr<subscription>> subscriptions_, ended_;
};

}  // namespace callgate::sdk
