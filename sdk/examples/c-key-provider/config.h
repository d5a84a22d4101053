/* SPDX-License-Identifier: Apache-2.0
 * The configuration {"label": "...", "file": "..."}, read without a JSON library. [control] */
#pragma once
#include <callgate/abi/base.h>

#define MAX_LABEL 64
#define MAX_PATH_BYTES 1024

typedef struct key_config {
    char label[MAX_LABEL + 1];
    char file[MAX_PATH_BYTES + 1];
} key_config;

/* A JSON object whose values are strings, with exactly the keys above. 0, or -1 and in `error` what is wrong: a text that
 * names the key. */
int read_config(cg_str json, key_config* out, char error[128]);
