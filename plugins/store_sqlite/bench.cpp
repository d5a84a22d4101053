// SPDX-License-Identifier: Apache-2.0
// store_sqlite_bench FOLDER [SECONDS] [full|normal]: commits and lookups a second through the C table, 64 in flight.
#include <callgate/sdk/testing/claim_store_client.hpp>
#include <callgate/sdk/testing/driver.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "plugins/store_sqlite/store_sqlite.hpp"

int main(int argc, char** argv) {
    using namespace callgate;
    using clock = std::chrono::steady_clock;
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s FOLDER [SECONDS] [full|normal]\n", argv[0]);
        return 2;
    }
    const double seconds = argc > 2 ? std::atof(argv[2]) : 5;
    const std::string sync = argc > 3 ? argv[3] : "full";
    sdk::test::fake_host host;
    sdk::test::driver plugin(host, sdk::factory_of<store_sqlite::store>, R"({"path": "bench.db", "synchronous": ")" + sync + "\"}", argv[1]);
    if (const auto c = plugin.start(); c.status != CG_OK) {
        std::fprintf(stderr, "%s\n", c.error.c_str());
        return 1;
    }
    sdk::test::claim_store_client store(host, plugin.get());
    const std::string document(300, 'g');
    const auto measure = [&](const char* what, std::size_t in_flight, auto&& begin) {
        std::deque<cg_op> open;
        std::size_t count = 0, failed = 0;
        const auto start = clock::now();
        const auto elapsed = [&] { return std::chrono::duration<double>(clock::now() - start).count(); };
        for (int n = 0; elapsed() < seconds || !open.empty();) {
            while (open.size() < in_flight && elapsed() < seconds) open.push_back(begin(n++));
            if (open.empty()) break;
            if (store.answer(open.front()).status != CG_OK) ++failed;
            open.pop_front();
            ++count;
        }
        std::printf("%-28s %2zu in flight %10.0f a second %zu failed\n", what, in_flight, static_cast<double>(count) / elapsed(), failed);
    };
    const auto key = [](int n) { return "grants/user" + std::to_string(n % 10'000); };
    const auto commit = [&](int n) { return store.commit_op({.puts = {{key(n), document}}}); };
    const auto lookup = [&](int n) { return store.get_op({key(n)}); };
    measure(("commit, synchronous=" + sync).c_str(), 1, commit);
    measure(("commit, synchronous=" + sync).c_str(), 64, commit);
    measure("lookup of one key", 1, lookup);
    measure("lookup of one key", 64, lookup);
}
