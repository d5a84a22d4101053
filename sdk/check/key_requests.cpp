// SPDX-License-Identifier: Apache-2.0
#include "sdk/check/key_requests.hpp"

#include <callgate/nats/nkey.hpp>
#include <callgate/sdk/value.hpp>
#include <set>

#include "sdk/check/recorder.hpp"

namespace callgate::check {
namespace {

constexpr guard_rule batch_memory = {"the batch", "library.newer_host", "operations.request_lifetime"};
constexpr guard_rule message_memory = {"a message of the batch", "operations.string_bounds", "operations.request_lifetime"};
constexpr guard_rule signature_memory = {"the 64 bytes of a signature", "operations.out_buffers", "operations.request_lifetime"};
constexpr std::size_t max_pages = 100;
constexpr std::size_t max_keys = 10'000;

struct page_value {
    std::vector<listed_key> keys;
    std::string next;
};

listed_key read_key(const cg_key_info& k) {
    listed_key out{k.key, k.algorithm, std::string(sdk::view(k.nkey)), std::string(sdk::view(k.label)), k.max_message_bytes, {}, '?', 0};
    const auto named = "key \"" + out.label + "\"";
    const auto decoded = nats::decode_public(out.nkey);
    if (!decoded) {
        recorder::violated("keys.list", named + " has nkey \"" + out.nkey + "\", which is no public nkey of 56 characters: " + decoded.error().text);
        return out;
    }
    out.raw = decoded->bytes;
    out.letter = nats::letter(decoded->type);
    const bool curve = decoded->type == nats::key_type::curve;
    if (k.algorithm != (curve ? CG_KEY_X25519 : CG_KEY_ED25519))
        recorder::violated("keys.list", named + " is an nkey of kind " + out.letter + " but says algorithm " + std::to_string(k.algorithm) + ": X keys are CG_KEY_X25519, all others CG_KEY_ED25519");
    if (k.key == 0) recorder::violated("keys.list", named + " has the handle 0, which means none");
    if (out.label.empty()) recorder::violated("keys.list", "the key " + out.nkey + " has no label: the configuration refers to keys by it");
    return out;
}

result_reader page_result() {
    return [](const void* result) {
        auto value = std::make_shared<page_value>();
        read_result out;
        if (result == nullptr) {
            recorder::violated("keys.list", "list_keys was completed with CG_OK and no cg_key_page");
        } else {
            const auto p = read_checked(static_cast<const cg_key_page*>(result), "cg_key_page");
            if (p.count != 0 && (p.keys == nullptr || p.stride < sizeof(cg_key_info)))
                recorder::violated("library.struct_sizes", "the stride of a cg_key_page is " + std::to_string(p.stride) + "; set it to sizeof(cg_key_info)");
            else
                for (std::size_t i = 0; i < std::min(p.count, max_keys); ++i)
                    value->keys.push_back(read_key(read_checked(reinterpret_cast<const cg_key_info*>(reinterpret_cast<const char*>(p.keys) + i * p.stride), "cg_key_info")));
            value->next.assign(reinterpret_cast<const char*>(p.next.data), p.next.data == nullptr ? 0 : p.next.size);
        }
        for (const auto& k : value->keys) out.text += k.label + "=" + k.nkey + "\n";
        out.value = std::move(value);
        return out;
    };
}

cg_key_provider_api table(instance& i) {
    auto api = i.api<cg_key_provider_api>("cg_key_provider_api");
    if (api.sign_batch == nullptr || api.list_keys == nullptr) {
        recorder::violated("library.struct_sizes", "cg_key_provider_api lacks sign_batch or list_keys");
        throw cannot_judge("library.struct_sizes", "the provider cannot be asked");
    }
    return api;
}

}  // namespace

cg_key_limits key_limits(instance& i) {
    const auto api = table(i);
    auto out = sdk::make<cg_key_limits>();
    out.max_batch = out.max_in_flight = 1;
    if (api.limits == nullptr) return out;
    const auto* theirs = plugin_call("limits", [&] { return api.limits(i.c()); });
    if (theirs == nullptr) return out;
    const auto l = read_checked(theirs, "cg_key_limits");
    if (l.max_batch == 0 || l.max_in_flight == 0)
        recorder::violated("keys.limits", "limits() says max_batch " + std::to_string(l.max_batch) + " and max_in_flight " + std::to_string(l.max_in_flight) + "; both are at least 1");
    out.max_batch = std::max(1u, l.max_batch);
    out.max_in_flight = std::max(1u, l.max_in_flight);
    return out;
}

std::vector<listed_key> list_keys(instance& i) {
    const auto api = table(i);
    std::vector<listed_key> out;
    std::set<cg_key> handles;
    std::set<std::string> labels;
    std::string from;
    for (std::size_t pages = 0;; ++pages) {
        if (pages == max_pages || out.size() > max_keys) {
            recorder::violated("keys.list", "list_keys still gives a next page after " + std::to_string(pages) + " pages: the last one has an empty `next`");
            break;
        }
        std::vector<std::shared_ptr<guarded_block>> memory;
        cg_bytes position{nullptr, 0};
        if (!from.empty()) {
            memory.push_back(std::make_shared<guarded_block>(from.size(), message_memory));
            std::memcpy(memory.back()->data(), from.data(), from.size());
            position = {memory.back()->data(), from.size()};
        }
        const auto op = i.begin("list_keys", page_result(), 5'000'000'000, std::move(memory), [&](cg_op o) { return api.list_keys(i.c(), o, position); });
        i.must_complete({op});
        const auto a = i.host().take(op);
        if (!a || a->status != CG_OK) {
            recorder::violated("keys.list", "list_keys fails" + (a ? " with " + status_text(a->status) + ": " + a->error : std::string()));
            throw cannot_judge("keys.list", "the keys are not known");
        }
        const auto& page = a->as<page_value>();
        for (const auto& k : page.keys) {
            if (!handles.insert(k.handle).second) recorder::violated("keys.list", "two keys have the handle " + std::to_string(k.handle));
            if (!labels.insert(k.label).second) recorder::violated("keys.list", "two keys have the label \"" + k.label + "\"");
            out.push_back(k);
        }
        if (page.next.empty()) break;
        from = page.next;
    }
    return out;
}

std::vector<listed_key> signing_keys(instance& i) {
    std::vector<listed_key> out;
    for (auto k : list_keys(i)) {
        if (k.algorithm != CG_KEY_ED25519) continue;
        // Providers may refuse purposes; a key is of use when it signs for one.
        for (const std::uint32_t purpose : {CG_SIGN_GENERIC, CG_SIGN_USER_JWT, CG_SIGN_AUTH_RESPONSE, CG_SIGN_ACCOUNT_JWT, CG_SIGN_OPERATOR_JWT, CG_SIGN_ACTIVATION, CG_SIGN_NONCE}) {
            const auto outcomes = sign_and_wait(i, {{k.handle, purpose, "which purpose"}});
            if (!outcomes.empty() && outcomes[0].status == CG_OK) {
                k.purpose = purpose;
                out.push_back(k);
                break;
            }
        }
    }
    if (out.empty()) throw not_applicable("the configuration has no Ed25519 key that signs for any purpose");
    return out;
}

batch_in_flight sign(instance& i, std::uint32_t shard, const std::vector<sign_request>& items, std::int64_t left_ns, bool cancelled) {
    const auto api = table(i);
    const std::size_t stride = sizeof(cg_sign_item) + (i.shape() == host_shape::newer ? 32 : 0);
    std::vector<std::shared_ptr<guarded_block>> memory;
    std::vector<std::shared_ptr<guarded_block>> signatures;
    auto list = std::make_shared<guarded_block>(stride * items.size(), batch_memory);
    std::memset(list->data(), 0xee, list->size());
    for (std::size_t n = 0; n < items.size(); ++n) {
        cg_sign_item item{};
        item.key = items[n].key;
        item.purpose = items[n].purpose;
        item.status = status_untouched;
        if (!items[n].message.empty()) {
            memory.push_back(std::make_shared<guarded_block>(items[n].message.size(), message_memory));
            std::memcpy(memory.back()->data(), items[n].message.data(), items[n].message.size());
            item.message = {memory.back()->data(), items[n].message.size()};
        }
        signatures.push_back(std::make_shared<guarded_block>(64, signature_memory));
        item.signature = signatures.back()->data();
        std::memcpy(list->data() + n * stride, &item, sizeof item);
        memory.push_back(signatures.back());
    }
    auto batch = sdk::make<cg_sign_batch>();
    batch.stride = static_cast<std::uint32_t>(stride);
    batch.items = reinterpret_cast<cg_sign_item*>(list->data());
    batch.count = items.size();
    std::unique_ptr<guarded_block> block;
    const auto* placed = place(batch, sizeof batch, i.shape(), batch_memory, block);
    memory.push_back(std::move(block));
    memory.push_back(list);
    auto outcomes = std::make_shared<std::vector<sign_outcome>>();
    auto reader = [outcomes, list, signatures, stride, count = items.size()](const void*) {
        // The reader also runs again before a release; then the memory is gone and the first reading stands.
        if (outcomes->empty())
            for (std::size_t n = 0; n < count; ++n) {
                cg_sign_item item{};
                std::memcpy(&item, list->data() + n * stride, sizeof item);
                sign_outcome o;
                o.status = item.status;
                std::memcpy(o.signature.data(), signatures[n]->data(), 64);
                outcomes->push_back(o);
            }
        return read_result{};
    };
    const cg_op op = i.begin(
        "sign_batch", std::move(reader), left_ns, std::move(memory),
        [&](cg_op o) { return api.sign_batch(i.c(), shard == no_shard ? nullptr : i.shard_state(shard), o, placed); }, cancelled);
    return {op, std::move(outcomes)};
}

std::vector<sign_outcome> sign_and_wait(instance& i, const std::vector<sign_request>& items, answer* failure) {
    batch_in_flight b;
    i.on_shard(0, [&] { b = sign(i, 0, items); });
    i.must_complete({b.op});
    const auto a = i.host().take(b.op);
    if (a && a->status == CG_OK) return *b.outcomes;
    if (failure != nullptr) {
        *failure = a ? *a : answer{};
        if (!a) failure->error = "sign_batch() did not accept the operation";
    }
    return {};
}

answer export_shared(instance& i, cg_key key, const std::string& peer) {
    const auto api = table(i);
    if (api.export_shared == nullptr) throw not_applicable("the provider has no export_shared: it offers no xkeys");
    std::vector<std::shared_ptr<guarded_block>> memory;
    cg_bytes bytes{nullptr, 0};
    if (!peer.empty()) {
        memory.push_back(std::make_shared<guarded_block>(peer.size(), message_memory));
        std::memcpy(memory.back()->data(), peer.data(), peer.size());
        bytes = {memory.back()->data(), peer.size()};
    }
    auto reader = [](const void* result) {
        read_result out;
        auto value = std::make_shared<shared_value>();
        if (result == nullptr) {
            recorder::violated("keys.shared_key", "export_shared was completed with CG_OK and no cg_shared_key");
        } else {
            const auto k = read_checked(static_cast<const cg_shared_key*>(result), "cg_shared_key");
            std::copy(std::begin(k.key), std::end(k.key), value->key.begin());
        }
        out.text.assign(value->key.begin(), value->key.end());
        out.value = std::move(value);
        return out;
    };
    const cg_op op = i.begin("export_shared", std::move(reader), 5'000'000'000, std::move(memory), [&](cg_op o) { return api.export_shared(i.c(), nullptr, o, key, bytes); });
    i.must_complete({op});
    const auto a = i.host().take(op);
    if (!a) return {CG_E_INTERNAL, "export_shared() did not accept the operation", {}, {}, false, false, 0};
    return *a;
}

}  // namespace callgate::check
