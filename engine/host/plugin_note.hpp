// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "engine/base/error.hpp"

namespace callgate::host {

/// What a plugin file says of itself before anything of it runs (callgate/abi/entry.h).
struct plugin_note {
    std::uint32_t abi_major = 0;
    std::uint32_t abi_minor_built = 0;
    std::uint32_t abi_minor_needed = 0;
    std::uint32_t kinds = 0;  ///< bit (1 << CG_KIND_*)
    std::string plugin_id;
};

/// Finds the note in the bytes of an ELF64 shared object (System V gABI, "Note Section"), in its PT_NOTE
/// segments or in a section named .note.callgate. Input is hostile. Errors: abi for what is not a shared
/// object of this machine or has no note. Any thread.
[[nodiscard]] result<plugin_note> read_plugin_note(std::span<const std::uint8_t> file);

/// abi error that says what differs when this host cannot run such a plugin.
[[nodiscard]] result<void> check_abi(std::uint32_t abi_major, std::uint32_t abi_minor_needed);

}  // namespace callgate::host
