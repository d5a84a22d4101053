// SPDX-License-Identifier: Apache-2.0
#include <callgate/sdk/config.hpp>
#include <callgate/sdk/testing/claim_store_client.hpp>
#include <callgate/sdk/testing/driver.hpp>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "plugins/store_sqlite/store_sqlite.hpp"
#include "sdk/check/claim_store_suite.hpp"

namespace {

using namespace callgate;
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using sdk::test::captured_stream;
using sdk::test::claim_store_client;
using sdk::test::driver;
using sdk::test::fake_host;

struct temporary_folder {
    temporary_folder() {
        auto name = (fs::temp_directory_path() / "store_sqlite_XXXXXX").string();
        path = ::mkdtemp(name.data());
    }
    ~temporary_folder() { fs::remove_all(path); }
    fs::path path;
};

// ---- the contract
struct conformance : ::testing::TestWithParam<check::claim_store_check> {};

TEST_P(conformance, holds) {
    const temporary_folder folder;
    GetParam().run({.factory = &sdk::factory_of<store_sqlite::store>, .config_json = R"({"path": "claims.db", "busy_timeout": "20s"})", .folder = folder.path.string(), .seed = 20'26});
}
INSTANTIATE_TEST_SUITE_P(claim_store, conformance, ::testing::ValuesIn(check::claim_store_checks().begin(), check::claim_store_checks().end()),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

// ---- this store
struct instance {
    instance(const fs::path& folder, const std::string& more = "", bool started = true)
        : plugin(host, sdk::factory_of<store_sqlite::store>, R"({"path": "claims.db")" + more + "}", folder.string()), store(host, plugin.get()) {
        if (!started) return;
        const auto c = plugin.start();
        if (c.status != CG_OK) throw std::runtime_error(c.error);
    }
    fake_host host;
    driver plugin;
    claim_store_client store;
};

struct store_sqlite_test : ::testing::Test {
    temporary_folder folder;
    fs::path file = folder.path / "claims.db";

    void raw(const char* sql) {
        sqlite3* db = nullptr;
        ASSERT_EQ(sqlite3_open(file.c_str(), &db), SQLITE_OK);
        ASSERT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
        sqlite3_close(db);
    }
};

TEST_F(store_sqlite_test, files_are_for_the_owner_only) {
    instance i(folder.path);
    ASSERT_EQ(i.store.put("a", "1").status, CG_OK);
    for (const char* suffix : {"", "-wal", "-shm"}) {
        struct stat st {};
        ASSERT_EQ(::stat((file.string() + suffix).c_str(), &st), 0) << suffix;
        EXPECT_EQ(st.st_mode & 07777u, 0600u) << suffix;
    }
}

TEST_F(store_sqlite_test, refuses_files_that_are_no_store_of_ours) {
    const auto fault = [&](cg_status status, const char* part) {
        instance i(folder.path, "", false);
        const auto c = i.host.wait(i.plugin.start_op()).value();
        EXPECT_EQ(c.status, status) << c.error;
        EXPECT_NE(c.error.find(part), std::string::npos) << c.error;
        EXPECT_EQ(c.where, file.string());
    };
    raw("CREATE TABLE mine (x)");
    ::chmod(file.c_str(), 0600);
    fault(CG_E_INVALID, "not a claim store of callgate");
    ::chmod(file.c_str(), 0640);
    fault(CG_E_PERMISSION, "chmod 600");
    fs::remove(file);
    std::ofstream(file) << std::string(100'000, 'x');
    ::chmod(file.c_str(), 0600);
    fault(CG_E_UNAVAILABLE, "damaged or is no SQLite database");
    fs::remove(file);
    fs::create_symlink("elsewhere", file);
    fault(CG_E_PERMISSION, "symbolic link");
    fs::remove(file);
    fs::create_directory(file);
    fault(CG_E_UNAVAILABLE, "Is a directory");
    fs::remove(file);
    { instance i(folder.path); }
    raw("PRAGMA user_version = 2");
    fault(CG_E_UNSUPPORTED, "tables are of version 2, this plugin knows version 1");
}

TEST_F(store_sqlite_test, says_that_a_folder_is_missing_or_read_only) {
    fake_host host;
    for (const auto& [path, part] : {std::pair{"gone/claims.db", "its folder does not exist"}, std::pair{"/proc/claims.db", "cannot"}}) {
        driver plugin(host, sdk::factory_of<store_sqlite::store>, std::string(R"({"path": ")") + path + "\"}", folder.path.string());
        const auto c = host.wait(plugin.start_op()).value();
        EXPECT_LT(c.status, 0);
        EXPECT_NE(c.error.find(part), std::string::npos) << c.error;
    }
    instance absent(folder.path, R"(, "create": false)", false);
    EXPECT_EQ(absent.host.wait(absent.plugin.start_op())->status, CG_E_NOT_FOUND);
    EXPECT_FALSE(fs::exists(file));
}

TEST_F(store_sqlite_test, full_store_fails_the_commit_that_is_too_much_and_keeps_the_rest) {
    instance i(folder.path, R"(, "max_bytes": 2097152)");
    ASSERT_EQ(i.store.put("small", "1").outcome, CG_OK);
    sdk::test::completion c;
    for (int n = 0; n < 10; ++n) {
        c = i.store.put("big" + std::to_string(n), std::string(900'000, 'x'));
        if (c.status != CG_OK) break;
    }
    EXPECT_EQ(c.status, CG_E_UNAVAILABLE);
    EXPECT_NE(c.error.find("max_bytes"), std::string::npos) << c.error;
    EXPECT_EQ(i.plugin.health().health_state, CG_HEALTH_DOWN);
    EXPECT_EQ(i.store.put("small", "2").outcome, CG_OK);
    EXPECT_EQ(i.store.get({"small"}).entries[0].value, "2");
    EXPECT_EQ(i.plugin.health().health_state, CG_HEALTH_OK);
}

TEST_F(store_sqlite_test, write_lock_of_another_process_is_unavailable_and_passes) {
    instance i(folder.path, R"(, "busy_timeout": "50ms")");
    ASSERT_EQ(i.store.put("a", "1").outcome, CG_OK);
    sqlite3* other = nullptr;
    ASSERT_EQ(sqlite3_open(file.c_str(), &other), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
    const auto c = i.store.put("a", "2");
    EXPECT_EQ(c.status, CG_E_UNAVAILABLE);
    EXPECT_NE(c.error.find("locked by another process"), std::string::npos) << c.error;
    EXPECT_EQ(i.store.get({"a"}).entries[0].value, "1") << "reading goes on";
    sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr);
    sqlite3_close(other);
    EXPECT_EQ(i.store.put("a", "2").outcome, CG_OK);
}

TEST_F(store_sqlite_test, history_is_bounded_and_what_is_gone_is_compacted) {
    instance i(folder.path, R"(, "history": 100, "synchronous": "normal")");
    const auto first = i.store.put("k/0", "1").revision;
    for (int n = 0; n < 600; ++n) ASSERT_EQ(i.store.put("k/" + std::to_string(n % 50), "v").outcome, CG_OK);
    captured_stream old(1, 1), fresh(2, 1);
    EXPECT_EQ(i.store.watch(old, "", first).status, CG_E_COMPACTED);
    EXPECT_EQ(i.store.scan("", "", 10, first).status, CG_E_COMPACTED);
    EXPECT_EQ(i.store.commit({.puts = {{"x", "1"}}, .preconditions = {{CG_CLAIM_PREFIX_UNCHANGED, "k/", first}}}).status, CG_E_COMPACTED);
    const auto now = i.store.get({"x"}).revision;
    EXPECT_EQ(i.store.watch(fresh, "", now).status, CG_OK);
    EXPECT_EQ(i.store.scan_all("k/", 7).size(), 50u);
    sqlite3* db = nullptr;
    sqlite3_stmt* s = nullptr;
    sqlite3_open(file.c_str(), &db);
    sqlite3_prepare_v2(db, "SELECT count(*) FROM change", -1, &s, nullptr);
    sqlite3_step(s);
    EXPECT_LE(sqlite3_column_int(s, 0), 100 + 256 + 1);
    sqlite3_finalize(s);
    sqlite3_close(db);
    i.plugin.stop();
}

TEST_F(store_sqlite_test, starts_again_after_compaction) {
    const std::string options = R"(, "history": 100, "synchronous": "normal")";
    {
        instance i(folder.path, options);
        for (int n = 0; n < 600; ++n) ASSERT_EQ(i.store.put("k", "v").outcome, CG_OK);
        ASSERT_EQ(i.store.scan("", "", 10, 1).status, CG_E_COMPACTED);
    }
    instance again(folder.path, options);
    EXPECT_EQ(again.store.get({"k"}).entries[0].value, "v");
    EXPECT_EQ(again.store.put("k", "w").outcome, CG_OK);
}

TEST_F(store_sqlite_test, slow_watch_ends_as_compacted) {
    captured_stream slow(1, 0);
    instance i(folder.path, R"(, "history": 100, "synchronous": "normal")");
    ASSERT_EQ(i.store.watch(slow, "", 0).status, CG_OK);
    for (int n = 0; n < 700; ++n) ASSERT_EQ(i.store.put("k", "v").outcome, CG_OK);
    EXPECT_EQ(slow.wait_end(), CG_E_COMPACTED);
    EXPECT_NE(slow.error().find("read the present state"), std::string::npos);
}

TEST_F(store_sqlite_test, watch_sees_what_another_process_commits) {
    captured_stream seen(1, 10);
    instance here(folder.path, R"(, "poll_interval": "10ms")"), there(folder.path);
    ASSERT_EQ(here.store.watch(seen, "a/", 0).status, CG_OK);
    const auto r = there.store.put("a/1", "x").revision;
    const auto got = seen.wait(1);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].revision, r);
    here.plugin.stop();
}

TEST_F(store_sqlite_test, quiet_prefix_is_not_compacted_away) {
    captured_stream quiet(1, 10);
    instance i(folder.path, R"(, "history": 100, "synchronous": "normal")");
    ASSERT_EQ(i.store.watch(quiet, "quiet/", 0).status, CG_OK);
    for (int n = 0; n < 700; ++n) {
        ASSERT_EQ(i.store.put("busy", "v").outcome, CG_OK);
        // The watch thread looks at every answered commit; here it is given the time to.
        if (n % 50 == 49) {
            captured_stream turn(static_cast<cg_stream>(100 + n), 1);
            ASSERT_EQ(i.store.watch(turn, "", i.store.get({"busy"}).revision).status, CG_OK);
            i.store.cancel(turn);
            ASSERT_EQ(turn.wait_end(), CG_E_CANCELLED);
        }
    }
    i.store.put("quiet/1", "x");
    EXPECT_EQ(quiet.wait(1).size(), 1u);
    i.plugin.stop();
}

TEST_F(store_sqlite_test, configuration_faults_name_the_key) {
    const auto fault = [&](const std::string& json) -> std::string {
        fake_host host;
        try {
            driver d(host, sdk::factory_of<store_sqlite::store>, json);
        } catch (const std::runtime_error& e) {
            return e.what();
        }
        return "accepted";
    };
    EXPECT_EQ(fault("{}"), "path: this key is missing");
    EXPECT_EQ(fault(R"({"path": "x", "synchronous": "off"})"), "synchronous: must be full or normal");
    EXPECT_EQ(fault(R"({"path": "x", "reader": 1})"), "reader: this key is not known");
    EXPECT_NE(fault(R"({"path": "x", "queue": 1})").find("queue: must be a whole number from 16"), std::string::npos);
}

TEST_F(store_sqlite_test, before_start_and_after_stop_it_says_so) {
    instance i(folder.path, "", false);
    EXPECT_EQ(i.store.get({"a"}).status, CG_E_UNAVAILABLE);
    ASSERT_EQ(i.plugin.start().status, CG_OK);
    EXPECT_EQ(i.store.get({"a"}).status, CG_OK);
    i.plugin.stop();
    EXPECT_EQ(i.store.put("a", "1").status, CG_E_UNAVAILABLE);
    EXPECT_EQ(i.host.faults(), 0);
}

TEST(watch_position, token_comes_back_as_it_was) {
    for (const auto& key : {std::string(), std::string("a/b"), std::string(512, 'k')}) {
        const store_sqlite::watch_position at{0x0102030405060708u, key};
        const auto t = at.token();
        EXPECT_LE(t.size(), CG_STREAM_TOKEN_MAX);
        const auto back = store_sqlite::watch_position::from_token({reinterpret_cast<const std::uint8_t*>(t.data()), t.size()});
        ASSERT_TRUE(back);
        EXPECT_EQ(back->revision, at.revision);
        EXPECT_EQ(back->key, key);
    }
    for (const std::string bad : {"", "w1", "w2345678901", "w112345678?", "w112345678=", "w112345678=/"})
        EXPECT_FALSE(store_sqlite::watch_position::from_token({reinterpret_cast<const std::uint8_t*>(bad.data()), bad.size()})) << bad;
}

}  // namespace
