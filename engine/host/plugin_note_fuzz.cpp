// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <span>

#include "engine/host/plugin_note.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto note = callgate::host::read_plugin_note(std::span(data, size));
    if (note && note->plugin_id.size() > 64) __builtin_trap();
    return 0;
}
