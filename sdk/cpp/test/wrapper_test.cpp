// SPDX-License-Identifier: Apache-2.0
#include <callgate/sdk/auth_backend.hpp>
#include <callgate/sdk/key_provider.hpp>
#include <callgate/sdk/testing/driver.hpp>
#include <gtest/gtest.h>
#include <thread>

namespace {

using namespace callgate::sdk;
using namespace std::chrono_literals;
using test::driver;
using test::fake_host;
using test::result_kind;
using test::test_request;

class sample : public auth_backend {
  public:
    static constexpr std::string_view type = "sample", summary = "s", config_schema = "{}";
    static std::unique_ptr<auth_backend> create(host_ref host, const create_args& args) {
        if (args.config_json == "throw") throw status_error(CG_E_INVALID, "must be something else", "users[3]");
        if (args.config_json == "odd") throw 42;
        return std::make_unique<sample>(host);
    }
    explicit sample(host_ref h) : auth_backend(h), cell_(h), timer_(h) {}

    void authenticate(shard_state*, op_handle&& op, const request_view& r) override {
        if (r.user() == "throw") throw status_error(CG_E_UNAVAILABLE, "no table", "users.yaml:3");
        if (r.user() == "odd") throw 42;
        if (r.user() == "drop") {
            const op_handle gone = std::move(op);
            return;
        }
        if (r.user() == "thread") {
            std::thread([h = std::move(op)]() mutable { reply_builder{}.deny("late").send(h); }).join();
            return;
        }
        if (r.user() == "earlier") {
            reply_builder b;
            b.allow(b.keep(std::string(view(r.earlier(1).subject)))).send(op);
            return;
        }
        if (r.user() == "twice") {
            reply_builder{}.deny("first").send(op);
            reply_builder{}.deny("second").send(op);
            return;
        }
        reply_builder b;
        b.allow("alice").issuer("i").attributes_json("{}").credential_exp(7).credential_id("id").revocation_handle("h1");
        b.grant_account("APP").pub_allow("a.>").sub_deny("x").cache_for(5).explain("step", "ok");
        for (int i = 0; i < 40; ++i) b.explain("more", "ok");
        b.send(op);
    }
    void start(op_handle&& op) override {
        timer_.arm(5s, [this, h = std::make_shared<op_handle>(std::move(op))] {
            cell_.publish(std::make_unique<const std::string>("table"));
            h->succeed();
        });
    }
    void stop(op_handle&& op) override { op.fail(CG_E_BUSY, "still busy"); }
    health current_health() override { return {CG_HEALTH_DEGRADED, *cell_.read()}; }

  private:
    snapshot_cell<std::string> cell_;
    one_shot_timer timer_;
};

struct wrapper : ::testing::Test {
    fake_host host;
    driver plugin{host, factory_of<sample>, "{}"};
    test_request request;

