// SPDX-License-Identifier: Apache-2.0
#include "plugins/auth_static/users_file.hpp"

#include <callgate/crypto/hash.hpp>
#include <callgate/nats/nkey.hpp>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

namespace {

using namespace callgate;
using namespace callgate::auth_static;
namespace fs = std::filesystem;

const std::string password = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

std::string hex(std::string_view token) {
    std::string out;
    for (const auto b : crypto::sha256(token)) {
        out += "0123456789abcdef"[b >> 4];
        out += "0123456789abcdef"[b & 15];
    }
    return out;
}

std::string fault(const std::string& text) {
    try {
        (void)user_table(parse_users(text, "users.yaml"));
    } catch (const sdk::status_error& e) {
        return e.where() + ": " + e.what();
    }
    return "accepted";
}

TEST(users_file, entries_are_found_by_each_credential) {
    crypto::init();
    const auto nkey = nats::key_pair::generate(nats::key_type::user).public_text();
    const user_table t(parse_users("users:\n  - user: alice\n    password: \"" + password + "\"\n    nkey: [" + nkey + "]\n    token_sha256: [" +
                                       hex("t1") + ", \"" + hex("t2") + "\"]\n  - {user: bob, token_sha256: " + hex("t3") + "}\n",
                                   "users.yaml"));
    const auto alice = t.by_user("alice");
    ASSERT_TRUE(alice);
    EXPECT_EQ(t.by_nkey(nkey), alice);
    EXPECT_EQ(t.by_token("t1"), alice);
    EXPECT_EQ(t.by_token("t2"), alice);
    EXPECT_EQ(t.by_token("t3"), t.by_user("bob"));
    EXPECT_EQ(t.by_token("t4"), nullptr);
    EXPECT_EQ(t.by_token(""), nullptr);
    EXPECT_EQ(t.by_user("Alice"), nullptr);
    EXPECT_TRUE(t.has_passwords());
    EXPECT_TRUE(t.has_tokens());
    EXPECT_TRUE(t.has_nkeys());
    EXPECT_NE(t.unmatchable().text, password);
}

TEST(users_file, unknown_users_cost_what_most_users_cost) {
    std::string text = "users:\n";
    const auto add = [&](const std::string& name, const char* costs) {
        text += "  - {user: " + name + ", password: \"$argon2id$v=19$" + costs + "$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}\n";
    };
    add("a", "m=8,t=1,p=1");
    add("b", "m=16,t=2,p=1");
    add("c", "m=16,t=2,p=1");
    add("d", "m=32,t=1,p=1");
    const user_table t(parse_users(text, "u"));
    EXPECT_EQ(t.unmatchable().memory_kib, 16u);
    EXPECT_EQ(t.unmatchable().passes, 2u);
}

TEST(users_file, attributes_become_json_with_types) {
    const auto users = parse_users("users:\n  - user: a\n    token_sha256: " + hex("t") +
                                       "\n    attributes: {team: blue, n: 5, f: 1.5, neg: -3, yes: true, quoted: \"5\", none: null, l: [a, 'true'], m: {k: v}, date: 2024-01-01}\n",
                                   "u");
    EXPECT_EQ(users.at(0).attributes_json,
              R"({"team":"blue","n":5,"f":1.5E0,"neg":-3,"yes":true,"quoted":"5","none":null,"l":["a","true"],"m":{"k":"v"},"date":"2024-01-01"})");
}

TEST(users_file, faults_name_the_line) {
    const std::string head = "users:\n  - user: alice\n    token_sha256: " + hex("t") + "\n";
    EXPECT_TRUE(fault(head + "    colour: red\n").starts_with("users.yaml:4: unknown key \"colour\"")) << fault(head + "    colour: red\n");
    EXPECT_TRUE(fault(head + "    user: bob\n").starts_with("users.yaml:4: key \"user\" stands there twice"));
    EXPECT_TRUE(fault(head + "    password: secret\n").starts_with("users.yaml:4: password: not a password hash"));
    EXPECT_TRUE(fault(head + "    nkey: UABC\n").starts_with("users.yaml:4: nkey must be"));
    EXPECT_TRUE(fault(head + "    token_sha256x: 1\n").starts_with("users.yaml:4: "));
    EXPECT_TRUE(fault(head + "    attributes: [1]\n").starts_with("users.yaml:4: attributes must be a map"));
    EXPECT_TRUE(fault(head + "    attributes: {a: 1, a: 2}\n").starts_with("users.yaml:4: key \"a\" stands there twice"));
    EXPECT_TRUE(fault(head + "  - user: alice\n    token_sha256: " + hex("u") + "\n").starts_with("users.yaml:4: user name alice stands there twice"));
    EXPECT_TRUE(fault(head + "  - user: bob\n    token_sha256: " + hex("t") + "\n").starts_with("users.yaml:4: token of user \"bob\" stands there twice"));
    EXPECT_TRUE(fault(head + "  - user: bob\n").starts_with("users.yaml:4: user \"bob\" has no credential"));
    EXPECT_TRUE(fault(head + "  - token_sha256: " + hex("u") + "\n").starts_with("users.yaml:4: the key user is missing"));
    EXPECT_TRUE(fault(head + "extra: 1\n").starts_with("users.yaml:4: unknown key \"extra\""));
    EXPECT_TRUE(fault(head + "users: []\n").starts_with("users.yaml:4: key \"users\" stands there twice"));
    EXPECT_TRUE(fault(head + "    broken: [\n").starts_with("users.yaml:5: not valid YAML")) << fault(head + "    broken: [\n");
    EXPECT_TRUE(fault(head + "---\nusers: []\n").starts_with("users.yaml: the users file must hold exactly one"));
    // A forgotten quote makes the hash a part of the key.
    for (const std::string before : {"users:\n  - user: a\n    'password: ", "'users: "}) {
        const auto text = fault(before + password + "':\n");
        EXPECT_NE(text.find("unknown key"), std::string::npos) << text;
        EXPECT_EQ(text.find("argon2id"), std::string::npos) << text;
    }
    EXPECT_NE(fault("users:\n  - user: a" + password + "\n").find("user \"a...\" has no credential"), std::string::npos);
    // yaml-cpp finds documents in it for ever.
    EXPECT_TRUE(fault(",a:\n  ").starts_with("users.yaml: the users file must hold exactly one"));
}

TEST(users_file, refuses_hostile_shapes) {
    EXPECT_NE(fault(""), "accepted");
    EXPECT_NE(fault("[]"), "accepted");
    EXPECT_NE(fault("{}"), "accepted");
    EXPECT_NE(fault("users: 5"), "accepted");
    EXPECT_NE(fault("users: [5]"), "accepted");
    EXPECT_NE(fault(std::string(100'000, '[')), "accepted");
    EXPECT_NE(fault(std::string(100'000, '{')), "accepted");
    // Nine levels of ten aliases each: a billion values in a small file.
    std::string bomb = "users:\n  - user: a\n    token_sha256: " + hex("t") + "\n    attributes:\n      a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 9; ++i) {
        bomb += "      a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int k = 0; k < 10; ++k) bomb += (k ? ", *a" : "*a") + std::to_string(i - 1);
        bomb += "]\n";
    }
    EXPECT_NE(fault(bomb).find("more than 16 levels or 4096 values"), std::string::npos);
    EXPECT_NE(fault("users:\n  - user: a\n    token_sha256: " + hex("t") + "\n    attributes: &x {self: *x}\n"), "accepted");
    EXPECT_NE(fault("users:\n  - user: \"a\\x01b\"\n    token_sha256: " + hex("t") + "\n"), "accepted");
    EXPECT_NE(fault("users:\n  - user: \"\xff\xfe\"\n    token_sha256: " + hex("t") + "\n"), "accepted");
    EXPECT_EQ(fault("users:\n  - user: a\n    password: \"" + password + "x\"\n    password: \"" + password + "\"\n").find(password), std::string::npos);
}

TEST(users_file, mode_and_owner_are_checked) {
    struct stat st {};
    st.st_mode = S_IFREG | 0640;
    st.st_uid = 1000;
    EXPECT_EQ(file_fault(st, 1000), "");
    EXPECT_NE(file_fault(st, 1001), "");
    st.st_mode = S_IFREG | 0602;
    EXPECT_NE(file_fault(st, 1000).find("everybody can write"), std::string::npos);
    st.st_mode = S_IFDIR | 0600;
    EXPECT_NE(file_fault(st, 1000), "");
    st.st_mode = S_IFREG | 0600;
    st.st_size = 17 * 1024 * 1024;
    EXPECT_NE(file_fault(st, 1000).find("16 MiB"), std::string::npos);
}

TEST(users_file, readable_by_the_group_is_a_warning) {
    std::string name = (fs::temp_directory_path() / "callgate_users_XXXXXX").string();
    const int fd = ::mkstemp(name.data());
    ASSERT_GE(fd, 0);
    ::close(fd);
    std::ofstream(name) << "users: []\n";
    EXPECT_EQ(load_users(name).warning, "");
    fs::permissions(name, fs::perms{0640});
    EXPECT_NE(load_users(name).warning.find("0600"), std::string::npos);
    fs::permissions(name, fs::perms{0602});
    EXPECT_THROW((void)load_users(name), sdk::status_error);
    fs::remove(name);
    EXPECT_THROW((void)load_users(name), sdk::status_error);
}

}  // namespace
