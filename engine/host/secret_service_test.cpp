// SPDX-License-Identifier: Apache-2.0
#include "engine/host/secret_service.hpp"

#include <cstdlib>
#include <fstream>

#include <boost/json.hpp>

#include "engine/host/services_fixture.hpp"

namespace callgate::host::test {
namespace {

constexpr const char* schema = R"({"type":"object","additionalProperties":false,"properties":{
  "url":{"type":"string"},
  "password":{"type":"string","x-callgate-secret":true},
  "clients":{"type":"array","items":{"$ref":"#/definitions/client"}},
  "tokens":{"type":"object","additionalProperties":{"anyOf":[{"type":"string","x-callgate-secret":true},{"type":"null"}]}}},
  "definitions":{"client":{"type":"object","properties":{"name":{"type":"string"},"key":{"x-callgate-secret":true}}}}})";

class secret_service_test : public ::testing::Test {
  protected:
    std::string folder = [] {
        std::string pattern = (std::filesystem::temp_directory_path() / "callgate-secret-test-XXXXXX").string();
        return std::string(::mkdtemp(pattern.data()));
    }();
    ~secret_service_test() override { std::filesystem::remove_all(folder); }

    void write(const std::string& name, const std::string& text) { std::ofstream(folder + "/" + name, std::ios::trunc | std::ios::binary) << text; }
    static result<crypto::secret> reader(const std::string& path) {
        std::ifstream in(path, std::ios::binary);
        if (!in) return make_error(errc::not_found, "cannot open", path);
        return crypto::secret::copy_of(std::string(std::istreambuf_iterator<char>(in), {}));
    }
    result<sealed_config> seal(const std::string& config, const char* s = schema) { return seal_secrets(s, config, folder, &reader); }
    static std::string value(const secret_vault& v, std::string_view handle) {
        std::uint8_t bytes[256];
        cg_outbuf out{bytes, sizeof bytes, 0};
        return v.read(handle, out) == CG_OK ? std::string(reinterpret_cast<char*>(bytes), out.size) : "unreadable";
    }
};

TEST_F(secret_service_test, marked_properties_become_handles_wherever_they_stand) {
    write("pw", "from file\n");
    write("key", "line\r\n");
    ::setenv("CALLGATE_TEST_SECRET", "from env", 1);
    const auto sealed = seal(R"({"url":"file:pw","password":"file:pw","clients":[{"name":"${X}","key":"file:key"}],
                                "tokens":{"a":"${CALLGATE_TEST_SECRET}","b":null}})");
    ::unsetenv("CALLGATE_TEST_SECRET");
    ASSERT_TRUE(sealed) << sealed.error().message();
    ASSERT_TRUE(sealed->secrets);
    EXPECT_EQ(sealed->secrets->size(), 3u);
    const auto v = boost::json::parse(sealed->config_json);
    EXPECT_EQ(v.at("url").as_string(), "file:pw") << "not marked, not touched";
    EXPECT_EQ(v.at("clients").at(0).at("name").as_string(), "${X}");
    EXPECT_TRUE(v.at("tokens").at("b").is_null());
    EXPECT_EQ(value(*sealed->secrets, v.at("password").as_string()), "from file");
    EXPECT_EQ(value(*sealed->secrets, v.at("clients").at(0).at("key").as_string()), "line");
    EXPECT_EQ(value(*sealed->secrets, v.at("tokens").at("a").as_string()), "from env");
    EXPECT_EQ(sealed->config_json.find("from"), std::string::npos) << sealed->config_json;
}

TEST_F(secret_service_test, schema_without_marks_changes_nothing) {
    const auto sealed = seal(R"({"a": 1})", R"({"type":"object"})");
    ASSERT_TRUE(sealed);
    EXPECT_EQ(sealed->config_json, R"({"a": 1})");
    EXPECT_FALSE(sealed->secrets);
}

