// SPDX-License-Identifier: Apache-2.0
// Group "fuzz": random configurations and random sequences of operations, the same for the same seed.
#include "sdk/check/registry.hpp"
#include "sdk/check/workload.hpp"

namespace callgate::check {
namespace {

void operations(const settings& s) {
    measure_stalls();
    const auto p = load_plugin(s, s.plugin);
    std::mt19937_64 random(s.seed);
    auto i = std::make_unique<instance>(s, p, s.good[0]);
    i->up();
    auto w = workload::of(*i);
    w->trial(*i);
    std::vector<cg_op> open, finished;
    for (std::uint32_t step = 0; step < s.fuzz_steps; ++step) {
        const auto shard = static_cast<std::uint32_t>(random() % i->shards());
        const auto named = "seed " + std::to_string(s.seed) + ", step " + std::to_string(step) + ": ";
        const auto choice = random() % 20;
        if (choice < 13) {
            cg_op op = 0;
            i->on_shard(shard, [&] { op = w->begin_random(shard, random, named + "shard " + std::to_string(shard) + ", "); });
            open.push_back(op);
        } else if (choice < 16 && !(open.empty() && finished.empty())) {
            auto& from = finished.empty() || (!open.empty() && random() % 3 != 0) ? open : finished;
            const auto op = from[random() % from.size()];
            recorder::note(named + "cancel");
            i->cancel(op, static_cast<std::int32_t>(1 + random() % 3));
        } else if (choice == 16) {
            recorder::note(named + "health");
            (void)i->health();
        } else if (choice == 17 && step % 5 == 0) {
            recorder::note(named + "drain, stop, destroy and a new instance");
            i->must_complete(open, "fuzz.operations", "(" + named + "before drain)");
            i->down();
            i = std::make_unique<instance>(s, p, s.good[random() % s.good.size()]);
            i->up();
            w = workload::of(*i);
            open.clear();
            finished.clear();
        }
        if (open.size() > std::min(16u, w->at_once()) || choice == 19) {
            i->must_complete(open, "fuzz.operations", "(" + named + "reproduce with --seed)");
            finished.insert(finished.end(), open.begin(), open.end());
            open.clear();
            if (finished.size() > 64) finished.erase(finished.begin(), finished.begin() + 32);
        }
    }
    i->must_complete(open, "fuzz.operations", "(seed " + std::to_string(s.seed) + ", at the end)");
    i->down();
}

std::string mutate(std::string text, std::mt19937_64& random) {
    static const char* const pieces[] = {"{", "}", "[", "]", "\"", ",", ":", "null", "-1", "1e999", "99999999999999999999", "\\u0000", "\\ud800", "true", "\xff", "../../../../etc/passwd"};
    const auto times = 1 + random() % 4;
    for (std::uint64_t n = 0; n < times; ++n) {
        const auto at = text.empty() ? 0 : random() % text.size();
        switch (random() % 5) {
            case 0: text.insert(at, pieces[random() % std::size(pieces)]); break;
            case 1: text.erase(at, 1 + random() % 8); break;
            case 2: if (!text.empty()) text[at] = static_cast<char>(random()); break;
            case 3: text.insert(at, text.substr(at, random() % 40)); break;
            default: text.insert(at, std::string(random() % 300, '[')); break;
        }
    }
    return text;
}

void configs(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    std::mt19937_64 random(s.seed);
    const std::string deep = std::string(100'000, '[');
    for (std::uint32_t n = 0; n < s.fuzz_steps; ++n) {
        const auto& base = s.good[random() % s.good.size()];
        auto text = n == 0 ? deep : n == 1 ? std::string(1u << 20, 'x') : n == 2 ? "{\"a\":\"" + std::string(1u << 20, 'y') + "\"}" : mutate(base.json, random);
        if (text.size() < 300) recorder::note("seed " + std::to_string(s.seed) + ", configuration " + std::to_string(n) + ": " + text);
        instance i(s, p, {"a random configuration", text, base.base_dir}, host_shape::present, 1);
        std::string error;
        if (i.try_create(error) == CG_OK) i.destroy();
    }
}

}  // namespace

void add_fuzz_checks(std::vector<check_entry>& out) {
    out.insert(out.end(), {
        {"fuzz.operations", "random sequences of operations break nothing (--seed)", with_operations, operations},
        {"fuzz.configs", "random configurations crash nothing (--seed)", 0, configs},
    });
}

}  // namespace callgate::check
