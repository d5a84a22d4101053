// SPDX-License-Identifier: Apache-2.0
// Any text as a configuration: a value comes back exactly when no finding is an error, and messages stay text.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "engine/runtime/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto o = callgate::runtime::load_config_text(std::string(reinterpret_cast<const char*>(data), size), "fuzz.yaml", "/nonexistent");
    if (o.value.has_value() == callgate::policy::has_error(o.findings)) {
        std::fprintf(stderr, "value and findings contradict each other\n");
        std::abort();
    }
    for (const auto& f : o.findings) {
        for (const char c : f.message()) {
            if (static_cast<unsigned char>(c) < 0x20) {
                std::fprintf(stderr, "control character in a message\n");
                std::abort();
            }
        }
    }
    return 0;
}
