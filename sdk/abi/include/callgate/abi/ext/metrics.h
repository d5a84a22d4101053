/* SPDX-License-Identifier: Apache-2.0
 * Metrics of an instance, shown by the admin listener's /metrics as
 *   callgate_plugin_<name>{kind="...",instance="...",<labels>}
 * They are defined in create and start and never after: a scrape needs no lock, and what a stranger sends can
 * never become a name or a label value. */
#ifndef CALLGATE_ABI_EXT_METRICS_H
#define CALLGATE_ABI_EXT_METRICS_H
#include <callgate/abi/host.h>
#ifdef __cplusplus
extern "C" {
#endif
#define CG_EXT_METRICS "callgate.metrics/1"

#define CG_METRIC_COUNTER 1u   /* only rises; `name` ends in "_total" */
#define CG_METRIC_GAUGE 2u     /* shown: the sum of what was set and added under every shard index */
#define CG_METRIC_HISTOGRAM 3u /* counts observations by upper bounds */

#define CG_METRIC_PLAIN 0u       /* unit: shown as it is */
#define CG_METRIC_NANOSECONDS 1u /* unit: shown in seconds; `name` ends in "_seconds" ("_seconds_total" of a counter) */

#define CG_METRIC_NO_SHARD UINT32_MAX /* as shard index: on [control], [worker] or a thread of the plugin's own */

#define CG_METRICS_MAX 256u       /* definitions of one instance */
#define CG_METRIC_MAX_LABELS 8u   /* of one definition */
#define CG_METRIC_MAX_BOUNDS 32u  /* of one histogram */

typedef uint32_t cg_metric; /* handle, unique within the instance; 0 = none: add, set and observe do nothing */

/* An element with a stride. since 1.0 */
typedef struct cg_metric_label {
    cg_str name;  /* [a-z_]{1,60}, not beginning with "__"; not "le", "kind", "instance" */
    cg_str value; /* 1 to 100 bytes of printable ASCII; fixed here, so never taken from a request */
} cg_metric_label;

/* Lifetime: call. since 1.0 */
typedef struct cg_metric_definition {
    uint32_t struct_size;
    uint32_t kind; /* CG_METRIC_COUNTER, ... */
    cg_str name;   /* [a-z_]{1,60}. Definitions of one name have one kind, in the whole process, and different labels */
    cg_str help;   /* one line, 1 to 200 bytes of printable ASCII */
    const cg_metric_label* labels;
    size_t label_count; /* 0 to CG_METRIC_MAX_LABELS */
    uint32_t labels_stride;
    uint32_t unit;         /* CG_METRIC_PLAIN, ... */
    const int64_t* bounds; /* histogram: 1 to CG_METRIC_MAX_BOUNDS upper bounds, rising; "+Inf" comes by itself */
    size_t bound_count;
} cg_metric_definition;

typedef struct cg_metrics_api {
    uint32_t struct_size;
    uint32_t reserved;
    /* [control] since 1.0. In create and until start has completed; later: CG_E_PERMISSION. CG_E_INVALID: a rule
     * above is broken, `error` says which; CG_E_BUSY: CG_METRICS_MAX are defined. `*metric` is valid for the instance's life. */
    cg_status (*define)(const cg_host* host, const cg_metric_definition* definition, cg_metric* metric, cg_errbuf* error);
    /* [any] since 1.0. All three: no lock, no allocation; each shard index has memory of its own, so that shards do not
     * slow each other down. `shard` is the caller's shard or CG_METRIC_NO_SHARD. A handle of another kind: nothing happens.
     * Counter: n more. */
    void (*add)(const cg_host* host, cg_metric metric, uint32_t shard, uint64_t n);
    /* [any] since 1.0. Gauge: the part of this shard index becomes `value`. */
    void (*set)(const cg_host* host, cg_metric metric, uint32_t shard, int64_t value);
    /* [any] since 1.0. Gauge: the part of this shard index changes by `delta`. */
    void (*change)(const cg_host* host, cg_metric metric, uint32_t shard, int64_t delta);
    /* [any] since 1.0. Histogram; values below 0 count as 0. */
    void (*observe)(const cg_host* host, cg_metric metric, uint32_t shard, int64_t value);
} cg_metrics_api;
#ifdef __cplusplus
}
#endif
#endif
