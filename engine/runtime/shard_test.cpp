// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/shard.hpp"

#include <gtest/gtest.h>
#include <nats/nats.h>

#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>

#include "engine/flow/replay_set.hpp"
#include "tests/support/nats_server.hpp"

using namespace callgate;
using namespace callgate::runtime;

namespace {

constexpr std::chrono::seconds patience{20};

// A shard whose every round and every change of a link can be waited for.
struct watched_shard {
    system_clock_source clock;
    std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t events = 0;
    shard s{0, clock, std::make_shared<flow::replay_set>(1024), hooks()};

    watched_shard() { s.start(); }
    ~watched_shard() {
        std::promise<void> closed;
        s.post([&] { s.close_links(shard::every_group, 5'000'000'000, [&] { closed.set_value(); }); });
        closed.get_future().wait();
        s.stop();
    }

    shard::hooks hooks() {
        const auto tell = [this] {
            const std::lock_guard lock(mutex);
            ++events;
            changed.notify_all();
        };
        shard::hooks h;
        h.expire_operations = [tell](std::uint32_t) { tell(); };  // once a round
        h.link_changed = tell;
        return h;
    }
    template <class Ready>
    bool until(Ready&& ready) {
        const auto limit = std::chrono::steady_clock::now() + patience;
        for (;;) {
            std::uint64_t seen = 0;
            {
                const std::lock_guard lock(mutex);
                seen = events;
            }
            if (ready()) return true;
            std::unique_lock lock(mutex);
            if (!changed.wait_until(lock, limit, [&] { return events != seen; })) return false;
        }
    }
    void refresh() {
        std::promise<void> done;
        s.refresh_counters([&] { done.set_value(); });
        done.get_future().wait();
    }
    std::uint64_t messages_in() const {
        std::uint64_t n = 0;
        for (const auto& l : s.links()) n += l.counters.messages_in;
        return n;
    }
};

struct publisher {
    natsConnection* nc = nullptr;
    explicit publisher(const std::string& url) { EXPECT_EQ(natsConnection_ConnectTo(&nc, url.c_str()), NATS_OK); }
    ~publisher() { natsConnection_Destroy(nc); }
    void publish(int count) {
        for (int i = 0; i < count; ++i) EXPECT_EQ(natsConnection_PublishString(nc, "asked", "x"), NATS_OK);
        EXPECT_EQ(natsConnection_FlushTimeout(nc, 10'000), NATS_OK);
    }
};

}  // namespace

TEST(shard, counters_of_links_are_read_when_somebody_asks_and_are_then_current) {
    const callgate::test::nats_server server(callgate::test::server_version::v2_15);
    watched_shard w;
    net::link_options o;
    o.urls = {server.url()};
    o.subscriptions = {{"asked", "queue"}};
    w.s.run_and_wait([&] { ASSERT_TRUE(w.s.open_links("main", o, 2)); });
    ASSERT_TRUE(w.until([&] {
        std::size_t up = 0;
        for (const auto& l : w.s.links()) up += l.status.connected;
        return up == 3;
    }));

    publisher p(server.url());
    p.publish(5);
    ASSERT_TRUE(w.until([&] {
        w.refresh();
        return w.messages_in() == 5;
    })) << w.messages_in();

    std::uint64_t before = 0;
    {
        const std::lock_guard lock(w.mutex);
        before = w.events;
    }
    p.publish(3);
    ASSERT_TRUE(w.until([&] {
        const std::lock_guard lock(w.mutex);
        return w.events != before;
    }));
    EXPECT_EQ(w.messages_in(), 5u) << "a round of the shard does not copy them";
    ASSERT_TRUE(w.until([&] {
        w.refresh();
        return w.messages_in() == 8;
    })) << w.messages_in();
}
