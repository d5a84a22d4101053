// SPDX-License-Identifier: Apache-2.0
#include "engine/host/instance.hpp"

#include <callgate/abi/draft/kinds.h>
#include <callgate/nats/nkey.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/base/log.hpp"
#include "engine/host/abi_read.hpp"

namespace callgate::host {
namespace {

constexpr std::size_t max_error_text = 2048;
constexpr std::size_t max_keys = 4096;
constexpr std::size_t max_key_pages = 256;

// A life cycle call, or a page of keys.
class control_body final : public operation_body {
  public:
    control_body(std::function<taken(const cg_completion&)> read, std::int64_t timeout_ns, instance::done then)
        : read_(std::move(read)), timeout_ns_(timeout_ns), then_(std::move(then)) {}

    taken take(const cg_completion& c) override {
        if (c.status == CG_OK) return read_ ? read_(c) : taken::ok;
        cg_error e{};
        failure_ = read_struct(c.error, e) ? make_error(to_errc(c.status), bounded(e.text, max_error_text), bounded(e.where, max_error_text))
                                           : make_error(to_errc(c.status), "failed with " + std::string(status_name(c.status)));
        failed_ = true;
        return taken::failed;
    }
    void deliver() override {
        if (failed_) then_(std::move(failure_));
        else then_({});
    }
    void fail(cg_status status) override {
        if (status == CG_E_DEADLINE)
            then_(make_error(errc::deadline, "did not answer within " + std::to_string(timeout_ns_ / 1'000'000) + " ms"));
        else
            then_(make_error(to_errc(status), "was refused by the plugin with " + std::string(status_name(status)) + "; its log may say why"));
    }

