// SPDX-License-Identifier: Apache-2.0
// The Rust plugin through its C interface; left out where it is not built (sdk/examples/CMakeLists.txt says when).
#ifdef CALLGATE_RUST_AUTH
#include <callgate/sdk/testing/driver.hpp>
#include <filesystem>
#include <gtest/gtest.h>

#include "sdk/examples/test/module.hpp"

namespace {

using namespace callgate::sdk::test;
constexpr const char* config = R"({"file": "tokens"})";

struct rust_auth : testing::Test {
    temp_folder dir;
    fake_host host{"tokens"};
    const cg_factory& factory = only_factory(CALLGATE_RUST_AUTH);

    void SetUp() override { dir.write("tokens", "# who token\nalice 0123456789abcdef\nbob fedcba9876543210\n"); }
    static completion ask(driver& d, const std::string& credential) {
        test_request request;
        request.credential = credential;
        return d.authenticate(request);
    }
};

TEST_F(rust_auth, answers_from_its_own_thread_and_follows_the_file) {
    driver d(host, factory, config, dir.path());
    ASSERT_EQ(d.start().status, CG_OK);
    const auto known = ask(d, "fedcba9876543210");
    EXPECT_EQ(known.verdict, CG_VERDICT_ALLOW);
    EXPECT_EQ(known.subject, "bob");
    EXPECT_EQ(known.issuer, "tokens");
    EXPECT_EQ(ask(d, "fedcba9876543211").verdict, CG_VERDICT_DENY);
    EXPECT_EQ(ask(d, "").verdict, CG_VERDICT_ABSTAIN);

    dir.write("tokens", "carol 00112233445566778899\n");
    EXPECT_EQ(ask(d, "fedcba9876543210").verdict, CG_VERDICT_DENY);
    EXPECT_EQ(ask(d, "00112233445566778899").subject, "carol");
    // Who cannot be told is not denied.
    std::filesystem::remove(dir.path() + "/tokens");
    const auto lost = ask(d, "00112233445566778899");
    EXPECT_EQ(lost.verdict, CG_VERDICT_UNAVAILABLE);
    EXPECT_EQ(lost.reason_id, "file_unreadable");
    EXPECT_EQ(d.stop().status, CG_OK);
    EXPECT_EQ(host.faults(), 0);
}

TEST_F(rust_auth, drain_and_stop_leave_nothing_unanswered) {
    std::vector<test_request> requests(200);
    std::vector<cg_op> ops;
    driver d(host, factory, config, dir.path());
    ASSERT_EQ(d.start().status, CG_OK);
    for (auto& r : requests) {
        r.credential = "0123456789abcdef";
        ops.push_back(d.authenticate_op(r));
    }
    EXPECT_EQ(d.stop().status, CG_OK);
    for (const auto op : ops) {
        ASSERT_TRUE(host.done(op)) << "stop was answered before a login";
        EXPECT_EQ(host.take(op)->verdict, CG_VERDICT_ALLOW);
    }
    EXPECT_EQ(host.faults(), 0);
}

TEST_F(rust_auth, cancelled_logins_are_answered_once) {
    driver d(host, factory, config, dir.path());
    ASSERT_EQ(d.start().status, CG_OK);
    test_request late;
    late.credential = "0123456789abcdef";
    const auto c = host.wait(d.authenticate_op(late, std::chrono::seconds(-1)));
    ASSERT_TRUE(c);
    EXPECT_EQ(c->status, CG_E_CANCELLED);
    EXPECT_EQ(host.faults(), 0);
}

TEST_F(rust_auth, says_what_is_wrong) {
    const auto fault = [&](const std::string& text) -> std::string {
        try {
            driver d(host, factory, text, dir.path());
        } catch (const std::runtime_error& e) {
            return e.what();
        }
        return "created";
    };
    EXPECT_EQ(fault("{}"), "file: is missing; it names the file with the tokens");
    EXPECT_EQ(fault(R"({"fil": "x"})"), "fil: this key is not known; there is only file");
    dir.write("tokens", "alice 0123456789abcdef\n", 0644);
    driver d(host, factory, config, dir.path());
    const auto c = d.start();
    EXPECT_EQ(c.status, CG_E_INVALID);
    EXPECT_NE(c.error.find("chmod 600"), std::string::npos);
    EXPECT_EQ(c.error.find("0123456789abcdef"), std::string::npos);
}

}  // namespace
#endif
