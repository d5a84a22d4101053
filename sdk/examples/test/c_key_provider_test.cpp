// SPDX-License-Identifier: Apache-2.0
#include <callgate/nats/nkey.hpp>
#include <callgate/crypto/box.hpp>
#include <callgate/sdk/testing/driver.hpp>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sdk/examples/test/module.hpp"

namespace {

using namespace callgate;
using namespace callgate::sdk::test;
using testing::HasSubstr;

struct c_key_provider : testing::Test {
    temp_folder dir;
    fake_host host{"seed"};
    const cg_factory& factory = only_factory(CALLGATE_C_KEY_PROVIDER);

    static void SetUpTestSuite() { crypto::init(); }
    static std::string seed(const nats::key_pair& k) { return std::string(k.seed_text().text()); }
    std::string create_fault(const std::string& config) {
        try {
            driver d(host, factory, config, dir.path());
        } catch (const std::runtime_error& e) {
            return e.what();
        }
        return "created";
    }
    completion start_fault() {
        driver d(host, factory, R"({"label": "issuer", "file": "k"})", dir.path());
        return d.start();
    }
    completion start_fault(const std::string& content, mode_t mode = 0600) {
        dir.write("k", content, mode);
        return start_fault();
    }
};

TEST_F(c_key_provider, signs_for_every_kind_what_the_other_implementation_accepts) {
    struct row {
        nats::key_type type;
        std::vector<std::uint32_t> allowed;
    };
    const std::vector<row> rows = {
        {nats::key_type::account, {CG_SIGN_USER_JWT, CG_SIGN_AUTH_RESPONSE, CG_SIGN_ACTIVATION, CG_SIGN_GENERIC}},
        {nats::key_type::operator_, {CG_SIGN_ACCOUNT_JWT, CG_SIGN_OPERATOR_JWT, CG_SIGN_GENERIC}},
        {nats::key_type::user, {CG_SIGN_NONCE, CG_SIGN_GENERIC}},
    };
    for (const auto& row : rows) {
        const auto pair = nats::key_pair::generate(row.type);
        dir.write("k", "\n " + seed(pair) + " \r\n");
        driver d(host, factory, R"({"file": "k", "label": "issu\u0065r"})", dir.path());
        ASSERT_EQ(d.start().status, CG_OK);
        const auto page = d.list_keys();
        ASSERT_EQ(page.keys.size(), 1u);
        EXPECT_EQ(page.keys[0].nkey, pair.public_text());
        EXPECT_EQ(page.keys[0].label, "issuer");
        EXPECT_EQ(page.keys[0].algorithm, CG_KEY_ED25519);
        EXPECT_EQ(page.next, "");

        std::vector<std::string> messages;
        std::vector<std::array<std::uint8_t, 64>> signatures(9);
        for (std::uint32_t purpose = 0; purpose < 9; ++purpose) messages.push_back(std::string(purpose * 500, 'm'));
        std::vector<cg_sign_item> items;
        for (std::uint32_t purpose = 0; purpose < 9; ++purpose)
            items.push_back({page.keys[0].key, purpose, CG_E_INTERNAL,
                             {reinterpret_cast<const std::uint8_t*>(messages[purpose].data()), messages[purpose].size()}, signatures[purpose].data()});
        ASSERT_EQ(d.sign(items).status, CG_OK);
        for (std::uint32_t purpose = 0; purpose < 9; ++purpose) {
            const bool allowed = std::find(row.allowed.begin(), row.allowed.end(), purpose) != row.allowed.end();
            EXPECT_EQ(items[purpose].status, allowed ? CG_OK : CG_E_PERMISSION) << purpose;
            EXPECT_EQ(bool(nats::verify(pair.public_text(), messages[purpose], signatures[purpose])), allowed) << purpose;
        }
        EXPECT_EQ(d.stop().status, CG_OK);
    }
    EXPECT_EQ(host.faults(), 0);
}

TEST_F(c_key_provider, each_item_fails_by_itself) {
    const auto pair = nats::key_pair::generate(nats::key_type::account);
    dir.write("k", seed(pair));
    driver d(host, factory, R"({"label": "issuer", "file": "k"})", dir.path());
    ASSERT_EQ(d.start().status, CG_OK);
    const std::string message = "x";
    const cg_bytes text{reinterpret_cast<const std::uint8_t*>(message.data()), 1};
    std::array<std::uint8_t, 64> first{}, last{};
    const cg_key key = d.list_keys().keys[0].key;
    std::vector<cg_sign_item> items = {
        {key, CG_SIGN_GENERIC, 7, text, first.data()},    {key + 1, CG_SIGN_GENERIC, 7, text, last.data()}, {0, CG_SIGN_GENERIC, 7, text, last.data()},
        {key, CG_SIGN_GENERIC, 7, text, nullptr},         {key, CG_SIGN_GENERIC, 7, {nullptr, 5}, last.data()}, {key, CG_SIGN_GENERIC, 7, {nullptr, 0}, last.data()},
    };
    ASSERT_EQ(d.sign(items).status, CG_OK);
    const std::vector<cg_status> wanted = {CG_OK, CG_E_NOT_FOUND, CG_E_NOT_FOUND, CG_E_INVALID, CG_E_INVALID, CG_OK};
    for (std::size_t i = 0; i < items.size(); ++i) EXPECT_EQ(items[i].status, wanted[i]) << i;
    EXPECT_TRUE(nats::verify(pair.public_text(), message, first));
    EXPECT_TRUE(nats::verify(pair.public_text(), "", last));
    std::vector<cg_sign_item> none, many(65, items[0]);
    EXPECT_EQ(d.sign(none).status, CG_OK);
    EXPECT_EQ(d.sign(many).status, CG_E_INVALID);
    const std::uint8_t from[1] = {1};
    EXPECT_EQ(d.list_keys(from).status, CG_E_INVALID);
}

TEST_F(c_key_provider, configuration_faults_name_the_key) {
    for (const auto& [config, why] : std::vector<std::pair<std::string, std::string>>{
             {"", "not a JSON object"},
             {"[]", "not a JSON object"},
             {"{}", "label: is missing"},
             {R"({"label": "issuer"})", "file: is missing"},
             {R"({"label": "", "file": "k"})", "label: is missing"},
             {R"({"label": 1, "file": "k"})", "label: must be a string"},
             {R"({"label": "a", "label": "b", "file": "k"})", "label: stands twice"},
             {R"({"label": "a", "file": "k", "more": "x"})", "more: this key is not known"},
             {R"({"label": "a", "file": "k"} x)", "something follows"},
             {R"({"label": "a", "file": "k)", "file: must be a string"},
             {R"({"label": "\u0000", "file": "k"})", "label: must be a string"},
             {R"({"label": "\ud800", "file": "k"})", "label: must be a string"},
             {R"({"label": ")" + std::string(65, 'a') + R"(", "file": "k"})", "label: must be a string of at most 64"},
             {R"({"label": "a", "file": ")" + std::string(1025, 'a') + R"("})", "file: must be a string of at most 1024"},
             {R"({"label": "a", "file": "k"})" + std::string(1, '\0'), "something follows"},
         })
        EXPECT_THAT(create_fault(config), HasSubstr(why)) << config;
    EXPECT_EQ(create_fault(R"({"label": ")" + std::string(64, 'a') + R"(", "file": "k"})"), "created");
}

TEST_F(c_key_provider, refuses_files_it_should_not_trust_and_never_shows_them) {
    const auto good = seed(nats::key_pair::generate(nats::key_type::account));
    EXPECT_EQ(start_fault(good).status, CG_OK);
    EXPECT_THAT(start_fault(good, 0640).error, HasSubstr("chmod 600"));
    EXPECT_THAT(start_fault("").error, HasSubstr("empty"));
    EXPECT_THAT(start_fault(std::string(5000, 'S')).error, HasSubstr("larger than 4 KiB"));
    auto damaged = good;
    damaged[20] = damaged[20] == 'A' ? 'B' : 'A';
    std::string small = good;
    for (auto& c : small) c = static_cast<char>(std::tolower(c));
    const auto curve = seed(nats::key_pair::generate(nats::key_type::curve));
    for (const auto& bad : {damaged, small, good.substr(1), good + "A", good + " " + good, curve, nats::key_pair::generate(nats::key_type::account).public_text()}) {
        const auto c = start_fault(bad);
        EXPECT_EQ(c.status, CG_E_INVALID) << bad;
        EXPECT_EQ(c.where, dir.path() + "/k");
        EXPECT_EQ((c.error + c.where).find(bad.substr(0, 20)), std::string::npos);
    }
    std::filesystem::remove(dir.path() + "/k");
    EXPECT_EQ(start_fault().status, CG_E_NOT_FOUND);
    dir.write("real", good);
    std::filesystem::create_symlink("real", dir.path() + "/k");
    EXPECT_THAT(start_fault().error, HasSubstr("symbolic link"));
    std::filesystem::remove(dir.path() + "/k");
    std::filesystem::create_directory(dir.path() + "/k");
    EXPECT_NE(start_fault().status, CG_OK);
}

}  // namespace
