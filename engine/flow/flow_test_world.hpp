// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/crypto/box.hpp>
#include <callgate/nats/jwt.hpp>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/flow/replay_set.hpp"
#include "engine/flow/shard_engine.hpp"

/// Everything around a shard_engine, in memory and under the test's control: servers that ask, backends, key
/// providers, a policy, links and the audit sink. For tests and the fuzz target only.
namespace callgate::flow::testing {

inline std::string as_text(std::span<const std::uint8_t> b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }
inline std::span<const std::uint8_t> as_bytes(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

struct test_links final : reply_port {
    struct sent {
        std::uint32_t link;
        bool cold;
        std::string subject, payload;
    };
    struct kicked {
        std::uint32_t link;
        std::string server_id;
        std::uint64_t cid;
    };
    std::vector<sent> replies;
    std::vector<kicked> kicks;
    bool can_send = true, system_link = true, all_pinned = false, all_near = true;

    bool send_reply(std::uint32_t link, bool cold, std::string_view subject, std::span<const std::uint8_t> payload) override {
        if (can_send) replies.push_back({link, cold, std::string(subject), as_text(payload)});
        return can_send;
    }
    void kick(std::uint32_t link, std::string_view id, std::uint64_t cid) override { kicks.push_back({link, std::string(id), cid}); }
    bool leads_to(std::uint32_t, std::string_view) const override { return all_near; }
    bool can_kick(std::uint32_t) const override { return system_link; }
    bool is_pinned(std::uint32_t, std::string_view) const override { return all_pinned; }
};

struct test_audit final : audit_port {
    std::vector<audit_record> records;
    bool room = true, closed = false;
    bool record(audit_record&& r) override {
        if (room) records.push_back(std::move(r));
        return room;
    }
    bool fail_closed() const override { return closed; }
};

inline auth_result verdict(std::uint32_t v, std::string reason = "") {
    auth_result r;
    r.verdict = v;
    r.reason_id = std::move(reason);
    return r;
}
inline auth_result allow(std::string subject) {
    auth_result r = verdict(CG_VERDICT_ALLOW, "ok");
    r.who = policy::identity{};
    r.who->subject = std::move(subject);
    r.who->issuer = "test";
    return r;
}

/// Answers at once by `answer`, or keeps the operation until complete() when `answer` is empty.
struct test_backend final : auth_port {
    struct call {
        const cg_auth_request* request;
        pinned_ptr memory;
        request_tag tag;
        completion_sink* sink;
        std::int64_t deadline_ns;
    };
    explicit test_backend(std::string n) : name_(std::move(n)) {}
    std::string_view name() const override { return name_; }
    void authenticate(std::uint32_t, const cg_auth_request& q, pinned_ptr memory, std::int64_t deadline_ns, request_tag tag,
                      completion_sink& sink) override {
        ++calls;
        if (answer) return sink.on_auth(tag, answer(q));
        open.push_back({&q, std::move(memory), tag, &sink, deadline_ns});
    }
    void complete(std::size_t i, auth_result r) {
        auto c = open.at(i);
        open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
        c.sink->on_auth(c.tag, std::move(r));
    }
    std::string name_;
    std::function<auth_result(const cg_auth_request&)> answer;
    std::vector<call> open;
    std::size_t calls = 0;
};

/// Documents by key; with `hold` lookups wait for complete().
struct test_store final : store_port {
    explicit test_store(std::string n) : name_(std::move(n)) {}
    std::string_view name() const override { return name_; }
    void get(std::uint32_t, std::string_view key, std::int64_t deadline_ns, request_tag tag, completion_sink& sink) override {
        last_key = key;
        last_deadline_ns = deadline_ns;
        ++calls;
        if (hold) return open.push_back({tag, &sink});
        sink.on_stored(tag, answer(last_key));
    }
    stored_result answer(const std::string& key) const {
        if (down) return {stored_result::state::unavailable, nullptr, 0, "store is down"};
        const auto i = documents.find(key);
        if (i == documents.end()) return {stored_result::state::missing, nullptr, 0, ""};
        return {stored_result::state::found, std::make_shared<const std::string>(i->second), 1, ""};
    }
    std::string name_, last_key;
    std::map<std::string, std::string> documents;
    bool hold = false, down = false;
    std::vector<std::pair<request_tag, completion_sink*>> open;
    std::int64_t last_deadline_ns = 0;
    std::size_t calls = 0;
};

/// Real keys. Inline by default; with `hold` jobs wait for complete().
struct test_keys final : key_port {
    explicit test_keys(std::string n) : name_(std::move(n)) {}
    std::string_view name() const override { return name_; }
    std::uint32_t max_batch() const override { return batch; }
    std::uint32_t max_in_flight() const override { return in_flight; }
    void sign(std::uint32_t, std::unique_ptr<sign_job> job, std::int64_t, completion_sink& sink) override {
        sizes.push_back(job->items.size());
        std::string purposes;
        for (const auto& i : job->items) purposes += i.purpose == CG_SIGN_AUTH_RESPONSE ? 'o' : 'i';
        order.push_back(purposes);
        if (hold) {
            jobs.emplace_back(std::move(job), &sink);
            return;
        }
        finish(std::move(job), sink);
    }
    void complete(std::size_t i) {
        auto [job, sink] = std::move(jobs.at(i));
        jobs.erase(jobs.begin() + static_cast<std::ptrdiff_t>(i));
        finish(std::move(job), *sink);
    }
    void finish(std::unique_ptr<sign_job> job, completion_sink& sink) {
        job->status = job_status;
        for (auto& i : job->items) {
            const auto k = keys.find(i.key);
            i.status = k == keys.end() ? CG_E_NOT_FOUND : item_status;
            if (i.status != CG_OK) continue;
            const auto sig = k->second.sign(as_text(i.message)).value();
            std::copy(sig.begin(), sig.end(), i.signature);
            if (corrupt) i.signature[5] ^= 1;
        }
        sink.on_signed(std::move(job));
    }
    void export_shared(std::uint32_t, cg_key key, const crypto::key_bytes& peer, std::int64_t, request_tag tag, completion_sink& sink) override {
        ++agreements;
        const auto k = keys.find(key);
        auto answer = [&]() -> result<crypto::secret> {
            if (k == keys.end()) return make_error(errc::not_found, "no such key");
            auto s = crypto::agree(k->second.raw_seed().first<32>(), peer);
            if (!s) return make_error(errc::invalid, "low-order key");
            return std::move(*s);
        }();
        if (hold_shared) {
            shared.emplace_back(tag, std::move(answer), &sink);
            return;
        }
        sink.on_shared(tag, std::move(answer));
    }
    void complete_shared(std::size_t i) {
        auto [tag, answer, sink] = std::move(shared.at(i));
        shared.erase(shared.begin() + static_cast<std::ptrdiff_t>(i));
        sink->on_shared(tag, std::move(answer));
    }
    key_binding add(nats::key_pair pair, bool verify = true) {
        key_binding b;
        b.key = next_++;
        b.nkey = pair.public_text();
        b.public_bytes = pair.public_part().bytes;
        b.verify = verify;
        keys.emplace(b.key, std::move(pair));
        return b;
    }
    std::string name_;
    std::map<cg_key, nats::key_pair> keys;
    cg_key next_ = 1;
    std::uint32_t batch = 8, in_flight = 1;
    bool hold = false, hold_shared = false, corrupt = false;
    cg_status job_status = CG_OK, item_status = CG_OK;
    std::vector<std::size_t> sizes;
    std::vector<std::string> order;
    std::deque<std::pair<std::unique_ptr<sign_job>, completion_sink*>> jobs;
    std::deque<std::tuple<request_tag, result<crypto::secret>, completion_sink*>> shared;
    std::size_t agreements = 0;
};

/// Allows into account APP with one subject for each identity, unless a test says otherwise.
struct test_policy final : policy::compiled {
    test_policy() {
        main.name = "main";
        main.credentials = {policy::credential_source::auth_token, policy::credential_source::pass};
        main.chain = {{"b1", false}};
        given.allow = true;
        given.reason_id = "ok";
        given.rule = "r1";
        given.grant.account = "APP";
        given.grant.pub_allow = {"a.>"};
    }
    const policy::route* find_route(const policy::connection& c) const override {
        last_connection_kind = c.kind;
        return has_route ? &main : nullptr;
    }
    policy::decision decide(const policy::connection&, const policy::identity& who, std::int64_t now, double) const override {
        auto d = given;
        if (d.grant.name.empty()) d.grant.name = who.subject;
        if (d.grant.exp == 0) d.grant.exp = now + 3600;
        return d;
    }
    policy::decision admit(const policy::connection&, const policy::identity& who, const policy::backend_grant& g, std::int64_t now,
                           double) const override {
        ++admitted;
        auto d = given;
        d.grant = g.what;
        d.grant.name = who.subject;
        if (d.grant.exp == 0) d.grant.exp = now + 3600;
        return d;
    }
    policy::decision admit_stored(const policy::connection& c, const policy::identity& who, const policy::decision& asked, std::string_view document,
                                  std::int64_t now, double j) const override {
        last_document = document;
        policy::decision open = given;
        (void)asked;
        if (document == "refuse") {
            open.allow = false;
            open.reason_id = "stored_grant_invalid";
            return open;
        }
        open.stored.reset();
        open.allow = true;
        open.reason_id = "ok";
        if (open.grant.name.empty()) open.grant.name = who.subject;
        if (open.grant.exp == 0) open.grant.exp = now + 3600;
        (void)c;
        (void)j;
        return open;
    }
    const std::vector<std::string>& stores() const override { return none_; }
    const std::vector<std::string>& backends() const override { return none_; }
    mutable std::string last_document;
    policy::route main;
    policy::decision given;
    bool has_route = true;
    mutable std::size_t admitted = 0;
    mutable policy::client_kind last_connection_kind = policy::client_kind::other;
    std::vector<std::string> none_;
};

struct test_message final : pinned {
    std::string reply, payload, header;
};

/// A nats-server: signs, and seals when it was given the xkey of the callout.
struct test_server {
    nats::key_pair id = nats::key_pair::generate(nats::key_type::server);
    nats::key_pair xkey = nats::key_pair::generate(nats::key_type::curve);
    std::string hash = "SRVHASH1";
    int serial = 0;

    nats::authorization_request_claims claims(std::string subject, std::int64_t now, std::string token = "tok") const {
        nats::authorization_request_claims q;
        q.aud = "nats-authorization-request";
        q.sub = std::move(subject);
        q.exp = now + 2;
        q.user_nkey = nats::key_pair::generate(nats::key_type::user).public_text();
        q.server.name = "s1";
        q.server.host = "0.0.0.0";
        q.server.id = id.public_text();
        q.server.version = "2.15.1";
        q.client.host = "10.1.2.3";
        q.client.id = 42;
        q.client.kind = "Client";
        q.client.type = "nats";
        q.connect.auth_token = std::move(token);
        q.connect.user = "alice";
        return q;
    }
    std::string reply_subject() { return "$SYS._INBOX." + hash + ".rq" + std::to_string(++serial); }
    std::string seal(std::string_view token, std::string_view to) const { return xkey.seal(token, to).value(); }
};

inline callout_message make_message(std::string payload, std::string reply, std::int64_t arrival_ns, std::string header = "") {
    auto* m = new test_message;
    m->payload = std::move(payload);
    m->reply = std::move(reply);
    m->header = std::move(header);
    callout_message out;
    out.memory = pinned_ptr(m);
    out.payload = as_bytes(m->payload);
    out.reply = m->reply;
    out.xkey_header = m->header;
    out.arrival_ns = arrival_ns;
    return out;
}

/// A shard with one backend "b1" (and "b2", "b3"), one key provider and account APP in config mode.
struct world {
    manual_clock clock;
    test_links links;
    test_audit audit;
    observe::shard_metrics metrics;
    std::shared_ptr<test_backend> b1 = std::make_shared<test_backend>("b1"), b2 = std::make_shared<test_backend>("b2"),
                                  b3 = std::make_shared<test_backend>("b3");
    std::shared_ptr<test_keys> keys = std::make_shared<test_keys>("k1");
    std::shared_ptr<test_store> store = std::make_shared<test_store>("main");
    std::shared_ptr<test_policy> policy = std::make_shared<test_policy>();
    std::shared_ptr<flow_config> config = std::make_shared<flow_config>();
    test_server server;
    std::shared_ptr<replay_set> replays = std::make_shared<replay_set>();
    std::unique_ptr<shard_engine> shard = shard_engine::make(3, clock, links, audit, metrics, replays);

    world() {
        b1->answer = [](const cg_auth_request&) { return allow("alice"); };
        config->issuer = keys->add(nats::key_pair::generate(nats::key_type::account));
        config->request_subject_key = config->issuer.nkey;
        config->leeway_ns = 30'000'000'000;
        config->safety_ns = 150'000'000;
        config->callout_account = "AUTH";
        config->forbidden_placements = {"SYS"};
        config->accounts["APP"] = {"APP", config->issuer, false, {}};
        config->policy = policy;
        config->backends = {b1, b2, b3};
        config->providers = {keys};
        config->stores = {store};
        shard->use(config);
    }
    /// Changes must come as a new configuration: a used one is immutable.
    template <class F>
    void reconfigure(F change) {
        auto next = std::make_shared<flow_config>(*config);
        change(*next);
        config = next;
        shard->use(config);
    }
    key_binding add_xkey() {
        auto b = keys->add(nats::key_pair::generate(nats::key_type::curve));
        reconfigure([&](flow_config& c) { c.xkeys.insert(c.xkeys.begin(), b); });
        return b;
    }
    nats::authorization_request_claims claims(std::string token = "tok") { return server.claims(config->request_subject_key, clock.wall, std::move(token)); }
    std::string sign(const nats::authorization_request_claims& q) const { return nats::encode(q, server.id, clock.wall).value(); }
    void offer(std::string payload, std::string header = "") {
        shard->offer(make_message(std::move(payload), server.reply_subject(), clock.mono, std::move(header)));
    }
    void offer(const nats::authorization_request_claims& q) { offer(sign(q)); }
    void offer_sealed(nats::authorization_request_claims q, const key_binding& to) {
        q.server.xkey = server.xkey.public_text();
        offer(server.seal(sign(q), to.nkey), server.xkey.public_text());
    }
    void run() {
        for (int i = 0; shard->run(); ++i)
            if (i > 100'000) throw std::runtime_error("run() never rests");
    }
    std::uint64_t dropped(observe::drop_reason r) const { return metrics.dropped[static_cast<std::size_t>(r)].value(); }
    /// Decodes the reply and the user JWT inside; a failure throws.
    nats::authorization_response_claims response(std::size_t i) const { return nats::decode_as<nats::authorization_response_claims>(links.replies.at(i).payload).value(); }
    nats::user_claims user(std::size_t i) const { return nats::decode_as<nats::user_claims>(response(i).jwt).value(); }
};

}  // namespace callgate::flow::testing