  private:
    std::function<taken(const cg_completion&)> read_;
    std::int64_t timeout_ns_;
    instance::done then_;
    error failure_;
    bool failed_ = false;
};

std::int64_t deadline_after(const clock_source& clock, std::int64_t timeout_ns) {
    const auto now = clock.mono_ns();
    return timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

}  // namespace

// Keeps what a plugin may still be using; see the class comment.
struct instance::deleter {
    void operator()(instance* i) const {
        if (i->phase_ == phase::made) (void)i->destroy();
        if (i->phase_ == phase::destroyed) {
            delete i;
            return;
        }
        log::error("plugin instance was not stopped; its memory is kept", {{"instance", i->name()}, {"plugin", i->library().plugin_id}});
    }
};

instance::instance(std::shared_ptr<control_loop> loop, std::shared_ptr<const manifest> library, instance_options options,
                   std::shared_ptr<shared_services> shared)
    : loop_(std::move(loop)),
      library_(std::move(library)),
      options_(std::move(options)),
      owner_(options_.breaker, options_.max_in_flight, options_.watchdog),
      services_(loop_, owner_, options_.name, library_->abi_minor, std::move(shared), options_.secrets, options_.uses, options_.nats),
      shards_(loop_->shard() + 1) {}

error instance::named(error e, std::string_view what) const {
    e.text = "plugin instance \"" + options_.name + "\" (" + library_->plugin_id + "): " + std::string(what) + ": " + e.text;
    return e;
}

result<std::shared_ptr<instance>> instance::make(std::shared_ptr<control_loop> loop, std::shared_ptr<const manifest> library,
                                                 const factory_info& factory, instance_options options,
                                                 std::shared_ptr<shared_services> shared) {
    std::shared_ptr<instance> made(new instance(std::move(loop), std::move(library), std::move(options), std::move(shared)), deleter{});
    if (auto created = made->create(factory); !created) return created.error();
    return made;
}

result<void> instance::create(const factory_info& factory) {
    kind_ = factory.kind;
    const bool serial = factory.thread_model == CG_THREADS_SERIAL;
    on_pool_ = serial || (factory.flags & CG_FACTORY_MAY_BLOCK) != 0;
    services_.workers().begin(serial);
    if (kind_ == CG_KIND_MODULE) services_.modules().enable();
    if (kind_ != CG_KIND_AUDIT_SINK) services_.audit().enable(kind_);
    cg_create_args args{};
    args.struct_size = sizeof args;
    args.name = to_c(options_.name);
    const std::string config = options_.config_json.empty() ? "{}" : options_.config_json;
    args.config_json = to_c(config);
    args.base_dir = to_c(options_.base_dir);
    std::string text(max_error_text, '\0');
    cg_errbuf why{};
    why.struct_size = sizeof why;
    why.text = {reinterpret_cast<std::uint8_t*>(text.data()), text.size(), 0};
    cg_instance* theirs = nullptr;
    if (const auto status = guarded([&] { return factory.create(factory.handle, services_.host(), &args, &theirs, &why); }); status != CG_OK) {
        text.resize(std::min(why.text.size, text.size()));
        if (text.empty()) text = "failed with " + std::string(status_name(status));
        return named(make_error(to_errc(status), std::move(text)), "configuration");
    }
    const auto broken = [&](const char* what) { return named(make_error(errc::abi, what), "create"); };
    cg_instance head{};
    if (!read_struct(theirs, head)) return broken("returned no instance");
    // From here on there is something to destroy, also when it turns out to be unusable.
    owner_.plugin = theirs;
    if (!read_struct(head.life, life_) || life_.destroy == nullptr) return broken("the instance has no life cycle table with destroy");
    owner_.cancel = life_.cancel;
    if (head.kind != factory.kind) return broken("the instance is of another kind than its factory");
    api_ = head.api;
    if (kind_ == CG_KIND_AUTH_BACKEND) {
        cg_auth_backend_api api{};
        if (!read_struct(static_cast<const cg_auth_backend_api*>(head.api), api) || api.authenticate == nullptr)
            return broken("the auth backend has no authenticate function");
        auth_ = make_auth_port(*this, api);
    } else if (kind_ == CG_KIND_KEY_PROVIDER) {
        if (!read_struct(static_cast<const cg_key_provider_api*>(head.api), key_api_) || key_api_.sign_batch == nullptr ||
            key_api_.list_keys == nullptr)
            return broken("the key provider lacks sign_batch or list_keys");
        key_port_ = make_key_port(*this, key_api_);
    } else if (kind_ == CG_KIND_CLAIM_STORE || kind_ == CG_KIND_MODULE || kind_ == CG_KIND_AUDIT_SINK) {
        std::uint32_t size = 0;
        if (api_ != nullptr) std::memcpy(&size, api_, sizeof size);
        if (size < sizeof size) return broken("the instance has no table of its kind");
    } else {
        return named(make_error(errc::unsupported, "this callgate has no use for a " + kind_name(kind_)), "create");
    }
    return {};
}

void instance::call(const char* what, cg_status (*function)(cg_instance*, cg_op), std::int64_t timeout_ns,
                    std::function<taken(const cg_completion&)> read, done then) {
    auto report = [self = shared_from_this(), what, then = std::move(then)](result<void> r) {
        // Never inside our own call: the caller may not be ready, and destroy() must not run under the plugin.
        self->loop_->post([self, what, then, r = std::move(r)] { then(r ? r : result<void>(self->named(r.error(), what))); });
    };
    if (function == nullptr) {
        report({});
        return;
    }
    const auto deadline = deadline_after(table().clock(), timeout_ns);
    if (!table().run(loop_->shard(), owner_, deadline, operation_table::weight::free,
                     std::make_unique<control_body>(std::move(read), timeout_ns, report),
                     [&](cg_op op) { return enter(op, [this, function, op] { return function(plugin(), op); }, true); }))
        report(make_error(errc::busy, "too many operations"));
    loop_->arm();
}

void instance::start(std::int64_t timeout_ns, done then) {
    phase_ = phase::starting;
    services_.workers().open();
    const auto deadline = deadline_after(table().clock(), timeout_ns);
    call("start", life_.start, timeout_ns, {}, [this, deadline, then = std::move(then)](result<void> r) {
        if (!r) return then(std::move(r));
        const auto ready = [this, then](result<void> all) {
            services_.metrics().freeze();
            services_.modules().freeze();
            if (all) {
                phase_ = phase::started;
                services_.shared().directory->add(shared_from_this());
            }
            then(std::move(all));
        };
        if (kind_ == CG_KIND_KEY_PROVIDER) list_keys(deadline, {}, 0, ready);
        else ready({});
    });
}

void instance::drain(std::int64_t timeout_ns, done then) {
    // Never started, as when another plugin of the same configuration was refused: there is nothing to drain, and
    // stop must find that out as well.
    if (phase_ == phase::made) return loop_->post([then = std::move(then)] { then({}); });
    phase_ = phase::draining;
    services_.shared().directory->remove(*this);
    call("drain", life_.drain, timeout_ns, {}, std::move(then));
}

void instance::stop(std::int64_t timeout_ns, done then) {
    if (phase_ == phase::made || phase_ == phase::stopped) return loop_->post([then = std::move(then)] { then({}); });
    services_.shared().directory->remove(*this);
    services_.workers().drop_calls();
    call("stop", life_.stop, timeout_ns, {}, [this, timeout_ns, then = std::move(then)](result<void> r) {
        if (!r) return then(std::move(r));
        services_.nats().end_delivery();
        // The stop itself may have run there and not have returned yet.
        services_.workers().when_idle(timeout_ns, [self = shared_from_this(), timeout_ns, then](bool idle) {
            if (!idle)
                return then(self->named(make_error(errc::busy, "completed while jobs of it still run on the host's pool, " +
                                                                   std::to_string(timeout_ns / 1'000'000) + " ms later"), "stop"));
            self->stopped();
            then({});
        });
    });
}

void instance::stopped() {
    phase_ = phase::stopped;
    if (const auto left = services_.close(); left != 0) {
        owner_.metrics.faults.fetch_add(left, std::memory_order_relaxed);
        log::warn("plugin stopped with timers, jobs, watches, calls, streams or HTTP exchanges of its own left", {{"instance", name()}, {"left", left}});
    }
}

void instance::health(std::int64_t timeout_ns, std::function<void(result<health_report>)> then) {
    if (!health_owed_.expired())
        return loop_->post([self = shared_from_this(), then = std::move(then)] {
            then(self->named(make_error(errc::busy, "has still not answered the question before; the plugin hangs"), "health"));
        });
    auto report = std::make_shared<health_report>(health_report{CG_HEALTH_OK, {}});
    // Lives as long as the operation, which can be long after its deadline: asked every few seconds, a plugin that hangs
    // would otherwise collect operations without end.
    const auto owed = std::make_shared<char>();
    health_owed_ = owed;
    call(
        "health", life_.health, timeout_ns,
        [report, owed](const cg_completion& c) {
            cg_health h{};
            if (!read_struct(static_cast<const cg_health*>(c.result), h) || h.state < CG_HEALTH_OK || h.state > CG_HEALTH_DOWN) {
                *report = {CG_HEALTH_DOWN, "the plugin returned no usable cg_health"};
                return taken::fault;
            }
            *report = {h.state, bounded(h.text, max_error_text)};
            return taken::ok;
        },
        [report, then = std::move(then)](result<void> r) {
            if (r) then(*report);
            else then(r.error());
        });
}

void instance::list_keys(std::int64_t deadline_ns, std::string from, std::size_t page, done then) {
    struct listing {
        std::vector<key_description> keys;
        std::string next, from, broken;
    };
    auto got = std::make_shared<listing>();
    got->from = std::move(from);
    const auto read = [got](const cg_completion& c) {
        cg_key_page p{};
        if (!read_struct(static_cast<const cg_key_page*>(c.result), p) || p.count > max_keys || (p.count != 0 && p.keys == nullptr) ||
            p.next.size > max_error_text) {
            got->broken = "returned no usable page of keys";
            return taken::fault;
        }
        for (std::size_t i = 0; i < p.count; ++i) {
            cg_key_info k{};
            const auto* at = reinterpret_cast<const cg_key_info*>(reinterpret_cast<const unsigned char*>(p.keys) +
                                                                  i * (p.stride == 0 ? sizeof(cg_key_info) : p.stride));
            if (!read_struct(at, k)) {
                got->broken = "returned a key without struct_size";
                return taken::fault;
            }
            got->keys.push_back({k.key, k.algorithm, k.flags, k.generation, bounded(k.label, 256), bounded(k.nkey, 64), k.max_message_bytes,
                                 k.not_after_unix_s});
        }
        got->next.assign(reinterpret_cast<const char*>(p.next.data), p.next.data == nullptr ? 0 : p.next.size);
        return taken::ok;
    };
    auto self = shared_from_this();
    const auto finish = [self, got, deadline_ns, page, then](result<void> r) {
        if (!r) return then(self->named(r.error(), "list_keys"));
        const auto broken = [&](std::string text) { then(self->named(make_error(errc::abi, std::move(text)), "list_keys")); };
        if (!got->broken.empty()) return broken(got->broken);
        if (page == 0) self->keys_.clear();
        for (auto& k : got->keys) {
            const auto decoded = nats::decode_public(k.nkey);
            const bool curve = k.algorithm == CG_KEY_X25519;
            if (!decoded || (k.algorithm != CG_KEY_ED25519 && !curve) || (decoded->type == nats::key_type::curve) != curve)
                return broken("key \"" + k.label + "\" has no public nkey that fits its algorithm");
            if (k.key == 0 || k.label.empty()) return broken("key " + k.nkey + " has no handle or no label");
            if (self->keys_.size() >= max_keys) return broken("more than 4096 keys");
            if (k.max_message_bytes != 0) self->message_limits_[k.key] = k.max_message_bytes;
            const auto label = k.label;
            if (!self->keys_.emplace(label, std::move(k)).second) return broken("two keys are labelled \"" + label + "\"");
        }
        if (got->next.empty()) return then({});
        if (page + 1 >= max_key_pages || got->next == got->from) return broken("the list of keys does not end");
        self->list_keys(deadline_ns, got->next, page + 1, then);
    };
    auto report = [self, finish](result<void> r) { self->loop_->post([finish, r = std::move(r)] { finish(r); }); };
    const auto left = std::max<std::int64_t>(deadline_ns - table().clock().mono_ns(), 0);
    if (!table().run(loop_->shard(), owner_, deadline_ns, operation_table::weight::free, std::make_unique<control_body>(read, left, report),
                     [&](cg_op op) {
                         return enter(op, [this, got, op] {
                             const cg_bytes cursor{reinterpret_cast<const std::uint8_t*>(got->from.data()), got->from.size()};
                             return key_api_.list_keys(plugin(), op, cursor);
                         }, true);
                     }))
        report(make_error(errc::busy, "too many operations"));
    loop_->arm();
}

result<void> instance::attach(std::uint32_t shard) {
    if (shard >= loop_->shard()) return make_error(errc::internal, "there is no shard " + std::to_string(shard));
    auto& slot = shards_[shard];
    if (slot.attached) return {};
    if (life_.shard_attach != nullptr && !on_pool_)
        if (const auto status = life_.shard_attach(plugin(), shard, &slot.state); status != CG_OK)
            return named(make_error(to_errc(status), "failed with " + std::string(status_name(status))), "shard_attach");
    slot.attached = true;
    return {};
}

void instance::detach(std::uint32_t shard) {
    if (shard >= loop_->shard()) return;
    table().end_all(shard, owner_);
    auto& slot = shards_[shard];
    if (slot.attached && life_.shard_detach != nullptr && !on_pool_) life_.shard_detach(plugin(), shard, slot.state);
    slot = {};
}

bool instance::shard_state(std::uint32_t shard, void*& state) noexcept {
    state = nullptr;
    if (shard == loop_->shard()) return true;
    if (shard > loop_->shard() || !shards_[shard].attached) return false;
    state = shards_[shard].state;
    return true;
}

refusal instance::admit(std::uint32_t shard, std::int64_t& deadline_ns, void*& state) noexcept {
    const auto now = table().clock().mono_ns();
    if (options_.timeout_ns > 0) deadline_ns = std::min(deadline_ns, now + options_.timeout_ns);
    if (!shard_state(shard, state)) return refusal::not_attached;
    if (deadline_ns <= now) return refusal::no_time;
    return owner_.breaker.admit(now) ? refusal::none : refusal::breaker_open;
}

void instance::count_refused(refusal why) noexcept { owner_.metrics.rejected[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed); }

void instance::threw() noexcept { owner_.metrics.faults.fetch_add(1, std::memory_order_relaxed); }

health_report instance::seen() const {
    const auto owed = owner_.metrics.owed.load(std::memory_order_relaxed), stuck = owner_.metrics.stuck.load(std::memory_order_relaxed);
    const bool closed = owner_.breaker.state() == breaker_state::closed;
    const bool hangs = owed > owner_.max_owed || owed >= owner_.max_in_flight || stuck != 0;
    if (closed && !hangs) return {CG_HEALTH_OK, {}};
    std::string text;
    if (hangs) {
        text = "owes " + std::to_string(owed) + " overdue completion" + (owed == 1 ? "" : "s");
        if (stuck != 0) text += ", " + std::to_string(stuck) + " of them for longer than " + std::to_string(owner_.max_age_ns / 1'000'000) + " ms";
    }
    if (!closed) text += std::string(hangs ? "; " : "") + ("its breaker is open: one request in a while is tried");
    const bool down = hangs && (!closed || owed >= owner_.max_in_flight);
    return {down ? CG_HEALTH_DOWN : CG_HEALTH_DEGRADED, std::move(text)};
}

result<void> instance::destroy() {
    if (phase_ == phase::destroyed) return {};
    if (phase_ != phase::made && phase_ != phase::stopped)
        return named(make_error(errc::internal, "the instance has not been stopped"), "destroy");
    table().end_all(loop_->shard(), owner_);
    if (lane_ != 0) table().end_all(lane_, owner_);
    if (const auto left = owner_.metrics.in_flight.load(std::memory_order_acquire); left != 0)
        return named(make_error(errc::internal, std::to_string(left) + " operations are left on shards that were not detached"), "destroy");
    if (owner_.plugin != nullptr && life_.destroy != nullptr) life_.destroy(owner_.plugin);
    owner_.plugin = nullptr;
    services_.close();
    if (lane_ != 0) loop_->close_lane(std::exchange(lane_, 0));
    phase_ = phase::destroyed;
    return {};
}

result<std::uint32_t> instance::open_lane(std::function<void()> wake) {
    auto lane = loop_->open_lane(std::move(wake));
    if (lane) lane_ = *lane;
    return lane;
}

std::shared_ptr<flow::auth_port> instance::auth() {
    return auth_ ? std::shared_ptr<flow::auth_port>(shared_from_this(), auth_.get()) : nullptr;
}
std::shared_ptr<flow::key_port> instance::keys_port() {
    return key_port_ ? std::shared_ptr<flow::key_port>(shared_from_this(), key_port_.get()) : nullptr;
}

}  // namespace callgate::host
