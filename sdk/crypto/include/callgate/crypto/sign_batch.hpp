// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include <callgate/crypto/ed25519.hpp>

/// Many signatures at once, each by a key of its own: what a key provider does with a batch.
namespace callgate::crypto {

struct sign_item {
    const signing_key* key = nullptr;       ///< null: nothing is made
    std::span<const std::uint8_t> message;
    std::uint8_t* signature = nullptr;      ///< 64 bytes to be written; null: nothing is made
    bool made = false;                      ///< out
};

/// What is done before a signature leaves. A faulty one can give the key away (deterministic nonces), so an
/// accelerated signer verifies each and recomputes a sample, since a valid signature may still have a wrong nonce.
/// libsodium's own signatures leave as they are by default (decisions.md, Engine 6).
struct self_check {
    bool verify_each = false;
    std::uint32_t recompute_one_in = 0;  ///< 0 = never, 1 = each; byte for byte
};

/// Signs with libsodium; returns how many were made. What fails its check is wiped and not made. Any thread; items
/// may share keys. Constant time in the keys.
std::size_t sign_batch(std::span<sign_item> items, self_check check = {}) noexcept;

/// Does this signature pass the check? `sampled`: it is one of those to recompute. For signers that do not sign here.
[[nodiscard]] bool passes(const sign_item& item, self_check check, bool sampled) noexcept;

}  // namespace callgate::crypto
