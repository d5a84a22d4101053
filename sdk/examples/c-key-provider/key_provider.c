/* SPDX-License-Identifier: Apache-2.0
 * A key provider in C: one Ed25519 key, its seed in a file, signatures by libsodium on the thread that asks. Signing takes some
 * 20 microseconds and waits for nothing, so it may happen on a shard. */
#include <callgate/abi/entry.h>
#include <callgate/abi/key_provider.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "nkey.h"
#include "seed_file.h"

#define STR(text) {text, sizeof(text) - 1}
#define PLUGIN_ID "org.callgate.example.c_key_provider"
#define MAX_BATCH 64
#define THE_KEY ((cg_key)1)

typedef struct provider {
    cg_instance c; /* first: the host's pointer is ours too */
    const cg_host* host;
    char label[MAX_LABEL + 1];
    char path[2 * MAX_PATH_BYTES + 2];
    /* Below: written by start, only read afterwards, so shards need no lock. */
    char kind;
    char nkey[NKEY_TEXT];
    uint8_t* secret; /* 64 bytes in guarded, read-only pages */
} provider;

static cg_str text_of(const char* s) {
    const cg_str out = {s, strlen(s)};
    return out;
}

static void complete(const provider* p, cg_op op, const void* result) {
    const cg_completion done = {.struct_size = sizeof done, .status = CG_OK, .result = result};
    p->host->core->complete(p->host, op, &done);
}

static void refuse(const provider* p, cg_op op, cg_status status, const char* text, const char* where) {
    const cg_error error = {.struct_size = sizeof error, .code = status, .text = text_of(text), .where = text_of(where)};
    const cg_completion done = {.struct_size = sizeof done, .status = status, .error = &error};
    p->host->core->complete(p->host, op, &done);
}

/* What kinds of signature a kind of key makes; a stolen handle is not worth more than the key's duty. */
static int may_sign(char kind, uint32_t purpose) {
    switch (purpose) {
        case CG_SIGN_GENERIC: return 1;
        case CG_SIGN_USER_JWT:
        case CG_SIGN_AUTH_RESPONSE:
        case CG_SIGN_ACTIVATION: return kind == NKEY_ACCOUNT;
        case CG_SIGN_ACCOUNT_JWT:
        case CG_SIGN_OPERATOR_JWT: return kind == NKEY_OPERATOR;
        case CG_SIGN_NONCE: return kind == NKEY_USER;
        default: return 0;
    }
}

/* [control] */
static cg_status start(cg_instance* self, cg_op op) {
    provider* p = (provider*)self;
    const char* why = NULL;
    uint8_t seed[32], public_key[32];
    if (sodium_init() < 0 || (p->secret = sodium_malloc(64)) == NULL) {
        refuse(p, op, CG_E_BUSY, "no memory that can be locked; raise the limit of locked memory", "");
        return CG_OK;
    }
    const cg_status status = read_seed_file(p->path, &p->kind, seed, &why);
    if (status != CG_OK) {
        refuse(p, op, status, why, p->path);
        return CG_OK;
    }
    crypto_sign_ed25519_seed_keypair(public_key, p->secret, seed);
    sodium_memzero(seed, sizeof seed);
    sodium_mprotect_readonly(p->secret);
    nkey_write_public(p->kind, public_key, p->nkey);
    complete(p, op, NULL);
    return CG_OK;
}

/* [any] */
static const cg_key_limits* limits(cg_instance* self) {
    static const cg_key_limits all = {.struct_size = sizeof all, .max_batch = MAX_BATCH, .max_in_flight = 16};
    (void)self;
    return &all;
}

/* [control] */
static cg_status list_keys(cg_instance* self, cg_op op, cg_bytes from) {
    const provider* p = (const provider*)self;
    const cg_key_info info = {.struct_size = sizeof info, .algorithm = CG_KEY_ED25519, .key = THE_KEY, .nkey = {p->nkey, NKEY_TEXT},
        .label = text_of(p->label), .generation = 1};
    const cg_key_page page = {.struct_size = sizeof page, .stride = sizeof info, .keys = &info, .count = 1};
    if (from.size != 0) refuse(p, op, CG_E_INVALID, "this provider has one page of keys", "");
    else complete(p, op, &page);
    return CG_OK;
}

