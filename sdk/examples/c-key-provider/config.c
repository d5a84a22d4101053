/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <string.h>

typedef struct reader {
    const char *at, *end;
} reader;

static void skip_space(reader* r) {
    while (r->at < r->end && memchr(" \t\r\n", *r->at, 4) != NULL) ++r->at;
}

static int take(reader* r, char c) {
    skip_space(r);
    if (r->at == r->end || *r->at != c) return 0;
    ++r->at;
    return 1;
}

static int hex4(reader* r, unsigned* out) {
    *out = 0;
    for (int i = 0; i < 4; ++i) {
        static const char digits[] = "0123456789abcdef";
        if (r->at == r->end) return 0;
        const char c = *r->at++;
        const char* d = memchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c, 16);
        if (d == NULL) return 0;
        *out = *out << 4 | (unsigned)(d - digits);
    }
    return 1;
}

/* The string at r, its quote taken already, into `out` with a NUL. 0: not a string, longer than `cap`, or it holds a NUL. */
static int string(reader* r, char* out, size_t cap) {
    size_t n = 0;
    while (r->at < r->end) {
        char c = *r->at++;
        if (c == '"') {
            out[n] = '\0';
            return 1;
        }
        if ((unsigned char)c < 0x20) return 0;
        if (c == '\\') {
            static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
            if (r->at == r->end) return 0;
            c = *r->at++;
            const char* escape = memchr(from, c, sizeof from - 1);
            unsigned code = 0;
            /* The host writes UTF-8 as it is and escapes control characters alone. */
            if (c == 'u' ? !hex4(r, &code) || code == 0 || code >= 0x80 : escape == NULL) return 0;
            c = c == 'u' ? (char)code : to[escape - from];
        }
        if (n == cap) return 0;
        out[n++] = c;
    }
    return 0;
}

static int wrong(char error[128], const char* key, const char* what) {
    snprintf(error, 128, "%s%s%s", key, *key == '\0' ? "" : ": ", what);
    return -1;
}

int read_config(cg_str json, key_config* out, char error[128]) {
    reader r = {json.data, json.data + json.size};
    int have_label = 0, have_file = 0;
    if (json.size == 0 || !take(&r, '{')) return wrong(error, "", "the configuration is not a JSON object");
    if (!take(&r, '}')) {
        do {
            char key[33];
            if (!take(&r, '"') || !string(&r, key, sizeof key - 1)) return wrong(error, "", "a key is not a string of at most 32 bytes");
            const int label = strcmp(key, "label") == 0;
            if (!label && strcmp(key, "file") != 0) return wrong(error, key, "this key is not known; there are label and file");
            int* have = label ? &have_label : &have_file;
            if (*have) return wrong(error, key, "stands twice");
            *have = 1;
            if (!take(&r, ':') || !take(&r, '"') || !(label ? string(&r, out->label, MAX_LABEL) : string(&r, out->file, MAX_PATH_BYTES)))
                return wrong(error, key, label ? "must be a string of at most 64 bytes" : "must be a string of at most 1024 bytes");
        } while (take(&r, ','));
        if (!take(&r, '}')) return wrong(error, "", "the configuration is not a JSON object");
    }
    skip_space(&r);
    if (r.at != r.end) return wrong(error, "", "something follows the configuration");
    if (!have_label || out->label[0] == '\0') return wrong(error, "label", "is missing; it is the name that callgate.yaml uses for the key");
    if (!have_file || out->file[0] == '\0') return wrong(error, "file", "is missing; it names the file with the seed");
    return 0;
}