TEST_F(secret_service_test, faults_name_the_key_and_never_the_secret) {
    write("empty", "\n");
    const std::pair<const char*, const char*> cases[] = {
        {R"({"password":"hunter2"})", "password: is a secret and does not belong into the configuration; write ${NAME} for a variable of the environment or file:PATH"},
        {R"({"password":"${A}hunter2"})", "password: is a secret and does not belong"},
        {R"({"password":42})", "password: is a secret and must be a text"},
        {R"({"password":"file:missing"})", "password: "},
        {R"({"password":"file:empty"})", "holds an empty secret"},
        {R"({"password":"${CALLGATE_TEST_UNSET}"})", "password: environment variable CALLGATE_TEST_UNSET is not set"},
        {R"({"clients":[{},{"key":"x"}]})", "clients[1].key: is a secret"},
    };
    for (const auto& [config, part] : cases) {
        const auto sealed = seal(config);
        ASSERT_FALSE(sealed) << config;
        EXPECT_NE(sealed.error().message().find(part), std::string::npos) << sealed.error().message();
        EXPECT_EQ(sealed.error().message().find("hunter2"), std::string::npos);
    }
    EXPECT_FALSE(seal("{}", R"({"$ref":"#","x":"x-callgate-secret"})")) << "a schema that refers to itself ends";
}

TEST_F(secret_service_test, plugin_reads_by_handle_and_hears_of_a_change) {
    write("pw", "one");
    const auto sealed = seal(R"({"password":"file:pw"})");
    ASSERT_TRUE(sealed);
    const std::string handle(boost::json::parse(sealed->config_json).at("password").as_string());
    boost::asio::io_context io;
    test_clock clock;
    operation_owner owner{{}, 10};
    services s(control_loop::make(io, 1, clock, [](std::uint32_t) {}), owner, "unit", 0, std::make_shared<shared_services>(), sealed->secrets);
    const auto* api = static_cast<const cg_secrets_api*>(s.host()->query(s.host(), to_c(CG_EXT_SECRETS)));
    ASSERT_NE(api, nullptr);

    std::uint8_t bytes[8] = {};
    cg_outbuf out{bytes, 2, 0};
    EXPECT_EQ(api->read(s.host(), to_c(handle), &out), CG_E_NOSPC);
    EXPECT_EQ(out.size, 3u);
    EXPECT_EQ(bytes[0], 0);
    out.cap = sizeof bytes;
    EXPECT_EQ(api->read(s.host(), to_c(handle), &out), CG_OK);
    EXPECT_EQ(std::string(reinterpret_cast<char*>(bytes), out.size), "one");
    EXPECT_EQ(api->read(s.host(), to_c("callgate-secret:0"), &out), CG_E_NOT_FOUND);
    EXPECT_EQ(api->read(s.host(), to_c(handle), nullptr), CG_E_INVALID);

    std::vector<std::string> changed;
    ASSERT_EQ(api->on_change(s.host(), [](void* p, cg_str h) { static_cast<std::vector<std::string>*>(p)->emplace_back(view(h)); }, &changed), CG_OK);
    s.secrets().reread();
    EXPECT_TRUE(changed.empty());
    write("pw", "two\n");
    s.secrets().reread();
    EXPECT_EQ(changed, std::vector<std::string>{handle});
    EXPECT_EQ(api->read(s.host(), to_c(handle), &out), CG_OK);
    EXPECT_EQ(std::string(reinterpret_cast<char*>(bytes), out.size), "two");

    std::filesystem::remove(folder + "/pw");
    testing::internal::CaptureStderr();
    s.secrets().reread();
    EXPECT_NE(testing::internal::GetCapturedStderr().find("its old value stays in use"), std::string::npos);
    EXPECT_EQ(value(*sealed->secrets, handle), "two");
    write("pw", "three");
    s.close();
    s.secrets().reread();
    EXPECT_EQ(changed.size(), 1u) << "nothing of a stopped plugin is called";
}

TEST_F(secret_service_test, read_by_many_threads_while_it_changes) {
    write("pw", std::string(4000, 'a'));
    const auto sealed = seal(R"({"password":"file:pw"})");
    ASSERT_TRUE(sealed);
    const std::string handle(boost::json::parse(sealed->config_json).at("password").as_string());
    std::atomic<bool> mixed{false};
    std::vector<std::thread> readers;
    for (int t = 0; t < 3; ++t)
        readers.emplace_back([&] {
            std::vector<std::uint8_t> bytes(5000);
            for (int i = 0; i < 300; ++i) {
                cg_outbuf out{bytes.data(), bytes.size(), 0};
                if (sealed->secrets->read(handle, out) != CG_OK || out.size != 4000 || bytes[0] != bytes[3999]) mixed = true;
            }
        });
    for (int i = 0; i < 20; ++i) {
        write("pw", std::string(4000, i % 2 == 0 ? 'b' : 'a'));
        EXPECT_EQ(sealed->secrets->reread().size(), 1u);
    }
    for (auto& t : readers) t.join();
    EXPECT_FALSE(mixed);
}

}  // namespace
}  // namespace callgate::host::test
