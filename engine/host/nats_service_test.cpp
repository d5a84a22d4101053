// SPDX-License-Identifier: Apache-2.0
#include "engine/host/nats_service.hpp"

#include <set>

#include "engine/host/nats_channel.hpp"
#include "engine/host/services_fixture.hpp"

namespace callgate::host::test {
namespace {

// A connection without a server: what was sent is looked at, what comes is said by the test.
struct wire {
    nats_listener* listener = nullptr;
    std::vector<nats_text> sent;
    std::map<std::uint64_t, std::pair<std::string, std::string>> subscribed;
    std::string instance;
    bool takes = true;
    int flushes = 0;

    class connection final : public nats_connection {
      public:
        explicit connection(std::shared_ptr<wire> w) : wire_(std::move(w)) {}
        ~connection() override { wire_->listener = nullptr; }
        bool publish(const nats_text& m) override {
            if (wire_->takes) wire_->sent.push_back(m);
            return wire_->takes;
        }
        void flush() override { ++wire_->flushes; }
        void subscribe(std::uint64_t id, const std::string& subject, const std::string& queue) override { wire_->subscribed[id] = {subject, queue}; }
        void unsubscribe(std::uint64_t id) override { wire_->subscribed.erase(id); }
        [[nodiscard]] std::uint64_t lost() const override { return 0; }

      private:
        std::shared_ptr<wire> wire_;
    };
    void up(std::uint64_t reconnects = 0, std::uint64_t max_payload = 1000) { listener->on_state({true, reconnects, max_payload}); }
    void down() { listener->on_state({}); }
    void come(std::uint64_t id, std::string subject, std::string payload = {}, bool nobody = false) {
        nats_text t;
        t.subject = std::move(subject);
        t.payload.assign(payload.begin(), payload.end());
        listener->on_message(id, std::move(t), nobody);
    }
};

std::string text(cg_bytes b) { return {reinterpret_cast<const char*>(b.data), b.size}; }

class nats_service_test : public ::testing::Test {
  protected:
    boost::asio::io_context io;
    test_clock clock;
    std::shared_ptr<control_loop> loop = control_loop::make(io, 1, clock, [](std::uint32_t) {});
    operation_owner owner{{}, 10};
    std::shared_ptr<wire> line = std::make_shared<wire>();
    std::map<std::string, nats_opener> openers{{"main", [this](const std::string& instance, nats_listener& l) -> result<std::unique_ptr<nats_connection>> {
                                                    line->listener = &l;
                                                    line->instance = instance;
                                                    return std::unique_ptr<nats_connection>(std::make_unique<wire::connection>(line));
                                                }}};
    services under_test{loop, owner, "unit", 0, std::make_shared<shared_services>(), nullptr, {"nats/main", "nats/offline", "keys/other"}, openers};
    const cg_host* host = under_test.host();
    const cg_nats_api& api = *static_cast<const cg_nats_api*>(host->query(host, to_c(CG_EXT_NATS)));

    nats_service_test() { under_test.workers().begin(false); }

    bool run_until(const std::function<bool()>& done) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!done()) {
            if (std::chrono::steady_clock::now() > end) return false;
            io.restart();
            io.run_one_for(std::chrono::milliseconds(20));
        }
        return true;
    }
    void settle() {
        io.restart();
        while (io.poll() != 0) {}
    }
    cg_nats opened(bool connect = true) {
        cg_nats n = 0;
        EXPECT_EQ(api.open(host, to_c("main"), &n, nullptr), CG_OK);
        if (connect) line->up();
        return n;
    }
    static cg_nats_message message(std::string_view subject, std::string_view payload = {}) {
        cg_nats_message m{};
        m.struct_size = sizeof m;
        m.subject = to_c(subject);
        m.payload = {reinterpret_cast<const std::uint8_t*>(payload.data()), payload.size()};
        return m;
    }
    cg_status publish(cg_nats n, std::string_view subject, std::string_view payload = {}) {
        const auto m = message(subject, payload);
        return api.publish(host, n, &m);
    }

