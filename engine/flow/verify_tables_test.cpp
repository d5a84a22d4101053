// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "engine/flow/flow_test_world.hpp"
#include "engine/flow/key_tables.hpp"

namespace callgate::flow {
namespace {

using observe::drop_reason;
struct verify_tables_test : ::testing::Test, testing::world {
    void serve(int times) {
        for (int i = 0; i < times; ++i) {
            offer(claims());
            run();
        }
    }
};

TEST_F(verify_tables_test, a_server_that_keeps_sending_good_requests_is_verified_by_its_table) {
    reconfigure([](flow_config& c) { c.issuer.verify = c.accounts["APP"].signer.verify = false; });
    serve(key_ranking::proofs_for_table);
    EXPECT_EQ(metrics.verified_by_table.value(), 0u);
    EXPECT_EQ(metrics.verify_tables.value(), 1);
    serve(10);
    EXPECT_EQ(metrics.verified_by_table.value(), 10u);
    EXPECT_EQ(links.replies.size(), key_ranking::proofs_for_table + 10);

    // The table knows the difference as well.
    auto token = sign(claims());
    token.back() = token.back() == 'A' ? 'Q' : 'A';
    offer(token);
    run();
    EXPECT_EQ(dropped(drop_reason::bad_signature), 1u);
    EXPECT_EQ(metrics.verified_by_table.value(), 10u);
    EXPECT_EQ(metrics.tables_misjudged.value(), 0u);
}

// Each is signed correctly and fails a later check: no proof of a server.
TEST_F(verify_tables_test, requests_that_are_dropped_after_their_signature_earn_no_table) {
    for (std::uint32_t i = 0; i < 3 * key_ranking::proofs_for_table; ++i) {
        auto q = claims();
        q.aud = "somebody-else";
        offer(q);
        run();
    }
    EXPECT_EQ(dropped(drop_reason::wrong_audience), 3u * key_ranking::proofs_for_table);
    EXPECT_EQ(metrics.verify_tables.value(), 0);
}

TEST_F(verify_tables_test, a_replayed_request_is_counted_once) {
    const auto q = claims();
    for (std::uint32_t i = 0; i < 3 * key_ranking::proofs_for_table; ++i) {
        offer(q);
        run();
    }
    EXPECT_EQ(dropped(drop_reason::replayed), 3u * key_ranking::proofs_for_table - 1);
    // The keys of the provider signed one user JWT and one response.
    EXPECT_EQ(metrics.verify_tables.value(), 0);
}

TEST_F(verify_tables_test, signatures_of_foreign_providers_are_verified_by_table_too) {
    constexpr std::uint32_t logins = key_ranking::proofs_for_table + 24;
    serve(logins);
    EXPECT_EQ(links.replies.size(), logins);
    // One server and one account key, which signs twice in each request.
    EXPECT_EQ(metrics.verify_tables.value(), 2);
    EXPECT_GE(metrics.verified_by_table.value(), 24u + key_ranking::proofs_for_table);

    keys->item_status = CG_OK;
    keys->corrupt = true;
    offer(claims());
    run();
    EXPECT_EQ(dropped(drop_reason::sign_failed), 1u);
    EXPECT_EQ(links.replies.size(), logins);
}

}  // namespace
}  // namespace callgate::flow
