// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>
#include <callgate/crypto/box.hpp>
#include <callgate/crypto/random.hpp>

#include <string>
#include <vector>

#include "sdk/crypto/src/base64url_kernels.hpp"

using namespace callgate::crypto;

namespace {

// The payload of a request: 1,556 bytes are 2,075 characters.
constexpr std::size_t payload_bytes = 1556, box_bytes = 1500;

std::vector<std::uint8_t> random_message(std::size_t n) {
    std::vector<std::uint8_t> m(n);
    random_bytes(m);
    return m;
}

template <class Encode>
void encode(benchmark::State& state, Encode f, const char* baseline) {
    const auto in = random_message(payload_bytes);
    std::string out(base64url::encoded_size(in.size()), '\0');
    for (auto _ : state) {
        f(in, out.data());
        benchmark::ClobberMemory();
    }
    state.SetLabel(baseline);
}
template <class Decode>
void decode(benchmark::State& state, Decode f, const char* baseline) {
    const auto text = base64url::encode(random_message(payload_bytes));
    std::vector<std::uint8_t> out(payload_bytes);
    for (auto _ : state) {
        if (!f(text, out.data())) state.SkipWithError("refused");
        benchmark::ClobberMemory();
    }
    state.SetLabel(baseline);
}

struct box_pair {
    box_pair() : own(random_message(32)), peer(curve_public(std::span<const std::uint8_t, 32>{random_message(32).data(), 32})) {
        shared = std::move(*agree(std::span<const std::uint8_t, 32>{own.data(), 32}, peer));
    }
    std::vector<std::uint8_t> own;
    key_bytes peer;
    secret shared;
};

void box_agree(benchmark::State& state) {
    const box_pair b;
    for (auto _ : state) benchmark::DoNotOptimize(agree(std::span<const std::uint8_t, 32>{b.own.data(), 32}, b.peer));
}
void box_seal(benchmark::State& state) {
    const box_pair b;
    const auto message = random_message(box_bytes);
    std::vector<std::uint8_t> out(box_bytes + xkv1_overhead);
    for (auto _ : state) seal(message, b.shared.bytes(), out.data());
    state.SetLabel("key agreement");
}
void box_open(benchmark::State& state) {
    const box_pair b;
    std::vector<std::uint8_t> sealed(box_bytes + xkv1_overhead), out(box_bytes);
    seal(random_message(box_bytes), b.shared.bytes(), sealed.data());
    for (auto _ : state)
        if (!open(sealed, b.shared.bytes(), out.data())) state.SkipWithError("does not open");
    state.SetLabel("key agreement");
}

const int registered = [] {
    using benchmark::RegisterBenchmark;
    RegisterBenchmark("base64url encode scalar/1556", [](benchmark::State& s) { encode(s, base64url::encode_scalar, ""); });
    RegisterBenchmark("base64url encode/1556", [](benchmark::State& s) {
        encode(s, [](std::span<const std::uint8_t> in, char* out) { base64url::encode(in, out); }, "base64url encode scalar/1556");
    });
    RegisterBenchmark("base64url decode scalar/2075", [](benchmark::State& s) { decode(s, base64url::decode_scalar, ""); });
    RegisterBenchmark("base64url decode/2075", [](benchmark::State& s) {
        decode(s, [](std::string_view in, std::uint8_t* out) { return base64url::decode(in, out).has_value(); }, "base64url decode scalar/2075");
    });
    RegisterBenchmark("key agreement", box_agree);
    RegisterBenchmark("box seal, kept key/1500", box_seal);
    RegisterBenchmark("box open, kept key/1500", box_open);
    return 0;
}();

}  // namespace
