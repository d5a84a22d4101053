/* SPDX-License-Identifier: Apache-2.0
 * How a test steers sink.c. All functions [any]. */
#ifndef CALLGATE_TEST_SINK_H
#define CALLGATE_TEST_SINK_H
#include <callgate/abi/instance.h>

#define TEST_SINK_TAKE 0
#define TEST_SINK_HOLD 1   /* completes with let_go, or with nothing taken when it is cancelled */
#define TEST_SINK_FAIL 2   /* CG_E_UNAVAILABLE, "disk full", again after 1 ms */
#define TEST_SINK_HALF 3   /* takes half of each batch, rounded down */
#define TEST_SINK_LIE 4    /* says that it took more than there was */
#define TEST_SINK_REFUSE 5 /* write returns CG_E_BUSY */
#define TEST_SINK_BLOCK 6  /* write does not return before another mode is set */
#define TEST_SINK_NO_REOPEN 7

typedef struct test_sink {
    uint64_t events, lost;
    int writes, flushes, reopens, cancels, cancel_reason;
    uint32_t kind;
    size_t size;
    char text[1 << 16];
} test_sink;

typedef struct test_sink_api {
    void (*set_mode)(cg_instance* instance, int mode);
    void (*look)(cg_instance* instance, test_sink* out);
    void (*let_go)(cg_instance* instance, size_t count);
} test_sink_api;
#endif
