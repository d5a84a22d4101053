// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

namespace callgate::auth_static {

/// Working memory of one hash at a time, mapped and faulted in when it is made: hashing in it never asks the
/// kernel for memory, so a hashing thread that loses the processor does not hold the process's memory map.
/// Not in core dumps, not inherited by fork. Any thread, one at a time.
class hash_memory {
  public:
    hash_memory() noexcept = default;
    /// Throws std::bad_alloc. Takes as long as faulting the pages in: some 10 ms for 64 MiB.
    explicit hash_memory(std::size_t bytes);
    hash_memory(hash_memory&& o) noexcept : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}
    hash_memory& operator=(hash_memory&& o) noexcept {
        std::swap(data_, o.data_);
        std::swap(size_, o.size_);
        return *this;
    }
    hash_memory(const hash_memory&) = delete;
    hash_memory& operator=(const hash_memory&) = delete;
    ~hash_memory();

    /// Maps more when it has less than `bytes`. Throws std::bad_alloc.
    void require(std::size_t bytes);

    /// Page aligned.
    [[nodiscard]] std::uint8_t* data() noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace callgate::auth_static
