// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/claim_requests.hpp"

#include <callgate/abi/draft/claim_store.h>

#include <callgate/sdk/value.hpp>

#include "sdk/check/recorder.hpp"

namespace callgate::check {
namespace {

constexpr guard_rule request_memory = {"the request", "library.newer_host", "operations.request_lifetime"};
constexpr guard_rule string_memory = {"a key or value of the request", "operations.string_bounds", "operations.request_lifetime"};

struct claim_answer {
    std::string text;
};

result_reader values_result() {
    return [](const void* result) {
        read_result out;
        auto value = std::make_shared<claim_answer>();
        if (result == nullptr) {
            recorder::violated("library.struct_sizes", "get was completed with CG_OK and no cg_claim_values");
        } else {
            const auto v = read_checked(static_cast<const cg_claim_values*>(result), "cg_claim_values");
            if (v.count != 0 && (v.entries == nullptr || v.stride < sizeof(cg_claim_entry)))
                recorder::violated("library.struct_sizes", "the stride of cg_claim_values is " + std::to_string(v.stride) + "; set it to sizeof(cg_claim_entry)");
            else
                for (std::size_t i = 0; i < std::min<std::size_t>(v.count, 100'000); ++i) {
                    cg_claim_entry e{};
                    std::memcpy(&e, reinterpret_cast<const char*>(v.entries) + i * v.stride, sizeof e);
                    value->text += std::string(sdk::view(e.key)) + "=" + std::string(reinterpret_cast<const char*>(sdk::view(e.value).data()), e.value.data == nullptr ? 0 : e.value.size) + "@" +
                                   std::to_string(e.revision) + "\n";
                }
        }
        out.text = value->text;
        out.value = std::move(value);
        return out;
    };
}

result_reader committed_result() {
    return [](const void* result) {
        if (result == nullptr)
            recorder::violated("library.struct_sizes", "commit was completed with CG_OK and no cg_claim_committed");
        else
            (void)read_checked(static_cast<const cg_claim_committed*>(result), "cg_claim_committed");
        return read_result{};
    };
}

class store_workload : public workload {
  public:
    explicit store_workload(instance& i) : i_(i), api_(i.api<cg_claim_store_api>("cg_claim_store_api")) {
        if (api_.get == nullptr || api_.commit == nullptr) {
            recorder::violated("library.struct_sizes", "cg_claim_store_api lacks get or commit");
            throw cannot_judge("library.struct_sizes", "the store cannot be asked");
        }
    }
    // Odd numbers write, so that bursts and stops meet commits in flight; what is read by others never changes.
    cg_op begin(std::uint32_t shard, const operation_options& o) override {
        if (o.number % 4 == 3) return put(shard, "check/" + std::to_string(shard) + "/" + std::to_string(o.number), "v", o.left_ns, o.cancelled);
        return get(shard, {"read/" + std::to_string(o.number)}, o.left_ns, o.cancelled);
    }
    cg_op begin_at_guard(std::uint32_t shard) override { return get(shard, {"x", "y/z"}); }
    [[nodiscard]] std::uint32_t hostile_count() const override { return 8; }
    [[nodiscard]] std::string hostile_name(std::uint32_t n) const override {
        static const char* const names[] = {"an empty key", "a key with NUL", "a key that is no UTF-8", "a key of 1 MB", "no key at all", "10,000 keys", "a value of 2 MB", "a key with .."};
        return names[n];
    }
    cg_op begin_hostile(std::uint32_t shard, std::uint32_t n) override {
        switch (n) {
            case 0: return get(shard, {""});
            case 1: return get(shard, {std::string("a\0b", 3)});
            case 2: return get(shard, {"\xff\xfe"});
            case 3: return get(shard, {std::string(1u << 20, 'k')});
            case 4: return get(shard, {});
            case 5: return get(shard, std::vector<std::string>(3'000, "k"));
            case 6: return put(shard, "big", std::string(2u << 20, 'v'));
            default: return put(shard, "a/../b", "v");
        }
    }
    cg_op begin_random(std::uint32_t shard, std::mt19937_64& random, const std::string& named) override {
        const auto left = random() % 4 == 0 ? std::int64_t{-1'000'000} : std::int64_t{2'000'000'000};
        const auto key = "random/" + std::to_string(random() % 50);
        if (random() % 2 == 0) {
            const std::string value(random() % 2000, static_cast<char>(random()));
            recorder::note(named + "commit of " + key + " with " + std::to_string(value.size()) + " bytes");
            return put(shard, key, value, left);
        }
        recorder::note(named + "get of " + key);
        return get(shard, {key}, left);
    }
    [[nodiscard]] std::string outcome(cg_op op) override {
        const auto a = i_.host().take(op);
        return a && a->status == CG_OK && a->result.value ? a->as<claim_answer>().text : std::string();
    }
    [[nodiscard]] std::uint32_t at_once() override { return 64; }

  private:
    static cg_str put_text(const std::string& s, std::vector<std::shared_ptr<guarded_block>>& memory) {
        if (s.empty()) return {nullptr, 0};
        memory.push_back(std::make_shared<guarded_block>(s.size(), string_memory));
        std::memcpy(memory.back()->data(), s.data(), s.size());
        return {reinterpret_cast<const char*>(memory.back()->data()), s.size()};
    }
    cg_op get(std::uint32_t shard, const std::vector<std::string>& keys, std::int64_t left = 2'000'000'000, bool cancelled = false) {
        std::vector<std::shared_ptr<guarded_block>> memory;
        auto list = std::make_shared<guarded_block>(keys.size() * sizeof(cg_str), request_memory);
        auto* items = reinterpret_cast<cg_str*>(list->data());
        // Many equal keys share their bytes: blocks are few.
        cg_str last{nullptr, 0};
        for (std::size_t n = 0; n < keys.size(); ++n) items[n] = last = n != 0 && keys[n] == keys[n - 1] ? last : put_text(keys[n], memory);
        auto request = sdk::make<cg_claim_get>();
        request.keys = {items, keys.size()};
        std::unique_ptr<guarded_block> block;
        const auto* placed = place(request, sizeof request, i_.shape(), request_memory, block);
        memory.push_back(std::move(block));
        memory.push_back(std::move(list));
        return i_.begin(
            "get", values_result(), left, std::move(memory), [&](cg_op op) { return api_.get(i_.c(), i_.shard_state(shard), op, placed); }, cancelled);
    }
    cg_op put(std::uint32_t shard, const std::string& key, const std::string& value, std::int64_t left = 2'000'000'000, bool cancelled = false) {
        std::vector<std::shared_ptr<guarded_block>> memory;
        const std::size_t stride = sizeof(cg_claim_put) + (i_.shape() == host_shape::newer ? 32 : 0);
        auto items = std::make_shared<guarded_block>(stride, request_memory);
        cg_claim_put item{};
        item.key = put_text(key, memory);
        const auto v = put_text(value, memory);
        item.value = {reinterpret_cast<const std::uint8_t*>(v.data), v.size};
        std::memcpy(items->data(), &item, sizeof item);
        auto request = sdk::make<cg_claim_commit>();
        request.precondition_stride = sizeof(cg_claim_precondition);
        request.puts = reinterpret_cast<const cg_claim_put*>(items->data());
        request.put_count = 1;
        request.put_stride = static_cast<std::uint32_t>(stride);
        std::unique_ptr<guarded_block> block;
        const auto* placed = place(request, sizeof request, i_.shape(), request_memory, block);
        memory.push_back(std::move(block));
        memory.push_back(std::move(items));
        return i_.begin(
            "commit", committed_result(), left, std::move(memory), [&](cg_op op) { return api_.commit(i_.c(), i_.shard_state(shard), op, placed); }, cancelled);
    }
    instance& i_;
    cg_claim_store_api api_;
};

}  // namespace

std::unique_ptr<workload> claim_workload(instance& i) { return std::make_unique<store_workload>(i); }

}  // namespace callgate::check
