// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/claim_store.h>
#include <callgate/sdk/testing/fake_host.hpp>

/// A claim store as its host calls it, through the C table. For tests; one thread calls, any thread answers.
namespace callgate::sdk::test {

struct precondition {
    std::uint32_t kind;
    std::string key;
    std::uint64_t revision = 0;
};
struct claim_commit {
    std::vector<std::pair<std::string, std::string>> puts{};
    std::vector<std::string> deletes{};
    std::vector<precondition> preconditions{};
    std::string idempotency{};
};
struct captured_change {
    std::uint32_t kind = 0;
    std::string key, value;
    std::uint64_t revision = 0;
    std::string resume;
};

/// The consumer's half of a watch; what came is kept. Outlives the stream.
class captured_stream {
  public:
    explicit captured_stream(cg_stream id, std::uint32_t credits) {
        sink_ = make<cg_stream_sink>();
        sink_.initial_credits = credits;
        sink_.stream = id;
        sink_.ctx = this;
        sink_.on_event = [](void* ctx, cg_stream, const cg_stream_event* e) { static_cast<captured_stream*>(ctx)->event(copy_in(e)); };
        sink_.on_end = [](void* ctx, cg_stream, const cg_stream_end* e) { static_cast<captured_stream*>(ctx)->end(copy_in(e)); };
    }
    [[nodiscard]] const cg_stream_sink* sink() const noexcept { return &sink_; }
    [[nodiscard]] cg_stream id() const noexcept { return sink_.stream; }
    /// Waits until that many changes are there, at most 20 s. All of them so far.
    std::vector<captured_change> wait(std::size_t count) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::seconds(20), [&] { return changes_.size() >= count || ends_ != 0; });
        return changes_;
    }
    /// Waits for the end; nullopt when none came within 20 s.
    std::optional<cg_status> wait_end() {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, std::chrono::seconds(20), [&] { return ends_ != 0; })) return std::nullopt;
        return status_;
    }
    [[nodiscard]] std::string resume() const {
        const std::lock_guard lock(mutex_);
        return resume_;
    }
    [[nodiscard]] std::string error() const {
        const std::lock_guard lock(mutex_);
        return error_;
    }
    [[nodiscard]] std::size_t count() const {
        const std::lock_guard lock(mutex_);
        return changes_.size();
    }
    /// Breaches of the contract: calls at once, an event after the end, a second end.
    [[nodiscard]] int faults() const noexcept { return faults_; }

  private:
    void event(const cg_stream_event& e) {
        if (inside_.fetch_add(1) != 0) ++faults_;
        const auto c = copy_in(static_cast<const cg_claim_change*>(e.payload));
        const auto value = view(c.value);
        const auto token = view(e.resume);
        {
            const std::lock_guard lock(mutex_);
            if (ends_ != 0) ++faults_;
            resume_.assign(token.begin(), token.end());
            changes_.push_back({c.kind, std::string(view(c.key)), std::string(value.begin(), value.end()), c.revision, resume_});
        }
        changed_.notify_all();
        inside_.fetch_sub(1);
    }
    void end(const cg_stream_end& e) {
        const auto token = view(e.resume);
        {
            const std::lock_guard lock(mutex_);
            if (++ends_ != 1) ++faults_;
            status_ = e.status;
            if (e.error != nullptr) error_ = view(copy_in(e.error).text);
            resume_.assign(token.begin(), token.end());
        }
        changed_.notify_all();
    }

    cg_stream_sink sink_{};
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<captured_change> changes_;
    std::string resume_, error_;
    cg_status status_ = CG_OK;
    int ends_ = 0;
    std::atomic<int> inside_{0}, faults_{0};
};

class claim_store_client {
  public:
    claim_store_client(fake_host& host, cg_instance* instance, void* shard_state = nullptr)
        : host_(host), instance_(instance), state_(shard_state), api_(copy_in(static_cast<const cg_claim_store_api*>(instance->api))) {}

    [[nodiscard]] const cg_claim_store_api& api() const noexcept { return api_; }
    [[nodiscard]] cg_claim_limits limits() const { return copy_in(api_.limits(instance_)); }

