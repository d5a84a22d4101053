// SPDX-License-Identifier: Apache-2.0
// How much password hashing slows token logins down: p50 and p99 of token logins at a fixed rate, from due
// time to answer, without and with 50 argon2id logins a second on the same shard.
// auth_static_interference_bench [seconds per phase]
// With a second argument, how long password logins take while that many threads of the same scheduling group
// do nothing but use the processors, at 5 logins a second, without and with the reserve.
// auth_static_interference_bench <seconds per phase> <busy threads>
#include <algorithm>
#include <atomic>
#include <callgate/crypto/hash.hpp>
#include <callgate/sdk/testing/driver.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>
#include <time.h>
#include <utility>

#include "plugins/auth_static/auth_static.hpp"

namespace {

using namespace callgate;
namespace fs = std::filesystem;

constexpr std::int64_t token_interval_ns = 500'000;
constexpr std::int64_t password_interval_ns = 20'000'000;
constexpr std::int64_t starved_interval_ns = 200'000'000;
constexpr std::int64_t login_deadline_ns = 2'000'000'000;

std::int64_t now_ns() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

struct phase_result {
    double p50_us, p99_us;
    std::size_t hashed, shed;
};

void sleep_until(std::int64_t due_ns) {
    const timespec t{due_ns / 1'000'000'000, due_ns % 1'000'000'000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr);
}

phase_result run(const std::string& dir, const char* priority, bool passwords, int seconds) {
    sdk::test::fake_host host;
    sdk::test::driver plugin(host, sdk::factory_of<auth_static::backend>,
                             R"({"file": "users.yaml", "hash": {"per_user": 256, "per_host": 256, "priority": ")" + std::string(priority) + "\"}}", dir);
    if (plugin.start().status != CG_OK) std::abort();
    sdk::test::test_request token, password;
    token.auth_token = token.credential = "robot-token";
    token.credential_source = CG_CREDENTIAL_AUTH_TOKEN;
    password.user = "alice";
    password.pass = password.credential = "wonderland";
    password.credential_source = CG_CREDENTIAL_PASS;
    std::vector<double> us;
    std::vector<cg_op> ops;
    const std::int64_t begin = now_ns(), end = begin + seconds * std::int64_t{1'000'000'000};
    std::int64_t next_password = begin, host_time = begin;
    for (std::int64_t due = begin; due < end; due += token_interval_ns) {
        sleep_until(due);
        // Only what is due of the host's clock is needed, not its precision.
        if (due - host_time >= 10'000'000) host.advance(std::chrono::nanoseconds(due - std::exchange(host_time, due)));
        if (passwords && due >= next_password) {
            ops.push_back(plugin.authenticate_op(password));
            next_password += password_interval_ns;
        }
        const auto op = plugin.authenticate_op(token);
        us.push_back(static_cast<double>(now_ns() - due) / 1000);
        if (!host.done(op)) std::abort();
    }
    phase_result r{};
    for (const auto op : ops) (host.wait(op)->verdict == CG_VERDICT_ALLOW ? r.hashed : r.shed)++;
    std::sort(us.begin(), us.end());
    r.p50_us = us[us.size() / 2];
    r.p99_us = us[us.size() * 99 / 100];
    return r;
}

struct starved_result {
    double p50_ms, p99_ms, max_ms;
    std::size_t allowed, given_up;
};

starved_result run_starved(const std::string& dir, int reserve_threads, int busy, int seconds) {
    sdk::test::fake_host host;
    sdk::test::driver plugin(host, sdk::factory_of<auth_static::backend>,
                             R"({"file": "users.yaml", "hash": {"per_user": 256, "per_host": 256, "reserve_threads": )" + std::to_string(reserve_threads) + "}}", dir);
    if (plugin.start().status != CG_OK) std::abort();
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < busy; ++i)
        threads.emplace_back([&] {
            while (!over.load(std::memory_order_relaxed)) {}
        });
    struct login {
        sdk::test::test_request request;
        cg_op op;
        std::int64_t since_ns;
    };
    std::vector<std::unique_ptr<login>> open;
    std::vector<double> ms;
    starved_result r{};
    const std::int64_t begin = now_ns(), end = begin + seconds * std::int64_t{1'000'000'000};
    std::int64_t next = begin, host_time = begin;
    for (std::int64_t now = begin; now < end || !open.empty();) {
        sleep_until(now + 1'000'000);
        now = now_ns();
        host.advance(std::chrono::nanoseconds(now - std::exchange(host_time, now)));
        if (now < end && now >= next) {
            auto& l = *open.emplace_back(std::make_unique<login>());
            l.request.user = "alice";
            l.request.pass = l.request.credential = "wonderland";
            l.request.credential_source = CG_CREDENTIAL_PASS;
            l.since_ns = now;
            l.op = plugin.authenticate_op(l.request, std::chrono::nanoseconds(login_deadline_ns));
            next += starved_interval_ns;
        }
        std::erase_if(open, [&](const auto& l) {
            if (!host.done(l->op) && now - l->since_ns >= login_deadline_ns) plugin.cancel(l->op);
            if (!host.done(l->op)) return false;
            ms.push_back(static_cast<double>(now - l->since_ns) / 1e6);
            (host.take(l->op)->verdict == CG_VERDICT_ALLOW ? r.allowed : r.given_up)++;
            return true;
        });
    }
    over = true;
    for (auto& t : threads) t.join();
    std::sort(ms.begin(), ms.end());
    r.p50_ms = ms[ms.size() / 2];
    r.p99_ms = ms[ms.size() * 99 / 100];
    r.max_ms = ms.back();
    return r;
}

}  // namespace

