// SPDX-License-Identifier: Apache-2.0
#include "engine/host/verdict_invalidations.hpp"

#include "engine/host/services_fixture.hpp"

namespace callgate::host::test {
namespace {

class verdict_invalidations_test : public capability_test {
  protected:
    const cg_cache_invalidate_api& caches = api<cg_cache_invalidate_api>(CG_EXT_CACHE_INVALIDATE);
    verdict_invalidations& all = *shared->invalidations;
    cg_status say(std::uint32_t kind, std::string_view issuer = {}, std::string_view subject = {}, std::string_view credential = {}) {
        const cg_cache_scope s{sizeof s, kind, to_c(issuer), to_c(subject), to_c(credential)};
        return caches.invalidate(host, &s);
    }
};

TEST_F(verdict_invalidations_test, covers_its_scope_of_its_instance_and_nothing_newer) {
    const auto before = all.generation();
    EXPECT_FALSE(all.is_void("unit", "i", "alice", "c1", before));
    ASSERT_EQ(say(CG_CACHE_SUBJECT, "i", "alice"), CG_OK);
    EXPECT_EQ(all.generation(), before + 1);
    EXPECT_TRUE(all.is_void("unit", "i", "alice", "c1", before));
    EXPECT_FALSE(all.is_void("unit", "other", "alice", "c1", before));
    EXPECT_FALSE(all.is_void("unit", "i", "bob", "c1", before));
    EXPECT_FALSE(all.is_void("elsewhere", "i", "alice", "c1", before)) << "another instance's verdicts";
    EXPECT_FALSE(all.is_void("unit", "i", "alice", "c1", all.generation())) << "asked again since";
    ASSERT_EQ(say(CG_CACHE_SUBJECT, {}, "bob"), CG_OK);
    EXPECT_TRUE(all.is_void("unit", "whoever", "bob", "c1", before));
    ASSERT_EQ(say(CG_CACHE_CREDENTIAL, {}, {}, "c9"), CG_OK);
    EXPECT_TRUE(all.is_void("unit", "i", "carol", "c9", before + 2));
    EXPECT_FALSE(all.is_void("unit", "i", "carol", "c8", before + 2));
    ASSERT_EQ(say(CG_CACHE_ALL), CG_OK);
    EXPECT_TRUE(all.is_void("unit", "i", "carol", "c8", before + 3));
}

TEST_F(verdict_invalidations_test, what_is_older_than_the_memory_is_void) {
    const auto before = all.generation();
    for (int i = 0; i < 1024; ++i) ASSERT_EQ(say(CG_CACHE_SUBJECT, {}, "x"), CG_OK);
    EXPECT_FALSE(all.is_void("unit", "i", "alice", "c", before)) << "all of them are still known";
    ASSERT_EQ(say(CG_CACHE_SUBJECT, {}, "x"), CG_OK);
    EXPECT_TRUE(all.is_void("unit", "i", "alice", "c", before));
    EXPECT_FALSE(all.is_void("unit", "i", "alice", "c", before + 1));
}

TEST_F(verdict_invalidations_test, wrong_scopes_are_refused) {
    const auto before = all.generation();
    EXPECT_EQ(say(0), CG_E_INVALID);
    EXPECT_EQ(say(4), CG_E_INVALID);
    EXPECT_EQ(say(CG_CACHE_SUBJECT, "i"), CG_E_INVALID);
    EXPECT_EQ(say(CG_CACHE_CREDENTIAL, "i", "alice"), CG_E_INVALID);
    EXPECT_EQ(say(CG_CACHE_SUBJECT, {}, std::string(4097, 'x')), CG_E_INVALID);
    EXPECT_EQ(caches.invalidate(host, nullptr), CG_E_INVALID);
    EXPECT_EQ(all.generation(), before);
}

}  // namespace
}  // namespace callgate::host::test
