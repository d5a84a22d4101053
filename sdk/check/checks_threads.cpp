// SPDX-License-Identifier: Apache-2.0
// Group "threads": shards at once, calls tagged [any], tags of host functions, blocking.
#include <atomic>
#include <callgate/sdk/value.hpp>

#include "sdk/check/registry.hpp"
#include "sdk/check/workload.hpp"

namespace callgate::check {
namespace {

void shards_at_once(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    i.up();
    const auto w = workload::of(i);
    constexpr std::uint32_t rounds = 40;
    // What each request is answered alone is what it must be answered in company.
    std::vector<std::string> alone(rounds);
    for (std::uint32_t n = 0; n < rounds; ++n) {
        cg_op op = 0;
        i.on_shard(0, [&] { op = w->begin(0, {.left_ns = 5'000'000'000, .cancelled = false, .number = n}); });
        i.must_complete({op});
        alone[n] = w->outcome(op);
    }
    std::vector<std::vector<cg_op>> ops(i.shards(), std::vector<cg_op>(rounds));
    const std::uint32_t together = std::max(1u, std::min(w->at_once(), 8u));
    for (std::uint32_t from = 0; from < rounds; from += together) {
        std::atomic<std::uint32_t> ready{0};
        i.on_all_shards([&](std::uint32_t shard) {
            ++ready;
            while (ready < i.shards()) std::this_thread::yield();
            for (std::uint32_t n = from; n < std::min(rounds, from + together); ++n) ops[shard][n] = w->begin(shard, {.left_ns = 5'000'000'000, .cancelled = false, .number = n});
        });
        for (std::uint32_t shard = 0; shard < i.shards(); ++shard)
            i.must_complete({ops[shard].begin() + from, ops[shard].begin() + std::min(rounds, from + together)}, "threads.shards_at_once", "begun on " + std::to_string(i.shards()) + " shards at once");
    }
    for (std::uint32_t shard = 0; shard < i.shards(); ++shard)
        for (std::uint32_t n = 0; n < rounds; ++n) {
            const auto got = w->outcome(ops[shard][n]);
            if (alone[n].empty() || got.empty()) continue;
            if (got != alone[n])
                recorder::violated("threads.shards_at_once", "the same request was answered \"" + alone[n] + "\" alone and \"" + got + "\" while other shards were at work: something is shared "
                                                                 "between shards without a lock (CG_THREADS_PER_SHARD promises only that calls with one shard_state do not overlap)");
        }
    if (i.host().foreign_completions() != 0) recorder::note(std::to_string(i.host().foreign_completions()) + " operations were completed on threads of the plugin");
    i.down();
}

void any_thread(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    i.up();
    const auto w = workload::of(i);
    w->trial(i);
    const auto query = sdk::copy_in(i.c()).query;
    std::mutex mutex;
    std::vector<cg_op> known;
    std::atomic<bool> ending{false};
    std::size_t cancelled = 0;   // operations so far; this and the next guarded by the mutex
    std::exception_ptr failure;
    // [any] means also a thread that is neither control nor a shard, while shards work.
    std::thread outsider([&] {
        progress::name_thread("outsider");
        use_fault_stack();
        try {
            while (!ending) {
                std::vector<cg_op> now;
                {
                    const std::lock_guard lock(mutex);
                    now.swap(known);
                }
                for (const auto op : now) i.cancel(op, CG_CANCEL_REQUESTER);
                {
                    const std::lock_guard lock(mutex);
                    cancelled += now.size();
                }
                if (query != nullptr) {
                    constexpr std::string_view none = "com.example.nothing/1";
                    plugin_call("query", [&] { return query(i.c(), {none.data(), none.size()}); });
                }
                if (i.kind() == CG_KIND_KEY_PROVIDER) (void)key_limits(i);
                std::this_thread::yield();
            }
        } catch (...) {
            const std::lock_guard lock(mutex);
            failure = std::current_exception();
        }
    });
    struct joiner {
        std::atomic<bool>& ending;
        std::thread& thread;
        ~joiner() {
            ending = true;
            thread.join();
        }
    };
    {
        const joiner at_end{ending, outsider};
        std::size_t begun = 0;
        for (int round = 0; round < 10; ++round) {
            std::vector<cg_op> ops(std::min(w->at_once(), 4u));
            i.on_shard(0, [&] {
                for (std::uint32_t n = 0; n < ops.size(); ++n) {
                    ops[n] = w->begin(0, {.left_ns = 5'000'000'000, .cancelled = false, .number = n});
                    const std::lock_guard lock(mutex);
                    known.push_back(ops[n]);
                }
            });
            // A busy machine may keep the outsider waiting until everything is answered: then it would have tried nothing.
            begun += ops.size();
            const auto reached = [&] {
                const std::lock_guard lock(mutex);
                return cancelled >= begun || failure != nullptr;
            };
            while (!reached()) std::this_thread::yield();
            // One that is lost for its cancel breaks the rule of cancels, on whatever thread it came.
            i.must_complete(ops, "operations.cancel_during", "after cancel() on another thread");
        }
    }
    if (failure) std::rethrow_exception(failure);
    i.down();
}

// Both rules are judged by the host and by the clock around every call; here is a life in which they can break.
void watched(const settings& s) {
    measure_stalls();
    const auto p = load_plugin(s, s.plugin);
    instance i(s, p, s.good[0]);
    i.up();
    try {
        const auto w = workload::of(i);
        for (std::uint32_t n = 0; n < 10; ++n) {
            std::vector<cg_op> ops(i.shards());
            i.on_all_shards([&](std::uint32_t shard) { ops[shard] = w->begin(shard, {.left_ns = 2'000'000'000, .cancelled = false, .number = n}); });
            i.must_complete(ops);
        }
    } catch (const not_applicable&) {
    }
    i.down();
}

}  // namespace

void add_thread_checks(std::vector<check_entry>& out) {
    out.insert(out.end(), {
        {"threads.shards_at_once", "shards at once get the answers they get alone", with_operations, shards_at_once},
        {"threads.any_thread", "what is tagged [any] may be called by any thread while shards work", with_operations, any_thread},
        {"threads.tags", "host functions are called on the threads they are for", 0, watched},
        {"threads.never_blocks", "no call holds a shard", 0, watched},
    });
}

}  // namespace callgate::check
