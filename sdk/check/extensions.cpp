// SPDX-License-Identifier: Apache-2.0
// Capabilities of the checked host: timers, snapshots and an HTTP client whose every exchange fails.
#include <callgate/abi/ext/draft/http_client.h>
#include <callgate/abi/ext/snapshot.h>
#include <callgate/abi/ext/timer.h>

#include <callgate/sdk/value.hpp>

#include <atomic>

#include "sdk/check/checked_host.hpp"
#include "sdk/check/control_loop.hpp"
#include "sdk/check/recorder.hpp"

struct cg_snapshot_cell {
    callgate::check::checked_host* owner = nullptr;
    void (*destroy)(void*) = nullptr;
    std::mutex mutex;
    std::shared_ptr<void> current;
    struct pin {
        std::shared_ptr<void> object;
        std::thread::id thread;
    };
    std::map<std::uint32_t, pin> pins;
    std::uint32_t last_pin = 0;
};

namespace callgate::check {
namespace {

constexpr guard_rule table_memory = {"a capability's table", "library.older_host", "lifecycle.silent_after_stop"};
constexpr std::size_t max_timers = 256;

void must_be_control(const char* function) {
    if (current_role() != role::control)
        recorder::violated("threads.tags", std::string(function) + "() is tagged [control] and was called on " + current_thread_name() +
                                               ": call it in create or start, or from a timer of callgate.timer/1");
}

cg_timer_api timer_table() {
    auto t = sdk::make<cg_timer_api>();
    t.start = [](const cg_host* h, std::int64_t after, void (*fn)(void*), void* ctx, std::uint64_t* id) noexcept -> cg_status {
        auto& host = host_of(h);
        host.called("callgate.timer/1 start");
        if (fn == nullptr || id == nullptr || after < 0) return CG_E_INVALID;
        auto& loop = control_loop::get();
        if (loop.armed(&host) >= max_timers) return CG_E_BUSY;
        *id = loop.arm(&host, after, [fn, ctx] {
            const progress::call scope("a timer's function");
            fn(ctx);
        });
        return CG_OK;
    };
    t.cancel = [](const cg_host* h, std::uint64_t id) noexcept -> cg_status {
        host_of(h).called("callgate.timer/1 cancel");
        return control_loop::get().disarm(id) ? CG_OK : CG_E_NOT_FOUND;
    };
    return t;
}

cg_snapshot_api snapshot_table() {
    auto t = sdk::make<cg_snapshot_api>();
    t.create = [](const cg_host* h, void (*destroy)(void*), cg_snapshot_cell** cell) noexcept -> cg_status {
        host_of(h).called("callgate.snapshot/1 create");
        must_be_control("callgate.snapshot/1 create");
        if (destroy == nullptr || cell == nullptr) return CG_E_INVALID;
        *cell = new cg_snapshot_cell;
        (*cell)->owner = &host_of(h);
        (*cell)->destroy = destroy;
        return CG_OK;
    };
    t.publish = [](cg_snapshot_cell* c, void* object) noexcept {
        c->owner->called("callgate.snapshot/1 publish");
        std::shared_ptr<void> next(object, [d = c->destroy](void* p) {
            if (p != nullptr) d(p);
        });
        const std::lock_guard lock(c->mutex);
        c->current.swap(next);
    };
    t.acquire = [](cg_snapshot_cell* c, std::uint32_t* pin) noexcept -> const void* {
        const std::lock_guard lock(c->mutex);
        *pin = ++c->last_pin;
        c->pins[*pin] = {c->current, std::this_thread::get_id()};
        return c->current.get();
    };
    t.release = [](cg_snapshot_cell* c, std::uint32_t pin) noexcept {
        std::shared_ptr<void> old;
        const std::lock_guard lock(c->mutex);
        const auto i = c->pins.find(pin);
        if (i == c->pins.end()) {
            recorder::violated("threads.tags", "callgate.snapshot/1 release() was called with a pin that is not held: release each pin that acquire() gave, once");
            return;
        }
        if (i->second.thread != std::this_thread::get_id())
            recorder::violated("threads.tags", "a snapshot pin was released on another thread than the one that took it");
        old = std::move(i->second.object);
        c->pins.erase(i);
    };
    // Allowed in destroy as well: it ends what the instance owns.
    t.destroy = [](cg_snapshot_cell* c) noexcept {
        must_be_control("callgate.snapshot/1 destroy");
        if (!c->pins.empty()) recorder::violated("threads.tags", "a snapshot cell was destroyed while a reader held a pin");
        delete c;
    };
    return t;
}

struct exchange {
    void* ctx;
    void (*on_done)(void*, const cg_http_response*);
    checked_host* owner;
};
std::mutex exchanges_mutex;
std::map<std::uint64_t, exchange> exchanges;
std::uint64_t last_exchange = 0;

void end_exchange(std::uint64_t id, cg_status status, const char* why) {
    exchange e{};
    {
        const std::lock_guard lock(exchanges_mutex);
        const auto i = exchanges.find(id);
        if (i == exchanges.end()) return;
        e = i->second;
        exchanges.erase(i);
    }
    auto r = sdk::make<cg_http_response>();
    r.status = status;
    r.headers_stride = sizeof(cg_http_header);
    r.error = sdk::to_c(std::string_view(why));
    const progress::call scope("on_done of an HTTP exchange");
    e.on_done(e.ctx, &r);
}

cg_http_client_api http_table() {
    auto t = sdk::make<cg_http_client_api>();
    t.start = [](const cg_host* h, const cg_http_request* request, std::uint64_t* id, cg_errbuf*) noexcept -> cg_status {
        auto& host = host_of(h);
        host.called("callgate.http-client/1 start");
        const auto r = sdk::copy_in(request);
        if (r.on_done == nullptr || id == nullptr) return CG_E_INVALID;
        std::uint64_t mine = 0;
        {
            const std::lock_guard lock(exchanges_mutex);
            mine = ++last_exchange;
            exchanges[mine] = {r.ctx, r.on_done, &host};
        }
        *id = mine;
        // Nothing outside is asked: a plugin must live with an issuer that does not answer.
        control_loop::get().arm(&host, 1'000'000, [mine] { end_exchange(mine, CG_E_UNAVAILABLE, "callgate-plugin-check has no network"); });
        return CG_OK;
    };
    t.cancel = [](const cg_host* h, std::uint64_t id) noexcept {
        auto& host = host_of(h);
        host.called("callgate.http-client/1 cancel");
        control_loop::get().arm(&host, 0, [id] { end_exchange(id, CG_E_CANCELLED, "cancelled"); });
    };
    return t;
}

template <class T>
const void* offer(const T& table, std::vector<std::unique_ptr<guarded_block>>& memory, host_shape shape) {
    std::unique_ptr<guarded_block> block;
    const auto* placed = place(table, sizeof(T), shape, table_memory, block);
    memory.push_back(std::move(block));
    return placed;
}

}  // namespace

void offer_extensions(std::map<std::string, const void*, std::less<>>& out, std::vector<std::unique_ptr<guarded_block>>& memory, host_shape shape) {
    out[CG_EXT_TIMER] = offer(timer_table(), memory, shape);
    out[CG_EXT_SNAPSHOT] = offer(snapshot_table(), memory, shape);
    out[CG_EXT_HTTP_CLIENT] = offer(http_table(), memory, shape);
}

}  // namespace callgate::check
