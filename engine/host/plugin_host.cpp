// SPDX-License-Identifier: Apache-2.0
#include "engine/host/plugin_host.hpp"

#include <stdexcept>
#include <utility>

#include "engine/base/log.hpp"

namespace callgate::host {
namespace {

// One retirement on its way.
struct retirement : std::enable_shared_from_this<retirement> {
    std::shared_ptr<control_loop> loop;
    std::shared_ptr<instance> what;
    std::int64_t timeout_ns = 0;
    std::function<void(std::uint32_t, std::function<void()>)> run_on_shard;
    instance::done then;
    std::uint32_t left = 0;

    void begin() {
        what->drain(timeout_ns, [self = shared_from_this()](result<void> r) {
            if (r) return self->stop();
            log::warn("plugin instance did not drain; cancelling what it has in flight", {{"instance", self->what->name()}, {"error", r.error().message()}});
            self->on_shards([self](std::uint32_t shard) { self->loop->table().cancel_all(shard, self->what->owner(), CG_CANCEL_SHUTDOWN); },
                            [self] { self->stop(); });
        });
    }
    void stop() {
        what->stop(timeout_ns, [self = shared_from_this()](result<void> r) {
            // Its threads may still be at work, so nothing of it may be taken away.
            if (!r) return self->then(std::move(r));
            self->on_shards([self](std::uint32_t shard) { self->what->detach(shard); }, [self] { self->then(self->what->destroy()); });
        });
    }
    void on_shards(std::function<void(std::uint32_t)> f, std::function<void()> finished) {
        left = loop->shard();
        for (std::uint32_t i = 0; i < loop->shard(); ++i)
            run_on_shard(i, [self = shared_from_this(), i, f, finished] {
                f(i);
                self->loop->post([self, finished] {
                    if (--self->left == 0) finished();
                });
            });
    }
};

}  // namespace

plugin_host::plugin_host(boost::asio::io_context& control, const clock_source& clock, options o) : loader_([&] {
          o.libraries.offline = !o.engine;
          return std::move(o.libraries);
      }()) {
    if (o.shards < 1 || o.shards > 64) throw std::invalid_argument("number of shards must be 1 to 64, not " + std::to_string(o.shards));
    shared_->engine = std::move(o.engine);
    shared_->audit = std::move(o.audit);
    loop_ = control_loop::make(control, o.shards, clock, std::move(o.wake));
}

plugin_host::~plugin_host() { loop_->close(); }

result<plugin_host::choice> plugin_host::choose(std::uint32_t kind, const std::string& plugin, const std::string& type) {
    auto library = load(plugin);
    if (!library) return library.error();
    const factory_info* found = nullptr;
    std::string offered;
    std::size_t of_kind = 0;
    for (const auto& f : (*library)->factories) {
        if (f.kind != kind) continue;
        ++of_kind;
        offered += (offered.empty() ? "" : ", ") + f.type;
        if (type.empty() || f.type == type) found = &f;
    }
    if (of_kind == 0)
        return make_error(errc::not_found, "plugin \"" + plugin + "\" (" + (*library)->plugin_id + ") has no " + kind_name(kind), (*library)->path);
    if (type.empty() && of_kind > 1)
        return make_error(errc::invalid, "plugin \"" + plugin + "\" has several types of " + kind_name(kind) + " (" + offered + "); say which by `type`",
                          (*library)->path);
    if (found == nullptr)
        return make_error(errc::not_found, "plugin \"" + plugin + "\" has no " + kind_name(kind) + " of type \"" + type + "\"; it has " + offered,
                          (*library)->path);
    return choice{*library, found};
}

result<factory_info> plugin_host::find_factory(std::uint32_t kind, const std::string& plugin, const std::string& type) {
    const auto c = choose(kind, plugin, type);
    if (!c) return c.error();
    return *c->factory;
}

result<std::shared_ptr<instance>> plugin_host::make_instance(std::uint32_t kind, instance_options o) {
    const auto c = choose(kind, o.plugin, o.type);
    if (!c) return c.error();
    return instance::make(loop_, c->library, *c->factory, std::move(o), shared_);
}

void plugin_host::retire(std::shared_ptr<instance> i, std::int64_t timeout_ns,
                         std::function<void(std::uint32_t, std::function<void()>)> run_on_shard, instance::done then) {
    auto r = std::make_shared<retirement>();
    r->loop = loop_;
    r->what = std::move(i);
    r->timeout_ns = timeout_ns;
    r->run_on_shard = std::move(run_on_shard);
    r->then = std::move(then);
    r->begin();
}

}  // namespace callgate::host
