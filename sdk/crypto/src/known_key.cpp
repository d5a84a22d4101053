// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/known_key.hpp>

#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "sdk/crypto/src/known_key_access.hpp"
#include "sdk/crypto/src/sha512.hpp"

namespace callgate::crypto {

using namespace field25519;
using edwards25519::addend;
using edwards25519::point;

namespace {

// A scalar below 2^253 as digits of `window` bits from -(2^(window-1) - 1) to 2^(window-1).
template <int window>
struct windows {
    static constexpr int positions = (254 + window - 1) / window;
    static constexpr int multiples = 1 << (window - 1);
    static constexpr std::size_t entries = std::size_t{positions} * multiples;
};
// A key's table is used by one server's logins and many may live at a time, the base point's exists once: so the
// latter has wider windows (fewer additions) than the former (less memory and cache).
using key_windows = windows<7>;
using base_windows = windows<8>;

// Entry (i, j): (j + 1) 2^(window i) P.
template <class Windows>
std::vector<addend> multiples_of(const point& p) {
    std::vector<addend> out(Windows::entries);
    std::vector<point> row(Windows::multiples);
    std::vector<element> before(Windows::multiples);
    point base = p;
    auto at = out.begin();
    for (int i = 0; i < Windows::positions; ++i) {
        // One inversion for a row: the inverse of the product of all Z, taken apart again.
        element product = one;
        for (std::size_t j = 0; j < row.size(); ++j) {
            row[j] = j == 0 ? base : add(row[j - 1], base);
            before[j] = product;
            product = multiply(product, row[j].z);
        }
        element inverse = invert(product);
        for (std::size_t j = row.size(); j-- > 0;) {
            const element z = multiply(inverse, before[j]);
            inverse = multiply(inverse, row[j].z);
            const element x = multiply(row[j].x, z), y = multiply(row[j].y, z);
            at[static_cast<std::ptrdiff_t>(j)] = {carry(add(y, x)), carry(subtract(y, x)), multiply(multiply(x, y), edwards25519::twice_d())};
        }
        at += Windows::multiples;
        base = add(row.back(), row.back());
    }
    return out;
}

const std::vector<addend>& base_multiples() {
    static const std::vector<addend> table = multiples_of<base_windows>(edwards25519::base_point());
    return table;
}

// The entries to add, and all ones where one is to be subtracted instead.
struct selection {
    std::array<const addend*, key_windows::positions + base_windows::positions> entry;
    std::array<std::uint64_t, key_windows::positions + base_windows::positions> minus;
    std::size_t size = 0;
};

template <int window>
void select(selection& out, windows<window>, const std::vector<addend>& table, const words& scalar) noexcept {
    using w = windows<window>;
    const std::uint64_t word[5] = {scalar.w[0], scalar.w[1], scalar.w[2], scalar.w[3], 0};
    int carried = 0;
    for (int i = 0; i < w::positions; ++i) {
        const int bit = i * window, shift = bit & 63;
        std::uint64_t bits = word[bit >> 6] >> shift;
        if (shift + window > 64) bits |= word[(bit >> 6) + 1] << (64 - shift);
        int digit = static_cast<int>(bits & ((1u << window) - 1)) + carried;
        carried = digit > w::multiples;
        digit -= carried << window;
        if (digit == 0) continue;
        const auto* entry = &table[static_cast<std::size_t>(i * w::multiples + (digit < 0 ? -digit : digit) - 1)];
        // Seventy places all over a table: asked for now, they are there when their turn comes.
        __builtin_prefetch(entry);
        __builtin_prefetch(reinterpret_cast<const char*>(entry) + 64);
        out.entry[out.size] = entry;
        out.minus[out.size++] = digit < 0 ? ~std::uint64_t{0} : 0;
    }
}

// One build for all CPUs: with BMI2 and ADX g++ 12 makes this one percent faster (bench/crypto), which is not worth a
// second path to test.
point sum_of(const selection& s) noexcept {
    point p = edwards25519::identity;
    for (std::size_t i = 0; i < s.size; ++i) accumulate(p, *s.entry[i], s.minus[i]);
    return p;
}

// The group order L = 2^252 + 27742317777372353535851937790883648493 (RFC 8032 5.1), little-endian words.
constexpr words group_order{{0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000}};

bool below_group_order(const words& n) noexcept {
    for (int i = 4; i-- > 0;)
        if (n.w[i] != group_order.w[i]) return n.w[i] < group_order.w[i];
    return false;
}

bool below_p(const words& y) noexcept { return canonical(from_words(y)) == y; }

}  // namespace

struct known_key::table {
    std::vector<addend> multiples;
};

const std::size_t known_key::table_bytes = sizeof(known_key) + sizeof(table) + key_windows::entries * sizeof(addend);

known_key::known_key(const key_bytes& public_key, std::unique_ptr<table> multiples) noexcept
    : public_(public_key), table_(std::move(multiples)) {}
known_key::~known_key() = default;

std::unique_ptr<const known_key> known_key::make(const key_bytes& public_key) {
    words y = load_words(public_key);
    y.w[3] &= ~std::uint64_t{0} >> 1;
    if (!below_p(y)) return nullptr;
    const auto p = edwards25519::decompress(public_key);
    if (!p || edwards25519::has_small_order(*p)) return nullptr;
    (void)base_multiples();
    // Of -A, because R = S B - h A is what a good signature says.
    auto t = std::make_unique<table>(table{multiples_of<key_windows>(edwards25519::negated(*p))});
    return std::unique_ptr<const known_key>(new known_key(public_key, std::move(t)));
}

std::vector<addend>& known_key_access::multiples(const known_key& key) noexcept { return key.table_->multiples; }

bool known_key_access::table_accepts(std::span<const std::uint8_t> message, std::span<const std::uint8_t, 64> signature,
                                     const known_key& key) noexcept {
    const words s = load_words(signature.last<32>());
    if (!below_group_order(s)) return false;

    std::array<std::uint8_t, 64> hash, r_and_key;
    std::ranges::copy(signature.first<32>(), r_and_key.begin());
    std::ranges::copy(key.public_, r_and_key.begin() + 32);
    sha512_of_two(r_and_key, message, hash);
    key_bytes h;
    ::crypto_core_ed25519_scalar_reduce(h.data(), hash.data());

    selection chosen;
    select(chosen, base_windows{}, base_multiples(), s);
    select(chosen, key_windows{}, key.table_->multiples, load_words(h));
    const point sum = sum_of(chosen);

    const element z = invert(sum.z), x = multiply(sum.x, z), y = multiply(sum.y, z);
    const words x_words = canonical(x);
    words r = canonical(y);
    // Comparing bytes with the one canonical form refuses all others.
    r.w[3] |= x_words.w[0] << 63;
    if (r != load_words(signature.first<32>())) return false;
    // libsodium refuses R of small order: x = 0 is order 1 or 2, y = 0 order 4, and points of order 8 double to y = 0.
    return x_words != words{} && !is_zero(y) && !is_zero(field25519::add(square(x), square(y)));
}

verification verify_known(std::span<const std::uint8_t> message, std::span<const std::uint8_t, 64> signature,
                          const known_key& key) noexcept {
    if (known_key_access::table_accepts(message, signature, key)) return verification::by_table;
    return verify_any(message, signature, key.public_key()) ? verification::by_libsodium : verification::refused;
}

}  // namespace callgate::crypto