    struct inbox {
        std::vector<std::string> got;
        std::vector<std::uint64_t> lost;
        std::set<std::thread::id> threads;
        std::mutex mutex;
        std::function<void()> hook;
        std::size_t count() {
            const std::lock_guard lock(mutex);
            return got.size();
        }
        static void fn(void* p, const cg_nats_message* m) {
            auto& self = *static_cast<inbox*>(p);
            if (self.hook) self.hook();
            const std::lock_guard lock(self.mutex);
            self.got.push_back(std::string(view(m->subject)) + "=" + text(m->payload));
            self.lost.push_back(m->lost);
            self.threads.insert(std::this_thread::get_id());
        }
    };
    std::uint64_t subscribe(cg_nats n, std::string_view subject, inbox& in, std::uint32_t flags = 0, std::string_view queue = {}) {
        cg_nats_subscription s{sizeof s, flags, to_c(subject), to_c(queue), &in, &inbox::fn};
        std::uint64_t id = 0;
        EXPECT_EQ(api.subscribe(host, n, &s, &id), CG_OK);
        return id;
    }
    struct answers {
        std::vector<std::pair<cg_status, std::string>> got;
        std::mutex mutex;
        bool inside = false;  // set while the test is in a call
        std::size_t count() {
            const std::lock_guard lock(mutex);
            return got.size();
        }
        static void done(void* p, const cg_nats_answer* a) {
            auto& self = *static_cast<answers*>(p);
            EXPECT_FALSE(self.inside) << "never inside the call";
            const std::lock_guard lock(self.mutex);
            EXPECT_EQ(a->message != nullptr, a->status == CG_OK);
            self.got.emplace_back(a->status, a->message == nullptr ? "" : text(a->message->payload));
        }
    };
    cg_status request(cg_nats n, answers& to, std::uint64_t* id = nullptr, std::int64_t timeout_ns = 0, cg_op op = 0, std::uint32_t flags = 0) {
        const auto m = message("svc.echo", "question");
        cg_nats_request r{sizeof r, flags, &m, timeout_ns, op, &to, &answers::done};
        to.inside = true;
        const auto s = api.request(host, n, &r, id);
        to.inside = false;
        return s;
    }
};

TEST_F(nats_service_test, only_clusters_under_uses_are_opened_and_one_is_one_connection) {
    error_text why;
    cg_nats n = 0, again = 0;
    EXPECT_EQ(api.open(host, to_c("other"), &n, &why.buffer), CG_E_PERMISSION);
    EXPECT_EQ(why.said(), "nats/other is not under `uses` of this instance");
    EXPECT_EQ(api.open(host, to_c("offline"), &n, &why.buffer), CG_E_UNSUPPORTED) << "a host without connections, as a command-line tool";
    EXPECT_EQ(n, 0u);
    ASSERT_EQ(api.open(host, to_c("main"), &n, nullptr), CG_OK);
    EXPECT_EQ(line->instance, "unit");
    EXPECT_EQ(api.open(host, to_c("main"), &again, nullptr), CG_OK);
    EXPECT_EQ(n, again);
    EXPECT_EQ(publish(0, "a"), CG_E_INVALID);
    EXPECT_EQ(publish(n + 1, "a"), CG_E_INVALID);
}

TEST_F(nats_service_test, what_is_published_is_checked_and_goes_out_with_its_headers) {
    const auto n = opened(false);
    EXPECT_EQ(publish(n, "orders.new"), CG_E_UNAVAILABLE) << "not connected";
    line->up();
    const std::string long_subject(CG_NATS_MAX_SUBJECT_BYTES + 1, 's');
    for (const std::string_view bad : {"", "a..b", "a b", "a.*", "a.>", "$SYS.REQ.USER.AUTH", "$SYS", "a\r\nPUB x 0", long_subject.c_str()})
        EXPECT_EQ(publish(n, bad), CG_E_INVALID) << bad;
    EXPECT_EQ(publish(n, "big", std::string(1001, 'x')), CG_E_NOSPC) << "the server's max_payload";
    EXPECT_EQ(publish(n, "big", std::string(CG_NATS_MAX_PAYLOAD_BYTES + 1, 'x')), CG_E_INVALID);
    auto m = message("orders.new", "body");
    m.reply = to_c("orders.reply");
    cg_nats_header headers[] = {{to_c("Trace"), to_c("a b")}, {to_c("Trace"), to_c("c")}};
    m.headers = headers;
    m.header_count = 2;
    m.headers_stride = sizeof headers[0];
    for (const std::string_view bad : {"", "a:b", "a b", "a\n"}) {
        headers[1].name = to_c(bad);
        EXPECT_EQ(api.publish(host, n, &m), CG_E_INVALID) << bad;
    }
    headers[1] = {to_c("Other"), to_c("x\r\nForged: 1")};
    EXPECT_EQ(api.publish(host, n, &m), CG_E_INVALID);
    headers[1].value = to_c("y");
    m.reply = to_c("$SYS.REQ.USER.AUTH");
    EXPECT_EQ(api.publish(host, n, &m), CG_E_INVALID);
    m.reply = to_c("orders.reply");
    std::thread([&] { EXPECT_EQ(api.publish(host, n, &m), CG_OK) << "from any thread"; }).join();
    EXPECT_TRUE(line->sent.empty()) << "sent by the control thread";
    settle();
    ASSERT_EQ(line->sent.size(), 1u);
    EXPECT_EQ(line->sent[0].reply, "orders.reply");
    EXPECT_EQ(line->sent[0].headers, (std::vector<std::pair<std::string, std::string>>{{"Trace", "a b"}, {"Other", "y"}}));
    EXPECT_EQ(line->flushes, 1);
    line->takes = false;
    EXPECT_EQ(publish(n, "orders.new"), CG_OK);
    settle();
    cg_nats_status now{};
    now.struct_size = sizeof now;
    ASSERT_EQ(api.status(host, n, &now), CG_OK);
    EXPECT_EQ(now.connected, 1);
    EXPECT_EQ(now.max_payload, 1000u);
    EXPECT_EQ(now.lost_out, 1u);
    const auto report = under_test.nats().report();
    ASSERT_EQ(report.size(), 1u);
    EXPECT_EQ(report[0].published, 1u);
    EXPECT_EQ(report[0].lost_out, 1u);
}

