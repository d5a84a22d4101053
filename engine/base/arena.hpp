// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace callgate {

/// Memory of all arenas of one shard: hands out standard blocks and keeps returned ones for reuse. Any
/// thread, because a plugin may release the last reference to a request's memory from a thread of its own.
class arena_pool {
  public:
    static constexpr std::size_t block_bytes = 16 * 1024;

    /// `max_bytes` bounds what is handed out at once, `keep_bytes` what is kept for reuse.
    explicit arena_pool(std::size_t max_bytes, std::size_t keep_bytes = std::size_t{8} << 20);
    ~arena_pool();
    arena_pool(const arena_pool&) = delete;
    arena_pool& operator=(const arena_pool&) = delete;

    /// nullptr: the bound is reached or the system has no memory. Aligned for any type.
    [[nodiscard]] void* take(std::size_t bytes) noexcept;
    /// Contents must have been wiped by the caller.
    void give_back(void* block, std::size_t bytes) noexcept;
    /// Bytes handed out now.
    [[nodiscard]] std::size_t outstanding() const noexcept;

  private:
    mutable std::mutex mutex_;
    std::vector<void*> free_;
    std::size_t outstanding_ = 0;
    const std::size_t max_bytes_, keep_blocks_;
};

/// Bump allocator of one request, bounded. Not for types with a destructor. One thread allocates; others may
/// read what was allocated. Everything used is wiped when the arena goes, since credentials lie in it.
class arena {
  public:
    /// `max_bytes` bounds the sum of all blocks.
    arena(std::shared_ptr<arena_pool> pool, std::size_t max_bytes) noexcept;
    ~arena();
    arena(const arena&) = delete;
    arena& operator=(const arena&) = delete;

    /// nullptr when the bound is reached; exhausted() is true from then on.
    [[nodiscard]] void* allocate(std::size_t bytes, std::size_t alignment) noexcept;
    /// Value-initialised; empty when exhausted.
    template <class T>
    [[nodiscard]] std::span<T> make_array(std::size_t count) noexcept {
        static_assert(std::is_trivially_destructible_v<T>);
        if (count == 0) return {};
        if (count > SIZE_MAX / sizeof(T)) {
            exhausted_ = true;
            return {};
        }
        void* p = allocate(count * sizeof(T), alignof(T));
        if (p == nullptr) return {};
        T* first = static_cast<T*>(p);
        std::uninitialized_value_construct_n(first, count);
        return {first, count};
    }
    template <class T>
    [[nodiscard]] T* make() noexcept {
        return make_array<T>(1).data();
    }
    /// Uninitialised characters.
    [[nodiscard]] char* make_text(std::size_t size) noexcept { return static_cast<char*>(allocate(size, 1)); }
    /// Empty when exhausted: check exhausted() once after a group of copies.
    [[nodiscard]] std::string_view copy(std::string_view text) noexcept {
        if (text.empty()) return {};
        char* p = make_text(text.size());
        if (p == nullptr) return {};
        std::memcpy(p, text.data(), text.size());
        return {p, text.size()};
    }
    [[nodiscard]] bool exhausted() const noexcept { return exhausted_; }
    /// Sum of the blocks held.
    [[nodiscard]] std::size_t reserved() const noexcept { return reserved_; }

  private:
    struct block;
    std::shared_ptr<arena_pool> pool_;
    block* head_ = nullptr;
    std::size_t reserved_ = 0;
    const std::size_t max_bytes_;
    bool exhausted_ = false;
};

}  // namespace callgate
