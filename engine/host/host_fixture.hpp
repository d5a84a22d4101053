// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "engine/host/plugin_host.hpp"

namespace callgate::host::test {

/// Stands still until a test moves it; safe to read from plugin threads.
class test_clock final : public clock_source {
  public:
    std::atomic<std::int64_t> mono{1'000'000'000'000};
    [[nodiscard]] std::int64_t mono_ns() const noexcept override { return mono; }
    [[nodiscard]] std::int64_t wall_s() const noexcept override { return 1'800'000'000; }
};

inline constexpr std::int64_t second_ns = 1'000'000'000;

/// A folder of one test, with the test plugins it asks for; nobody else can write there.
class plugin_folder {
  public:
    plugin_folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "callgate-host-test-XXXXXX").string();
        path_ = ::mkdtemp(pattern.data());
    }
    ~plugin_folder() { std::filesystem::remove_all(path_); }
    plugin_folder(const plugin_folder&) = delete;
    plugin_folder& operator=(const plugin_folder&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::string file(const std::string& plugin) const { return path_ + "/callgate_" + plugin + ".so"; }
    /// Copies a test plugin here, under another name if given.
    void add(const std::string& plugin, const std::string& as = {}) {
        namespace fs = std::filesystem;
        const auto to = file(as.empty() ? plugin : as);
        fs::remove(to);
        fs::copy_file(std::string(TEST_PLUGIN_DIR) + "/callgate_" + plugin + ".so", to);
        fs::permissions(to, fs::perms(0755));
    }

  private:
    std::string path_;
};

/// Request memory as the flow makes it; counts itself, so that a test sees how long it is held.
struct pinned_request final : flow::pinned {
    explicit pinned_request(std::string token_) : token(std::move(token_)) {
        request.struct_size = sizeof request;
        request.auth_token = {token.data(), token.size()};
        ++alive;
    }
    ~pinned_request() override { --alive; }
    std::string token;
    cg_auth_request request{};
    static inline std::atomic<int> alive{0};
};

class recording_sink final : public flow::completion_sink {
  public:
    std::map<flow::request_tag, flow::auth_result> results;
    std::vector<std::unique_ptr<flow::sign_job>> jobs;
    std::vector<result<crypto::secret>> shared;
    int answers = 0;

    void on_auth(flow::request_tag tag, flow::auth_result&& r) override {
        ++answers;
        EXPECT_TRUE(results.emplace(tag, std::move(r)).second) << "two answers for one request";
    }
    void on_signed(std::unique_ptr<flow::sign_job> job) override { jobs.push_back(std::move(job)); }
    void on_stored(flow::request_tag tag, flow::stored_result&& r) override {
        EXPECT_TRUE(stored.emplace(tag, std::move(r)).second) << "two answers for one lookup";
    }
    std::map<flow::request_tag, flow::stored_result> stored;
    void on_shared(flow::request_tag, result<crypto::secret> s) override { shared.push_back(std::move(s)); }
};

/// One thread is control and shard 0 at once; other threads are those of the plugins.
class host_test : public ::testing::Test {
  protected:
    boost::asio::io_context io;
    test_clock clock;
    plugin_folder folder;
    recording_sink sink;
    std::unique_ptr<plugin_host> host = make_host();

    std::unique_ptr<plugin_host> make_host() {
        plugin_host::options o;
        o.shards = 1;
        o.libraries.directories = {folder.path()};
        o.libraries.probe.command = {TEST_PROBE, "plugin-probe"};
        o.wake = [this](std::uint32_t shard) { boost::asio::post(io, [this, shard] { host->drain(shard); }); };
        return std::make_unique<plugin_host>(io, clock, std::move(o));
    }

    bool run_until(const std::function<bool()>& done) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!done()) {
            if (std::chrono::steady_clock::now() > end) return false;
            io.restart();
            io.run_one_for(std::chrono::milliseconds(200));
        }
        return true;
    }
    /// The outcome of an asynchronous life cycle call.
    result<void> await(const std::function<void(instance::done)>& call) {
        std::optional<result<void>> r;
        call([&](result<void> got) { r = std::move(got); });
        if (!run_until([&] { return r.has_value(); })) return make_error(errc::internal, "no answer in the test's time");
        return *r;
    }
    std::shared_ptr<instance> made(std::uint32_t kind, const std::string& plugin, instance_options o = {}) {
        folder.add(plugin);
        o.plugin = plugin;
        if (o.name.empty()) o.name = "under_test";
        auto i = host->make_instance(kind, std::move(o));
        if (!i) {
            ADD_FAILURE() << i.error().message();
            return nullptr;
        }
        return *i;
    }
    std::shared_ptr<instance> started(std::uint32_t kind, const std::string& plugin, instance_options o = {}) {
        auto i = made(kind, plugin, std::move(o));
        if (!i) return nullptr;
        const auto r = await([&](auto then) { i->start(5 * second_ns, then); });
        EXPECT_TRUE(r) << (r ? "" : r.error().message());
        EXPECT_TRUE(i->attach(0));
        return i;
    }
    result<void> retire(const std::shared_ptr<instance>& i) {
        return await([&](auto then) {
            host->retire(i, 5 * second_ns, [this](std::uint32_t, std::function<void()> f) { boost::asio::post(io, std::move(f)); }, then);
        });
    }
    void ask(instance& i, const std::string& token, flow::request_tag tag, std::int64_t time_ns = second_ns) {
        boost::intrusive_ptr<const pinned_request> memory(new pinned_request(token));
        i.auth()->authenticate(0, memory->request, memory, clock.mono + time_ns, tag, sink);
    }
    /// Asks and waits for the answer.
    flow::auth_result answer(instance& i, const std::string& token) {
        static flow::request_tag next = 1000;
        const auto tag = ++next;
        ask(i, token, tag);
        EXPECT_TRUE(run_until([&] { return sink.results.count(tag) == 1; })) << token;
        return sink.results[tag];
    }
};

}  // namespace callgate::host::test
