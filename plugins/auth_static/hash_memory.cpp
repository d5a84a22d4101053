// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/hash_memory.hpp"

#include <new>
#include <sys/mman.h>
#include <unistd.h>

namespace callgate::auth_static {

hash_memory::hash_memory(std::size_t bytes) {
    if (bytes == 0) return;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const auto size = (bytes + page - 1) / page * page;
    void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<std::uint8_t*>(p);
    size_ = size;
    // What a kernel does not know of these is no reason to fail: the pages are wiped after each hash.
    (void)::madvise(p, size, MADV_DONTDUMP);
    (void)::madvise(p, size, MADV_DONTFORK);
    // Argon2 reads all over its memory: large pages save about a twentieth of the time.
    (void)::madvise(p, size, MADV_HUGEPAGE);
    for (std::size_t at = 0; at < size; at += page) *static_cast<volatile std::uint8_t*>(data_ + at) = 0;
}

hash_memory::~hash_memory() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

void hash_memory::require(std::size_t bytes) {
    if (size_ >= bytes) return;
    // First the old: both at once would take twice what the configuration allows for.
    { const hash_memory old(std::move(*this)); }
    *this = hash_memory(bytes);
}

}  // namespace callgate::auth_static