    void SetUp() override {
        const cg_op op = plugin.start_op();
        EXPECT_FALSE(host.done(op));
        host.advance(4999ms);
        EXPECT_FALSE(host.done(op));
        host.advance(1ms);
        ASSERT_EQ(host.take(op).value().status, CG_OK);
        plugin.attach();
    }
    test::completion ask(const char* user) {
        request.user = user;
        return plugin.authenticate(request);
    }
};

TEST_F(wrapper, reply_arrives_whole) {
    const auto r = ask("alice");
    EXPECT_EQ(r.verdict, CG_VERDICT_ALLOW);
    EXPECT_EQ(r.subject, "alice");
    EXPECT_EQ(r.issuer, "i");
    EXPECT_EQ(r.credential_exp, 7);
    EXPECT_EQ(r.revocation_handles, std::vector<std::string>{"h1"});
    ASSERT_TRUE(r.has_grant);
    EXPECT_EQ(r.grant.account, "APP");
    EXPECT_EQ(r.grant.pub_allow, std::vector<std::string>{"a.>"});
    EXPECT_EQ(r.grant.sub_deny, std::vector<std::string>{"x"});
    EXPECT_EQ(r.cache_ttl_s, 5u);
    EXPECT_EQ(r.explain.size(), 16u);
}

TEST_F(wrapper, exception_becomes_the_error_of_its_operation) {
    const auto r = ask("throw");
    EXPECT_EQ(r.status, CG_E_UNAVAILABLE);
    EXPECT_EQ(r.error, "no table");
    EXPECT_EQ(r.where, "users.yaml:3");
    EXPECT_EQ(ask("odd").status, CG_E_INTERNAL);
}

TEST_F(wrapper, dropped_handle_answers_abandoned) { EXPECT_EQ(ask("drop").status, CG_E_ABANDONED); }

TEST_F(wrapper, handle_answers_once) {
    EXPECT_EQ(ask("twice").reason_id, "first");
    EXPECT_EQ(host.faults(), 0);
}

TEST_F(wrapper, answer_may_come_from_another_thread) { EXPECT_EQ(ask("thread").reason_id, "late"); }

TEST_F(wrapper, health_and_stop_reach_the_object) {
    EXPECT_EQ(plugin.health().health_text, "table");
    EXPECT_EQ(plugin.stop().error, "still busy");
}

TEST_F(wrapper, strided_and_shorter_identities_of_a_chain_are_read) {
    struct wide {
        cg_identity i;
        char newer[24];
    };
    wide chain[2]{};
    for (auto& w : chain) w.i = make<cg_identity>();
    chain[1].i.subject = to_c("bob");
    request.user = "earlier";
    request.fill(host);
    auto c = request.c;
    c.earlier = &chain[0].i;
    c.earlier_stride = sizeof(wide);
    c.earlier_count = 2;
    const cg_op op = host.begin(result_kind::auth_reply);
    static_cast<const cg_auth_backend_api*>(plugin.get()->api)->authenticate(plugin.get(), nullptr, op, &c);
    EXPECT_EQ(host.wait(op).value().subject, "bob");
}

TEST(create, failure_names_the_key) {
    fake_host host;
    try {
        driver d(host, factory_of<sample>, "throw");
        FAIL();
    } catch (const std::runtime_error& e) {
        EXPECT_STREQ(e.what(), "users[3]: must be something else");
    }
    EXPECT_THROW(driver(host, factory_of<sample>, "odd"), std::runtime_error);
}

TEST(create, missing_capability_is_named) {
    fake_host host;
    host.withhold(CG_EXT_TIMER);
    try {
        driver d(host, factory_of<sample>, "{}");
        FAIL();
    } catch (const std::runtime_error& e) {
        EXPECT_NE(std::string(e.what()).find(CG_EXT_TIMER), std::string::npos);
    }
    EXPECT_EQ(host.live_cells(), 0);
}

TEST(copy_in, shorter_struct_reads_as_absent_and_longer_is_cut) {
    auto r = make<cg_auth_request>();
    r.user = to_c("alice");
    r.claims_json = to_c("{}");
    r.struct_size = offsetof(cg_auth_request, user);
    EXPECT_EQ(request_view(&r).user(), "");
    r.struct_size = sizeof r + 4096;  // as a newer host says
    EXPECT_EQ(request_view(&r).user(), "alice");
    EXPECT_EQ(request_view(&r).raw().struct_size, sizeof r);
    EXPECT_EQ(request_view(nullptr).user(), "");
}

TEST(http, answer_comes_once_and_reads_back) {
    fake_host host;
    host.on_http("https://a/", [](const test::fake_request& r) {
        return test::fake_response{.body = r.method + r.header("accept"), .headers = {{"ETag", "e1"}}};
    });
    int calls = 0;
    std::string seen;
    start_http(host_ref{host.get()}, {.url = "https://a/", .headers = {{"accept", "x"}}}, [&](const http_response_view& r) {
        ++calls;
        seen = std::string(r.body()) + " " + std::string(r.header("etag"));
    });
    EXPECT_EQ(calls, 0);
    host.run();
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(seen, "GETx e1");
}

TEST(sign_batch, unreadable_stride_is_not_valid) {
    cg_sign_item item{};
    cg_sign_batch b{sizeof(cg_sign_batch), 4, &item, 1};
    EXPECT_FALSE(sign_batch_view{&b}.valid());
    b.stride = sizeof item;
    EXPECT_TRUE(sign_batch_view{&b}.valid());
    EXPECT_EQ(sign_batch_view{&b}.size(), 1u);
}

TEST(op_handle, scratch_is_bounded_and_zeroed) {
    fake_host host;
    op_handle op{host.get(), host.begin(result_kind::none)};
    auto* p = static_cast<unsigned char*>(op.scratch(1000, 64));
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % 64, 0u);
    EXPECT_EQ(p[999], 0);
    EXPECT_EQ(op.scratch(65536), nullptr);
    op.succeed();
    EXPECT_EQ(op.scratch(8), nullptr);
}

}  // namespace
