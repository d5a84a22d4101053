// SPDX-License-Identifier: Apache-2.0
#include "engine/host/services.hpp"

#include <callgate/abi/entry.h>
#include <callgate/abi/ext/draft/http_client.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <utility>
#include <vector>

#include "engine/host/abi_read.hpp"
#include "engine/host/http_client.hpp"
#include "engine/host/timer_service.hpp"

// The C interface knows only the name.
struct cg_snapshot_cell {
    cg_snapshot_cell(void (*destroy)(void*), callgate::host::services* s) : core(destroy), owner(s) {}
    callgate::snapshot_core core;
    callgate::host::services* owner;
};

namespace callgate::host {
namespace {

constexpr std::size_t max_log_message = 2048;
constexpr std::size_t max_log_value = 1024;
constexpr std::size_t max_log_fields = 32;

log::level level_of(std::int32_t level) noexcept {
    switch (level) {
        case CG_LOG_TRACE: return log::level::trace;
        case CG_LOG_DEBUG: return log::level::debug;
        case CG_LOG_INFO: return log::level::info;
        case CG_LOG_WARN: return log::level::warn;
        default: return log::level::error;
    }
}

// noexcept: running out of memory inside the host must not unwind through a plugin written in C.
constexpr cg_core core_api = {
    sizeof(cg_core), 0,
    [](const cg_host* h) noexcept -> std::int64_t { return services::of(h).loop().table().clock().mono_ns(); },
    [](const cg_host* h) noexcept -> std::int64_t { return services::of(h).loop().table().clock().wall_s(); },
    [](const cg_host* h, cg_op op) noexcept -> std::int64_t {
        auto& s = services::of(h);
        return s.loop().table().time_left_ns(s.owner(), op);
    },
    [](const cg_host* h, cg_op op) noexcept -> std::int32_t {
        auto& s = services::of(h);
        return s.loop().table().is_cancelled(s.owner(), op) ? 1 : 0;
    },
    [](const cg_host* h, cg_op op, std::size_t size, std::size_t align) noexcept -> void* {
        auto& s = services::of(h);
        return s.loop().table().scratch(s.owner(), op, size, align);
    },
    [](const cg_host* h, cg_op op, const cg_completion* c) noexcept -> cg_status {
        auto& s = services::of(h);
        return s.loop().table().complete(s.owner(), op, c);
    },
    [](const cg_host*, std::int32_t level) noexcept -> std::int32_t { return log::enabled(level_of(level)) ? 1 : 0; },
    [](const cg_host* h, std::int32_t level, cg_str message, const cg_log_field* fields, std::size_t count, std::size_t stride) noexcept {
        services::of(h).write_log(level, message, fields, count, stride);
    }};

constexpr cg_snapshot_api snapshot_api = {
    sizeof(cg_snapshot_api), 0,
    [](const cg_host* h, void (*destroy)(void*), cg_snapshot_cell** cell) noexcept -> cg_status {
        if (destroy == nullptr || cell == nullptr) return CG_E_INVALID;
        *cell = services::of(h).create_cell(destroy);
        return CG_OK;
    },
    [](cg_snapshot_cell* cell, void* object) noexcept { cell->owner->publish(cell, object); },
    [](cg_snapshot_cell* cell, std::uint32_t* pin) noexcept -> const void* { return cell->core.acquire(*pin); },
    [](cg_snapshot_cell*, std::uint32_t pin) noexcept { snapshot_core::release(pin); },
    [](cg_snapshot_cell* cell) noexcept { cell->owner->destroy_cell(cell); }};

}  // namespace

bool log_limiter::admit(std::int64_t now_ns, std::uint64_t& suppressed) noexcept {
    const std::lock_guard lock(mutex_);
    if (last_ns_ != 0) tokens_ = std::min(burst_, tokens_ + per_second_ * static_cast<double>(now_ns - last_ns_) * 1e-9);
    last_ns_ = now_ns;
    if (tokens_ < 1) {
        ++suppressed_;
        return false;
    }
    tokens_ -= 1;
    suppressed = std::exchange(suppressed_, 0);
    return true;
}

services::services(std::shared_ptr<control_loop> loop, operation_owner& owner, std::string instance_name, std::uint32_t abi_minor,
                   std::shared_ptr<shared_services> shared, std::shared_ptr<secret_vault> secrets,
                   std::vector<std::string> uses, std::map<std::string, nats_opener> nats)
    : loop_(std::move(loop)),
      owner_(owner),
      name_(std::move(instance_name)),
      timers_(std::make_shared<timer_service>(loop_->io())),
      http_(std::make_shared<http_client>(loop_->io())),
      shared_(std::move(shared)),
      metrics_(std::make_shared<metrics_service>(loop_->shard(), shared_->names)),
      workers_(std::make_shared<worker_service>(loop_, shared_->pool, owner_)),
      events_(std::make_shared<event_service>(loop_, shared_->events)),
      calls_(std::make_shared<instance_calls>(loop_, shared_->directory, uses)),
      modules_(std::make_shared<module_services>(loop_, owner_, shared_->engine)),
      audit_(std::make_unique<audit_service>(loop_->table().clock(), shared_->audit, name_)),
      nats_(loop_, owner_, workers_, name_, std::move(uses), std::move(nats)),
      descriptors_(loop_->io()),
      secrets_(std::move(secrets)) {
    host_.struct_size = sizeof host_;
    host_.abi_major = CG_ABI_MAJOR;
    host_.abi_minor = abi_minor;
    host_.shard_count = loop_->shard();
    host_.impl = this;
    host_.core = &core_api;
    host_.query = [](const cg_host* h, cg_str id) noexcept -> const void* {
        const auto wanted = view(id);
        if (wanted == CG_EXT_TIMER) return &timer_service::api;
        if (wanted == CG_EXT_SNAPSHOT) return &snapshot_api;
        if (wanted == CG_EXT_HTTP_CLIENT) return &http_client::api;
        if (wanted == CG_EXT_WORKER) return &worker_service::api;
        if (wanted == CG_EXT_INSTANCE) return &instance_calls::api;
        if (wanted == CG_EXT_NATS) return &nats_service::api;
        if (wanted == CG_EXT_FD) return &fd_service::api;
        if (wanted == CG_EXT_SECRETS) return &secret_service::api;
        if (wanted == CG_EXT_EVENTS) return &event_service::api;
        if (wanted == CG_EXT_CACHE_INVALIDATE) return &cache_invalidate_api;
        if (wanted == CG_EXT_METRICS) return &metrics_service::api;
        if (wanted == CG_EXT_AUDIT) return services::of(h).audit().table();
        return services::of(h).modules().find(wanted);
    };
    host_.instance_name = to_c(name_);
}

services::~services() { close(); }

std::size_t services::close() {
    events_->close();
    secrets_.close();
    audit_->close();
    return nats_.close() + timers_->close() + http_->close() + workers_->close() + calls_->close() + descriptors_.close() + modules_->close();
}

cg_snapshot_cell* services::create_cell(void (*destroy)(void*)) {
    auto cell = std::make_shared<cg_snapshot_cell>(destroy, this);
    const std::lock_guard lock(cells_mutex_);
    cells_.emplace(cell.get(), cell);
    return cell.get();
}

void services::publish(cg_snapshot_cell* cell, void* object) {
    if (cell->core.publish(object) == 0) return;
    std::weak_ptr<cg_snapshot_cell> weak;
    {
        const std::lock_guard lock(cells_mutex_);
        if (const auto it = cells_.find(cell); it != cells_.end()) weak = it->second;
    }
    loop_->post([weak, &io = loop_->io()] { collect_later(weak, io); });
}

// A reader held the replaced object; pins are short, so it is looked at again soon, until none is left.
void services::collect_later(const std::weak_ptr<cg_snapshot_cell>& cell, boost::asio::io_context& io) {
    auto timer = std::make_shared<boost::asio::steady_timer>(io, std::chrono::milliseconds(10));
    timer->async_wait([cell, timer, &io](const boost::system::error_code& ec) {
        const auto alive = cell.lock();
        if (!ec && alive && alive->core.collect() != 0) collect_later(cell, io);
    });
}

void services::destroy_cell(cg_snapshot_cell* cell) {
    std::shared_ptr<cg_snapshot_cell> last;
    {
        const std::lock_guard lock(cells_mutex_);
        const auto it = cells_.find(cell);
        if (it == cells_.end()) return;
        last = std::move(it->second);
        cells_.erase(it);
    }
}

void services::write_log(std::int32_t level, cg_str message, const cg_log_field* fields, std::size_t count, std::size_t stride) {
    const auto l = level_of(level);
    if (!log::enabled(l)) return;
    std::uint64_t suppressed = 0;
    if (!limiter_.admit(loop_->table().clock().mono_ns(), suppressed)) return;
    std::vector<std::string> keys;  // the keys of a record are views
    std::vector<log::field> out;
    count = fields == nullptr ? 0 : std::min(count, max_log_fields);
    keys.reserve(count);
    out.reserve(count + 2);
    out.emplace_back("instance", name_);
    for (std::size_t i = 0; i < count; ++i) {
        const auto f = read_element(fields, i, stride);
        // A key is ours to trust in no way: it must not forge another field of the line.
        auto key = bounded(f.key, 64);
        for (auto& c : key)
            if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.')) c = '_';
        keys.push_back(std::move(key));
        out.emplace_back(keys.back(), bounded(f.value, max_log_value));
    }
    if (suppressed != 0) out.emplace_back("suppressed", suppressed);
    log::write(l, bounded(message, max_log_message), out);
}

}  // namespace callgate::host
