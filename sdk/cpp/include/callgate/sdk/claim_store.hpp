// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/claim_store.h>
#include <callgate/sdk/claim_key.hpp>
#include <callgate/sdk/extensions.hpp>
#include <callgate/sdk/instance.hpp>
#include <callgate/sdk/stream.hpp>
#include <set>
#include <vector>

namespace callgate::sdk {

/// An array of elements with a stride, as this plugin was compiled to see them.
template <class T>
class strided_view {
  public:
    strided_view() noexcept = default;
    strided_view(const T* items, std::size_t count, std::size_t stride) noexcept
        : base_(reinterpret_cast<const unsigned char*>(items)), count_(items == nullptr ? 0 : count), stride_(stride == 0 ? sizeof(T) : stride) {}
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] T operator[](std::size_t i) const noexcept {
        T mine{};
        std::memcpy(&mine, base_ + i * stride_, std::min(stride_, sizeof(T)));
        return mine;
    }

  private:
    const unsigned char* base_ = nullptr;
    std::size_t count_ = 0, stride_ = sizeof(T);
};

/// Requests. Valid until the operation is answered; copying is cheap.
struct claim_get_view {
    explicit claim_get_view(const cg_claim_get* r) noexcept : keys(view(copy_in(r).keys)) {}
    std::span<const cg_str> keys;
};
struct claim_scan_view {
    explicit claim_scan_view(const cg_claim_scan* r) noexcept {
        const auto c = copy_in(r);
        prefix = view(c.prefix);
        cursor = view(c.cursor);
        limit = c.limit;
        at_revision = c.at_revision;
    }
    std::string_view prefix;
    std::span<const std::uint8_t> cursor;
    std::uint32_t limit = 0;
    std::uint64_t at_revision = 0;
};
struct claim_commit_view {
    explicit claim_commit_view(const cg_claim_commit* r) noexcept {
        const auto c = copy_in(r);
        preconditions = {c.preconditions, c.precondition_count, c.precondition_stride};
        puts = {c.puts, c.put_count, c.put_stride};
        deletes = view(c.deletes);
        idempotency = view(c.idempotency);
    }
    strided_view<cg_claim_precondition> preconditions;
    strided_view<cg_claim_put> puts;
    std::span<const cg_str> deletes;
    std::span<const std::uint8_t> idempotency;
};
struct claim_watch_view {
    explicit claim_watch_view(const cg_claim_watch* r) noexcept {
        const auto c = copy_in(r);
        prefix = view(c.prefix);
        from_revision = c.from_revision;
        resume = view(c.resume);
    }
    std::string_view prefix;
    std::uint64_t from_revision = 0;
    std::span<const std::uint8_t> resume;
};

