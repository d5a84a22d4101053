// SPDX-License-Identifier: Apache-2.0
#include <callgate/crypto/random.hpp>
#include <callgate/crypto/secret.hpp>

#include <sodium.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

namespace callgate::crypto {

void init() {
    // sodium_init takes a lock each time; a static initialiser is one load once it has run.
    static const int state = ::sodium_init();
    if (state < 0) {
        std::fputs("callgate: the system gives no randomness (getrandom failed): cannot start\n", stderr);
        std::abort();
    }
}

void random_bytes(std::span<std::uint8_t> out) noexcept {
    init();
    ::randombytes_buf(out.data(), out.size());
}

secret::secret(std::size_t size) : size_(size) {
    if (size == 0) return;
    init();
    data_ = static_cast<std::uint8_t*>(::sodium_malloc(size));
    if (data_ == nullptr) throw std::bad_alloc();
    ::sodium_memzero(data_, size);
}

secret secret::copy_of(std::span<const std::uint8_t> bytes) {
    secret s(bytes.size());
    std::copy(bytes.begin(), bytes.end(), s.data_);
    return s;
}

secret secret::copy_of(std::string_view text) {
    return copy_of(std::span{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

secret& secret::operator=(secret&& o) noexcept {
    if (this != &o) {
        ::sodium_free(data_);
        data_ = std::exchange(o.data_, nullptr);
        size_ = std::exchange(o.size_, 0);
    }
    return *this;
}

secret::~secret() { ::sodium_free(data_); }

bool secret::equals(std::span<const std::uint8_t> other) const noexcept {
    return size_ == other.size() && (size_ == 0 || ::sodium_memcmp(data_, other.data(), size_) == 0);
}

bool equal_constant_time(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && (a.empty() || ::sodium_memcmp(a.data(), b.data(), a.size()) == 0);
}

void wipe(void* data, std::size_t size) noexcept {
    if (size != 0) ::sodium_memzero(data, size);
}

}  // namespace callgate::crypto
