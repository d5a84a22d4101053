/* SPDX-License-Identifier: Apache-2.0
 * my_auth: knows the clients that connect from the nats-server's own machine, and nobody else. */
#include <callgate/abi/auth_backend.h>
#include <callgate/abi/entry.h>
#include <stdlib.h>
#include <string.h>

#define STR(text) {text, sizeof(text) - 1}
typedef struct backend {
    cg_instance c; /* first: the host's pointer is ours too */
    const cg_host* host;
    cg_str name; /* of the instance; the host's memory, lives as long as we do */
} backend;

/* Structs of an older host are shorter, those of a newer one longer: `mine` is zeroed and takes what both know. */
static void copy_in(void* mine, uint32_t size, const void* theirs, uint32_t their_size) { memcpy(mine, theirs, their_size < size ? their_size : size); }
static int is(cg_str s, const char* text) { return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0; }

/* [shard] Must not block; several shards call it at once. */
static cg_status authenticate(cg_instance* self, void* shard, cg_op op, const cg_auth_request* theirs) {
    const backend* b = (const backend*)self;
    cg_auth_request r = {0};
    copy_in(&r, sizeof r, theirs, theirs->struct_size);
    const int local = r.trust != CG_TRUST_UNVERIFIED && (is(r.client_host, "127.0.0.1") || is(r.client_host, "::1"));
    const cg_identity who = {.struct_size = sizeof who, .issuer = b->name, .subject = STR("localhost")};
    const cg_auth_reply yes = {.struct_size = sizeof yes, .verdict = CG_VERDICT_ALLOW, .identity = &who};
    const cg_auth_reply no = {.struct_size = sizeof no, .verdict = CG_VERDICT_ABSTAIN, .reason_id = STR("not_local")};
    const cg_completion answer = {.struct_size = sizeof answer, .status = CG_OK, .result = local ? &yes : &no};
    b->host->core->complete(b->host, op, &answer); /* the request is gone from here on */
    return (void)shard, CG_OK;                     /* accepted: exactly one completion came, or will come */
}

static void destroy(cg_instance* self) { free(self); } /* [control] */

static const cg_lifecycle life = {.struct_size = sizeof life, .destroy = destroy}; /* NULL = nothing to do */
static const cg_auth_backend_api api = {.struct_size = sizeof api, .authenticate = authenticate};

static cg_status create(const cg_factory* factory, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf* error) {
    cg_host h = {0}; /* [control] */
    copy_in(&h, sizeof h, host, host->struct_size);
    backend* b = calloc(1, sizeof *b);
    if ((void)factory, (void)args, (void)error, b == NULL) return CG_E_BUSY; /* the schema admits no keys to check */
    b->c = (cg_instance){.struct_size = sizeof b->c, .kind = CG_KIND_AUTH_BACKEND, .life = &life, .api = &api};
    b->host = host, b->name = h.instance_name;
    *out = &b->c;
    return CG_OK;
}

static const cg_factory factory = {.struct_size = sizeof factory, .kind = CG_KIND_AUTH_BACKEND, .thread_model = CG_THREADS_ANY,
    .type = STR("my_auth"), .summary = STR("clients on the server's own machine"), .create = create,
    .config_schema = STR("{\"type\": \"object\", \"additionalProperties\": false}")};
static const cg_manifest manifest = {.struct_size = sizeof manifest, .abi_major = CG_ABI_MAJOR, .abi_minor_built = CG_ABI_MINOR,
    .plugin_id = STR("org.example.my_auth"), .version = STR("0.1.0"), .vendor = STR("Example"), .license = STR("Apache-2.0"),
    .factory_count = 1, .factories = (const cg_factory* const[]){&factory}};
CG_PLUGIN_NOTE("org.example.my_auth", 1u << CG_KIND_AUTH_BACKEND, 0u);
__attribute__((visibility("default"))) cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out) {
    if (host->abi_major != CG_ABI_MAJOR) return CG_E_ABI;
    *out = &manifest;
    return CG_OK;
}
