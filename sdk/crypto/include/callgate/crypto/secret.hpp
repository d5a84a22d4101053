// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace callgate::crypto {

/// Must run once before anything else of this library; thread-safe, idempotent. Aborts when the system
/// has no randomness.
void init();

/// Bytes in guarded pages (sodium_malloc): locked, excluded from core dumps, wiped when freed.
/// Move-only. Not shared between threads while written.
class secret {
  public:
    secret() noexcept = default;
    /// Zeroed. Throws std::bad_alloc when the locked-memory limit is reached.
    explicit secret(std::size_t size);
    static secret copy_of(std::span<const std::uint8_t> bytes);
    static secret copy_of(std::string_view text);
    secret(secret&& o) noexcept : data_(o.data_), size_(o.size_) { o.data_ = nullptr; o.size_ = 0; }
    secret& operator=(secret&& o) noexcept;
    secret(const secret&) = delete;
    secret& operator=(const secret&) = delete;
    ~secret();

    [[nodiscard]] std::uint8_t* data() noexcept { return data_; }
    [[nodiscard]] const std::uint8_t* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept { return {data_, size_}; }
    [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }
    /// Constant time in the contents; false at once when sizes differ.
    [[nodiscard]] bool equals(std::span<const std::uint8_t> other) const noexcept;

  private:
    std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Constant time in the contents; false at once when sizes differ.
[[nodiscard]] bool equal_constant_time(std::string_view a, std::string_view b) noexcept;
/// Overwrites memory that is about to be freed.
void wipe(void* data, std::size_t size) noexcept;

}  // namespace callgate::crypto