/// What every store has to refuse before it starts anything: limits and form. Throws status_error(CG_E_INVALID).
inline void check(const claim_get_view& r, const cg_claim_limits& limits) {
    if (r.keys.empty() || r.keys.size() > limits.max_get_keys)
        throw status_error(CG_E_INVALID, "get takes 1 to " + std::to_string(limits.max_get_keys) + " keys");
    for (const auto& k : r.keys)
        if (const auto fault = claim_key_fault(view(k)); !fault.empty()) throw status_error(CG_E_INVALID, "key \"" + std::string(view(k)) + "\" " + std::string(fault));
}
inline void check(const claim_scan_view& r) {
    if (const auto fault = claim_prefix_fault(r.prefix); !fault.empty()) throw status_error(CG_E_INVALID, "prefix " + std::string(fault));
    if (r.cursor.size() > CG_CLAIM_MAX_CURSOR_BYTES) throw status_error(CG_E_INVALID, "cursor is none of this store's");
}
inline void check(const claim_watch_view& r) {
    if (const auto fault = claim_prefix_fault(r.prefix); !fault.empty()) throw status_error(CG_E_INVALID, "prefix " + std::string(fault));
    if (r.resume.size() > CG_STREAM_TOKEN_MAX) throw status_error(CG_E_INVALID, "resume token is none of this store's");
}
inline void check(const claim_commit_view& r, const cg_claim_limits& limits) {
    const auto refuse = [](const std::string& text) { throw status_error(CG_E_INVALID, text); };
    if (r.puts.size() + r.deletes.size() == 0) refuse("a commit needs a put or a delete");
    if (r.preconditions.size() > limits.max_commit_items || r.puts.size() > limits.max_commit_items || r.deletes.size() > limits.max_commit_items ||
        r.preconditions.size() + r.puts.size() + r.deletes.size() > limits.max_commit_items)
        refuse("a commit takes at most " + std::to_string(limits.max_commit_items) + " preconditions, puts and deletes");
    if (r.idempotency.size() > CG_CLAIM_MAX_IDEMPOTENCY_BYTES) refuse("the idempotency token is longer than 64 bytes");
    std::uint64_t bytes = 0;
    std::set<std::string_view> seen;
    const auto key = [&](std::string_view k) {
        if (const auto fault = claim_key_fault(k); !fault.empty()) refuse("key \"" + std::string(k.substr(0, CG_CLAIM_MAX_KEY_BYTES)) + "\" " + std::string(fault));
        bytes += k.size();
        if (!seen.insert(k).second) refuse("key \"" + std::string(k) + "\" is there twice among puts and deletes");
    };
    for (std::size_t i = 0; i < r.puts.size(); ++i) {
        const auto p = r.puts[i];
        key(view(p.key));
        if (p.value.size > limits.max_value_bytes)
            refuse("the value of \"" + std::string(view(p.key)) + "\" has " + std::to_string(p.value.size) + " bytes; at most " + std::to_string(limits.max_value_bytes) + " are taken");
        bytes += p.value.size;
    }
    for (const auto& d : r.deletes) key(view(d));
    for (std::size_t i = 0; i < r.preconditions.size(); ++i) {
        const auto p = r.preconditions[i];
        const bool prefix = p.kind == CG_CLAIM_PREFIX_UNCHANGED;
        if (!prefix && p.kind != CG_CLAIM_KEY_AT && p.kind != CG_CLAIM_KEY_ABSENT) refuse("a precondition is of unknown kind " + std::to_string(p.kind));
        if (p.kind == CG_CLAIM_KEY_AT && p.revision == 0) refuse("the precondition KEY_AT needs a revision; KEY_ABSENT says that there is none");
        if (const auto fault = prefix ? claim_prefix_fault(view(p.key)) : claim_key_fault(view(p.key)); !fault.empty()) refuse("the key of a precondition " + std::string(fault));
        bytes += p.key.size;
    }
    if (bytes > limits.max_commit_bytes) refuse("the commit has " + std::to_string(bytes) + " bytes; at most " + std::to_string(limits.max_commit_bytes) + " are taken");
}

