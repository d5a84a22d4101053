// SPDX-License-Identifier: Apache-2.0
// What the life of a request takes from the heap when backend and signer complete inside their calls.
#include <gtest/gtest.h>
#include <sodium.h>

#include "engine/flow/allocation_counter.hpp"
#include "engine/flow/flow_test_world.hpp"

namespace callgate::flow {
namespace {

// Ports that take nothing from the heap themselves: whatever is counted is the engine's.
struct still_links final : reply_port {
    std::size_t sent = 0;
    bool send_reply(std::uint32_t, bool, std::string_view, std::span<const std::uint8_t>) override {
        ++sent;
        return true;
    }
    bool leads_to(std::uint32_t, std::string_view) const override { return true; }
    void kick(std::uint32_t, std::string_view, std::uint64_t) override {}
    bool can_kick(std::uint32_t) const override { return true; }
    bool is_pinned(std::uint32_t, std::string_view) const override { return true; }
};

struct still_audit final : audit_port {
    std::size_t records = 0;
    bool record(audit_record&&) override {
        ++records;
        return true;
    }
    bool fail_closed() const override { return false; }
};

struct still_backend final : auth_port {
    std::string_view name() const override { return "b1"; }
    void authenticate(std::uint32_t, const cg_auth_request&, pinned_ptr, std::int64_t, request_tag tag, completion_sink& sink) override {
        auth_result r;
        r.verdict = CG_VERDICT_ALLOW;
        r.reason_id = "ok";
        r.who.emplace();
        r.who->subject = "alice";
        sink.on_auth(tag, std::move(r));
    }
};

struct still_keys final : key_port {
    const nats::key_pair pair = nats::key_pair::generate(nats::key_type::account);
    unsigned char secret[crypto_sign_SECRETKEYBYTES];
    still_keys() {
        unsigned char ignored[crypto_sign_PUBLICKEYBYTES];
        crypto_sign_seed_keypair(ignored, secret, pair.raw_seed().data());
    }
    std::string_view name() const override { return "k1"; }
    std::uint32_t max_batch() const override { return 8; }
    std::uint32_t max_in_flight() const override { return 1; }
    void sign(std::uint32_t, std::unique_ptr<sign_job> job, std::int64_t, completion_sink& sink) override {
        job->status = CG_OK;
        for (auto& i : job->items) {
            crypto_sign_detached(i.signature, nullptr, i.message.data(), i.message.size(), secret);
            i.status = CG_OK;
        }
        sink.on_signed(std::move(job));
    }
    void export_shared(std::uint32_t, cg_key, const crypto::key_bytes&, std::int64_t, request_tag, completion_sink&) override {}
};

// decide() gives back owned strings by contract; these fit into the string itself.
struct still_policy final : policy::compiled {
    policy::route main;
    still_policy() {
        main.name = "main";
        main.credentials = {policy::credential_source::auth_token};
        main.chain = {{"b1", false}};
    }
    const policy::route* find_route(const policy::connection&) const override { return &main; }
    policy::decision decide(const policy::connection&, const policy::identity&, std::int64_t now, double) const override {
        policy::decision d;
        d.allow = true;
        d.reason_id = "ok";
        d.rule = "r1";
        d.grant.account = "APP";
        d.grant.name = "alice";
        d.grant.exp = now + 3600;
        return d;
    }
    policy::decision admit(const policy::connection&, const policy::identity&, const policy::backend_grant&, std::int64_t, double) const override {
        return {};
    }
    const std::vector<std::string>& backends() const override { return none_; }
    std::vector<std::string> none_;
};

class allocation : public ::testing::Test {
  protected:
    static constexpr int warm_up = 40, measured = 40;

    allocation() {
        auto c = std::make_shared<flow_config>();
        c->issuer.key = 1;
        c->issuer.nkey = keys->pair.public_text();
        c->issuer.public_bytes = keys->pair.public_part().bytes;
        c->request_subject_key = c->issuer.nkey;
        c->leeway_ns = 30'000'000'000;
        c->safety_ns = 150'000'000;
        c->callout_account = "AUTH";
        c->accounts["APP"] = {"APP", c->issuer, false, {}};
        c->policy = std::make_shared<still_policy>();
        c->backends = {std::make_shared<still_backend>()};
        c->providers = {keys};
        shard->use(c);
        request_subject_ = c->request_subject_key;
        // Each stripe takes its tables with its first keys; a few requests would not reach every one.
        for (int i = 0; i < 4000; ++i) (void)replays->insert("key" + std::to_string(i), clock.mono, clock.mono + 1'000'000'000'000);
    }

    // Allocations of `measured` requests, one after the other.
    std::size_t cost() {
        const auto sent_before = links.sent;
        std::size_t sum = 0;
        for (int i = 0; i < warm_up + measured; ++i) {
            auto message = testing::make_message(nats::encode(server.claims(request_subject_, clock.wall), server.id, clock.wall).value(),
                                                 server.reply_subject(), clock.mono);
            const testing::allocation_counter counter;
            shard->offer(std::move(message));
            while (shard->run()) {}
            if (i >= warm_up) sum += counter.count();
        }
        EXPECT_EQ(links.sent - sent_before, std::size_t{warm_up + measured}) << "the path that is measured is not the one that answers";
        return sum;
    }

    manual_clock clock;
    still_links links;
    still_audit audit;
    observe::shard_metrics metrics;
    std::shared_ptr<still_keys> keys = std::make_shared<still_keys>();
    testing::test_server server;
    std::shared_ptr<replay_set> replays = std::make_shared<replay_set>();
    std::unique_ptr<shard_engine> shard = shard_engine::make(0, clock, links, audit, metrics, replays);
    std::string request_subject_;
};

TEST_F(allocation, the_counter_counts) {
    const testing::allocation_counter counter;
    const auto one = std::make_unique<std::string>(100, 'x');
    EXPECT_EQ(counter.count(), 2u) << *one;
}

// One block for the request's memory object (its arena's blocks are pooled), four for strings of its audit record, which
// belong to the sink: correlation id, server id, user nkey, permissions hash.
TEST_F(allocation, a_request_answered_in_place_takes_its_memory_object_and_its_audit_record_from_the_heap) {
    EXPECT_EQ(cost(), std::size_t{measured} * (1 + 4));
}

}  // namespace
}  // namespace callgate::flow