    completion get(const std::vector<std::string>& keys) { return answer(get_op(keys)); }
    cg_op get_op(const std::vector<std::string>& keys) {
        struct asked : memory {
            std::vector<std::string> texts;
            std::vector<cg_str> list;
            cg_claim_get c = make<cg_claim_get>();
        };
        auto m = std::make_unique<asked>();
        m->texts = keys;
        m->list = strs(m->texts);
        m->c.keys = {m->list.data(), m->list.size()};
        const auto* r = &m->c;
        return start(result_kind::claim_values, std::move(m), [&](cg_op op) { return api_.get(instance_, state_, op, r); });
    }
    completion scan(const std::string& prefix, const std::string& cursor = {}, std::uint32_t limit = 0, std::uint64_t at = 0) {
        struct asked : memory {
            std::string prefix, cursor;
            cg_claim_scan c = make<cg_claim_scan>();
        };
        auto m = std::make_unique<asked>();
        m->prefix = prefix;
        m->cursor = cursor;
        m->c.limit = limit;
        m->c.prefix = to_c(m->prefix);
        m->c.cursor = bytes(m->cursor);
        m->c.at_revision = at;
        const auto* r = &m->c;
        return answer(start(result_kind::claim_page, std::move(m), [&](cg_op op) { return api_.scan(instance_, state_, op, r); }));
    }
    /// All pages of one consistent picture.
    std::vector<captured_entry> scan_all(const std::string& prefix, std::uint32_t limit = 0) {
        std::vector<captured_entry> out;
        std::string cursor;
        std::uint64_t at = 0;
        do {
            auto page = scan(prefix, cursor, limit, at);
            if (page.status != CG_OK) throw std::runtime_error("scan: " + page.error);
            out.insert(out.end(), page.entries.begin(), page.entries.end());
            cursor = page.next;
            at = page.revision;
        } while (!cursor.empty());
        return out;
    }
    completion commit(const claim_commit& c) { return answer(commit_op(c)); }
    cg_op commit_op(const claim_commit& commit) {
        struct asked : memory {
            claim_commit texts;
            std::vector<cg_claim_put> puts;
            std::vector<cg_claim_precondition> pre;
            std::vector<cg_str> deletes;
            cg_claim_commit c = make<cg_claim_commit>();
        };
        auto m = std::make_unique<asked>();
        m->texts = commit;
        for (const auto& [k, v] : m->texts.puts) m->puts.push_back({to_c(k), bytes(v)});
        for (const auto& p : m->texts.preconditions) m->pre.push_back({p.kind, 0, to_c(p.key), p.revision});
        m->deletes = strs(m->texts.deletes);
        m->c.precondition_stride = sizeof(cg_claim_precondition);
        m->c.preconditions = m->pre.data();
        m->c.precondition_count = m->pre.size();
        m->c.put_stride = sizeof(cg_claim_put);
        m->c.puts = m->puts.data();
        m->c.put_count = m->puts.size();
        m->c.deletes = {m->deletes.data(), m->deletes.size()};
        m->c.idempotency = bytes(m->texts.idempotency);
        const auto* r = &m->c;
        return start(result_kind::claim_committed, std::move(m), [&](cg_op op) { return api_.commit(instance_, state_, op, r); });
    }
    completion put(const std::string& key, const std::string& value) { return commit({.puts = {{key, value}}}); }

    completion watch(const captured_stream& stream, const std::string& prefix, std::uint64_t from, const std::string& resume = {}) {
        struct asked : memory {
            std::string prefix, resume;
            cg_claim_watch c = make<cg_claim_watch>();
        };
        auto m = std::make_unique<asked>();
        m->prefix = prefix;
        m->resume = resume;
        m->c.prefix = to_c(m->prefix);
        m->c.from_revision = from;
        m->c.resume = bytes(m->resume);
        const auto* r = &m->c;
        return answer(start(result_kind::claim_watching, std::move(m), [&](cg_op op) { return api_.watch(instance_, state_, op, r, stream.sink()); }));
    }
    void request(const captured_stream& s, std::uint32_t n) { api_.streams->request(instance_, s.id(), n); }
    void cancel(const captured_stream& s) { api_.streams->cancel(instance_, s.id(), CG_CANCEL_REQUESTER); }

    completion snapshot(int fd) {
        return answer(start(result_kind::claim_transfer, nullptr, [&](cg_op op) { return api_.snapshot(instance_, op, fd); }));
    }
    completion restore(int fd, std::uint32_t flags = 0) {
        return answer(start(result_kind::claim_transfer, nullptr, [&](cg_op op) { return api_.restore(instance_, op, fd, flags); }));
    }
    /// Of an operation begun with an _op function; a failure when none came in time.
    completion answer(cg_op op) {
        auto c = host_.wait(op);
        if (c) {
            asked_.erase(op);
            host_.forget(op);
            return *c;
        }
        completion none;
        none.error = "no completion within 20 s";
        return none;
    }

  private:
    // Request and strings live until the operation is answered, as the ABI promises.
    struct memory {
        virtual ~memory() = default;
    };

    template <class Call>
    cg_op start(result_kind kind, std::unique_ptr<memory> request, Call&& call) {
        const cg_op op = host_.begin(kind, std::chrono::hours(1));
        asked_[op] = std::move(request);
        if (const cg_status s = call(op); s != CG_OK) host_.refused(op, s);
        return op;
    }
    static cg_bytes bytes(const std::string& s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }
    static std::vector<cg_str> strs(const std::vector<std::string>& in) {
        std::vector<cg_str> out;
        for (const auto& s : in) out.push_back(to_c(s));
        return out;
    }

    fake_host& host_;
    cg_instance* instance_;
    void* state_;
    const cg_claim_store_api api_;
    std::map<cg_op, std::unique_ptr<memory>> asked_;
};

}  // namespace callgate::sdk::test