/* [shard] or [control] */
static cg_status sign_batch(cg_instance* self, void* shard, cg_op op, const cg_sign_batch* theirs) {
    const provider* p = (const provider*)self;
    cg_sign_batch batch = {0}; /* theirs may be shorter (older host) or longer (newer host) */
    (void)shard;
    memcpy(&batch, theirs, theirs->struct_size < sizeof batch ? theirs->struct_size : sizeof batch);
    if (batch.count > MAX_BATCH || (batch.count != 0 && (batch.items == NULL || batch.stride < sizeof(cg_sign_item)))) {
        refuse(p, op, CG_E_INVALID, "more than 64 items, or items shorter than in version 1.0 of the ABI", "");
        return CG_OK;
    }
    for (size_t i = 0; i < batch.count; ++i) {
        /* The host's items may be longer than ours: their stride counts. */
        cg_sign_item* item = (cg_sign_item*)(void*)((uint8_t*)batch.items + i * batch.stride);
        if (item->key != THE_KEY) item->status = CG_E_NOT_FOUND;
        else if (!may_sign(p->kind, item->purpose)) item->status = CG_E_PERMISSION;
        else if (item->signature == NULL || (item->message.data == NULL && item->message.size != 0)) item->status = CG_E_INVALID;
        else {
            /* libsodium's parameter is never read when the size is 0, but must not be NULL. */
            const uint8_t* message = item->message.size != 0 ? item->message.data : p->secret;
            crypto_sign_ed25519_detached(item->signature, NULL, message, item->message.size, p->secret);
            item->status = CG_OK;
        }
    }
    complete(p, op, NULL); /* the batch is gone from here on */
    return CG_OK;
}

/* [control] */
static void destroy(cg_instance* self) {
    provider* p = (provider*)self;
    sodium_free(p->secret); /* wipes; NULL is harmless */
    free(p);
}

static const cg_lifecycle life = {.struct_size = sizeof life, .start = start, .destroy = destroy};
static const cg_key_provider_api api = {.struct_size = sizeof api, .limits = limits, .list_keys = list_keys, .sign_batch = sign_batch};

static cg_status reject(cg_errbuf* error, cg_status status, const char* text) {
    if (error != NULL) {
        error->code = status;
        error->text.size = strlen(text) < error->text.cap ? strlen(text) : error->text.cap;
        if (error->text.size != 0) memcpy(error->text.data, text, error->text.size);
    }
    return status;
}

/* [control] */
static cg_status create(const cg_factory* factory, const cg_host* host, const cg_create_args* theirs, cg_instance** out, cg_errbuf* error) {
    cg_create_args args = {0};
    key_config config = {{0}, {0}};
    char why[128];
    (void)factory;
    memcpy(&args, theirs, theirs->struct_size < sizeof args ? theirs->struct_size : sizeof args);
    if (read_config(args.config_json, &config, why) != 0) return reject(error, CG_E_INVALID, why);
    if (config.file[0] != '/' && args.base_dir.size > MAX_PATH_BYTES) return reject(error, CG_E_INVALID, "file: its folder's path is longer than 1024 bytes");
    provider* p = calloc(1, sizeof *p);
    if (p == NULL) return reject(error, CG_E_BUSY, "out of memory");
    p->c = (cg_instance){.struct_size = sizeof p->c, .kind = CG_KIND_KEY_PROVIDER, .life = &life, .api = &api};
    p->host = host;
    memcpy(p->label, config.label, sizeof p->label);
    /* A relative path starts at the folder of callgate.yaml, never at the process' own. */
    const int relative = config.file[0] != '/' && args.base_dir.size != 0;
    snprintf(p->path, sizeof p->path, "%.*s%s%s", relative ? (int)args.base_dir.size : 0, relative ? args.base_dir.data : "", relative ? "/" : "", config.file);
    *out = &p->c;
    return CG_OK;
}

static const cg_factory factory = {.struct_size = sizeof factory, .kind = CG_KIND_KEY_PROVIDER, .thread_model = CG_THREADS_ANY,
    .type = STR("c_seed"), .summary = STR("one Ed25519 key, its seed in a file"), .create = create,
    .config_schema = STR("{\"$schema\": \"http://json-schema.org/draft-07/schema#\", \"type\": \"object\", \"additionalProperties\": false,"
                         " \"required\": [\"label\", \"file\"], \"properties\": {"
                         "\"label\": {\"type\": \"string\", \"minLength\": 1, \"maxLength\": 64},"
                         "\"file\": {\"type\": \"string\", \"minLength\": 1, \"maxLength\": 1024}}}")};
static const cg_factory* const factories[] = {&factory};
static const cg_manifest manifest = {.struct_size = sizeof manifest, .abi_major = CG_ABI_MAJOR, .abi_minor_built = CG_ABI_MINOR,
    .plugin_id = STR(PLUGIN_ID), .version = STR("1.0.0"), .vendor = STR("callgate"), .license = STR("Apache-2.0"), .factory_count = 1,
    .factories = factories};
CG_PLUGIN_NOTE(PLUGIN_ID, 1u << CG_KIND_KEY_PROVIDER, 0u);

/* [control] */
__attribute__((visibility("default"))) cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out) {
    if (host->abi_major != CG_ABI_MAJOR) return CG_E_ABI;
    *out = &manifest;
    return CG_OK;
}
