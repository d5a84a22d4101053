// SPDX-License-Identifier: Apache-2.0
#include "engine/base/arena.hpp"

#include <callgate/crypto/secret.hpp>

#include <cstdlib>
#include <utility>

namespace callgate {

arena_pool::arena_pool(std::size_t max_bytes, std::size_t keep_bytes)
    : max_bytes_(max_bytes), keep_blocks_(keep_bytes / block_bytes) {
    free_.reserve(keep_blocks_);  // give_back must not throw
}

arena_pool::~arena_pool() {
    for (void* p : free_) std::free(p);
}

void* arena_pool::take(std::size_t bytes) noexcept {
    void* p = nullptr;
    {
        const std::lock_guard lock(mutex_);
        if (bytes > max_bytes_ || outstanding_ > max_bytes_ - bytes) return nullptr;
        outstanding_ += bytes;
        if (bytes == block_bytes && !free_.empty()) {
            p = free_.back();
            free_.pop_back();
            return p;
        }
    }
    p = std::malloc(bytes);
    if (p == nullptr) {
        const std::lock_guard lock(mutex_);
        outstanding_ -= bytes;
    }
    return p;
}

void arena_pool::give_back(void* block, std::size_t bytes) noexcept {
    {
        const std::lock_guard lock(mutex_);
        outstanding_ -= bytes;
        if (bytes == block_bytes && free_.size() < keep_blocks_) {
            free_.push_back(block);
            return;
        }
    }
    std::free(block);
}

std::size_t arena_pool::outstanding() const noexcept {
    const std::lock_guard lock(mutex_);
    return outstanding_;
}

struct alignas(std::max_align_t) arena::block {
    block* next;
    std::size_t size;  // with this header
    std::size_t used;
};

arena::arena(std::shared_ptr<arena_pool> pool, std::size_t max_bytes) noexcept : pool_(std::move(pool)), max_bytes_(max_bytes) {}

arena::~arena() {
    while (head_ != nullptr) {
        block* b = std::exchange(head_, head_->next);
        const std::size_t size = b->size;
        // Only what was used: blocks come back clean, so the rest is clean already.
        crypto::wipe(b, b->used);
        pool_->give_back(b, size);
    }
}

void* arena::allocate(std::size_t bytes, std::size_t alignment) noexcept {
    const auto place = [&](block& b) -> void* {
        const std::size_t at = (b.used + alignment - 1) / alignment * alignment;
        if (at > b.size || bytes > b.size - at) return nullptr;
        b.used = at + bytes;
        return reinterpret_cast<std::uint8_t*>(&b) + at;
    };
    if (head_ != nullptr) {
        if (void* p = place(*head_)) return p;
    }
    std::size_t size = arena_pool::block_bytes;
    if (bytes > size - sizeof(block)) {
        if (bytes > SIZE_MAX - sizeof(block)) {
            exhausted_ = true;
            return nullptr;
        }
        size = bytes + sizeof(block);
    }
    if (size > max_bytes_ || reserved_ > max_bytes_ - size) {
        exhausted_ = true;
        return nullptr;
    }
    auto* b = static_cast<block*>(pool_->take(size));
    if (b == nullptr) {
        exhausted_ = true;
        return nullptr;
    }
    *b = block{nullptr, size, sizeof(block)};
    reserved_ += size;
    // A block made for one large object has no room left: behind the current one, which stays in use.
    if (head_ != nullptr && size != arena_pool::block_bytes) {
        b->next = head_->next;
        head_->next = b;
    } else {
        b->next = head_;
        head_ = b;
    }
    return place(*b);
}

}  // namespace callgate
