// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/instance.hpp"

#include <callgate/abi/draft/kinds.h>
#include <dlfcn.h>

#include <callgate/sdk/value.hpp>

namespace callgate::check {
namespace {

constexpr guard_rule args_memory = {"the arguments of create()", "library.older_host", "lifecycle.create_args_lifetime"};
constexpr guard_rule args_strings = {"a string of create()'s arguments", "operations.string_bounds", "lifecycle.create_args_lifetime"};
constexpr guard_rule error_memory = {"the error buffer of create()", "operations.out_buffers", "lifecycle.create_args_lifetime"};
constexpr guard_rule offer_memory = {"the cg_negotiation of the entry", "library.older_host", "library.older_host"};
constexpr std::size_t max_factories = 64;

std::vector<std::unique_ptr<guarded_block>>& for_ever() {
    static auto* blocks = new std::vector<std::unique_ptr<guarded_block>>;
    return *blocks;
}

cg_str guarded_text(const std::string& text, const guard_rule& rule, std::vector<std::unique_ptr<guarded_block>>& memory) {
    if (text.empty()) return {nullptr, 0};
    memory.push_back(std::make_unique<guarded_block>(text.size(), rule));
    std::memcpy(memory.back()->data(), text.data(), text.size());
    return {reinterpret_cast<const char*>(memory.back()->data()), text.size()};
}

}  // namespace

std::string kind_name(std::uint32_t kind) {
    switch (kind) {
        case CG_KIND_AUTH_BACKEND: return "auth";
        case CG_KIND_KEY_PROVIDER: return "keys";
        case CG_KIND_CLAIM_STORE: return "claims";
        case CG_KIND_MODULE: return "module";
        case CG_KIND_AUDIT_SINK: return "audit";
        default: return "kind " + std::to_string(kind);
    }
}

cg_status negotiate(cg_plugin_entry_fn entry, const cg_manifest** manifest, std::uint32_t major, std::uint32_t minor, host_shape shape) {
    auto offer = sdk::make<cg_negotiation>();
    offer.abi_major = major;
    offer.abi_minor = minor;
    offer.flags = CG_NEGOTIATION_CHECKED;
    offer.host_name = sdk::to_c(std::string_view("callgate-plugin-check"));
    offer.host_version = sdk::to_c(std::string_view("0.1.0"));
    std::unique_ptr<guarded_block> block;
    const auto* placed = place(offer, offsetof(cg_negotiation, host_name), shape, offer_memory, block);
    const auto status = plugin_call(CG_ENTRY_SYMBOL, [&] { return entry(placed, manifest); });
    for_ever().push_back(std::move(block));
    return status;
}

const cg_factory* choose_factory(const settings& s, const cg_manifest& manifest, std::string& error) {
    const cg_factory* found = nullptr;
    std::string offered;
    for (std::size_t i = 0; i < std::min(manifest.factory_count, max_factories); ++i) {
        const auto* f = manifest.factories[i];
        if (f == nullptr) continue;
        const auto mine = sdk::copy_in(f);
        const auto kind = kind_name(mine.kind);
        const auto type = std::string(sdk::view(mine.type));
        offered += (offered.empty() ? "" : ", ") + kind + ":" + type;
        if ((!s.kind.empty() && s.kind != kind) || (!s.type.empty() && s.type != type)) continue;
        if (found != nullptr) {
            error = "the plugin has several factories (" + offered + ", ...): choose one with --kind and --type";
            return nullptr;
        }
        found = f;
    }
    if (found == nullptr) error = "no factory fits --kind and --type; the plugin offers: " + (offered.empty() ? "none" : offered);
    return found;
}

loaded_plugin load_plugin(const settings& s, const std::string& path, host_shape shape) {
    loaded_plugin p;
    p.path = path;
    const auto begin = now_ns();
    {
        const progress::call scope("dlopen");
        p.library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    }
    if (p.library == nullptr) {
        const char* why = ::dlerror();
        recorder::violated("library.loads", "dlopen(RTLD_NOW | RTLD_LOCAL) fails: " + std::string(why != nullptr ? why : "no reason given") +
                                                "; link every library that is used (-Wl,-z,defs finds what lacks)");
        throw cannot_judge("library.loads", "the plugin does not load");
    }
    p.entry = reinterpret_cast<cg_plugin_entry_fn>(::dlsym(p.library, CG_ENTRY_SYMBOL));
    if (p.entry == nullptr) {
        recorder::violated("library.one_export", "there is no symbol " CG_ENTRY_SYMBOL ": define it with default visibility and extern \"C\", and list it in the version script");
        throw cannot_judge("library.one_export", "the plugin has no entry");
    }
    const auto status = negotiate(p.entry, &p.manifest, CG_ABI_MAJOR, CG_ABI_MINOR, shape);
    p.load_ns = now_ns() - begin;
    if (status != CG_OK || p.manifest == nullptr) {
        const char* check = shape == host_shape::older ? "library.older_host" : shape == host_shape::newer ? "library.newer_host" : "library.loads";
        recorder::violated(check, std::string("the entry ") + (status == CG_OK ? "returned CG_OK but set no manifest" : "refused this host with " + status_text(status)) +
                                      (shape == host_shape::older   ? " because its cg_negotiation is short: read min(struct_size, sizeof) of it"
                                       : shape == host_shape::newer ? " because its cg_negotiation is longer than known: ignore the tail"
                                                                    : "; it offers ABI " + std::to_string(CG_ABI_MAJOR) + "." + std::to_string(CG_ABI_MINOR)));
        throw cannot_judge(check, "the entry gives no manifest");
    }
    std::uint32_t built = 0;
    std::memcpy(&built, reinterpret_cast<const char*>(p.manifest) + offsetof(cg_manifest, abi_minor_built), sizeof built);
    plugin_is_newer(built > CG_ABI_MINOR);
    const auto manifest = read_checked(p.manifest, "cg_manifest");
    std::string error;
    if (manifest.factories == nullptr || manifest.factory_count == 0) {
        recorder::violated("library.manifest", "the manifest lists no factory");
        throw cannot_judge("library.manifest", "the plugin makes nothing");
    }
    p.factory = choose_factory(s, manifest, error);
    if (p.factory == nullptr) {
        recorder::violated("library.manifest", error);
        throw cannot_judge("library.manifest", error);
    }
    p.kind = read_checked(p.factory, "cg_factory").kind;
    return p;
}

result_reader no_result() {
    return [](const void*) { return read_result{}; };
}

result_reader health_result() {
    return [](const void* result) {
        read_result out;
        auto value = std::make_shared<health_value>();
        if (result == nullptr) {
            recorder::violated("lifecycle.health", "health was completed with CG_OK and no cg_health: pass one as the result");
        } else {
            const auto h = read_checked(static_cast<const cg_health*>(result), "cg_health");
            value->state = h.state;
            value->text = sdk::view(h.text);
            if (h.state < CG_HEALTH_OK || h.state > CG_HEALTH_DOWN)
                recorder::violated("lifecycle.health", "health says state " + std::to_string(h.state) + ", which is none of CG_HEALTH_*");
            else if (h.state != CG_HEALTH_OK && value->text.empty())
                recorder::violated("lifecycle.health", "health is not CG_HEALTH_OK but its text is empty: say what is wrong and since when");
        }
        out.text = std::to_string(value->state) + " " + value->text;
        out.value = std::move(value);
        return out;
    };
}

instance::instance(const settings& s, const loaded_plugin& plugin, good_config config, host_shape shape, std::uint32_t shards)
    : settings_(s), plugin_(plugin), config_(std::move(config)), shape_(shape), shards_(shards == 0 ? s.shards : shards),
      host_(std::make_unique<checked_host>("under_test", shards_, shape)), states_(shards_, nullptr) {}

cg_status instance::try_create(std::string& error, std::size_t error_room) {
    std::vector<std::unique_ptr<guarded_block>> memory;
    auto args = sdk::make<cg_create_args>();
    args.name = guarded_text("under_test", args_strings, memory);
    args.config_json = guarded_text(config_.json, args_strings, memory);
    args.base_dir = guarded_text(config_.base_dir, args_strings, memory);
    std::unique_ptr<guarded_block> args_block, error_block;
    const auto* placed = place(args, offsetof(cg_create_args, base_dir), shape_, args_memory, args_block);
    guarded_block text(std::max<std::size_t>(error_room, 1), error_memory);
    auto errbuf = sdk::make<cg_errbuf>();
    errbuf.text = {error_room == 0 ? nullptr : text.data(), error_room, 0};
    auto* out = place(errbuf, sizeof errbuf, shape_, error_memory, error_block);
    const auto factory = read_checked(plugin_.factory, "cg_factory");
    if (factory.create == nullptr) {
        recorder::violated("library.manifest", "the factory has no create function");
        throw cannot_judge("library.manifest", "nothing can be created");
    }
    const auto status = plugin_call("create", [&] { return factory.create(plugin_.factory, host_->get(), placed, &instance_, out); });
    error.assign(reinterpret_cast<const char*>(text.data()), std::min(out->text.size, error_room));
    if (status != CG_OK) {
        instance_ = nullptr;
        return status;
    }
    if (instance_ == nullptr) {
        recorder::violated("lifecycle.good_configs", "create() returned CG_OK and set no instance");
        throw cannot_judge("lifecycle.good_configs", "there is no instance");
    }
    const auto mine = read_checked(instance_, "cg_instance");
    life_ = read_checked(mine.life, "cg_lifecycle");
    api_ = mine.api;
    if (mine.kind != factory.kind)
        recorder::violated("library.manifest", "create() made an instance of kind " + kind_name(mine.kind) + ", but its factory says " + kind_name(factory.kind));
    if (mine.life == nullptr || life_.destroy == nullptr) {
        recorder::violated("library.struct_sizes", "the instance has no cg_lifecycle with a destroy function");
        throw cannot_judge("library.struct_sizes", "the instance cannot be driven");
    }
    if (api_ == nullptr && mine.kind != CG_KIND_MODULE) {
        recorder::violated("library.struct_sizes", "the instance has no table of its kind (cg_instance.api is NULL)");
        throw cannot_judge("library.struct_sizes", "the instance cannot be driven");
    }
    return CG_OK;
}

void instance::create() {
    std::string error;
    const auto status = try_create(error);
    if (status == CG_OK) return;
    const char* check = shape_ == host_shape::older ? "library.older_host" : shape_ == host_shape::newer ? "library.newer_host" : "lifecycle.good_configs";
    recorder::violated(check, "create() refuses " + config_.file + " with " + status_text(status) + (error.empty() ? " and no text" : ": " + error) + host_->last_logs());
    throw cannot_judge(check, "no instance can be made of " + config_.file);
}

cg_op instance::begin_control(const char* function, cg_status (*fn)(cg_instance*, cg_op), result_reader reader) {
    if (fn == nullptr) return 0;
    return begin(function, std::move(reader), 30'000'000'000, {}, [&](cg_op op) { return fn(instance_, op); });
}

answer instance::control(const char* function, cg_status (*fn)(cg_instance*, cg_op), result_reader reader) {
    const cg_op op = begin_control(function, fn, std::move(reader));
    if (op == 0) return {CG_OK, {}, {}, {}, false, false, now_ns()};
    if (host_->refused(op)) return {CG_E_INTERNAL, std::string(function) + "() did not accept the operation", {}, {}, false, false, now_ns()};
    if (!wait({op}, settings_.patience)) {
        recorder::violated("lifecycle.good_configs", std::string(function) + "() was accepted and has not completed after " + std::to_string(settings_.patience.count()) +
                                                         " ms: complete its cg_op, also when there is nothing to do" + host_->last_logs());
        throw cannot_judge("lifecycle.good_configs", std::string(function) + "() does not complete");
    }
    return *host_->take(op);
}

answer instance::start() { return control("start", life_.start, no_result()); }

void instance::attach_all() {
    if (!threads_) threads_ = std::make_unique<shard_threads>(shards_);
    attached_ = true;
    if (life_.shard_attach == nullptr) return;
    on_all_shards([&](std::uint32_t shard) {
        const auto status = plugin_call("shard_attach", [&] { return life_.shard_attach(instance_, shard, &states_[shard]); });
        if (status != CG_OK) {
            recorder::violated("lifecycle.good_configs", "shard_attach() of shard " + std::to_string(shard) + " failed with " + status_text(status) + host_->last_logs());
            throw cannot_judge("lifecycle.good_configs", "a shard cannot be attached");
        }
    });
}

void instance::detach_all() {
    if (!attached_) return;
    attached_ = false;
    if (life_.shard_detach != nullptr)
        on_all_shards([&](std::uint32_t shard) { plugin_call("shard_detach", [&] { life_.shard_detach(instance_, shard, states_[shard]); }); });
    threads_.reset();
}

answer instance::stop() {
    auto a = control("stop", life_.stop, no_result());
    control_loop::get().wait_until([&] { return host_->released(); }, std::chrono::seconds(1));
    host_->stopped();
    return a;
}

void instance::destroy() {
    control_loop::get().wait_until([&] { return host_->released(); }, std::chrono::seconds(1));
    plugin_call("destroy", [&] { life_.destroy(instance_); });
    instance_ = nullptr;
}

void instance::up() {
    create();
    const auto a = start();
    if (a.status != CG_OK) {
        recorder::violated("lifecycle.good_configs", "start() with " + config_.file + " completed with " + status_text(a.status) + (a.error.empty() ? " and no text" : ": " + a.error) +
                                                         (a.where.empty() ? "" : " (" + a.where + ")") + host_->last_logs());
        throw cannot_judge("lifecycle.good_configs", "no instance starts with " + config_.file);
    }
    attach_all();
}

void instance::down() {
    const auto judged = [&](const char* function, const answer& a) {
        if (a.status == CG_OK) return;
        recorder::violated("lifecycle.good_configs", std::string(function) + "() completed with " + status_text(a.status) + (a.error.empty() ? "" : ": " + a.error) +
                                                         "; the daemon then leaves the instance alone until it ends");
        throw cannot_judge("lifecycle.good_configs", std::string(function) + "() fails");
    };
    judged("drain", drain());
    judged("stop", stop());
    detach_all();
    destroy();
}

void instance::cancel(cg_op op, std::int32_t reason) {
    host_->mark_cancelled(op);
    if (life_.cancel != nullptr) plugin_call("cancel", [&] { life_.cancel(instance_, op, reason); });
}

bool instance::wait(const std::vector<cg_op>& ops, std::chrono::nanoseconds limit) {
    return control_loop::get().wait_until(
        [&] {
            for (const auto op : ops)
                if (op != 0 && !host_->done(op)) return false;
            return true;
        },
        limit);
}

void instance::must_complete(const std::vector<cg_op>& ops, const char* check, const std::string& when) {
    if (wait(ops, settings_.patience)) return;
    std::size_t open = 0;
    std::string function;
    const char* lost = check;
    for (const auto op : ops)
        if (op != 0 && !host_->done(op)) {
            ++open;
            function = host_->function_of(op);
            // Of a random mixture: what is known to be lost for one reason belongs to that reason's check.
            lost = host_->was_cancelled(op) ? "operations.cancel_during" : host_->began_late(op) ? "operations.deadline_past" : "fuzz.operations";
        }
    if (std::string_view(check) == "fuzz.operations") check = lost;
    recorder::violated(check, std::to_string(open) + " of " + std::to_string(ops.size()) + " operations of " + function + "() " + (when.empty() ? "" : when + " ") + "have not completed after " +
                                  std::to_string(settings_.patience.count()) + " ms: whoever takes a cg_op completes it, whatever happens; a request is waiting for each" + host_->last_logs());
    throw cannot_judge(check, "operations do not complete");
}

void instance::on_shard(std::uint32_t shard, const std::function<void()>& work) { threads_->run(shard, work, settings_.patience * 5); }
void instance::on_all_shards(const std::function<void(std::uint32_t)>& work) { threads_->run_all(work, settings_.patience * 5); }

}  // namespace callgate::check
