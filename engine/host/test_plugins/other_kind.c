/* SPDX-License-Identifier: Apache-2.0
 * An instance of a kind the host only carries (OTHER_KIND); its table has one function, `ping`. NO_TABLE: it has none. */
#include <callgate/abi/draft/kinds.h>
#include <callgate/abi/entry.h>
#include <stdlib.h>
#include <string.h>

CG_PLUGIN_NOTE("org.callgate.test.other_kind", 1u << OTHER_KIND, 0);

typedef struct other {
    cg_instance base;
    const cg_host* host;
} other;

typedef struct ping_api {
    uint32_t struct_size;
    uint32_t answer;
    cg_status (*ping)(cg_instance* instance, cg_op op);
} ping_api;

static cg_status done(cg_instance* i, cg_op op) {
    other* o = (other*)i;
    cg_completion c = {sizeof c, CG_OK, NULL, NULL, NULL, NULL};
    o->host->core->complete(o->host, op, &c);
    return CG_OK;
}
static void destroy(cg_instance* i) { free(i); }

static const cg_lifecycle lifecycle = {sizeof(cg_lifecycle), 0, done, NULL, NULL, done, done, destroy, NULL, NULL};
static const ping_api api = {sizeof(ping_api), 4711, done};

static cg_status create(const cg_factory* f, const cg_host* host, const cg_create_args* args, cg_instance** out, cg_errbuf* error) {
    other* o = calloc(1, sizeof *o);
    (void)f, (void)args, (void)error;
    o->host = host;
    o->base.struct_size = sizeof o->base;
    o->base.kind = OTHER_KIND;
    o->base.life = &lifecycle;
#ifndef NO_TABLE
    o->base.api = &api;
#endif
    *out = &o->base;
    return CG_OK;
}

static cg_factory factory;
static const cg_factory* const factories[] = {&factory};
static cg_manifest manifest;

__attribute__((visibility("default"))) cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out);
cg_status cg_plugin_entry_v1(const cg_negotiation* host, const cg_manifest** out) {
    static const char id[] = "org.callgate.test.other_kind";
    (void)host, (void)&api;
    factory.struct_size = sizeof factory;
    factory.kind = OTHER_KIND;
    factory.thread_model = CG_THREADS_ANY;
    factory.type.data = "other";
    factory.type.size = 5;
    factory.create = create;
    manifest.struct_size = sizeof manifest;
    manifest.abi_major = CG_ABI_MAJOR;
    manifest.plugin_id.data = id;
    manifest.plugin_id.size = sizeof id - 1;
    manifest.factory_count = 1;
    manifest.factories = factories;
    *out = &manifest;
    return CG_OK;
}
