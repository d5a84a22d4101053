// SPDX-License-Identifier: Apache-2.0
// Group "keys": lists, signatures (RFC 8032), batches, key agreement.
#include <callgate/crypto/box.hpp>
#include <callgate/crypto/ed25519.hpp>
#include <callgate/crypto/secret.hpp>
#include <sodium.h>

#include <set>

#include "sdk/check/key_requests.hpp"
#include "sdk/check/registry.hpp"
#include "sdk/check/rfc8032.hpp"

namespace callgate::check {
namespace {

struct provider {
    explicit provider(const settings& s) : plugin(load_plugin(s, s.plugin)), i(s, plugin, s.good[0]) {
        crypto::init();
        i.up();
    }
    loaded_plugin plugin;
    instance i;
};

std::span<const std::uint8_t> bytes(const std::string& s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

bool verifies(const listed_key& k, const std::string& message, const sign_outcome& o) { return crypto::verify(bytes(message), o.signature, k.raw); }

std::vector<std::string> messages() {
    std::vector<std::string> out = {"", "r", std::string("\xaf\x82", 2), std::string(1023, 'x'), std::string(1574, 'j'), std::string(65'536, 'z')};
    for (const std::size_t n : {31u, 32u, 33u, 111u, 112u, 127u, 128u, 129u}) out.emplace_back(n, static_cast<char>('a' + n % 26));
    return out;
}

bool fits(const listed_key& k, const std::string& message) { return k.max_message_bytes == 0 || message.size() <= k.max_message_bytes; }

std::string failed_text(const std::vector<sign_outcome>& o, const answer& failure) {
    if (o.empty()) return status_text(failure.status) + (failure.error.empty() ? "" : ": " + failure.error);
    return "item status " + status_text(o[0].status);
}

void list(const settings& s) {
    provider p(s);
    if (list_keys(p.i).empty()) recorder::violated("keys.list", "list_keys gives no key at all for the good configuration " + s.good[0].file);
    p.i.down();
}

void limits(const settings& s) {
    provider p(s);
    (void)key_limits(p.i);
    p.i.down();
}

void signatures_verify(const settings& s) {
    provider p(s);
    for (const auto& k : signing_keys(p.i))
        for (const auto& m : messages()) {
            if (!fits(k, m)) continue;
            answer failure;
            const auto o = sign_and_wait(p.i, {{k.handle, k.purpose, m}}, &failure);
            const auto named = "key \"" + k.label + "\" (" + k.nkey + "), message of " + std::to_string(m.size()) + " bytes: ";
            if (o.empty() || o[0].status != CG_OK)
                recorder::violated("keys.signatures_verify", named + "not signed, " + failed_text(o, failure) + "; say max_message_bytes in cg_key_info when there is a limit");
            else if (!verifies(k, m, o[0]))
                recorder::violated("keys.signatures_verify", named + "libsodium does not verify the signature with the listed public key: nats-server will refuse what it signs; is the key listed the "
                                                                     "one that signs, and is it pure Ed25519 (RFC 8032 5.1), not Ed25519ph?");
        }
    p.i.down();
}

void deterministic(const settings& s) {
    provider p(s);
    for (const auto& k : signing_keys(p.i))
        for (const auto& m : messages()) {
            if (!fits(k, m)) continue;
            const auto a = sign_and_wait(p.i, {{k.handle, k.purpose, m}});
            const auto b = sign_and_wait(p.i, {{k.handle, k.purpose, m}});
            if (a.empty() || b.empty() || a[0].status != CG_OK || b[0].status != CG_OK) continue;
            if (a[0].signature != b[0].signature)
                recorder::violated("keys.deterministic", "key \"" + k.label + "\" signs one message twice with different bytes: Ed25519 is deterministic (RFC 8032 5.1.6), r = SHA-512(prefix | message); "
                                                             "a nonce made otherwise can leak the private key");
        }
    p.i.down();
}

void distinct_nonces(const settings& s) {
    provider p(s);
    for (const auto& k : signing_keys(p.i)) {
        std::set<std::string> seen;
        std::vector<sign_request> items;
        const auto size = std::min(key_limits(p.i).max_batch, 16u);
        for (std::uint32_t n = 0; n < 48; ++n) {
            items.push_back({k.handle, k.purpose, "message " + std::to_string(n)});
            if (items.size() < size && n != 47) continue;
            for (const auto& o : sign_and_wait(p.i, items))
                if (o.status == CG_OK && !seen.insert(std::string(o.signature.begin(), o.signature.begin() + 32)).second) {
                    recorder::violated("keys.distinct_nonces", "key \"" + k.label + "\" uses one nonce R for two messages: anybody who sees both signatures can compute the private key; stop using "
                                                                   "this build and replace the key");
                    return;
                }
            items.clear();
        }
    }
    p.i.down();
}

void rfc8032(const settings& s) {
    provider p(s);
    std::size_t compared = 0;
    for (const auto& k : signing_keys(p.i))
        for (const auto& v : rfc8032_vectors()) {
            if (k.raw != v.public_key || !fits(k, v.message)) continue;
            ++compared;
            const auto o = sign_and_wait(p.i, {{k.handle, k.purpose, v.message}});
            if (o.empty() || o[0].status != CG_OK || o[0].signature != v.signature)
                recorder::violated("keys.rfc8032_vectors", "key \"" + k.label + "\" has the key of RFC 8032 7.1 " + v.name + ", but its signature of that message is another one");
        }
    if (compared == 0)
        throw not_applicable("none of the listed keys is one of RFC 8032 7.1, so its signatures cannot be compared byte for byte: where keys can be imported, give a configuration with one of them");
    p.i.down();
}

void batches(const settings& s) {
    provider p(s);
    const auto signers = signing_keys(p.i);
    const auto max = key_limits(p.i).max_batch;
    std::set<std::uint32_t> sizes = {0, 1, 2, 3, 7, max, max / 2 + 1};
    for (const auto size : sizes) {
        if (size > max) continue;
        std::vector<sign_request> items;
        for (std::uint32_t n = 0; n < size; ++n) {
            const auto& k = signers[n % signers.size()];
            items.push_back({k.handle, k.purpose, "item " + std::to_string(n) + std::string(n % 5, '.')});
        }
        answer failure;
        failure.status = CG_OK;
        const auto out = sign_and_wait(p.i, items, &failure);
        if (size == 0) continue;  // done, or refused: both are answers
        const auto named = "a batch of " + std::to_string(size) + " (max_batch " + std::to_string(max) + "): ";
        if (out.empty()) {
            recorder::violated("keys.batches", named + "fails as a whole with " + failed_text(out, failure));
            continue;
        }
        for (std::uint32_t n = 0; n < size; ++n)
            if (out[n].status == status_untouched)
                continue;  // keys.item_status names it
            else if (out[n].status != CG_OK)
                recorder::violated("keys.batches", named + "item " + std::to_string(n) + " ends with " + status_text(out[n].status) + ", alone it is signed");
            else if (!verifies(signers[n % signers.size()], items[n].message, out[n]))
                recorder::violated("keys.batches", named + "the signature of item " + std::to_string(n) + " does not verify: is it another item's, or of another key?");
    }
    // More than it said it takes: refused as a whole or item by item, never half silently.
    std::vector<sign_request> items(std::size_t{max} + 1, {signers[0].handle, signers[0].purpose, "one too many"});
    const auto out = sign_and_wait(p.i, items);
    for (std::size_t n = 0; n < out.size(); ++n)
        if (out[n].status == CG_OK && !verifies(signers[0], items[n].message, out[n]))
            recorder::violated("keys.batches", "a batch of max_batch + 1: item " + std::to_string(n) + " is reported as signed, but its signature does not verify; complete such a batch with CG_E_INVALID");
    p.i.down();
}

void item_status(const settings& s) {
    provider p(s);
    const auto signers = signing_keys(p.i);
    const auto& k = signers[0];
    const std::vector<sign_request> mixed = {{k.handle, k.purpose, "good"}, {k.handle, 0xffff, "a purpose nobody knows"}, {~cg_key{0} - 7, k.purpose, "a key nobody has"}, {k.handle, k.purpose, "good again"}};
    const auto max = key_limits(p.i).max_batch;
    for (std::size_t from = 0; from < mixed.size(); from += max) {
        const std::vector<sign_request> items(mixed.begin() + static_cast<std::ptrdiff_t>(from), mixed.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(mixed.size(), from + max)));
        const auto out = sign_and_wait(p.i, items);
        for (std::size_t n = 0; n < out.size(); ++n)
            if (out[n].status == status_untouched)
                recorder::violated("keys.item_status", "the batch was completed with CG_OK, but the status of the item \"" + items[n].message +
                                                           "\" was not set: set it for every item, CG_OK or CG_E_*, whatever it was before");
            else if (out[n].status > 0)
                recorder::violated("keys.item_status", "the item \"" + items[n].message + "\" has status " + std::to_string(out[n].status) + ", which is neither CG_OK nor a CG_E_*");
    }
    p.i.down();
}

void unknown_key(const settings& s) {
    provider p(s);
    const auto signers = signing_keys(p.i);
    std::set<cg_key> known = {0};
    for (const auto& k : list_keys(p.i)) known.insert(k.handle);
    for (const cg_key handle : {cg_key{0}, ~cg_key{0}, ~cg_key{0} >> 1, *known.rbegin() + 1}) {
        if (handle != 0 && known.contains(handle)) continue;
        const auto o = sign_and_wait(p.i, {{handle, signers[0].purpose, "m"}});
        if (!o.empty() && o[0].status == CG_OK)
            recorder::violated("keys.unknown_key", "the key handle " + std::to_string(handle) + ", which is not listed, signs: answer that item with CG_E_NOT_FOUND");
    }
    if (key_limits(p.i).max_batch >= 2) {
        const auto o = sign_and_wait(p.i, {{~cg_key{0} - 1, signers[0].purpose, "m"}, {signers[0].handle, signers[0].purpose, "m"}});
        if (o.empty() || o[1].status != CG_OK)
            recorder::violated("keys.unknown_key", "a batch with one unknown key fails as a whole: give that item CG_E_NOT_FOUND and sign the others, they belong to other clients");
    }
    p.i.down();
}

void shared_key(const settings& s) {
    provider p(s);
    std::size_t curves = 0;
    for (const auto& k : list_keys(p.i)) {
        if (k.algorithm != CG_KEY_X25519) continue;
        ++curves;
        std::array<std::uint8_t, 32> secret{}, mine{}, expected{};
        crypto_box_keypair(mine.data(), secret.data());
        const auto a = export_shared(p.i, k.handle, std::string(mine.begin(), mine.end()));
        if (a.status != CG_OK) {
            recorder::violated("keys.shared_key", "export_shared of \"" + k.label + "\" with a good peer fails with " + status_text(a.status) + ": " + a.error);
            continue;
        }
        if (crypto_box_beforenm(expected.data(), k.raw.data(), secret.data()) != 0 || a.as<shared_value>().key != expected)
            recorder::violated("keys.shared_key", "export_shared of \"" + k.label + "\" gives another key than crypto_box_beforenm(peer, own): that is HSalsa20 over the X25519 result, not the result "
                                                      "itself; with a wrong one no request can be opened");
    }
    if (curves == 0) throw not_applicable("the configuration has no xkey");
    p.i.down();
}

void weak_peers(const settings& s) {
    provider p(s);
    std::size_t curves = 0;
    for (const auto& k : list_keys(p.i)) {
        if (k.algorithm != CG_KEY_X25519) continue;
        ++curves;
        std::string one(32, 0);
        one[0] = 1;
        const std::string cases[] = {std::string(32, 0), one, std::string(31, 'x'), std::string(33, 'x'), ""};
        for (const auto& peer : cases)
            if (export_shared(p.i, k.handle, peer).status == CG_OK)
                recorder::violated("keys.weak_peers", "export_shared of \"" + k.label + "\" takes " + (peer.size() == 32 ? "a peer key of low order, so that the result is known to everybody" :
                                                          "a peer key of " + std::to_string(peer.size()) + " bytes") + ": answer CG_E_INVALID (crypto_box_beforenm says so)");
        if (export_shared(p.i, ~cg_key{0} - 5, std::string(32, 'x')).status == CG_OK)
            recorder::violated("keys.weak_peers", "export_shared answers for a key handle that is not listed");
    }
    if (curves == 0) throw not_applicable("the configuration has no xkey");
    p.i.down();
}

}  // namespace

void add_key_checks(std::vector<check_entry>& out) {
    out.insert(out.end(), {
        {"keys.list", "pages end; nkeys, algorithms, handles and labels are sound", keys_only, list},
        {"keys.limits", "max_batch and max_in_flight are at least 1", keys_only, limits},
        {"keys.signatures_verify", "libsodium verifies every signature with the listed key", keys_only, signatures_verify},
        {"keys.deterministic", "one message has one signature (RFC 8032 5.1.6)", keys_only, deterministic},
        {"keys.distinct_nonces", "no two messages share a nonce", keys_only, distinct_nonces},
        {"keys.rfc8032_vectors", "keys of RFC 8032 7.1 sign as printed there", keys_only, rfc8032},
        {"keys.batches", "batches of 0, 1, odd, max and max + 1 items", keys_only, batches},
        {"keys.item_status", "every item gets a status", keys_only, item_status},
        {"keys.unknown_key", "unknown handles are refused, item by item", keys_only, unknown_key},
        {"keys.shared_key", "export_shared agrees with libsodium", keys_only, shared_key},
        {"keys.weak_peers", "export_shared refuses peers that give the key away", keys_only, weak_peers},
    });
}

}  // namespace callgate::check
