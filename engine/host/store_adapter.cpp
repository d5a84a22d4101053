// SPDX-License-Identifier: Apache-2.0
// Claim store plugins as flow::store_port.
#include "engine/host/store_adapter.hpp"

#include <callgate/abi/draft/claim_store.h>
#include <callgate/abi/draft/kinds.h>

#include <algorithm>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "engine/host/abi_read.hpp"

namespace callgate::host {
namespace {

using state = flow::stored_result::state;
using document_ptr = std::shared_ptr<const std::string>;

flow::stored_result unavailable(std::string reason) { return {state::unavailable, nullptr, 0, std::move(reason)}; }

// Oldest entries go first: each lives for one ttl, so the order of insertion is the order of expiry.
class document_cache {
  public:
    explicit document_cache(lookup_cache_options o) : options_(o) {}

    std::optional<flow::stored_result> find(std::string_view key, std::int64_t now_ns) {
        if (options_.ttl_ns == 0) return std::nullopt;
        const std::lock_guard lock(mutex_);
        const auto i = by_key_.find(key);
        if (i == by_key_.end() || i->second->expires_ns <= now_ns) return std::nullopt;
        return flow::stored_result{state::found, i->second->document, i->second->revision, {}};
    }
    void keep(std::string_view key, const document_ptr& document, std::uint64_t revision, std::int64_t now_ns) {
        const auto size = cost(key, *document);
        if (options_.ttl_ns == 0 || size > options_.max_bytes / 4) return;
        const std::lock_guard lock(mutex_);
        if (const auto i = by_key_.find(key); i != by_key_.end()) {
            // Answers may overtake each other; the older one must not come back.
            if (i->second->revision > revision) return;
            drop(i->second);
        }
        while (!entries_.empty() && (entries_.front().expires_ns <= now_ns || entries_.size() >= options_.max_entries || bytes_ + size > options_.max_bytes))
            drop(entries_.begin());
        entries_.push_back({std::string(key), document, revision, now_ns + options_.ttl_ns});
        by_key_.emplace(entries_.back().key, std::prev(entries_.end()));
        bytes_ += size;
    }
    void forget(std::string_view key) {
        const std::lock_guard lock(mutex_);
        if (const auto i = by_key_.find(key); i != by_key_.end()) drop(i->second);
    }

  private:
    struct entry {
        std::string key;
        document_ptr document;
        std::uint64_t revision;
        std::int64_t expires_ns;
    };
    static std::size_t cost(std::string_view key, const std::string& document) { return key.size() + document.size() + 128; }
    void drop(std::list<entry>::iterator i) {
        bytes_ -= cost(i->key, *i->document);
        by_key_.erase(i->key);
        entries_.erase(i);
    }

    const lookup_cache_options options_;
    std::mutex mutex_;
    std::list<entry> entries_;
    std::unordered_map<std::string_view, std::list<entry>::iterator> by_key_;
    std::size_t bytes_ = 0;
};

struct shared_parts {
    explicit shared_parts(lookup_cache_options o) : cache(o) {}
    document_cache cache;
    lookup_metrics metrics;
};

class get_body final : public operation_body {
  public:
    get_body(std::string_view key, const clock_source& clock, std::shared_ptr<shared_parts> parts, flow::request_tag tag, flow::completion_sink& sink)
        : key_(key), clock_(clock), parts_(std::move(parts)), tag_(tag), sink_(sink) {
        text_ = to_c(key_);
        request_.struct_size = sizeof request_;
        request_.keys = {&text_, 1};
    }
    [[nodiscard]] const cg_claim_get* request() const noexcept { return &request_; }

