// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>
#include <callgate/crypto/known_key.hpp>
#include <callgate/crypto/random.hpp>
#include <callgate/crypto/sign_batch.hpp>

#include <string>
#include <vector>

#include "sdk/crypto/src/field25519.hpp"

using namespace callgate::crypto;

namespace {

// A request as nats-server 2.15.1 signs it has about 1,500 bytes of header "." payload; a user JWT 700, a response 1,450.
constexpr std::size_t request_bytes = 1500, user_bytes = 700, response_bytes = 1450;

std::vector<std::uint8_t> random_message(std::size_t n) {
    std::vector<std::uint8_t> m(n);
    random_bytes(m);
    return m;
}

struct signed_by {
    explicit signed_by(std::size_t bytes) : key(signing_key::generate()), message(random_message(bytes)), known(known_key::make(key.public_key())) {
        key.sign(message, signature);
    }
    signing_key key;
    std::vector<std::uint8_t> message;
    std::unique_ptr<const known_key> known;
    signature_bytes signature{};
};

void verify_libsodium(benchmark::State& state, std::size_t bytes) {
    const signed_by s(bytes);
    for (auto _ : state)
        if (!verify_any(s.message, s.signature, s.key.public_key())) state.SkipWithError("refused");
}
void verify_table(benchmark::State& state, std::size_t bytes, std::size_t keys, const char* baseline) {
    std::vector<signed_by> all;
    for (std::size_t i = 0; i < keys; ++i) all.emplace_back(bytes);
    std::size_t i = 0;
    for (auto _ : state) {
        const auto& s = all[i++ % keys];
        if (verify_known(s.message, s.signature, *s.known) != verification::by_table) state.SkipWithError("refused");
    }
    state.SetLabel(baseline);
}
// What a forger costs who knows a server's public key.
void verify_table_refused(benchmark::State& state) {
    signed_by s(request_bytes);
    s.message[0] ^= 1;
    for (auto _ : state)
        if (verify_known(s.message, s.signature, *s.known) != verification::refused) state.SkipWithError("accepted");
    state.SetLabel("verify_any/1500");
}
void build_table(benchmark::State& state) {
    const auto key = signing_key::generate().public_key();
    for (auto _ : state) benchmark::DoNotOptimize(known_key::make(key));
    state.SetLabel("verify_any/1500");
}
void sign_one(benchmark::State& state, std::size_t bytes) {
    const signed_by s(bytes);
    signature_bytes out;
    for (auto _ : state) s.key.sign(s.message, out);
}
void sign_many(benchmark::State& state, std::size_t n, self_check check) {
    std::vector<signing_key> keys;
    for (int i = 0; i < 4; ++i) keys.push_back(signing_key::generate());
    std::vector<std::vector<std::uint8_t>> messages;
    std::vector<signature_bytes> signatures(n);
    std::vector<sign_item> items;
    for (std::size_t i = 0; i < n; ++i) messages.push_back(random_message(user_bytes));
    for (std::size_t i = 0; i < n; ++i) items.push_back({&keys[i % 4], messages[i], signatures[i].data()});
    for (auto _ : state)
        if (sign_batch(items, check) != n) state.SkipWithError("not signed");
    state.counters["per_round"] = static_cast<double>(n);
    state.SetLabel("sign/700");
}
void invert_number(benchmark::State& state, field25519::element (*invert)(const field25519::element&) noexcept, const char* baseline) {
    key_bytes b;
    random_bytes(b);
    auto n = field25519::from_words(field25519::load_words(b));
    for (auto _ : state) n = field25519::add(invert(n), field25519::one);
    benchmark::DoNotOptimize(n);
    state.SetLabel(baseline);
}

const int registered = [] {
    using benchmark::RegisterBenchmark;
    for (std::size_t bytes : {std::size_t{64}, request_bytes}) {
        const auto size = "/" + std::to_string(bytes);
        RegisterBenchmark(("verify_any" + size).c_str(), verify_libsodium, bytes);
        const auto base = "verify_any" + size;
        RegisterBenchmark(("verify_known" + size).c_str(), [=](benchmark::State& s) { verify_table(s, bytes, 1, base.c_str()); });
    }
    RegisterBenchmark("verify_known 32 keys in turn/1500", verify_table, request_bytes, 32, "verify_any/1500");
    RegisterBenchmark("verify_known refused/1500", verify_table_refused);
    RegisterBenchmark("known_key::make", build_table);
    RegisterBenchmark("field inversion by power", invert_number, field25519::invert_by_power, "");
    RegisterBenchmark("field inversion by gcd", invert_number, field25519::invert, "field inversion by power");
    RegisterBenchmark("sign/700", sign_one, user_bytes);
    RegisterBenchmark("sign/1450", sign_one, response_bytes);
    for (std::size_t n : {1, 8, 64})
        RegisterBenchmark(("sign_batch of " + std::to_string(n) + ", each/700").c_str(), sign_many, n, self_check{});
    RegisterBenchmark("sign_batch of 64, 1 in 64 recomputed/700", sign_many, 64, self_check{.recompute_one_in = 64});
    RegisterBenchmark("sign_batch of 64, all verified/700", sign_many, 64, self_check{.verify_each = true});
    return 0;
}();

}  // namespace