TEST_F(nats_service_test, what_waits_for_the_socket_is_bounded) {
    const auto n = opened(false);
    line->up(0, CG_NATS_MAX_PAYLOAD_BYTES);
    const std::string large(CG_NATS_MAX_PAYLOAD_BYTES, 'x');
    std::size_t taken = 0;
    while (taken < 100 && publish(n, "bulk", large) == CG_OK) ++taken;
    EXPECT_EQ(taken, CG_NATS_MAX_QUEUED_BYTES / CG_NATS_MAX_PAYLOAD_BYTES - 1) << "subjects count too";
    EXPECT_EQ(publish(n, "bulk", large), CG_E_BUSY);
    settle();
    EXPECT_EQ(publish(n, "bulk", large), CG_OK);
}

TEST_F(nats_service_test, nothing_that_could_see_the_systems_subjects_is_subscribed) {
    const auto n = opened();
    inbox in;
    std::uint64_t id = 0;
    for (const std::string_view bad : {"", ">", "*", "*.REQ.USER.AUTH", "$SYS.REQ.USER.AUTH", "$SYS.>", "$SYS", "a..b", "a b"}) {
        cg_nats_subscription s{sizeof s, 0, to_c(bad), {}, &in, &inbox::fn};
        EXPECT_EQ(api.subscribe(host, n, &s, &id), CG_E_INVALID) << bad;
    }
    cg_nats_subscription odd{sizeof odd, 2, to_c("a"), {}, &in, &inbox::fn};
    EXPECT_EQ(api.subscribe(host, n, &odd, &id), CG_E_INVALID) << "unknown flag";
    odd.flags = 0;
    odd.queue = to_c("two words");
    EXPECT_EQ(api.subscribe(host, n, &odd, &id), CG_E_INVALID);
    for (std::uint32_t i = 0; i < CG_NATS_MAX_SUBSCRIPTIONS; ++i) subscribe(n, "a.*", in, 0, i == 0 ? "workers" : "");
    EXPECT_EQ(line->subscribed.begin()->second, (std::pair<std::string, std::string>{"a.*", "workers"}));
    odd.queue = {};
    EXPECT_EQ(api.subscribe(host, n, &odd, &id), CG_E_BUSY);
}

TEST_F(nats_service_test, messages_come_in_order_and_a_slow_instance_loses_counted_ones) {
    const auto n = opened();
    inbox in;
    const auto id = subscribe(n, "feed.>", in);
    line->come(id, "feed.a", "1");
    line->come(id, "feed.b", "2");
    EXPECT_TRUE(in.got.empty()) << "never inside what brought it";
    settle();
    EXPECT_EQ(in.got, (std::vector<std::string>{"feed.a=1", "feed.b=2"}));
    for (std::uint32_t i = 0; i < CG_NATS_MAX_QUEUED + 7; ++i) line->come(id, "feed.c");
    settle();
    EXPECT_EQ(in.got.size(), 2 + CG_NATS_MAX_QUEUED);
    line->come(id, "feed.d");
    settle();
    EXPECT_EQ(in.lost.back(), 7u);
    EXPECT_EQ(std::count(in.lost.begin(), in.lost.end(), 0u), static_cast<std::ptrdiff_t>(in.lost.size()) - 1);
    const std::string large(CG_NATS_MAX_PAYLOAD_BYTES, 'x');
    for (int i = 0; i < 9; ++i) line->come(id, "feed.e", large);
    settle();
    const auto report = under_test.nats().report();
    EXPECT_EQ(report[0].lost_in, 7u + 2u) << "bytes are bounded too";
    ASSERT_EQ(api.unsubscribe(host, n, id), CG_OK);
    EXPECT_TRUE(line->subscribed.empty());
    EXPECT_EQ(api.unsubscribe(host, n, id), CG_E_NOT_FOUND);
    const auto before = in.got.size();
    line->come(id, "feed.f");
    settle();
    EXPECT_EQ(in.got.size(), before);
}

