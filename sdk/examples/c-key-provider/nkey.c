/* SPDX-License-Identifier: Apache-2.0 */
#include "nkey.h"

#include <sodium.h>
#include <string.h>

/* The top five bits of the first byte give the first character; 18 << 3 is S, the mark of a seed. */
static const struct {
    char kind;
    uint8_t prefix;
} kinds[] = {{NKEY_OPERATOR, 14 << 3}, {NKEY_ACCOUNT, 0}, {NKEY_USER, 20 << 3}};
#define SEED_PREFIX (18 << 3)

static uint16_t crc16(const uint8_t* data, size_t size) {
    uint16_t crc = 0;
    for (size_t i = 0; i < size; ++i) {
        crc ^= (uint16_t)(data[i] << 8);
        for (int bit = 0; bit < 8; ++bit) crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc;
}

/* Arithmetic instead of a table: where a secret character is looked up would show in the cache. -1 for other characters. */
static int value_of(char c) {
    const unsigned letter = (unsigned)(unsigned char)c - 'A', digit = (unsigned)(unsigned char)c - '2';
    return letter < 26 ? (int)letter : digit < 6 ? (int)digit + 26 : -1;
}

static int base32_decode(const char* text, size_t size, uint8_t* out) {
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < size; ++i) {
        const int v = value_of(text[i]);
        if (v < 0) return -1;
        bits = bits << 5 | (uint32_t)v;
        have += 5;
        if (have >= 8) {
            have -= 8;
            *out++ = (uint8_t)(bits >> have);
        }
    }
    /* The same key must not have two texts: what is left over is zero. */
    return (bits & ((1u << have) - 1)) == 0 ? 0 : -1;
}

int nkey_read_seed(const char* text, size_t size, char* kind, uint8_t seed[32]) {
    uint8_t raw[36]; /* two prefix bytes, seed, CRC */
    int status = -1;
    if (size == SEED_TEXT && base32_decode(text, size, raw) == 0 && crc16(raw, 34) == (raw[34] | raw[35] << 8)) {
        /* Five bits of S, then the eight of the key's own prefix. */
        const uint8_t prefix = (uint8_t)((raw[0] & 7) << 5 | raw[1] >> 3);
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
            if ((raw[0] & 0xF8) != SEED_PREFIX || (raw[1] & 7) != 0 || kinds[i].prefix != prefix) continue;
            *kind = kinds[i].kind;
            memcpy(seed, raw + 2, 32);
            status = 0;
        }
    }
    sodium_memzero(raw, sizeof raw);
    return status;
}

void nkey_write_public(char kind, const uint8_t key[32], char text[NKEY_TEXT]) {
    uint8_t raw[35] = {0};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        if (kinds[i].kind == kind) raw[0] = kinds[i].prefix;
    memcpy(raw + 1, key, 32);
    const uint16_t crc = crc16(raw, 33);
    raw[33] = (uint8_t)crc;
    raw[34] = (uint8_t)(crc >> 8);
    for (size_t i = 0; i < NKEY_TEXT; ++i) {
        const size_t bit = i * 5, byte = bit / 8;
        const unsigned pair = (unsigned)raw[byte] << 8 | (byte + 1 < sizeof raw ? raw[byte + 1] : 0);
        text[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[pair >> (11 - bit % 8) & 31];
    }
}