    taken take(const cg_completion& c) override {
        if (c.status != CG_OK) {
            cg_error e{};
            const bool explained = read_struct(c.error, e);
            result_ = unavailable(std::string(status_name(c.status)) + (explained ? ": " + bounded(e.text, 1024) : ""));
            return taken::failed;
        }
        cg_claim_values values{};
        if (!read_struct(static_cast<const cg_claim_values*>(c.result), values) || values.count != 1 || values.entries == nullptr) {
            result_ = unavailable("the claim store completed without the one value it was asked for");
            return taken::fault;
        }
        const auto entry = read_element(values.entries, 0, values.stride);
        if (view(entry.key) != key_ || (entry.value.data == nullptr && entry.value.size != 0)) {
            result_ = unavailable("the claim store answered for another key");
            return taken::fault;
        }
        if (entry.revision == 0) {
            result_ = {state::missing, nullptr, 0, {}};
            return taken::ok;
        }
        if (entry.value.size > max_looked_up_bytes) {
            result_ = unavailable("the stored document is larger than 1 MiB");
            return taken::fault;
        }
        result_ = {state::found, std::make_shared<const std::string>(reinterpret_cast<const char*>(entry.value.data), entry.value.size), entry.revision, {}};
        return taken::ok;
    }
    void deliver() override {
        auto& m = parts_->metrics;
        auto& counter = result_.what == state::found ? m.found : result_.what == state::missing ? m.missing : m.unavailable;
        counter.fetch_add(1, std::memory_order_relaxed);
        if (result_.what == state::found) parts_->cache.keep(key_, result_.document, result_.revision, clock_.mono_ns());
        if (result_.what == state::missing) parts_->cache.forget(key_);
        sink_.on_stored(tag_, std::move(result_));
    }
    void fail(cg_status status) override {
        parts_->metrics.unavailable.fetch_add(1, std::memory_order_relaxed);
        sink_.on_stored(tag_, unavailable(status == CG_E_DEADLINE ? "the claim store did not answer in time" : "the claim store refused: " + std::string(status_name(status))));
    }

  private:
    const std::string key_;
    cg_str text_{};
    cg_claim_get request_{};
    const clock_source& clock_;
    std::shared_ptr<shared_parts> parts_;
    flow::request_tag tag_;
    flow::completion_sink& sink_;
    flow::stored_result result_;
};

class store_adapter final : public store_lookup {
  public:
    store_adapter(std::shared_ptr<instance> owner, const cg_claim_store_api& api, lookup_cache_options cache)
        : owner_(std::move(owner)), api_(api), parts_(std::make_shared<shared_parts>(cache)) {}

    [[nodiscard]] std::string_view name() const override { return owner_->name(); }
    [[nodiscard]] const lookup_metrics& lookups() const noexcept override { return parts_->metrics; }

    void get(std::uint32_t shard, std::string_view key, std::int64_t deadline_ns, flow::request_tag tag, flow::completion_sink& sink) override {
        if (auto kept = parts_->cache.find(key, owner_->table().clock().mono_ns())) {
            parts_->metrics.hits.fetch_add(1, std::memory_order_relaxed);
            return sink.on_stored(tag, std::move(*kept));
        }
        auto mine = std::make_unique<get_body>(key, owner_->table().clock(), parts_, tag, sink);
        const auto* const request = mine->request();
        std::unique_ptr<operation_body> body = std::move(mine);
        const auto why = owner_->begin(shard, deadline_ns, body, [get = api_.get, owner = owner_.get(), request](cg_op op, void* shard_state) {
            return get(owner->plugin(), shard_state, op, request);
        });
        if (why == refusal::none) return;
        parts_->metrics.unavailable.fetch_add(1, std::memory_order_relaxed);
        sink.on_stored(tag, unavailable("the claim store " + std::string(to_string(why))));
    }

  private:
    const std::shared_ptr<instance> owner_;
    const cg_claim_store_api api_;
    const std::shared_ptr<shared_parts> parts_;
};

}  // namespace

result<std::shared_ptr<store_lookup>> make_store_port(std::shared_ptr<instance> owner, lookup_cache_options cache) {
    cg_claim_store_api api{};
    if (owner->kind() != CG_KIND_CLAIM_STORE || !read_struct(static_cast<const cg_claim_store_api*>(owner->api()), api) || api.get == nullptr)
        return make_error(errc::abi, "plugin instance \"" + owner->name() + "\" (" + owner->library().plugin_id + "): it is no claim store with a get function");
    return std::shared_ptr<store_lookup>(std::make_shared<store_adapter>(std::move(owner), api, cache));
}

}  // namespace callgate::host
