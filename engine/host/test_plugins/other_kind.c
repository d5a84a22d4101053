/* SPDX-License-Identifier: Apache-2.0
 * An instance of a kind the host only carries (OTHER_KIND); its table has one function, `ping`. NO_TABLE: it has none. */
#include <callgate/abi/draft/kinds.h>
#include <stdlib.h>

#include "test_plugin.h"

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
    *out = test_instance(&o->base, OTHER_KIND, &lifecycle, &api);
#ifdef NO_TABLE
    o->base.api = NULL;
#endif
    return CG_OK;
}

TEST_PLUGIN("org.callgate.test.other_kind", OTHER_KIND, CG_THREADS_ANY, 0, "other");
