// SPDX-License-Identifier: Apache-2.0
// Parts of the harness that the zoo does not reach: its vectors, its files, what hostile files do to it.
#include <callgate/crypto/ed25519.hpp>
#include <callgate/crypto/secret.hpp>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <random>
#include <set>

#include "sdk/check/config_files.hpp"
#include "sdk/check/elf_file.hpp"
#include "sdk/check/recorder.hpp"
#include "sdk/check/registry.hpp"
#include "sdk/check/rfc8032.hpp"
#include "sdk/check/runner.hpp"

namespace callgate::check {
namespace {

class file {
  public:
    explicit file(const std::string& text) {
        char name[] = "/tmp/callgate-check-test-XXXXXX";
        ::close(::mkstemp(name));
        path = name;
        std::ofstream(path, std::ios::binary) << text;
    }
    ~file() { ::unlink(path.c_str()); }
    file(const file&) = delete;
    file& operator=(const file&) = delete;
    std::string path;
};

TEST(rfc8032, vectors_are_what_libsodium_makes_of_their_seeds) {
    crypto::init();
    ASSERT_EQ(rfc8032_vectors().size(), 4u);
    for (const auto& v : rfc8032_vectors()) {
        const auto key = crypto::signing_key::from_seed(v.seed);
        EXPECT_EQ(key.public_key(), v.public_key) << v.name;
        std::array<std::uint8_t, 64> signature{};
        key.sign({reinterpret_cast<const std::uint8_t*>(v.message.data()), v.message.size()}, signature);
        EXPECT_EQ(signature, v.signature) << v.name;
    }
}

TEST(registry, names_are_unique_and_have_a_group) {
    std::set<std::string> names;
    for (const auto& c : all_checks()) {
        EXPECT_TRUE(names.insert(c.name).second) << c.name;
        EXPECT_NE(c.name.find('.'), std::string::npos) << c.name;
        EXPECT_FALSE(c.summary.empty()) << c.name;
    }
}

TEST(recorder, what_was_written_is_read_back) {
    const int fd = ::memfd_create("record", 0);
    recorder::open(fd);
    recorder::violated("a.b", "line\none\\two\tthree");
    recorder::blocked("c.d", "why");
    recorder::write_raw('C', "SIGSEGV in start()", "");
    const auto r = recorder::read(fd);
    ASSERT_EQ(r.violations.size(), 1u);
    EXPECT_EQ(r.violations[0].check, "a.b");
    EXPECT_EQ(r.violations[0].text, "line\none\\two three");
    EXPECT_EQ(r.blocked_by, "c.d");
    EXPECT_EQ(r.crash, "SIGSEGV in start()");
    EXPECT_FALSE(r.ended);
    recorder::ended();
    EXPECT_TRUE(recorder::read(fd).ended);
    ::close(fd);
}

TEST(elf_file, damaged_files_are_errors_and_nothing_worse) {
    const auto whole = read_elf("/proc/self/exe").bytes;
    EXPECT_THROW((void)read_elf("/dev/null"), std::runtime_error);
    std::mt19937_64 random(7);
    for (int n = 0; n < 60; ++n) {
        // The head and the tables are what is read: damage there.
        auto bytes = whole.substr(0, n % 2 == 0 ? whole.size() : random() % whole.size());
        for (int k = 0; k < 8 && !bytes.empty(); ++k) bytes[random() % std::min<std::size_t>(bytes.size(), 1024)] = static_cast<char>(random());
        try {
            (void)parse_elf(std::move(bytes));
        } catch (const std::runtime_error&) {
        }
    }
}

TEST(config_files, a_fragment_gives_its_instance_s_config_with_types_kept) {
    const file f("backends:\n  sso:\n    plugin: auth_x\n    config: {a: 1, b: \"1\", c: true, d: [x, 2.5], e: }\n");
    settings s;
    add_good(s, f.path);
    ASSERT_EQ(s.good.size(), 1u);
    EXPECT_EQ(s.good[0].json, R"({"a":1,"b":"1","c":true,"d":["x",2.5E0],"e":null})");
    EXPECT_EQ(s.good[0].base_dir, "/tmp");
}

std::string error_of(void (*add)(settings&, const std::string&), const std::string& text) {
    const file f(text);
    settings s;
    try {
        add(s, f.path);
    } catch (const std::runtime_error& e) {
        return std::string(e.what()).substr(f.path.size());
    }
    return "accepted";
}

TEST(config_files, mistakes_name_file_and_line) {
    EXPECT_EQ(error_of(add_good, "a: 1\na: 2\n"), ":2: the key a stands twice");
    EXPECT_EQ(error_of(add_good, "- 1\n"), ":1: a configuration must be a map");
    EXPECT_EQ(error_of(add_bad, "- {key: a}\n"), ":1: needs key (which the error must name) and config");
    EXPECT_EQ(error_of(add_bad, "- {key: a, config: {}, confg: {}}\n"), ":1: unknown key \"confg\"");
    EXPECT_EQ(error_of(add_cases, "- {name: x, verdict: maybe}\n"), ":1: must be one of allow, deny, abstain, unavailable");
    EXPECT_EQ(error_of(add_cases, "- {name: x, verdict: deny, request: {passwd: y}}\n"), ":1: cg_auth_request has no text field \"passwd\"");
}

TEST(report, junit_survives_what_plugins_print) {
    check_result r;
    r.name = "a.b";
    r.status = check_status::failed;
    r.texts = {"<&\"\x01\xff>"};
    settings s;
    s.plugin = "x.so";
    EXPECT_NE(to_junit(s, {r}).find("message=\"&lt;&amp;&quot;??&gt;\""), std::string::npos);
}

}  // namespace
}  // namespace callgate::check
