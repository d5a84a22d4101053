// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/box.hpp>
#include <callgate/crypto/random.hpp>

#include <sodium.h>

#include <array>
#include <cassert>
#include <cstring>

namespace callgate::crypto {
namespace {

constexpr std::array<std::uint8_t, 4> magic{'x', 'k', 'v', '1'};
constexpr std::size_t nonce_size = crypto_box_NONCEBYTES;
constexpr std::size_t prefix_size = magic.size() + nonce_size;
static_assert(prefix_size + crypto_box_MACBYTES == xkv1_overhead);

}  // namespace

bool looks_sealed(std::span<const std::uint8_t> payload) noexcept {
    return payload.size() >= magic.size() && std::memcmp(payload.data(), magic.data(), magic.size()) == 0;
}

std::optional<secret> agree(std::span<const std::uint8_t, 32> own_secret, const key_bytes& peer_public) {
    secret shared(crypto_box_BEFORENMBYTES);
    if (::crypto_box_beforenm(shared.data(), peer_public.data(), own_secret.data()) != 0) return std::nullopt;
    return shared;
}

key_bytes curve_public(std::span<const std::uint8_t, 32> own_secret) noexcept {
    key_bytes out{};
    ::crypto_scalarmult_base(out.data(), own_secret.data());
    return out;
}

void seal_with_nonce(std::span<const std::uint8_t> message, std::span<const std::uint8_t> shared,
                     std::span<const std::uint8_t, 24> nonce, std::uint8_t* out) noexcept {
    assert(shared.size() == crypto_box_BEFORENMBYTES && "box key has 32 bytes");
    std::memcpy(out, magic.data(), magic.size());
    std::memcpy(out + magic.size(), nonce.data(), nonce_size);
    ::crypto_box_easy_afternm(out + prefix_size, message.data(), message.size(), out + magic.size(), shared.data());
}

void seal(std::span<const std::uint8_t> message, std::span<const std::uint8_t> shared, std::uint8_t* out) noexcept {
    std::array<std::uint8_t, nonce_size> nonce;
    random_bytes(nonce);
    seal_with_nonce(message, shared, nonce, out);
}

std::optional<std::size_t> open(std::span<const std::uint8_t> sealed, std::span<const std::uint8_t> shared,
                                std::uint8_t* out) noexcept {
    if (sealed.size() < xkv1_overhead || !looks_sealed(sealed) || shared.size() != crypto_box_BEFORENMBYTES) return std::nullopt;
    const std::uint8_t* nonce = sealed.data() + magic.size();
    if (::crypto_box_open_easy_afternm(out, sealed.data() + prefix_size, sealed.size() - prefix_size, nonce, shared.data()) != 0)
        return std::nullopt;
    return sealed.size() - xkv1_overhead;
}

}  // namespace callgate::crypto
