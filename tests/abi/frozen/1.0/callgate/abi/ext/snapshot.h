/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CALLGATE_ABI_EXT_SNAPSHOT_H
#define CALLGATE_ABI_EXT_SNAPSHOT_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_SNAPSHOT "callgate.snapshot/1"
/* A cell that holds one immutable object (a JWKS, a user table). Readers never wait, neither for a writer
 * nor for each other; a replaced object is destroyed when no reader holds it. */
typedef struct cg_snapshot_cell cg_snapshot_cell;
typedef struct cg_snapshot_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] since 1.0. `destroy` frees a published object; called on [control] or on the publishing thread. */
    cg_status (*create)(const cg_host* host, void (*destroy)(void* object), cg_snapshot_cell** cell);
    /* [any] since 1.0. Takes ownership of `object` (NULL empties the cell). */
    void (*publish)(cg_snapshot_cell* cell, void* object);
    /* [any] since 1.0. Pins and returns the current object (NULL when empty); *pin goes to release. Pins nest per
     * thread up to 8 deep; a pin is released on the thread that took it and is short (no I/O inside). */
    const void* (*acquire)(cg_snapshot_cell* cell, uint32_t* pin);
    /* [any] since 1.0. On the thread that acquired. */
    void (*release)(cg_snapshot_cell* cell, uint32_t pin);
    /* [control] since 1.0. No reader may be inside; destroys the current object. */
    void (*destroy)(cg_snapshot_cell* cell);
} cg_snapshot_api;
#ifdef __cplusplus
}
#endif
#endif