TEST_F(nats_service_test, a_subscription_ended_from_its_own_function_hears_no_more) {
    const auto n = opened();
    inbox in;
    const auto id = subscribe(n, "feed.>", in);
    in.hook = [&] { EXPECT_EQ(api.unsubscribe(host, n, id), CG_OK); };
    line->come(id, "feed.a");
    line->come(id, "feed.b");
    settle();
    EXPECT_EQ(in.got.size(), 1u);
}

TEST_F(nats_service_test, on_the_pool_when_asked_in_order_and_one_at_a_time) {
    const auto n = opened();
    inbox in;
    std::atomic<int> inside{0}, most{0};
    in.hook = [&] {
        most = std::max(most.load(), ++inside);
        --inside;
    };
    const auto id = subscribe(n, "feed.>", in, CG_NATS_ON_WORKER);
    for (int i = 0; i < 200; ++i) line->come(id, "feed." + std::to_string(i));
    ASSERT_TRUE(run_until([&] { return in.count() == 200; }));
    for (int i = 0; i < 200; ++i) EXPECT_EQ(in.got[static_cast<std::size_t>(i)], "feed." + std::to_string(i) + "=");
    EXPECT_EQ(most, 1);
    EXPECT_EQ(in.threads.count(std::this_thread::get_id()), 0u);
    answers a;
    ASSERT_EQ(request(n, a, nullptr, 0, 0, CG_NATS_ON_WORKER), CG_OK);
    settle();
    line->come(line->subscribed.rbegin()->first, line->sent[0].reply, "answer");
    ASSERT_TRUE(run_until([&] { return a.count() == 1; }));
    EXPECT_EQ(a.got[0], (std::pair<cg_status, std::string>{CG_OK, "answer"}));
}

