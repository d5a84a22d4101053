// SPDX-License-Identifier: Apache-2.0
#include "sdk/crypto/src/base64url_kernels.hpp"

#include <array>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace callgate::crypto::base64url {

#if !defined(__x86_64__)

bool has_avx2() noexcept { return false; }
std::size_t encode_blocks_avx2(std::span<const std::uint8_t>, char*) noexcept { return 0; }
std::size_t decode_blocks_avx2(std::string_view, std::uint8_t*) noexcept { return 0; }

#else

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// Sixteen-entry tables for the shuffle instruction, which looks up within 128-bit halves: each half gets a copy.
using halves = std::array<std::uint8_t, 32>;
constexpr halves twice(const std::array<std::uint8_t, 16>& t) {
    halves out{};
    for (std::size_t i = 0; i < 32; ++i) out[i] = t[i & 15];
    return out;
}

struct decode_tables {
    halves high_class, low_refused, shift;
};
// By the high half of a character it belongs to a class; a bit for each class says whether the low half is outside
// of the alphabet there. What to add to get the value depends on the high half too, save for '_'.
constexpr decode_tables decoding = [] {
    const auto value_of = [](unsigned c) { return alphabet.find(static_cast<char>(c)); };
    std::array<std::uint8_t, 16> high{}, low{}, shift{};
    unsigned classes = 0;
    std::array<std::uint16_t, 8> refused_by_class{};
    for (unsigned h = 0; h < 16; ++h) {
        std::uint16_t refused = 0;
        for (unsigned l = 0; l < 16; ++l)
            if (h >= 8 || value_of(h << 4 | l) == std::string_view::npos) refused |= static_cast<std::uint16_t>(1u << l);
        unsigned k = 0;
        while (k < classes && refused_by_class[k] != refused) ++k;
        if (k == classes) refused_by_class[classes++] = refused;
        high[h] = static_cast<std::uint8_t>(1u << k);
        for (unsigned l = 0; l < 16 && h < 8; ++l) {
            const unsigned c = h << 4 | l;
            if (c != '_' && value_of(c) != std::string_view::npos) shift[h] = static_cast<std::uint8_t>(value_of(c) - c);
        }
    }
    for (unsigned k = 0; k < classes; ++k)
        for (unsigned l = 0; l < 16; ++l)
            if ((refused_by_class[k] >> l & 1) != 0) low[l] = static_cast<std::uint8_t>(low[l] | 1u << k);
    return decode_tables{twice(high), twice(low), twice(shift)};
}();
// '_' shares its high half with 'P'..'Z'.
constexpr char underscore_shift = static_cast<char>(63 - '_' - static_cast<char>(decoding.shift['_' >> 4]));

// Values 0..63 fall into five runs: A-Z, a-z, 0-9, '-' and '_'. Subtracting 51 with saturation numbers all but the
// first two apart; those are told apart by a comparison.
constexpr halves encode_shift = [] {
    std::array<std::uint8_t, 16> t{};
    t[0] = static_cast<std::uint8_t>('a' - 26);
    for (std::size_t i = 1; i <= 10; ++i) t[i] = static_cast<std::uint8_t>('0' - 52);
    t[11] = static_cast<std::uint8_t>('-' - 62);
    t[12] = static_cast<std::uint8_t>('_' - 63);
    t[13] = static_cast<std::uint8_t>('A');
    return twice(t);
}();

#define CALLGATE_AVX2 __attribute__((target("avx2")))

CALLGATE_AVX2 inline __m256i load(const halves& t) noexcept { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(t.data())); }

}  // namespace

bool has_avx2() noexcept {
    static const bool yes = __builtin_cpu_supports("avx2") != 0;
    return yes;
}

CALLGATE_AVX2 std::size_t encode_blocks_avx2(std::span<const std::uint8_t> in, char* out) noexcept {
    const __m256i shifts = load(encode_shift);
    // Each group of three bytes a b c becomes b a c b, so that all four values lie within 16-bit words.
    const __m256i spread = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10, 1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    std::size_t done = 0;
    // The second load takes 16 bytes for the 12 it needs.
    for (; in.size() - done >= 28; done += 24) {
        const auto* p = in.data() + done;
        const __m256i raw = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
                                                    _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 12)), 1);
        const __m256i words = _mm256_shuffle_epi8(raw, spread);
        // Multiplications are shifts by an amount of each word's own.
        const __m256i outer = _mm256_mulhi_epu16(_mm256_and_si256(words, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040));
        const __m256i inner = _mm256_mullo_epi16(_mm256_and_si256(words, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010));
        const __m256i values = _mm256_or_si256(outer, inner);
        __m256i run = _mm256_subs_epu8(values, _mm256_set1_epi8(51));
        run = _mm256_or_si256(run, _mm256_and_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(26), values), _mm256_set1_epi8(13)));
        const __m256i text = _mm256_add_epi8(values, _mm256_shuffle_epi8(shifts, run));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + done / 3 * 4), text);
    }
    return done;
}

CALLGATE_AVX2 std::size_t decode_blocks_avx2(std::string_view in, std::uint8_t* out) noexcept {
    const __m256i high_class = load(decoding.high_class), low_refused = load(decoding.low_refused), shifts = load(decoding.shift);
    const __m256i nibble = _mm256_set1_epi8(15), underscore = _mm256_set1_epi8('_');
    const __m256i gather = _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1, 2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m256i close_gap = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7);
    std::size_t done = 0;
    for (; in.size() - done >= 32; done += 32) {
        const __m256i text = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in.data() + done));
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(text, 4), nibble), low = _mm256_and_si256(text, nibble);
        if (_mm256_testz_si256(_mm256_shuffle_epi8(high_class, high), _mm256_shuffle_epi8(low_refused, low)) == 0) break;
        const __m256i is_underscore = _mm256_cmpeq_epi8(text, underscore);
        const __m256i shift = _mm256_add_epi8(_mm256_shuffle_epi8(shifts, high), _mm256_and_si256(is_underscore, _mm256_set1_epi8(underscore_shift)));
        const __m256i values = _mm256_add_epi8(text, shift);
        // Four values of 6 bits to two of 12, to one of 24; then the bytes in their order.
        const __m256i pairs = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x01400140));
        const __m256i groups = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00011000));
        const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(groups, gather), close_gap);
        auto* o = out + done / 4 * 3;
        _mm_storeu_si128(reinterpret_cast<__m128i*>(o), _mm256_castsi256_si128(bytes));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(o + 16), _mm256_extracti128_si256(bytes, 1));
    }
    return done;
}

#endif

}  // namespace callgate::crypto::base64url