int main(int argc, char** argv) {
    const int seconds = argc > 1 ? std::atoi(argv[1]) : 5;
    crypto::init();
    std::string dir = (fs::temp_directory_path() / "callgate_bench_XXXXXX").string();
    if (::mkdtemp(dir.data()) == nullptr) return 1;
    std::string hex;
    for (const auto b : crypto::sha256(std::string_view("robot-token"))) {
        char two[3];
        std::snprintf(two, sizeof two, "%02x", b);
        hex += two;
    }
    // 19 MiB and 2 passes: the smallest parameters OWASP recommends, about 50 a second on one core.
    std::ofstream(dir + "/users.yaml") << "users:\n  - user: alice\n    password: \"" << auth_static::hash_password("wonderland", 19456, 2)
                                       << "\"\n  - user: robot\n    token_sha256: " << hex << "\n";
    if (const int busy = argc > 2 ? std::atoi(argv[2]) : 0; busy > 0) {
        std::printf("%-28s %10s %10s %10s %8s %8s\n", "phase", "p50 ms", "p99 ms", "max ms", "allowed", "given up");
        for (const int reserve : {0, 1}) {
            const auto r = run_starved(dir, reserve, busy, seconds);
            std::printf("%-28s %10.1f %10.1f %10.1f %8zu %8zu\n", reserve == 0 ? "busy, no reserve" : "busy, one reserve thread", r.p50_ms, r.p99_ms,
                        r.max_ms, r.allowed, r.given_up);
            std::fflush(stdout);
        }
        fs::remove_all(dir);
        return 0;
    }
    std::printf("%-28s %10s %10s %8s %8s\n", "phase", "p50 us", "p99 us", "hashed", "shed");
    for (const auto& [name, priority, passwords] :
         {std::tuple{"tokens alone", "idle", false}, std::tuple{"with passwords, idle", "idle", true}, std::tuple{"with passwords, low", "low", true},
          std::tuple{"with passwords, normal", "normal", true}, std::tuple{"tokens alone", "idle", false}}) {
        const auto r = run(dir, priority, passwords, seconds);
        std::printf("%-28s %10.1f %10.1f %8zu %8zu\n", name, r.p50_us, r.p99_us, r.hashed, r.shed);
        std::fflush(stdout);
    }
    fs::remove_all(dir);
}
