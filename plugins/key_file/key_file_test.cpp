// SPDX-License-Identifier: Apache-2.0
#include "plugins/key_file/key_file.hpp"

#include <callgate/crypto/box.hpp>
#include <callgate/sdk/config.hpp>
#include <callgate/sdk/testing/driver.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/key_file/seed_file.hpp"

namespace {

using namespace callgate;
namespace fs = std::filesystem;
using sdk::test::driver;
using sdk::test::fake_host;

struct key_file_test : ::testing::Test {
    fs::path dir;
    fake_host host;

    void SetUp() override {
        crypto::init();
        std::string name = (fs::temp_directory_path() / "callgate_key_file_XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        dir = name;
    }
    void TearDown() override { fs::remove_all(dir); }

    fs::path write(const std::string& name, std::string_view text, mode_t mode = 0600) {
        const auto path = dir / name;
        std::ofstream(path, std::ios::binary) << text;
        ::chmod(path.c_str(), mode);
        return path;
    }
    static std::string seed(const nats::key_pair& k) { return std::string(k.seed_text().text()); }
    std::unique_ptr<driver> make(const std::string& files) {
        return std::make_unique<driver>(host, sdk::factory_of<key_file::provider>, R"({"files": {)" + files + "}}", dir.string());
    }
    /// The text with which start fails.
    std::string start_fault(const std::string& files) {
        auto d = make(files);
        const auto c = d->start();
        EXPECT_NE(c.status, CG_OK);
        return c.error;
    }
    std::string fault_of(std::string_view content, mode_t mode = 0600) {
        write("k", content, mode);
        return start_fault(R"("k": "k")");
    }
};

TEST_F(key_file_test, signs_with_every_kind_what_it_may_and_nothing_else) {
    struct row {
        nats::key_type type;
        std::vector<std::uint32_t> allowed;
    };
    const std::vector<row> rows = {
        {nats::key_type::account, {CG_SIGN_USER_JWT, CG_SIGN_AUTH_RESPONSE, CG_SIGN_ACTIVATION, CG_SIGN_GENERIC}},
        {nats::key_type::operator_, {CG_SIGN_ACCOUNT_JWT, CG_SIGN_OPERATOR_JWT, CG_SIGN_GENERIC}},
        {nats::key_type::user, {CG_SIGN_NONCE, CG_SIGN_GENERIC}},
        {nats::key_type::curve, {}},
    };
    for (const auto& r : rows) {
        const auto pair = nats::key_pair::generate(r.type);
        write("k", seed(pair) + "\n");
        auto d = make(R"("k": "k")");
        ASSERT_EQ(d->start().status, CG_OK);
        const std::string message = "a message";
        std::vector<std::array<std::uint8_t, 64>> signatures(10);
        std::vector<cg_sign_item> items;
        for (std::uint32_t purpose = 0; purpose < 10; ++purpose)
            items.push_back({1, purpose, 1, {reinterpret_cast<const std::uint8_t*>(message.data()), message.size()}, signatures[purpose].data()});
        ASSERT_EQ(d->sign(items).status, CG_OK);
        for (std::uint32_t purpose = 0; purpose < 10; ++purpose) {
            const bool allowed = std::find(r.allowed.begin(), r.allowed.end(), purpose) != r.allowed.end();
            EXPECT_EQ(items[purpose].status, allowed ? CG_OK : CG_E_PERMISSION) << nats::to_string(r.type) << " " << purpose;
            if (allowed) {
                EXPECT_TRUE(nats::verify(pair.public_text(), message, signatures[purpose]));
            } else {
                EXPECT_EQ(signatures[purpose], (std::array<std::uint8_t, 64>{}));
            }
        }
    }
}

TEST_F(key_file_test, unknown_handle_and_missing_buffer_fail_alone) {
    const auto pair = nats::key_pair::generate(nats::key_type::account);
    write("k", seed(pair));
    auto d = make(R"("k": "k")");
    ASSERT_EQ(d->start().status, CG_OK);
    std::array<std::uint8_t, 64> out{};
    std::vector<cg_sign_item> items = {{0, CG_SIGN_USER_JWT, 1, {nullptr, 0}, out.data()},
                                       {2, CG_SIGN_USER_JWT, 1, {nullptr, 0}, out.data()},
                                       {1, CG_SIGN_USER_JWT, 1, {nullptr, 0}, nullptr},
                                       {1, CG_SIGN_USER_JWT, 1, {nullptr, 0}, out.data()}};
    ASSERT_EQ(d->sign(items).status, CG_OK);
    EXPECT_EQ(items[0].status, CG_E_NOT_FOUND);
    EXPECT_EQ(items[1].status, CG_E_NOT_FOUND);
    EXPECT_EQ(host.metric("signatures_refused_total", "reason=unknown_key"), 2);
    EXPECT_EQ(host.metric("signatures_refused_total", "reason=purpose"), 0);
    EXPECT_EQ(items[2].status, CG_E_INVALID);
    EXPECT_EQ(items[3].status, CG_OK);
    EXPECT_TRUE(nats::verify(pair.public_text(), "", out));
}

TEST_F(key_file_test, batches_up_to_the_limit) {
    write("k", seed(nats::key_pair::generate(nats::key_type::account)));
    auto d = make(R"("k": "k")");
    ASSERT_EQ(d->start().status, CG_OK);
    const auto* api = static_cast<const cg_key_provider_api*>(d->get()->api);
    const auto* limits = api->limits(d->get());
    ASSERT_GE(limits->max_batch, 1u);
    std::vector<std::array<std::uint8_t, 64>> out(limits->max_batch + 1);
    std::vector<cg_sign_item> items;
    EXPECT_EQ(d->sign(items).status, CG_OK);
    for (auto& o : out) items.push_back({1, CG_SIGN_GENERIC, 1, {nullptr, 0}, o.data()});
    EXPECT_EQ(d->sign(items).status, CG_E_INVALID);
    items.pop_back();
    EXPECT_EQ(d->sign(items).status, CG_OK);
}

TEST_F(key_file_test, lists_keys_in_pages_with_labels) {
    std::string files;
    std::vector<std::string> expected;
    for (int i = 0; i < 70; ++i) {
        const auto pair = nats::key_pair::generate(i == 3 ? nats::key_type::curve : nats::key_type::account);
        const std::string name = "k" + std::to_string(i);
        write(name, seed(pair));
        files += (i ? ", " : "") + ("\"" + name + "\": \"" + name + "\"");
        expected.push_back(pair.public_text());
    }
    auto d = make(files);
    ASSERT_EQ(d->start().status, CG_OK);
    std::vector<sdk::test::captured_key> keys;
    std::string from;
    do {
        const auto page = d->list_keys({reinterpret_cast<const std::uint8_t*>(from.data()), from.size()});
        ASSERT_EQ(page.status, CG_OK);
        keys.insert(keys.end(), page.keys.begin(), page.keys.end());
        from = page.next;
    } while (!from.empty());
    ASSERT_EQ(keys.size(), 70u);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        EXPECT_EQ(keys[i].label, "k" + std::to_string(i));
        EXPECT_EQ(keys[i].nkey, expected[i]);
        EXPECT_EQ(keys[i].algorithm, i == 3 ? CG_KEY_X25519 : CG_KEY_ED25519);
        EXPECT_EQ(keys[i].flags & CG_KEY_EXTRACTABLE, 0u);
    }
    EXPECT_EQ(d->list_keys(std::vector<std::uint8_t>{1, 2}).status, CG_E_INVALID);
    EXPECT_EQ(d->list_keys(std::vector<std::uint8_t>{255, 255, 255, 255}).status, CG_E_INVALID);
}

TEST_F(key_file_test, shared_key_opens_what_the_peer_sealed) {
    const auto own = nats::key_pair::generate(nats::key_type::curve);
    const auto peer = nats::key_pair::generate(nats::key_type::curve);
    write("x", seed(own));
    write("a", seed(nats::key_pair::generate(nats::key_type::account)));
    auto d = make(R"("x": "x", "a": "a")");
    ASSERT_EQ(d->start().status, CG_OK);
    const auto& peer_bytes = peer.public_part().bytes;
    const auto c = d->export_shared(1, peer_bytes);
    ASSERT_EQ(c.status, CG_OK);
    const auto sealed = peer.seal("hello", own.public_text());
    ASSERT_TRUE(sealed);
    std::vector<std::uint8_t> out(sealed->size());
    const auto n = crypto::open({reinterpret_cast<const std::uint8_t*>(sealed->data()), sealed->size()}, c.shared_key, out.data());
    ASSERT_TRUE(n);
    EXPECT_EQ(std::string(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(*n)), "hello");

    EXPECT_EQ(d->export_shared(2, peer_bytes).status, CG_E_INVALID);
    EXPECT_EQ(d->export_shared(9, peer_bytes).status, CG_E_NOT_FOUND);
    EXPECT_EQ(d->export_shared(1, std::vector<std::uint8_t>(31)).status, CG_E_INVALID);
    EXPECT_EQ(d->export_shared(1, std::vector<std::uint8_t>(32)).status, CG_E_INVALID) << "low order";
}

TEST_F(key_file_test, reads_decorated_seeds) {
    const auto pair = nats::key_pair::generate(nats::key_type::user);
    write("k", "-----BEGIN USER NKEY SEED-----\n" + seed(pair) + "\n------END USER NKEY SEED------\n");
    auto d = make(R"("k": "k")");
    const auto c = d->start();
    ASSERT_EQ(c.status, CG_OK) << c.error;
    EXPECT_EQ(d->list_keys().keys.at(0).nkey, pair.public_text());
}

TEST_F(key_file_test, refuses_files_others_can_read) {
    const auto good = seed(nats::key_pair::generate(nats::key_type::account));
    for (const mode_t mode : {0640, 0604, 0620, 0610, 0602, 0644})
        EXPECT_NE(fault_of(good, mode).find("group or others"), std::string::npos) << std::oct << mode;
    EXPECT_NE(fault_of(good, 0640).find("key \"k\", file " + (dir / "k").string()), std::string::npos);
}

TEST_F(key_file_test, refuses_what_is_no_plain_small_file) {
    const auto good = seed(nats::key_pair::generate(nats::key_type::account));
    write("real", good);
    fs::create_symlink(dir / "real", dir / "link");
    EXPECT_NE(start_fault(R"("k": "link")").find("symbolic link"), std::string::npos);
    fs::create_directory(dir / "folder");
    EXPECT_NE(start_fault(R"("k": "folder")").find("not a regular file"), std::string::npos);
    ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
    EXPECT_NE(start_fault(R"("k": "fifo")").find("not a regular file"), std::string::npos);
    EXPECT_NE(start_fault(R"("k": "absent")").find("cannot open"), std::string::npos);
    EXPECT_NE(fault_of(std::string(64 * 1024 + 1, ' ')).find("64 KiB"), std::string::npos);
    EXPECT_NE(fault_of("").find("empty"), std::string::npos);
    EXPECT_NE(fault_of("\n \n").find("empty"), std::string::npos);
}

TEST_F(key_file_test, owner_must_be_root_or_the_user_itself) {
    struct stat st {};
    st.st_mode = S_IFREG | 0600;
    st.st_uid = 12345;
    EXPECT_NE(key_file::file_fault(st, 1000).find("belongs to user 12345"), std::string::npos);
    EXPECT_NE(key_file::file_fault(st, 0).find("belongs to user 12345"), std::string::npos);
    EXPECT_EQ(key_file::file_fault(st, 12345), "");
    st.st_uid = 0;
    EXPECT_EQ(key_file::file_fault(st, 12345), "");
}

TEST_F(key_file_test, damaged_seed_is_refused_and_never_shown) {
    auto text = seed(nats::key_pair::generate(nats::key_type::account));
    text[30] = text[30] == 'A' ? 'B' : 'A';
    const auto fault = fault_of(text);
    EXPECT_NE(fault.find("no usable seed"), std::string::npos);
    EXPECT_NE(fault_of(text.substr(0, 50)).find("no usable seed"), std::string::npos);
    const auto pub = nats::key_pair::generate(nats::key_type::account).public_text();
    EXPECT_NE(fault_of(pub).find("no usable seed"), std::string::npos);
    for (const auto& l : host.logs()) EXPECT_EQ(l.text().find(text.substr(0, 12)), std::string::npos);
    EXPECT_EQ(fault.find(text.substr(0, 12)), std::string::npos);
}

TEST_F(key_file_test, configuration_faults_name_the_key) {
    const auto fault = [&](const std::string& json) -> std::string {
        try {
            driver d(host, sdk::factory_of<key_file::provider>, json);
        } catch (const std::runtime_error& e) {
            return e.what();
        }
        return "accepted";
    };
    EXPECT_EQ(fault("{}"), "files: this key is missing");
    EXPECT_EQ(fault(R"({"files": {"a": "x"}, "file": 1})"), "file: this key is not known");
    EXPECT_EQ(fault(R"({"files": {"a": 5}})"), "files.a: must be a string");
    EXPECT_EQ(fault(R"({"files": {}})"), "files: must name 1 to 256 files");
}

TEST_F(key_file_test, schema_is_json_and_closed) {
    const auto schema = sdk::config_view::parse(key_file::provider::config_schema);
    EXPECT_FALSE(schema.at("additionalProperties").boolean());
    EXPECT_TRUE(schema.at("$schema").string().find("draft-07") != std::string::npos);
}

}  // namespace
