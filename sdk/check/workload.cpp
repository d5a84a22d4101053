// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/workload.hpp"

#include "sdk/check/claim_requests.hpp"

namespace callgate::check {
namespace {

const std::string invalid_utf8 = "\xff\xfe\xc0\xaf\xed\xa0\x80\xf5\x90";

std::string random_bytes(std::mt19937_64& random, std::size_t limit) {
    std::string out(random() % (limit + 1), 0);
    const bool text = random() % 2 == 0;
    for (auto& c : out) c = static_cast<char>(text ? 'a' + random() % 26 : random());
    return out;
}

class auth_workload : public workload {
  public:
    explicit auth_workload(instance& i) : i_(i) {}
    cg_op begin(std::uint32_t shard, const operation_options& o) override {
        auto f = request(o.number);
        f.left_ns = o.left_ns;
        return authenticate(i_, shard, f, string_layout::together, o.cancelled);
    }
    cg_op begin_at_guard(std::uint32_t shard) override {
        auto f = plain_request("a", "b");
        for (const auto& name : request_text_fields()) f.text.try_emplace(name, "x");
        f.server_tags = {"t"};
        f.client_tags = {"t"};
        f.tls_chain_pem = {"-"};
        f.earlier = {"e"};
        return authenticate(i_, shard, f, string_layout::each_at_guard);
    }
    [[nodiscard]] std::uint32_t hostile_count() const override { return 13; }
    [[nodiscard]] std::string hostile_name(std::uint32_t n) const override {
        static const char* const names[] = {"no field at all",    "every field empty",       "embedded NUL in every field", "invalid UTF-8 in every field", "1 MB in every field",
                                            "a 1 MB credential",  "numbers out of range",    "1,000 tags",                  "a damaged token",              "ten earlier identities",
                                            "a token of dots",    "deeply nested JSON token", "control characters"};
        return names[n];
    }
    cg_op begin_hostile(std::uint32_t shard, std::uint32_t n) override {
        auto f = plain_request();
        const auto everywhere = [&](const std::string& s) {
            for (const auto& name : request_text_fields()) f.text[name] = s;
        };
        f.credential_source = n % 6;
        switch (n) {
            case 0: f.text.clear(); break;
            case 1: everywhere(""); break;
            case 2: everywhere(std::string("a\0b\0", 4)); break;
            case 3: everywhere(invalid_utf8); break;
            case 4: everywhere(std::string(1u << 20, 'x')); break;
            case 5: f.text["credential"] = f.text["auth_token"] = std::string(1u << 20, 'A'); break;
            case 6:
                f.flags = ~0u & ~CG_REQUEST_SIMULATE;
                f.trust = f.client_kind = f.tls = f.credential_source = 0xffffffff;
                f.left_ns = no_deadline;
                break;
            case 7: f.server_tags.assign(1000, "tag"); f.client_tags.assign(1000, invalid_utf8); break;
            case 8: f.text["credential"] = f.text["auth_token"] = f.text["jwt"] = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."; break;
            case 9: f.earlier.assign(10, "somebody"); break;
            case 10: f.text["credential"] = f.text["auth_token"] = std::string(5000, '.'); break;
            case 11: f.text["credential"] = f.text["auth_token"] = std::string(20'000, '['); break;
            default: everywhere("\x01\x1b[2J\r\n\t\x7f"); break;
        }
        return authenticate(i_, shard, f, string_layout::each_at_guard);
    }
    cg_op begin_random(std::uint32_t shard, std::mt19937_64& random, const std::string& named) override {
        auto f = plain_request();
        f.flags = static_cast<std::uint32_t>(random() % 8);
        f.client_kind = static_cast<std::uint32_t>(1 + random() % 5);
        f.tls = static_cast<std::uint32_t>(random() % 4);
        f.credential_source = static_cast<std::uint32_t>(random() % 6);
        f.left_ns = random() % 4 == 0 ? -1'000'000 : static_cast<std::int64_t>(random() % 3'000'000'000);
        for (const auto& name : request_text_fields())
            if (random() % 3 == 0) f.text[name] = random_bytes(random, random() % 50 == 0 ? 100'000 : 40);
        if (!i_.options().cases.empty() && random() % 2 == 0)
            for (const auto& [k, v] : i_.options().cases[random() % i_.options().cases.size()].request) f.text[k] = v;
        recorder::note(named + "authenticate(flags " + std::to_string(f.flags) + ", client_kind " + std::to_string(f.client_kind) + ", tls " + std::to_string(f.tls) + ", credential_source " +
                      std::to_string(f.credential_source) + ", credential of " + std::to_string(f.text["credential"].size()) + " bytes)");
        return authenticate(i_, shard, f, string_layout::together);
    }
    [[nodiscard]] std::string outcome(cg_op op) override {
        const auto a = i_.host().take(op);
        if (!a || a->status != CG_OK || !a->result.value || a->as<auth_value>().verdict == CG_VERDICT_UNAVAILABLE) return {};
        return verdict_name(a->as<auth_value>().verdict) + " " + a->as<auth_value>().subject;
    }
    [[nodiscard]] std::uint32_t at_once() override { return 256; }

  private:
    [[nodiscard]] request_fields request(std::uint32_t number) const {
        const auto& cases = i_.options().cases;
        if (cases.empty()) return plain_request("user" + std::to_string(number % 7));
        auto f = plain_request();
        const auto& c = cases[number % cases.size()];
        for (const auto& [k, v] : c.request) f.text[k] = v;
        f.credential_source = c.credential_source;
        return f;
    }
    instance& i_;
};

class key_workload : public workload {
  public:
    explicit key_workload(instance& i) : i_(i), keys_(signing_keys(i)), limits_(key_limits(i)) {}
    cg_op begin(std::uint32_t shard, const operation_options& o) override {
        const auto& k = keys_[o.number % keys_.size()];
        return keep(sign(i_, shard, {{k.handle, k.purpose, "message " + std::to_string(o.number)}}, o.left_ns, o.cancelled));
    }
    cg_op begin_at_guard(std::uint32_t shard) override { return keep(sign(i_, shard, {{keys_[0].handle, keys_[0].purpose, "x"}})); }
    [[nodiscard]] std::uint32_t hostile_count() const override { return 6; }
    [[nodiscard]] std::string hostile_name(std::uint32_t n) const override {
        static const char* const names[] = {"an empty message", "a message with NULs", "a message of 1 MB", "an unknown purpose", "the key handle 0", "the largest key handle"};
        return names[n];
    }
    cg_op begin_hostile(std::uint32_t shard, std::uint32_t n) override {
        sign_request r{keys_[0].handle, keys_[0].purpose, "m"};
        switch (n) {
            case 0: r.message.clear(); break;
            case 1: r.message.assign(300, 0); break;
            case 2: r.message.assign(1u << 20, 'x'); break;
            case 3: r.purpose = 0xffffffff; break;
            case 4: r.key = 0; break;
            default: r.key = ~cg_key{0}; break;
        }
        return keep(sign(i_, shard, {r}));
    }
    cg_op begin_random(std::uint32_t shard, std::mt19937_64& random, const std::string& named) override {
        std::vector<sign_request> items(random() % (std::min(limits_.max_batch, 32u) + 1));
        for (auto& r : items) {
            const auto& k = keys_[random() % keys_.size()];
            r.key = random() % 8 == 0 ? random() : k.handle;
            r.purpose = random() % 8 == 0 ? static_cast<std::uint32_t>(random() % 40) : k.purpose;
            r.message = random_bytes(random, random() % 50 == 0 ? 100'000 : 600);
        }
        recorder::note(named + "sign_batch of " + std::to_string(items.size()) + " items");
        return keep(sign(i_, shard, items, random() % 4 == 0 ? -1'000'000 : 2'000'000'000));
    }
    [[nodiscard]] std::string outcome(cg_op op) override {
        const std::lock_guard lock(mutex_);
        const auto i = batches_.find(op);
        if (i == batches_.end() || i->second->empty()) return {};
        return {(*i->second)[0].signature.begin(), (*i->second)[0].signature.end()};
    }
    [[nodiscard]] std::uint32_t at_once() override { return limits_.max_in_flight; }

  private:
    cg_op keep(batch_in_flight b) {
        const std::lock_guard lock(mutex_);
        batches_[b.op] = std::move(b.outcomes);
        return b.op;
    }
    instance& i_;
    std::vector<listed_key> keys_;
    cg_key_limits limits_;
    std::mutex mutex_;
    std::map<cg_op, std::shared_ptr<std::vector<sign_outcome>>> batches_;
};

}  // namespace

void workload::trial(instance& i) {
    cg_op op = 0;
    i.on_shard(0, [&] { op = begin(0, {}); });
    i.must_complete({op});
}

std::unique_ptr<workload> workload::of(instance& i) {
    switch (i.kind()) {
        case CG_KIND_AUTH_BACKEND: return std::make_unique<auth_workload>(i);
        case CG_KIND_KEY_PROVIDER: return std::make_unique<key_workload>(i);
        case 3: return claim_workload(i);
        default: throw not_applicable("instances of kind " + kind_name(i.kind()) + " have no operations on shards");
    }
}

}  // namespace callgate::check