TEST_F(nats_service_test, a_request_ends_once_with_answer_nobody_deadline_cancel_or_the_end_of_the_connection) {
    const auto n = opened();
    answers a;
    std::uint64_t id = 0;
    ASSERT_EQ(request(n, a, &id), CG_OK);
    settle();
    ASSERT_EQ(line->sent.size(), 1u);
    const auto reply = line->sent[0].reply;
    ASSERT_EQ(line->subscribed.size(), 1u);
    EXPECT_EQ(line->subscribed.at(id).first, reply) << "for this one alone";
    EXPECT_GE(reply.size(), 29u) << "cannot be guessed";
    line->come(id + 999, reply);
    EXPECT_EQ(a.count(), 0u);
    line->come(id, reply, "answer");
    EXPECT_TRUE(line->subscribed.empty());
    line->come(id, reply, "another");
    EXPECT_EQ(a.got, (std::vector<std::pair<cg_status, std::string>>{{CG_OK, "answer"}}));
    api.cancel(host, n, id);
    settle();
    EXPECT_EQ(a.count(), 1u);

    ASSERT_EQ(request(n, a, &id), CG_OK);
    settle();
    line->come(id, {}, {}, true);
    EXPECT_EQ(a.got.back().first, CG_E_NOT_FOUND);
    ASSERT_EQ(request(n, a, nullptr, 1'000'000), CG_OK);
    ASSERT_TRUE(run_until([&] { return a.count() == 3; }));
    EXPECT_EQ(a.got.back().first, CG_E_DEADLINE);
    ASSERT_EQ(request(n, a, &id), CG_OK);
    api.cancel(host, n, id);
    ASSERT_TRUE(run_until([&] { return a.count() == 4; }));
    EXPECT_EQ(a.got.back().first, CG_E_CANCELLED);
    ASSERT_EQ(request(n, a), CG_OK);
    settle();
    line->down();
    ASSERT_TRUE(run_until([&] { return a.count() == 5; }));
    EXPECT_EQ(a.got.back().first, CG_E_UNAVAILABLE);
    EXPECT_EQ(request(n, a), CG_E_UNAVAILABLE);
    line->up(1);
    line->takes = false;
    ASSERT_EQ(request(n, a), CG_OK);
    ASSERT_TRUE(run_until([&] { return a.count() == 6; }));
    EXPECT_EQ(a.got.back().first, CG_E_UNAVAILABLE);
    EXPECT_EQ(request(n, a, nullptr, -1), CG_E_INVALID);
    EXPECT_EQ(request(n, a, nullptr, 61'000'000'000), CG_E_INVALID);
    const auto report = under_test.nats().report();
    EXPECT_EQ(report[0].requests, 6u);
    EXPECT_EQ(report[0].failed, 5u);
}

TEST_F(nats_service_test, requests_are_bounded) {
    const auto n = opened();
    answers a;
    for (std::uint32_t i = 0; i < CG_NATS_MAX_REQUESTS; ++i) ASSERT_EQ(request(n, a), CG_OK);
    EXPECT_EQ(request(n, a), CG_E_BUSY);
    settle();
    line->come(line->subscribed.begin()->first, line->sent[0].reply);
    EXPECT_EQ(request(n, a), CG_OK);
}

// Never ends by itself.
struct body final : operation_body {
    taken take(const cg_completion&) override { return taken::ok; }
    void deliver() override {}
    void fail(cg_status) override {}
};

TEST_F(nats_service_test, a_request_made_for_an_operation_ends_with_it) {
    const auto n = opened();
    answers a;
    cg_op op = 0;
    ASSERT_TRUE(loop->table().run(loop->shard(), owner, clock.mono + 3'000'000'000, operation_table::weight::free, std::make_unique<body>(), [&](cg_op o) {
        op = o;
        return CG_OK;
    }));
    ASSERT_EQ(request(n, a, nullptr, 0, op), CG_OK);
    settle();
    EXPECT_EQ(a.count(), 0u);
    clock.mono += 4'000'000'000;
    ASSERT_TRUE(run_until([&] { return a.count() == 1; }));
    EXPECT_EQ(a.got[0].first, CG_E_DEADLINE);
    EXPECT_EQ(request(n, a, nullptr, 0, op), CG_E_DEADLINE) << "it is too late already";
    EXPECT_EQ(request(n, a, nullptr, 0, op + 77), CG_E_DEADLINE) << "not one of this instance";
    loop->table().end_all(loop->shard(), owner);
}

TEST_F(nats_service_test, after_stop_nothing_is_called_and_open_requests_are_faults) {
    const auto n = opened();
    inbox in;
    answers a;
    const auto id = subscribe(n, "feed.>", in);
    ASSERT_EQ(request(n, a), CG_OK);
    ASSERT_EQ(publish(n, "bye"), CG_OK);
    line->come(id, "feed.a");
    under_test.nats().end_delivery();
    settle();
    EXPECT_TRUE(in.got.empty());
    ASSERT_EQ(publish(n, "bye.2"), CG_OK) << "until it has stopped";
    EXPECT_EQ(under_test.close(), 1u);
    ASSERT_EQ(line->sent.size(), 3u) << "what was published before goes out";
    EXPECT_EQ(line->sent.back().subject, "bye.2");
    EXPECT_EQ(line->listener, nullptr) << "the connection is given back";
    settle();
    EXPECT_EQ(a.count(), 0u);
    EXPECT_EQ(publish(n, "a"), CG_E_CANCELLED);
    EXPECT_EQ(request(n, a), CG_E_CANCELLED);
    std::uint64_t other = 0;
    cg_nats_subscription s{sizeof s, 0, to_c("a"), {}, &in, &inbox::fn};
    EXPECT_EQ(api.subscribe(host, n, &s, &other), CG_E_CANCELLED);
}

TEST_F(nats_service_test, a_struct_of_an_earlier_minor_is_read_as_far_as_it_goes) {
    const auto n = opened();
    cg_nats_status now{};
    now.struct_size = offsetof(cg_nats_status, reconnects);
    now.reconnects = 77;
    ASSERT_EQ(api.status(host, n, &now), CG_OK);
    EXPECT_EQ(now.connected, 1);
    EXPECT_EQ(now.reconnects, 77u) << "beyond what it said";
    auto m = message("a");
    m.struct_size = 0;
    EXPECT_EQ(api.publish(host, n, &m), CG_E_INVALID);
    EXPECT_EQ(api.publish(host, n, nullptr), CG_E_INVALID);
}

}  // namespace
}  // namespace callgate::host::test
