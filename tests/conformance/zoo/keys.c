/* SPDX-License-Identifier: Apache-2.0
 * A key provider with one signing key and one xkey, made of a seed in its configuration: healthy, or with one fault. */
#include <callgate/abi/entry.h>
#include <callgate/abi/key_provider.h>
#include <sodium.h>
#include <stdlib.h>

#include "fault.h"

CG_PLUGIN_NOTE("org.callgate.zoo.keys", 1u << CG_KIND_KEY_PROVIDER, 0);

typedef struct provider {
    cg_instance base;
    const cg_host* host;
    uint8_t seed[32], secret[64], public_key[32];
    uint8_t curve_secret[32], curve_public[32];
    char nkey[57], curve_nkey[57];
    cg_key_limits limits;
} provider;

static void complete(provider* p, cg_op op, cg_status status, const void* result) {
    cg_completion c = {sizeof c, status, result, NULL, NULL, NULL};
    p->host->core->complete(p->host, op, &c);
}

/* protocol.md 1: prefix, key, CRC-16/XMODEM little-endian, base32 without padding. */
static void make_nkey(uint8_t prefix, const uint8_t* key, char* out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t raw[35];
    uint16_t crc = 0;
    uint32_t bits = 0;
    int held = 0;
    raw[0] = prefix;
    memcpy(raw + 1, key, 32);
    for (int i = 0; i < 33; ++i) {
        crc = (uint16_t)(crc ^ (uint16_t)(raw[i] << 8));
        for (int bit = 0; bit < 8; ++bit) crc = (uint16_t)((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    raw[33] = (uint8_t)crc;
    raw[34] = (uint8_t)(crc >> 8);
    for (int i = 0; i < 35; ++i) {
        bits = bits << 8 | raw[i];
        for (held += 8; held >= 5; held -= 5) *out++ = digits[bits >> (held - 5) & 31];
    }
    *out = 0;
}

/* Ed25519 with whatever r is given: valid for everybody who verifies. */
static void sign_with_nonce(const provider* p, const uint8_t* message, size_t size, const uint8_t r_wide[64], uint8_t* out) {
    crypto_hash_sha512_state h;
    uint8_t a[64], r[32], k_wide[64], k[32], ka[32];
    crypto_hash_sha512(a, p->seed, 32);
    a[0] &= 248;
    a[31] = (uint8_t)((a[31] & 127) | 64);
    crypto_core_ed25519_scalar_reduce(r, r_wide);
    crypto_scalarmult_ed25519_base_noclamp(out, r);
    crypto_hash_sha512_init(&h);
    crypto_hash_sha512_update(&h, out, 32);
    crypto_hash_sha512_update(&h, p->public_key, 32);
    crypto_hash_sha512_update(&h, message, size);
    crypto_hash_sha512_final(&h, k_wide);
    crypto_core_ed25519_scalar_reduce(k, k_wide);
    crypto_core_ed25519_scalar_mul(ka, k, a);
    crypto_core_ed25519_scalar_add(out + 32, r, ka);
}

static void sign_one(const provider* p, cg_bytes m, uint8_t* out) {
    uint8_t wide[64];
    if (FAULT("random_nonce") && m.size > 1000) {
        randombytes_buf(wide, sizeof wide);
        sign_with_nonce(p, m.data, m.size, wide, out);
    } else if (FAULT("constant_nonce") && m.size > 9 && memcmp(m.data, "message 4", 9) == 0) {
        memset(wide, 7, sizeof wide);
        sign_with_nonce(p, m.data, m.size, wide, out);
    } else if (FAULT("nonce_of_its_own") && m.size == 1) {
        crypto_hash_sha512(wide, p->secret, 64);
        sign_with_nonce(p, m.data, m.size, wide, out);
    } else {
        crypto_sign_detached(out, NULL, m.data, m.size, p->secret);
    }
    if (FAULT("wrong_signature") && m.size > 1000) out[40] ^= 1;
    if (FAULT("signature_of_65_bytes")) out[64] = 0;
}

static cg_status sign_batch(cg_instance* i, void* state, cg_op op, const cg_sign_batch* batch) {
    provider* p = (provider*)i;
    const size_t stride = FAULT("ignores_stride") ? sizeof(cg_sign_item) : batch->stride;
    (void)state;
    if (batch->count > 8) {
        complete(p, op, CG_E_INVALID, NULL);
        return CG_OK;
    }
    for (size_t n = 0; n < batch->count; ++n) {
        cg_sign_item* item = (cg_sign_item*)((char*)batch->items + n * stride);
        if (item->purpose > CG_SIGN_NONCE) {
            if (!FAULT("leaves_item_status")) item->status = CG_E_UNSUPPORTED;
            continue;
        }
        if (item->key != 1 && !FAULT("signs_for_unknown_keys")) {
            item->status = CG_E_NOT_FOUND;
            continue;
        }
        sign_one(p, item->message, item->signature);
        item->status = CG_OK;
    }
    if (FAULT("mixes_up_a_batch") && batch->count >= 3) {
        uint8_t first[64];
        cg_sign_item* b = (cg_sign_item*)((char*)batch->items + stride);
        memcpy(first, batch->items->signature, 64);
        memcpy(batch->items->signature, b->signature, 64);
        memcpy(b->signature, first, 64);
    }
    complete(p, op, CG_OK, NULL);
    return CG_OK;
}

static cg_status list_keys(cg_instance* i, cg_op op, cg_bytes from) {
    provider* p = (provider*)i;
    cg_key_info k[2] = {{0}, {0}};
    cg_key_page page = {sizeof page, sizeof k[0], k, 2, {0}};
    (void)from;
    k[0].struct_size = k[1].struct_size = sizeof k[0];
    k[0].algorithm = CG_KEY_ED25519;
    k[0].key = 1;
    k[0].nkey = text(p->nkey);
    k[0].label = text("issuer");
    k[1].algorithm = CG_KEY_X25519;
    k[1].key = 2;
    k[1].nkey = text(p->curve_nkey);
    k[1].label = text(FAULT("one_label_for_two_keys") ? "issuer" : "xkey");
    complete(p, op, CG_OK, &page);
    return CG_OK;
}

static cg_status export_shared(cg_instance* i, void* state, cg_op op, cg_key key, cg_bytes peer) {
    provider* p = (provider*)i;
    cg_shared_key out = {sizeof out, 0, {0}};
    int good = key == 2 && peer.size == 32;
    (void)state;
    if (good) {
        const int agreed = crypto_box_beforenm(out.key, peer.data, p->curve_secret) == 0;
        good = agreed || FAULT("takes_weak_peers");
    }
    if (good && FAULT("unhashed_agreement")) good = crypto_scalarmult(out.key, p->curve_secret, peer.data) == 0;
    complete(p, op, good ? CG_OK : CG_E_INVALID, &out);
    return CG_OK;
}

static const cg_key_limits* limits(cg_instance* i) { return &((provider*)i)->limits; }
static void destroy(cg_instance* i) { free(i); }

static const cg_lifecycle lifecycle = {sizeof(cg_lifecycle), 0, NULL, NULL, NULL, NULL, NULL, destroy, NULL, NULL};
static const cg_key_provider_api api = {sizeof(cg_key_provider_api), 0, limits, list_keys, sign_batch, export_shared};

/* The 64 hex digits behind "seed":" of the configuration. */
static int read_seed(cg_str config, uint8_t* seed) {
    static const char key[] = "\"seed\":\"";
    for (size_t i = 0; i + sizeof key - 1 + 64 <= config.size; ++i)
        if (memcmp(config.data + i, key, sizeof key - 1) == 0) return sodium_hex2bin(seed, 32, config.data + i + sizeof key - 1, 64, NULL, NULL, NULL) == 0;
    return 0;
}

static cg_status create(const cg_factory* f, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf* error) {
    provider* p = calloc(1, sizeof *p);
    (void)f;
    if (!read_seed(args->config_json, p->seed)) {
        static const char why[] = "config.seed: needs 64 hex digits";
        const size_t n = sizeof why - 1 < error->text.cap ? sizeof why - 1 : error->text.cap;
        if (n != 0) memcpy(error->text.data, why, n);
        error->text.size = n;
        error->code = CG_E_INVALID;
        free(p);
        return CG_E_INVALID;
    }
    p->host = host;
    crypto_sign_seed_keypair(p->public_key, p->secret, p->seed);
    crypto_hash_sha256(p->curve_secret, p->seed, 32);
    crypto_scalarmult_base(p->curve_public, p->curve_secret);
    make_nkey(0, p->public_key, p->nkey);
    make_nkey(23 << 3, p->curve_public, p->curve_nkey);
    p->limits.struct_size = sizeof p->limits;
    p->limits.max_batch = FAULT("no_batch_at_all") ? 0 : 8;
    p->limits.max_in_flight = 4;
    p->base.struct_size = sizeof p->base;
    p->base.kind = CG_KIND_KEY_PROVIDER;
    p->base.life = &lifecycle;
    p->base.api = &api;
    *out = &p->base;
    return CG_OK;
}

static cg_factory factory;
static const cg_factory* const factories[] = {&factory};
static cg_manifest manifest;

__attribute__((visibility("default"))) cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out);
cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out) {
    if (host->abi_major != CG_ABI_MAJOR || sodium_init() < 0) return CG_E_ABI;
    factory.struct_size = sizeof factory;
    factory.kind = CG_KIND_KEY_PROVIDER;
    factory.thread_model = CG_THREADS_PER_SHARD;
    factory.type = text("zoo");
    factory.summary = text("one key and one xkey");
    factory.config_schema = text("{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"seed\":{\"type\":\"string\"}}}");
    factory.create = create;
    manifest.struct_size = sizeof manifest;
    manifest.abi_major = CG_ABI_MAJOR;
    manifest.abi_minor_built = CG_ABI_MINOR;
    manifest.plugin_id = text("org.callgate.zoo.keys");
    manifest.version = text("1.0.0");
    manifest.vendor = text("callgate");
    manifest.license = text("Apache-2.0");
    manifest.factory_count = 1;
    manifest.factories = factories;
    *out = &manifest;
    return CG_OK;
}
