// SPDX-License-Identifier: Apache-2.0
#include "engine/host/instance_calls.hpp"

#include <callgate/abi/draft/kinds.h>
#include <callgate/nats/nkey.hpp>

#include "engine/host/services_fixture.hpp"

namespace callgate::host::test {
namespace {

class instance_calls_test : public capability_test {
  protected:
    plugin_folder folder;
    library_loader loader{[this] {
        library_options o;
        o.directories = {folder.path()};
        o.probe.command = {TEST_PROBE, "plugin-probe"};
        return o;
    }()};
    operation_owner caller_owner{{}, 10};
    services caller{loop, caller_owner, "caller", 0, shared, nullptr, {"store/main", "keys/local"}};
    const cg_host* const calls_from = caller.host();
    const cg_instance_api& calls = api<cg_instance_api>(CG_EXT_INSTANCE);

    std::shared_ptr<instance> started(const std::string& plugin, instance_options o) {
        folder.add(plugin);
        auto library = loader.load(plugin);
        if (!library) {
            ADD_FAILURE() << library.error().message();
            return nullptr;
        }
        o.plugin = plugin;
        auto i = instance::make(loop, *library, (*library)->factories.at(0), std::move(o), shared);
        if (!i) {
            ADD_FAILURE() << i.error().message();
            return nullptr;
        }
        std::optional<result<void>> r;
        (*i)->start(second_ns, [&](result<void> got) { r = std::move(got); });
        EXPECT_TRUE(run_until([&] { return r.has_value(); }));
        EXPECT_TRUE(*r);
        return *i;
    }
    void end(std::shared_ptr<instance>& i) {
        std::optional<result<void>> r;
        i->stop(second_ns, [&](result<void> got) { r = std::move(got); });
        ASSERT_TRUE(run_until([&] { return r.has_value(); }));
        ASSERT_TRUE(*r);
        EXPECT_TRUE(i->destroy());
        i.reset();
    }
    struct heard {
        int times = 0;
        cg_status status = 1;
        std::string text;  // what a result says, see below; or the error
        void (*read)(heard&, const void*) = nullptr;
        static void done(void* p, const cg_instance_answer* a) {
            auto& h = *static_cast<heard*>(p);
            ++h.times;
            h.status = a->status;
            h.text = std::string(view(a->error));
            if (a->status == CG_OK) h.read(h, a->result);
        }
    };
    static cg_instance_call call(cg_target t, heard& h, std::int64_t timeout_ns = second_ns) {
        return {sizeof(cg_instance_call), t, timeout_ns, &h, &heard::done};
    }
    cg_target target(std::uint32_t kind, const char* name) {
        cg_target t = 0;
        EXPECT_EQ(calls.find(calls_from, kind, to_c(name), &t), CG_OK);
        return t;
    }
    static void read_values(heard& h, const void* p) {
        const auto& v = *static_cast<const cg_claim_values*>(p);
        for (std::size_t i = 0; i < v.count; ++i) {
            const auto e = read_element(v.entries, i, v.stride);
            h.text += std::string(view(e.key)) + "=" + std::string(reinterpret_cast<const char*>(e.value.data), e.value.size) + "@" +
                      std::to_string(e.revision) + ";";
        }
        h.text += std::to_string(v.revision);
    }
    cg_status get(cg_target t, std::vector<std::string> keys, heard& h, std::int64_t timeout_ns = second_ns) {
        std::vector<cg_str> list;
        for (const auto& k : keys) list.push_back(to_c(k));
        const cg_claim_get r{sizeof r, 0, {list.data(), list.size()}};
        const auto c = call(t, h, timeout_ns);
        h.read = &read_values;
        return calls.get(calls_from, &c, &r);
    }
};

TEST_F(instance_calls_test, only_what_the_configuration_lists_is_found) {
    cg_target t = 0;
    EXPECT_EQ(calls.find(calls_from, CG_KIND_CLAIM_STORE, to_c("other"), &t), CG_E_PERMISSION);
    EXPECT_EQ(calls.find(calls_from, CG_KIND_KEY_PROVIDER, to_c("main"), &t), CG_E_PERMISSION) << "the kind counts too";
    EXPECT_EQ(calls.find(calls_from, CG_KIND_AUTH_BACKEND, to_c("main"), &t), CG_E_UNSUPPORTED);
    EXPECT_EQ(calls.find(calls_from, CG_KIND_CLAIM_STORE, to_c("main"), nullptr), CG_E_INVALID);
    EXPECT_EQ(t, 0u);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(calls.find(calls_from, CG_KIND_CLAIM_STORE, to_c("main"), &t), CG_OK);
    EXPECT_EQ(calls.find(calls_from, CG_KIND_CLAIM_STORE, to_c("main"), &t), CG_E_BUSY);
}

TEST_F(instance_calls_test, store_is_read_scanned_and_written) {
    const auto t = target(CG_KIND_CLAIM_STORE, "main");
    heard absent;
    ASSERT_EQ(get(t, {"a"}, absent), CG_OK);
    ASSERT_TRUE(run_until([&] { return absent.times == 1; }));
    EXPECT_EQ(absent.status, CG_E_UNAVAILABLE);
    EXPECT_EQ(absent.text, "that instance is not running");

    auto store = started("store", {.name = "main"});
    ASSERT_TRUE(store);
    heard values;
    ASSERT_EQ(get(t, {"a/b", "c"}, values), CG_OK);
    EXPECT_EQ(values.times, 0) << "never inside the call";
    ASSERT_TRUE(run_until([&] { return values.times == 1; }));
    EXPECT_EQ(values.text, "a/b=a/b@7;c=c@7;99");

    heard page;
    page.read = [](heard& h, const void* p) {
        const auto& v = *static_cast<const cg_claim_page*>(p);
        const auto e = read_element(v.entries, 0, v.stride);
        h.text = std::string(view(e.key)) + "@" + std::to_string(e.revision) + " next " + std::string(reinterpret_cast<const char*>(v.next.data), v.next.size) +
                 " of " + std::to_string(v.revision);
    };
    const std::string cursor = "half\0way";
    const cg_claim_scan scan{sizeof scan, 5, to_c("users/"), {reinterpret_cast<const std::uint8_t*>(cursor.data()), cursor.size()}, 42};
    const auto scan_call = call(t, page);
    ASSERT_EQ(calls.scan(calls_from, &scan_call, &scan), CG_OK);
    ASSERT_TRUE(run_until([&] { return page.times == 1; }));
    EXPECT_EQ(page.text, "users/@5 next " + cursor + " of 42");

    heard committed;
    committed.read = [](heard& h, const void* p) {
        const auto& v = *static_cast<const cg_claim_committed*>(p);
        h.text = std::to_string(v.outcome) + " " + std::to_string(v.revision) + " " + std::string(view(v.conflict_key)) + " " + std::to_string(v.conflict_revision);
    };
    const cg_claim_put puts[] = {{to_c("a"), {}}, {to_c("b"), {}}};
    const cg_str deletes[] = {to_c("c")};
    const std::uint8_t token[] = {1, 2, 3};
    cg_claim_commit commit{};
    commit.struct_size = sizeof commit;
    commit.puts = puts;
    commit.put_count = 2;
    commit.put_stride = sizeof puts[0];
    commit.deletes = {deletes, 1};
    commit.idempotency = {token, 3};
    const auto commit_call = call(t, committed);
    ASSERT_EQ(calls.commit(calls_from, &commit_call, &commit), CG_OK);
    ASSERT_TRUE(run_until([&] { return committed.times == 1; }));
    EXPECT_EQ(committed.text, "0 213  0");
    const cg_claim_precondition must{CG_CLAIM_KEY_AT, 0, to_c("a"), 3};
    commit.preconditions = &must;
    commit.precondition_count = 1;
    commit.precondition_stride = sizeof must;
    ASSERT_EQ(calls.commit(calls_from, &commit_call, &commit), CG_OK);
    ASSERT_TRUE(run_until([&] { return committed.times == 2; }));
    EXPECT_EQ(committed.text, std::to_string(CG_E_CONFLICT) + " 213 a 4") << "a conflict is an answer";
    end(store);
    heard late;
    ASSERT_EQ(get(t, {"a"}, late), CG_OK);
    ASSERT_TRUE(run_until([&] { return late.times == 1; }));
    EXPECT_EQ(late.status, CG_E_UNAVAILABLE) << "after its stop";
}

TEST_F(instance_calls_test, failures_deadlines_and_contract_breaches_are_answers) {
    auto store = started("store", {.name = "main"});
    ASSERT_TRUE(store);
    const auto t = target(CG_KIND_CLAIM_STORE, "main");
    heard down, odd, refused, never;
    ASSERT_EQ(get(t, {"never"}, never), CG_OK);
    ASSERT_EQ(get(t, {"down"}, down), CG_OK);
    ASSERT_EQ(get(t, {"odd"}, odd), CG_OK);
    ASSERT_EQ(get(t, {}, refused), CG_OK);
    ASSERT_TRUE(run_until([&] { return down.times + odd.times + refused.times == 3; }));
    EXPECT_EQ(down.status, CG_E_UNAVAILABLE);
    EXPECT_EQ(down.text, "disk full");
    EXPECT_EQ(odd.status, CG_E_ABI);
    EXPECT_EQ(store->metrics().faults, 1u);
    EXPECT_EQ(refused.status, CG_E_INVALID);
    EXPECT_EQ(store->metrics().failed, 2u) << "what the caller did wrong is no failure of the store";
    EXPECT_EQ(never.times, 0);
    clock.mono += 2 * second_ns;
    ASSERT_TRUE(run_until([&] { return never.times == 1; }));
    EXPECT_EQ(never.status, CG_E_DEADLINE);
    EXPECT_EQ(never.text, "the claim store did not answer in time");
    ASSERT_TRUE(run_until([&] { return store->metrics().in_flight == 0; })) << "it was told";
    end(store);
}

TEST_F(instance_calls_test, calls_are_bounded_and_end_with_the_caller) {
    auto store = started("store", {.name = "main"});
    ASSERT_TRUE(store);
    const auto t = target(CG_KIND_CLAIM_STORE, "main"), k = target(CG_KIND_KEY_PROVIDER, "local");
    heard h;
    EXPECT_EQ(get(0, {"a"}, h), CG_E_INVALID);
    EXPECT_EQ(get(k, {"a"}, h), CG_E_INVALID) << "a key provider";
    EXPECT_EQ(get(t + 7, {"a"}, h), CG_E_INVALID);
    EXPECT_EQ(get(t, {"a"}, h, -1), CG_E_INVALID);
    EXPECT_EQ(get(t, {"a"}, h, 61 * second_ns), CG_E_INVALID);
    EXPECT_EQ(get(t, {std::string((1u << 20) + 1, 'x')}, h), CG_E_INVALID);
    EXPECT_EQ(get(t, std::vector<std::string>(4097, "x"), h), CG_E_INVALID);
    auto c = call(t, h);
    const cg_claim_get no_list{sizeof no_list, 0, {nullptr, 3}};
    EXPECT_EQ(calls.get(calls_from, &c, &no_list), CG_E_INVALID);
    c.done = nullptr;
    EXPECT_EQ(calls.get(calls_from, &c, &no_list), CG_E_INVALID);
    EXPECT_EQ(calls.get(calls_from, nullptr, nullptr), CG_E_INVALID);
    for (int i = 0; i < 64; ++i) ASSERT_EQ(get(t, {"never"}, h), CG_OK);
    EXPECT_EQ(get(t, {"never"}, h), CG_E_BUSY);
    EXPECT_EQ(caller.close(), 64u);
    EXPECT_EQ(get(t, {"never"}, h), CG_E_CANCELLED);
    ASSERT_TRUE(run_until([&] { return store->metrics().in_flight == 64; }));
    clock.mono += 2 * second_ns;
    ASSERT_TRUE(run_until([&] { return store->metrics().in_flight == 0; }));
    EXPECT_EQ(h.times, 0) << "nothing of a stopped plugin is called";
    end(store);
}

TEST_F(instance_calls_test, key_provider_signs_by_label_the_newest_one_of_that_name) {
    const auto account = nats::key_pair::generate(nats::key_type::account).public_text(), app = nats::key_pair::generate(nats::key_type::account).public_text(),
               curve = nats::key_pair::generate(nats::key_type::curve).public_text();
    const auto t = target(CG_KIND_KEY_PROVIDER, "local");
    auto keys = started("keys", {.name = "local", .config_json = "\"" + account + app + curve + "\""});
    ASSERT_TRUE(keys);
    heard h;
    h.read = [](heard& to, const void* p) {
        const auto& s = *static_cast<const cg_instance_signature*>(p);
        to.text = std::string(view(s.nkey)) + static_cast<char>(s.signature[63]);
    };
    const auto sign = [&](const char* label, const char* text) {
        const auto c = call(t, h);
        const cg_instance_sign r{sizeof r, CG_SIGN_GENERIC, to_c(label), {reinterpret_cast<const std::uint8_t*>(text), std::strlen(text)}};
        const auto before = h.times;
        EXPECT_EQ(calls.sign(calls_from, &c, &r), CG_OK);
        EXPECT_TRUE(run_until([&] { return h.times == before + 1; }));
    };
    sign("issuer", "alpha");
    EXPECT_EQ(h.text, account + "a");
    sign("nobody", "alpha");
    EXPECT_EQ(h.status, CG_E_NOT_FOUND);
    sign("curve", "alpha");
    EXPECT_EQ(h.status, CG_E_INVALID);
    sign("app", "longer than sixteen bytes");
    EXPECT_EQ(h.status, CG_E_INVALID) << "the provider's own limit";
    // A reload: the new one is started beside the old one, which then goes.
    auto next = started("keys", {.name = "local", .config_json = "\"" + app + account + curve + "\""});
    ASSERT_TRUE(next);
    sign("issuer", "beta");
    EXPECT_EQ(h.text, app + "b");
    end(next);
    sign("issuer", "gamma");
    EXPECT_EQ(h.text, account + "g") << "an abandoned reload leaves the old one";
    end(keys);
}

}  // namespace
}  // namespace callgate::host::test
