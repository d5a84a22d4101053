// SPDX-License-Identifier: Apache-2.0
// Group "operations": completions, cancellation, deadlines, memory.
#include "sdk/check/registry.hpp"
#include "sdk/check/workload.hpp"

namespace callgate::check {
namespace {

// An instance that is up and its operations.
struct running {
    explicit running(const settings& s) : plugin(load_plugin(s, s.plugin)), i(s, plugin, s.good[0]) {
        i.up();
        w = workload::of(i);
        w->trial(i);
    }
    cg_op one(const operation_options& o = {}) {
        cg_op op = 0;
        i.on_shard(0, [&] { op = w->begin(0, o); });
        return op;
    }
    loaded_plugin plugin;
    instance i;
    std::unique_ptr<workload> w;
};

// Some of the ordinary; the rule of its name is judged by the host or the fault handler.
void ordinary(const settings& s) {
    running r(s);
    for (std::uint32_t n = 0; n < 20; ++n) r.i.must_complete({r.one({.left_ns = 2'000'000'000, .cancelled = false, .number = n})});
    r.i.down();
}

void completes_once(const settings& s) {
    running r(s);
    std::vector<cg_op> ops;
    for (std::uint32_t n = 0; n < 20; ++n) ops.push_back(r.one({.left_ns = 2'000'000'000, .cancelled = false, .number = n}));
    r.i.must_complete(ops);
    // A second completion may come a little later.
    control_loop::get().run_for(std::chrono::milliseconds(30));
    r.i.down();
}

void request_lifetime(const settings& s) {
    running r(s);
    // Every request is taken away inside complete(); what looks at it afterwards faults, also a moment later.
    for (std::uint32_t n = 0; n < 30; ++n) r.i.must_complete({r.one({.left_ns = 2'000'000'000, .cancelled = false, .number = n})});
    control_loop::get().run_for(std::chrono::milliseconds(20));
    for (std::uint32_t n = 0; n < 5; ++n) r.i.must_complete({r.one()});
    r.i.down();
}

void string_bounds(const settings& s) {
    running r(s);
    cg_op op = 0;
    r.i.on_shard(0, [&] { op = r.w->begin_at_guard(0); });
    r.i.must_complete({op});
    r.i.down();
}

void hostile_fields(const settings& s) {
    measure_stalls();
    running r(s);
    for (std::uint32_t n = 0; n < r.w->hostile_count(); ++n) {
        cg_op op = 0;
        recorder::note("now: " + r.w->hostile_name(n));
        r.i.on_shard(0, [&] { op = r.w->begin_hostile(0, n); });
        r.i.must_complete({op}, "operations.hostile_fields", "(" + r.w->hostile_name(n) + ")");
    }
    r.i.must_complete({r.one()});
    r.i.down();
}

void cancel_before(const settings& s) {
    running r(s);
    for (std::uint32_t n = 0; n < 8; ++n)
        r.i.must_complete({r.one({.left_ns = 2'000'000'000, .cancelled = true, .number = n})}, "operations.cancel_before", "that were cancelled before the call (is_cancelled() was already 1)");
    r.i.down();
}

void cancel_during(const settings& s) {
    running r(s);
    // A far deadline: only the cancel can be why it ends soon.
    const auto far = std::int64_t{120} * 1'000'000'000;
    for (std::uint32_t n = 0; n < 12; ++n) {
        cg_op op = 0;
        r.i.on_shard(0, [&] {
            op = r.w->begin(0, {.left_ns = far, .cancelled = false, .number = n});
            if (n % 2 == 0) r.i.cancel(op, CG_CANCEL_DEADLINE);
        });
        if (n % 2 == 1) r.i.on_shard(0, [&] { r.i.cancel(op, n % 4 == 1 ? CG_CANCEL_REQUESTER : CG_CANCEL_SHUTDOWN); });
        r.i.must_complete({op}, "operations.cancel_during", "after cancel()");
    }
    r.i.must_complete({r.one()});
    r.i.down();
}

void cancel_after(const settings& s) {
    running r(s);
    std::vector<cg_op> ops;
    for (std::uint32_t n = 0; n < 8; ++n) {
        ops.push_back(r.one());
        r.i.must_complete({ops.back()});
    }
    // A cancel that crossed the completion: the handle means nothing to the plugin any more.
    for (const auto op : ops) r.i.on_shard(0, [&] { r.i.cancel(op, CG_CANCEL_DEADLINE); });
    for (const cg_op never : {cg_op{0}, ~cg_op{0}, cg_op{12345}})
        if (r.i.life().cancel != nullptr) r.i.on_shard(0, [&] { plugin_call("cancel", [&] { r.i.life().cancel(r.i.c(), never, CG_CANCEL_REQUESTER); }); });
    control_loop::get().run_for(std::chrono::milliseconds(10));
    r.i.must_complete({r.one()}, "operations.cancel_after", "begun after cancels of finished ones");
    r.i.down();
}

void deadline_past(const settings& s) {
    running r(s);
    for (const std::int64_t left : {std::int64_t{-1'000'000'000}, std::int64_t{-1}, std::int64_t{0}, std::int64_t{1}})
        r.i.must_complete({r.one({.left_ns = left, .cancelled = false, .number = 0})}, "operations.deadline_past", "whose deadline was already past (time_left_ns() is negative)");
    // And none at all.
    r.i.must_complete({r.one({.left_ns = no_deadline, .cancelled = false, .number = 0})}, "operations.deadline_past", "without a deadline (time_left_ns() is INT64_MAX)");
    r.i.down();
}

void many_at_once(const settings& s) {
    running r(s);
    std::vector<cg_op> ops(r.w->at_once());
    for (int round = 0; round < 3; ++round) {
        r.i.on_shard(0, [&] {
            for (std::uint32_t n = 0; n < ops.size(); ++n) ops[n] = r.w->begin(0, {.left_ns = 5'000'000'000, .cancelled = false, .number = n});
        });
        r.i.must_complete(ops, "operations.many_at_once", "begun " + std::to_string(ops.size()) + " at once (what cannot be taken is refused with CG_E_BUSY or answered UNAVAILABLE)");
    }
    r.i.down();
}

}  // namespace

void add_operation_checks(std::vector<check_entry>& out) {
    out.insert(out.end(), {
        {"operations.no_crash", "an ordinary operation does not end the process by a signal", with_operations, ordinary},
        {"operations.no_exit", "nothing ends the process by exit", with_operations, ordinary},
        {"operations.no_exception", "no exception crosses the boundary", with_operations, ordinary},
        {"operations.completes", "every accepted operation completes", with_operations, ordinary},
        {"operations.completes_once", "and it completes once", with_operations, completes_once},
        {"operations.refused_is_silent", "what was refused is not completed", with_operations, ordinary},
        {"operations.known_handles", "only handles that the host gave out come back", with_operations, ordinary},
        {"operations.request_lifetime", "the request is not touched after its completion", with_operations, request_lifetime},
        {"operations.scratch_lifetime", "scratch memory is not touched after the completion", with_operations, request_lifetime},
        {"operations.result_lifetime", "a result with a release function stays as it is until released", with_operations, completes_once},
        {"operations.out_buffers", "nothing is written beyond the host's buffers", 0, [](const settings& s) {
             const auto p = load_plugin(s, s.plugin);
             if (((1u << p.kind) & with_operations) != 0) ordinary(s);
             // create()'s error text is the one such buffer of every kind.
             for (const std::size_t room : {std::size_t{8}, std::size_t{1}}) {
                 instance i(s, p, {"a made-up configuration", "{\"callgate_plugin_check_unknown_key\": [1, 2, 3]}", s.good[0].base_dir});
                 std::string error;
                 if (i.try_create(error, room) == CG_OK) i.destroy();
             }
         }},
        {"operations.string_bounds", "strings are read within their size", with_operations, string_bounds},
        {"operations.hostile_fields", "NUL, bad UTF-8, 1 MB and empty fields are survived and answered", with_operations, hostile_fields},
        {"operations.cancel_before", "an operation cancelled before the call completes", with_operations, cancel_before},
        {"operations.cancel_during", "an operation cancelled in flight completes soon", with_operations, cancel_during},
        {"operations.cancel_after", "a cancel of a finished or unknown operation is harmless", with_operations, cancel_after},
        {"operations.deadline_past", "an operation without time left, or without deadline, completes", with_operations, deadline_past},
        {"operations.many_at_once", "a burst is answered or refused, never lost", with_operations, many_at_once},
    });
}

}  // namespace callgate::check
