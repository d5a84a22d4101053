// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/base.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

/// Memory handed to a plugin that ends where it says it ends, and is gone when the rules say it is gone: it lies
/// against a page that cannot be touched, and revoking it takes away the rest. A touch is a fault whose address tells
/// which rule was broken; the fault handler records it and ends the process.
namespace callgate::check {

/// Which rule a fault in a block breaks, and how the message calls the memory. Static strings.
struct guard_rule {
    const char* what;    ///< "the request"
    const char* overrun; ///< check that names touching beyond the end
    const char* revoked; ///< check that names touching after the end of its lifetime
};

/// A block of `size` bytes (zeroed). Revoked, never reused, when the last owner lets go; the newest few thousand stay
/// mapped as forbidden, so that late touches are seen. `size` should be a multiple of the alignment of what is put there.
class guarded_block {
  public:
    guarded_block(std::size_t size, const guard_rule& rule);
    ~guarded_block();
    guarded_block(const guarded_block&) = delete;
    guarded_block& operator=(const guarded_block&) = delete;
    [[nodiscard]] std::uint8_t* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// From now on any touch is a fault.
    void revoke() noexcept;

  private:
    std::uint8_t* base_ = nullptr;
    std::size_t mapped_ = 0;
    std::uint8_t* data_ = nullptr;
    std::size_t size_;
    std::size_t index_ = 0;
    bool revoked_ = false;
};

/// Blocks made from now on are plain heap memory: for counting growth over thousands of instances.
void use_plain_memory();

/// Of the process: faults, aborts and the like are recorded with the plugin's function they happened in.
/// And exit() ends at once, so that no other thread runs into destroyed objects while it goes on.
void install_fault_handlers();
/// Gives the calling thread a stack of its own for the handlers, so that an overflow is reported too.
void use_fault_stack();

}  // namespace callgate::check
