// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/sign_batch.hpp>

#include <algorithm>

namespace callgate::crypto {

bool passes(const sign_item& item, self_check check, bool sampled) noexcept {
    const std::span<const std::uint8_t, 64> signature{item.signature, 64};
    if (check.verify_each && !verify_any(item.message, signature, item.key->public_key())) return false;
    if (!sampled) return true;
    signature_bytes again;
    item.key->sign(item.message, again);
    const bool same = std::ranges::equal(again, signature);
    wipe(again.data(), again.size());
    return same;
}

std::size_t sign_batch(std::span<sign_item> items, self_check check) noexcept {
    // Counted over all batches of a thread: a provider under light load gets batches of one.
    thread_local std::uint32_t since_sample = 0;
    std::size_t made = 0;
    for (auto& item : items) {
        item.made = false;
        if (item.key == nullptr || item.signature == nullptr) continue;
        const std::span<std::uint8_t, 64> signature{item.signature, 64};
        item.key->sign(item.message, signature);
        const bool sampled = check.recompute_one_in != 0 && ++since_sample >= check.recompute_one_in;
        if (sampled) since_sample = 0;
        item.made = passes(item, check, sampled);
        if (item.made)
            ++made;
        else
            wipe(signature.data(), signature.size());
    }
    return made;
}

}  // namespace callgate::crypto