/// Collects entries and answers a get or a scan. Owns copies. One thread.
class claim_entries {
  public:
    void add(std::string_view key, std::string_view value, std::uint64_t revision) {
        rows_.push_back({std::string(key), std::string(value), revision});
        bytes_ += key.size() + value.size();
    }
    [[nodiscard]] std::size_t size() const noexcept { return rows_.size(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::string_view last_key() const noexcept { return rows_.empty() ? std::string_view{} : std::string_view(rows_.back().key); }

    void send_values(op_handle& op, std::uint64_t revision) const {
        const auto all = entries();
        auto out = make<cg_claim_values>();
        out.stride = sizeof(cg_claim_entry);
        out.entries = all.data();
        out.count = all.size();
        out.revision = revision;
        op.succeed(&out);
    }
    /// `next` empty = last page.
    void send_page(op_handle& op, std::uint64_t revision, std::string_view next) const {
        const auto all = entries();
        auto out = make<cg_claim_page>();
        out.stride = sizeof(cg_claim_entry);
        out.entries = all.data();
        out.count = all.size();
        out.next = {reinterpret_cast<const std::uint8_t*>(next.data()), next.size()};
        out.revision = revision;
        op.succeed(&out);
    }

  private:
    struct row {
        std::string key, value;
        std::uint64_t revision;
    };
    [[nodiscard]] std::vector<cg_claim_entry> entries() const {
        std::vector<cg_claim_entry> out;
        out.reserve(rows_.size());
        for (const auto& r : rows_) out.push_back({to_c(r.key), {reinterpret_cast<const std::uint8_t*>(r.value.data()), r.value.size()}, r.revision});
        return out;
    }
    std::vector<row> rows_;
    std::uint64_t bytes_ = 0;
};

inline void send_committed(op_handle& op, std::uint64_t revision, bool replayed) noexcept {
    auto out = make<cg_claim_committed>();
    out.outcome = CG_OK;
    out.revision = revision;
    out.replayed = replayed ? 1 : 0;
    op.succeed(&out);
}
inline void send_conflict(op_handle& op, std::uint64_t store_revision, std::string_view key, std::uint64_t key_revision) noexcept {
    auto out = make<cg_claim_committed>();
    out.outcome = CG_E_CONFLICT;
    out.revision = store_revision;
    out.conflict_key = to_c(key);
    out.conflict_revision = key_revision;
    op.succeed(&out);
}
/// Opens the stream and answers the watch; events may be sent afterwards.
inline void send_watching(op_handle& op, stream_source& stream, std::uint64_t revision) noexcept {
    auto out = make<cg_claim_watching>();
    out.revision = revision;
    stream.open();
    op.succeed(&out);
}
inline bool send_change(stream_source& stream, std::uint32_t kind, std::string_view key, std::string_view value, std::uint64_t revision,
                        std::span<const std::uint8_t> resume) {
    auto out = make<cg_claim_change>();
    out.kind = kind;
    out.key = to_c(key);
    out.value = {reinterpret_cast<const std::uint8_t*>(value.data()), value.size()};
    out.revision = revision;
    return stream.event(&out, resume);
}
inline void send_transfer(op_handle& op, std::uint64_t revision, std::uint64_t entries, std::uint64_t bytes) noexcept {
    auto out = make<cg_claim_transfer>();
    out.revision = revision;
    out.entries = entries;
    out.bytes = bytes;
    op.succeed(&out);
}

/// Base of a claim store. Requests have been checked against the limits when they arrive here. A class to be listed
/// in CALLGATE_PLUGIN also has
///   static constexpr std::string_view type, summary, config_schema;
///   static std::unique_ptr<claim_store> create(host_ref, const create_args&);
class claim_store : public instance {
  public:
    static constexpr std::uint32_t kind = CG_KIND_CLAIM_STORE;

    /// [shard], or [control] with state nullptr; must not block. Answer with claim_entries.
    virtual void get(shard_state* state, op_handle&& op, const claim_get_view& request) = 0;
    virtual void scan(shard_state* state, op_handle&& op, const claim_scan_view& request) = 0;
    /// Answer with send_committed or send_conflict.
    virtual void commit(shard_state* state, op_handle&& op, const claim_commit_view& request) = 0;
    /// Answer with send_watching, then send_change as long as there are credits. `stream` may be cancelled already:
    /// then fail the operation with CG_E_CANCELLED.
    virtual void watch(shard_state* state, op_handle&& op, const claim_watch_view& request, std::shared_ptr<stream_source> stream) = 0;
    /// [any] The consumer gave credits or cancelled: look at the stream again. Must not block.
    virtual void stream_changed(cg_stream stream) = 0;
    /// [control] Answer with send_transfer. The descriptor stays open until then.
    virtual void snapshot(op_handle&& op, int /*fd*/) { op.fail(CG_E_UNSUPPORTED, "this claim store has no snapshots"); }
    virtual void restore(op_handle&& op, int /*fd*/, bool /*replace*/) { op.fail(CG_E_UNSUPPORTED, "this claim store has no snapshots"); }

  protected:
    claim_store(host_ref host, const cg_claim_limits& limits) noexcept : instance(host, kind, &c_table_), limits_(limits) {
        limits_.struct_size = sizeof limits_;
    }
    [[nodiscard]] const cg_claim_limits& limits() const noexcept { return limits_; }

  private:
    static const cg_claim_store_api c_table_;
    static const cg_stream_control c_streams_;
    static claim_store& self(cg_instance* i) noexcept { return static_cast<claim_store&>(of(i)); }
    static shard_state* state_of(void* s) noexcept { return static_cast<shard_state*>(s); }

    cg_claim_limits limits_;
    stream_table streams_;
};

inline const cg_stream_control claim_store::c_streams_ = {
    .struct_size = sizeof(cg_stream_control),
    .reserved = 0,
    .request = [](cg_instance* i, cg_stream id, std::uint32_t n) noexcept {
        detail::guard_callback(self(i).host(), "stream request", [&] {
            if (const auto s = self(i).streams_.find(id)) {
                s->add_credits(n);
                self(i).stream_changed(id);
            }
        });
    },
    .cancel = [](cg_instance* i, cg_stream id, std::int32_t) noexcept {
        detail::guard_callback(self(i).host(), "stream cancel", [&] {
            if (const auto s = self(i).streams_.find(id)) {
                s->mark_cancelled();
                self(i).stream_changed(id);
            }
        });
    },
};

inline const cg_claim_store_api claim_store::c_table_ = {
    .struct_size = sizeof(cg_claim_store_api),
    .reserved = 0,
    .limits = [](cg_instance* i) noexcept -> const cg_claim_limits* { return &self(i).limits_; },
    .get = [](cg_instance* i, void* state, cg_op op, const cg_claim_get* r) noexcept {
        return guard(i, op, [&](op_handle& h) {
            const claim_get_view request(r);
            check(request, self(i).limits_);
            self(i).get(state_of(state), std::move(h), request);
        });
    },
    .scan = [](cg_instance* i, void* state, cg_op op, const cg_claim_scan* r) noexcept {
        return guard(i, op, [&](op_handle& h) {
            const claim_scan_view request(r);
            check(request);
            self(i).scan(state_of(state), std::move(h), request);
        });
    },
    .commit = [](cg_instance* i, void* state, cg_op op, const cg_claim_commit* r) noexcept {
        return guard(i, op, [&](op_handle& h) {
            const claim_commit_view request(r);
            check(request, self(i).limits_);
            self(i).commit(state_of(state), std::move(h), request);
        });
    },
    .watch = [](cg_instance* i, void* state, cg_op op, const cg_claim_watch* r, const cg_stream_sink* sink) noexcept {
        return guard(i, op, [&](op_handle& h) {
            const claim_watch_view request(r);
            check(request);
            // It takes itself off the table when its last owner lets go.
            auto* owner = &self(i);
            auto source = std::make_unique<stream_source>(sink);
            std::shared_ptr<stream_source> stream(source.release(), [owner](stream_source* s) {
                const auto id = s->id();
                delete s;
                owner->streams_.remove(id);
            });
            owner->streams_.add(stream);
            owner->watch(state_of(state), std::move(h), request, std::move(stream));
        });
    },
    .streams = &c_streams_,
    .snapshot = [](cg_instance* i, cg_op op, std::int32_t fd) noexcept {
        return guard(i, op, [&](op_handle& h) { self(i).snapshot(std::move(h), fd); });
    },
    .restore = [](cg_instance* i, cg_op op, std::int32_t fd, std::uint32_t flags) noexcept {
        return guard(i, op, [&](op_handle& h) { self(i).restore(std::move(h), fd, (flags & CG_CLAIM_RESTORE_REPLACE) != 0); });
    },
};

}  // namespace callgate::sdk
