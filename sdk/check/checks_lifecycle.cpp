// SPDX-License-Identifier: Apache-2.0
// Group "lifecycle", first part: configurations, start and stop, growth.
#include <callgate/sdk/value.hpp>

#include "sdk/check/process_state.hpp"
#include "sdk/check/registry.hpp"
#include "sdk/check/schema.hpp"
#include "sdk/check/workload.hpp"

namespace callgate::check {
namespace {

void good_configs(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    const auto schema = std::string(sdk::view(sdk::copy_in(p.factory).config_schema));
    for (const auto& config : s.good) {
        const auto wrong = check_schema(schema, config.json);
        if (!wrong.empty()) {
            recorder::violated("lifecycle.good_configs", config.file + " does not fit the plugin's own config_schema, against which the daemon checks it before create(): " + wrong);
            continue;
        }
        instance i(s, p, config);
        i.up();
        (void)i.health();
        i.down();
    }
}

bool names(const std::string& text, const std::string& key) {
    // "hash.threads" is named by that, or by its last part.
    const auto dot = key.find_last_of('.');
    return text.find(dot == std::string::npos ? key : key.substr(dot + 1)) != std::string::npos;
}

void bad_configs(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    const auto schema = std::string(sdk::view(sdk::copy_in(p.factory).config_schema));
    auto all = s.bad;
    // A misspelt key is the mistake that every operator makes.
    const auto& good = s.good[0];
    const char* comma = good.json.find_first_not_of(" {\n") == good.json.find('}') ? "" : ",";
    all.push_back({good.file + " with the unknown key callgate_misspelt_key", "callgate_misspelt_key", "{\"callgate_misspelt_key\":1" + std::string(comma) + good.json.substr(good.json.find('{') + 1), good.base_dir});
    for (const auto& bad : all) {
        std::string said = check_schema(schema, bad.json);
        bool refused = !said.empty();
        instance i(s, p, {bad.file, bad.json, bad.base_dir});
        if (!refused) {
            refused = i.try_create(said) != CG_OK;
            if (!refused) {
                const auto a = i.start();
                said = a.error + " " + a.where;
                refused = a.status != CG_OK;
                // What failed to start is stopped and destroyed all the same.
                i.attach_all();
                i.down();
            }
        }
        if (!refused)
            recorder::violated("lifecycle.bad_configs", bad.file + ": the configuration with a wrong " + bad.key + " is accepted: refuse it in config_schema (\"additionalProperties\": false for unknown keys), in create() or in start(), so that a "
                                                            "mistake shows at load and not in the night");
        else if (!names(said, bad.key))
            recorder::violated("lifecycle.bad_configs", bad.file + ": the wrong " + bad.key + " is refused, but the text does not name the key: \"" + said + "\"");
    }
}

// Refused by most plugins, whatever their configuration is.
const char* const nonsense[] = {"{\"callgate_plugin_check_unknown_key\": 1}", "[]", "{", "", "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}"};

void error_buffer(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    for (const std::size_t room : {std::size_t{1024}, std::size_t{16}, std::size_t{1}, std::size_t{0}}) {
        auto configs = s.bad;
        for (const char* text : nonsense) configs.push_back({"a made-up configuration", "", text, s.good[0].base_dir});
        for (const auto& bad : configs) {
            instance i(s, p, {bad.file, bad.json, bad.base_dir});
            std::string error;
            // A write beyond the buffer is a fault that names operations.out_buffers.
            const auto status = i.try_create(error, room);
            if (status == CG_OK)
                i.destroy();
            else if (room == 1024 && error.empty())
                recorder::violated("lifecycle.error_buffer", "create() refuses " + (bad.file.starts_with("a made-up") ? "the configuration " + bad.json : bad.file) + " with " + status_text(status) +
                                                                 " and no text: fill errbuf->text and set its size, so that the operator learns which key is wrong and why");
        }
    }
}

void create_args_lifetime(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    // The arguments are gone when create returns: whatever still reads them faults.
    i.up();
    (void)i.health();
    i.down();
}

void health(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    i.create();
    if (i.start().status != CG_OK) throw cannot_judge("lifecycle.good_configs", "it does not start");
    const auto a = i.health();
    if (i.life().health != nullptr && a.status != CG_OK)
        recorder::violated("lifecycle.health", "health completed with " + status_text(a.status) + ": report trouble as a cg_health with CG_HEALTH_DEGRADED or CG_HEALTH_DOWN and a text");
    i.attach_all();
    i.down();
}

void two_instances(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    // A reload makes the new instance beside the old one and retires the old one afterwards.
    instance old(s, p, s.good[0]);
    old.up();
    try {
        workload::of(old)->trial(old);
    } catch (const not_applicable&) {
    }
    instance fresh(s, p, s.good.back());
    fresh.up();
    std::unique_ptr<workload> before, after;
    try {
        before = workload::of(old);
        after = workload::of(fresh);
    } catch (const not_applicable&) {
    }
    if (before) {
        std::vector<cg_op> a(1), b(1);
        old.on_shard(0, [&] { a[0] = before->begin(0, {}); });
        fresh.on_shard(0, [&] { b[0] = after->begin(0, {}); });
        old.must_complete(a, "lifecycle.two_instances", "while a second instance was up");
        fresh.must_complete(b, "lifecycle.two_instances", "beside an older instance");
    }
    old.down();
    if (after) {
        std::vector<cg_op> b(1);
        fresh.on_shard(0, [&] { b[0] = after->begin(0, {}); });
        fresh.must_complete(b, "lifecycle.two_instances", "after an older instance was destroyed");
    }
    fresh.down();
}

void drain_waits(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    i.up();
    const auto w = workload::of(i);
    w->trial(i);
    std::vector<cg_op> ops(std::min(16u, w->at_once()));
    i.on_shard(0, [&] {
        for (std::uint32_t n = 0; n < ops.size(); ++n) ops[n] = w->begin(0, {.left_ns = 2'000'000'000, .cancelled = false, .number = n});
    });
    const auto drained = i.drain();
    const auto open = i.host().open();
    if (drained.status == CG_OK && open != 0)
        recorder::violated("lifecycle.drain_waits", "drain completed while " + std::to_string(open) + " operations were in flight: complete it when the last of them is complete; the daemon stops the "
                                                        "instance next, and their clients would get no answer");
    i.must_complete(ops);
    (void)i.stop();
    i.detach_all();
    i.destroy();
}

void stop_in_flight(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    i.up();
    const auto w = workload::of(i);
    w->trial(i);
    std::vector<cg_op> ops(std::min(16u, w->at_once()));
    i.on_shard(0, [&] {
        for (std::uint32_t n = 0; n < ops.size(); ++n) ops[n] = w->begin(0, {.left_ns = 30'000'000'000, .cancelled = false, .number = n});
    });
    // Draining took too long, say: the daemon does not wait for ever.
    const auto stopped = i.control("stop", i.life().stop, no_result());
    if (stopped.status == CG_OK) {
        const auto open = i.host().open();
        if (open != 0)
            recorder::violated("lifecycle.stop_in_flight", "stop completed while " + std::to_string(open) + " operations were in flight, and no host call may follow: complete them first, with "
                                                               "CG_E_CANCELLED or UNAVAILABLE when there is no better answer");
    }
    i.host().stopped();
    i.detach_all();
    i.destroy();
}

void silent_after_stop(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    i.up();
    std::unique_ptr<workload> w;
    try {
        w = workload::of(i);
        std::vector<cg_op> ops(8);
        i.on_shard(0, [&] {
            for (auto& op : ops) op = w->begin(0, {});
        });
        i.must_complete(ops);
    } catch (const not_applicable&) {
    }
    (void)i.drain();
    (void)i.stop();
    // A thread that was not joined gets the time to betray itself; the host's tables fault after destroy.
    control_loop::get().run_for(std::chrono::milliseconds(60));
    i.detach_all();
    i.destroy();
    control_loop::get().run_for(std::chrono::milliseconds(20));
}

// Grows by at most `allowed` over the second half of `cycles`: the first half warms caches.
void cycles_without_growth(const settings& s, const char* check, const char* what, std::size_t resources::* member, std::size_t cheap, std::size_t whole, std::size_t allowed,
                           const char* advice) {
    const auto p = load_plugin(s, s.plugin);
    {
        // A touch of memory that is gone shows as what it is in guarded memory only.
        instance i(s, p, s.good[0], host_shape::present, 1);
        i.up();
        i.down();
        control_loop::get().run_for(std::chrono::milliseconds(30));
    }
    use_plain_memory();
    const auto grown = [&](std::size_t cycles, const auto& cycle) {
        std::size_t middle = 0, threads = 0;
        for (std::size_t n = 0; n < cycles; ++n) {
            if (n == cycles / 2) {
                const auto now = resources::now();
                middle = now.*member;
                threads = now.threads;
            }
            cycle();
        }
        // A thread that was joined is seen for an instant longer.
        control_loop::get().wait_until([&] { return resources::now().*member <= middle + allowed; }, std::chrono::milliseconds(300));
        const auto now = resources::now();
        const auto end = now.*member;
        // A thread that stays holds memory; it breaks the rule of threads.
        if (member != &resources::threads && now.threads > threads) throw cannot_judge("lifecycle.no_thread_growth", "threads are left over, and they hold memory");
        return end > middle + allowed ? end - middle : 0;
    };
    const auto measure = [&](const char* how, std::size_t cycles, const auto& cycle) {
        // A leak grows every time; the allocator's own hoards do not.
        std::size_t left = grown(cycles, cycle);
        for (int again = 0; left != 0 && again < 2; ++again) left = std::min(left, grown(cycles, cycle));
        if (left != 0) recorder::violated(check, std::to_string(cycles - cycles / 2) + " times " + how + " left " + std::to_string(left) + " more " + what + ": " + advice);
    };
    measure("create and destroy", cheap, [&] {
        instance i(s, p, s.good[0], host_shape::present, 1);
        i.create();
        i.destroy();
    });
    if (recorder::has_violated(check)) return;
    measure("create, start, stop and destroy", whole, [&] {
        instance i(s, p, s.good[0], host_shape::present, 1);
        i.up();
        i.down();
    });
}

void no_memory_growth(const settings& s) {
    // Twenty bytes for a cycle: below the smallest leak there can be, above what the allocator's caches vary by.
    cycles_without_growth(s, "lifecycle.no_memory_growth", "bytes of heap", &resources::heap_bytes, s.cycles, 100, 4096,
                          "a reload does this each time; free in destroy what create and start made, and in shard_detach what shard_attach made");
    cycles_without_growth(s, "lifecycle.no_memory_growth", "memory mappings", &resources::mappings, 200, 60, 16, "unmap in destroy what was mapped");
}
void no_descriptor_growth(const settings& s) {
    cycles_without_growth(s, "lifecycle.no_descriptor_growth", "open descriptors", &resources::descriptors, s.cycles, 40, 0, "close in stop or destroy what was opened, on the error paths too");
}
void no_thread_growth(const settings& s) {
    cycles_without_growth(s, "lifecycle.no_thread_growth", "threads", &resources::threads, s.cycles, 40, 0,
                          "join every thread before stop completes; one that lives on runs in code and data that are gone");
}

}  // namespace

void add_lifecycle_checks(std::vector<check_entry>& out) {
    out.insert(out.end(), {
        {"lifecycle.good_configs", "every good configuration creates, starts, attaches, drains, stops and is destroyed", 0, good_configs},
        {"lifecycle.bad_configs", "every bad configuration is refused with a text that names the key", 0, bad_configs},
        {"lifecycle.error_buffer", "create's error text is there and stays inside its buffer", 0, error_buffer},
        {"lifecycle.create_args_lifetime", "nothing of create's arguments is kept", 0, create_args_lifetime},
        {"lifecycle.health", "health tells a state, with a text unless OK", 0, health},
        {"lifecycle.two_instances", "two instances at once keep apart", 0, two_instances},
        {"lifecycle.drain_waits", "drain completes after the operations in flight", with_operations, drain_waits},
        {"lifecycle.stop_in_flight", "stop leaves no operation behind", with_operations, stop_in_flight},
        {"lifecycle.silent_after_stop", "no host call after stop has completed", 0, silent_after_stop},
        {"lifecycle.no_memory_growth", "create/destroy x1000 keeps memory level", 0, no_memory_growth},
        {"lifecycle.no_descriptor_growth", "create/destroy x1000 keeps descriptors level", 0, no_descriptor_growth},
        {"lifecycle.no_thread_growth", "create/destroy x1000 keeps threads level", 0, no_thread_growth},
    });
}

}  // namespace callgate::check
