// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "engine/host/abi_read.hpp"
#include "engine/host/host_fixture.hpp"
#include "engine/host/services.hpp"

namespace callgate::host::test {

/// The services of one instance without a plugin; the test's thread is control, there are two shards.
class capability_test : public ::testing::Test {
  protected:
    boost::asio::io_context io;
    test_clock clock;
    std::shared_ptr<control_loop> loop = control_loop::make(io, 2, clock, [](std::uint32_t) {});
    std::shared_ptr<shared_services> shared = std::make_shared<shared_services>();
    operation_owner owner{{}, 10};
    services under_test{loop, owner, "unit", 0, shared};
    const cg_host* host = under_test.host();

    template <class Api>
    const Api& api(const char* id) {
        const auto* found = static_cast<const Api*>(host->query(host, to_c(id)));
        EXPECT_NE(found, nullptr) << id;
        EXPECT_EQ(found->struct_size, sizeof(Api));
        return *found;
    }
    bool run_until(const std::function<bool()>& done) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!done()) {
            if (std::chrono::steady_clock::now() > end) return false;
            io.restart();
            io.run_one_for(std::chrono::milliseconds(50));
        }
        return true;
    }
};

/// What a plugin's error buffer holds after a call.
struct error_text {
    char text[256] = {};
    cg_errbuf buffer{sizeof(cg_errbuf), 0, {reinterpret_cast<std::uint8_t*>(text), sizeof text, 0}};
    error_text() = default;
    error_text(const error_text&) = delete;
    void reset() { buffer.text.size = 0; }
    [[nodiscard]] std::string said() const { return {text, buffer.text.size}; }
};

}  // namespace callgate::host::test
