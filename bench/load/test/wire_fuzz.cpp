// SPDX-License-Identifier: Apache-2.0
// What a server sends, cut anywhere: the parser stays within the bytes, makes progress, and says the same again.
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "bench/load/wire.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace callgate::load;
    std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const auto within = [&](std::string_view part) { return part.empty() || (part.data() >= bytes.data() && part.data() + part.size() <= bytes.data() + bytes.size()); };
    while (!bytes.empty()) {
        server_op op;
        const auto outcome = parse_op(bytes, op);
        if (outcome.what != parse_outcome::state::complete) break;
        if (outcome.consumed == 0 || outcome.consumed > bytes.size() || !within(op.text) || !within(op.subject) || !within(op.payload)) std::abort();
        server_op again;
        if (parse_op(bytes.substr(0, outcome.consumed), again).what != parse_outcome::state::complete || again.payload != op.payload) std::abort();
        if (op.what == server_op::kind::info) {
            try {
                (void)read_info(op.text);
            } catch (const std::runtime_error&) {
            }
        }
        bytes.remove_prefix(outcome.consumed);
    }
    return 0;
}
