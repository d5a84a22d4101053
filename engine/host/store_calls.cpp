// SPDX-License-Identifier: Apache-2.0
// Calls to a claim store on behalf of another plugin: requests and answers are copied, since neither plugin may hold what the other
// owns.
#include <algorithm>
#include <deque>
#include <utility>

#include "engine/host/abi_read.hpp"
#include "engine/host/instance.hpp"
#include "engine/host/instance_calls.hpp"

namespace callgate::host {
namespace {

constexpr std::size_t max_answer_bytes = std::size_t{8} << 20;

std::string_view text_of(cg_bytes b) { return b.data == nullptr ? std::string_view{} : std::string_view(reinterpret_cast<const char*>(b.data), b.size); }
cg_bytes bytes_of(const std::string& s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

// Owns copies, whose addresses stay.
class keeper {
  public:
    explicit keeper(std::size_t max_items, std::size_t max_bytes) : items_left_(max_items), bytes_left_(max_bytes) {}
    const std::string& keep(std::string_view s) {
        if (s.size() > bytes_left_) {
            broken_ = true;
            s = {};
        }
        bytes_left_ -= s.size();
        return copies_.emplace_back(s);
    }
    cg_str keep(cg_str s) { return to_c(keep(view(s))); }
    cg_bytes keep(cg_bytes b) { return bytes_of(keep(text_of(b))); }
    /// False: more items than are taken, or a list without memory.
    bool takes(const void* list, std::size_t count) {
        if (count > items_left_ || (count != 0 && list == nullptr)) broken_ = true;
        else items_left_ -= count;
        return !broken_;
    }
    [[nodiscard]] bool broken() const { return broken_; }

  private:
    std::deque<std::string> copies_;
    std::size_t items_left_, bytes_left_;
    bool broken_ = false;
};

std::vector<cg_claim_entry> copy_entries(keeper& k, const cg_claim_entry* entries, std::size_t count, std::uint32_t stride) {
    std::vector<cg_claim_entry> out;
    if (!k.takes(entries, count)) return out;
    for (std::size_t i = 0; i < count; ++i) {
        const auto e = read_element(entries, i, stride);
        out.push_back({k.keep(e.key), k.keep(e.value), e.revision});
    }
    return out;
}

// Puts copies of ours in place of the entries that a result points to.
template <class Result>
std::vector<cg_claim_entry> adopt_entries(keeper& k, Result& r) {
    auto copies = copy_entries(k, r.entries, r.count, r.stride);
    r.entries = copies.data();
    r.count = copies.size();
    r.stride = sizeof(cg_claim_entry);
    return copies;
}

// Each reads one kind of result into memory of ours.
struct values_answer {
    using type = cg_claim_values;
    std::vector<cg_claim_entry> entries;
    void copy(type& r, keeper& k) { entries = adopt_entries(k, r); }
};
struct page_answer {
    using type = cg_claim_page;
    std::vector<cg_claim_entry> entries;
    void copy(type& r, keeper& k) {
        entries = adopt_entries(k, r);
        r.next = k.keep(r.next);
    }
};
struct committed_answer {
    using type = cg_claim_committed;
    void copy(type& r, keeper& k) { r.conflict_key = k.keep(r.conflict_key); }
};

template <class Answer>
class store_body final : public operation_body {
  public:
    // `request` is kept: the store reads it until it completes, which can be after the caller got its deadline.
    store_body(std::shared_ptr<const void> request, call_answer then) : request_(std::move(request)), then_(std::move(then)) {}

    taken take(const cg_completion& c) override {
        status_ = c.status;
        if (c.status != CG_OK) {
            cg_error e{};
            if (read_struct(c.error, e)) error_ = bounded(e.text, 1024);
            return is_callers_fault(c.status) ? taken::ok : taken::failed;
        }
        const bool there = read_struct(static_cast<const typename Answer::type*>(c.result), result_);
        if (there) answer_.copy(result_, copies_);
        if (there && !copies_.broken()) {
            result_.struct_size = sizeof result_;
            return taken::ok;
        }
        status_ = CG_E_ABI;
        error_ = "the claim store completed without a usable result";
        return taken::fault;
    }
    void deliver() override { then_({sizeof(cg_instance_answer), status_, status_ == CG_OK ? &result_ : nullptr, to_c(error_)}); }
    void fail(cg_status status) override {
        then_({sizeof(cg_instance_answer), status, nullptr, to_c(status == CG_E_DEADLINE ? "the claim store did not answer in time" : "the claim store refused")});
    }

  private:
    const std::shared_ptr<const void> request_;
    const call_answer then_;
    keeper copies_{CG_INSTANCE_MAX_ITEMS, max_answer_bytes};
    cg_status status_ = CG_E_INTERNAL;
    std::string error_;
    typename Answer::type result_{};
    Answer answer_;
};

// Request of one kind: the C struct and what it points to.
template <class Request, class Answer, cg_status (*cg_claim_store_api::*function)(cg_instance*, void*, cg_op, const Request*)>
class typed_request final : public store_request {
  public:
    struct copied {
        Request c{};
        keeper copies{CG_INSTANCE_MAX_ITEMS, CG_INSTANCE_MAX_BYTES};
        std::vector<cg_str> keys;
        std::vector<cg_claim_put> puts;
        std::vector<cg_claim_precondition> preconditions;
        cg_str_list list(const cg_str_list& l) {
            if (copies.takes(l.items, l.count))
                for (std::size_t i = 0; i < l.count; ++i) keys.push_back(copies.keep(l.items[i]));
            return {keys.data(), keys.size()};
        }
    };
    std::shared_ptr<copied> request = std::make_shared<copied>();

    void run(const std::shared_ptr<instance>& store, std::int64_t timeout_ns, call_answer then) override {
        const auto refuse = [&](cg_status status, std::string_view text) { then({sizeof(cg_instance_answer), status, nullptr, to_c(text)}); };
        cg_claim_store_api api{};
        if (!read_struct(static_cast<const cg_claim_store_api*>(store->api()), api) || api.*function == nullptr)
            return refuse(CG_E_UNSUPPORTED, "the claim store does not offer this");
        auto& table = store->table();
        std::unique_ptr<operation_body> body = std::make_unique<store_body<Answer>>(request, then);
        const auto why = store->begin(table.control_shard(), table.clock().mono_ns() + timeout_ns, body,
                                      [s = store.get(), call = api.*function, r = &request->c](cg_op op, void* state) {
            const auto status = call(s->plugin(), state, op, r);
            if (!is_callers_fault(status)) return status;
            // As an answer: a refusal would count against the store, and one caller's mistakes would open its breaker for all.
            cg_completion c{};
            c.struct_size = sizeof c;
            c.status = status;
            (void)s->table().complete(s->owner(), op, &c);
            return CG_OK;
        });
        if (why != refusal::none) refuse(status_of(why), "the claim store " + std::string(to_string(why)));
    }
};

using get_request = typed_request<cg_claim_get, values_answer, &cg_claim_store_api::get>;
using scan_request = typed_request<cg_claim_scan, page_answer, &cg_claim_store_api::scan>;
using commit_request = typed_request<cg_claim_commit, committed_answer, &cg_claim_store_api::commit>;

template <class R>
std::unique_ptr<store_request> whole(std::unique_ptr<R> r) {
    if (r->request->copies.broken()) return nullptr;
    r->request->c.struct_size = sizeof r->request->c;
    return r;
}

}  // namespace

std::unique_ptr<store_request> copy_request(const cg_claim_get& r) {
    auto out = std::make_unique<get_request>();
    auto& to = *out->request;
    to.c = r;
    to.c.keys = to.list(r.keys);
    return whole(std::move(out));
}

std::unique_ptr<store_request> copy_request(const cg_claim_scan& r) {
    auto out = std::make_unique<scan_request>();
    auto& to = *out->request;
    to.c = r;
    to.c.prefix = to.copies.keep(r.prefix);
    to.c.cursor = to.copies.keep(r.cursor);
    return whole(std::move(out));
}

std::unique_ptr<store_request> copy_request(const cg_claim_commit& r) {
    auto out = std::make_unique<commit_request>();
    auto& to = *out->request;
    to.c = r;
    if (to.copies.takes(r.preconditions, r.precondition_count))
        for (std::size_t i = 0; i < r.precondition_count; ++i) {
            auto p = read_element(r.preconditions, i, r.precondition_stride);
            p.key = to.copies.keep(p.key);
            to.preconditions.push_back(p);
        }
    if (to.copies.takes(r.puts, r.put_count))
        for (std::size_t i = 0; i < r.put_count; ++i) {
            const auto p = read_element(r.puts, i, r.put_stride);
            to.puts.push_back({to.copies.keep(p.key), to.copies.keep(p.value)});
        }
    to.c.preconditions = to.preconditions.data();
    to.c.precondition_count = to.preconditions.size();
    to.c.precondition_stride = sizeof(cg_claim_precondition);
    to.c.puts = to.puts.data();
    to.c.put_count = to.puts.size();
    to.c.put_stride = sizeof(cg_claim_put);
    to.c.deletes = to.list(r.deletes);
    to.c.idempotency = to.copies.keep(r.idempotency);
    return whole(std::move(out));
}

}  // namespace callgate::host
