// SPDX-License-Identifier: Apache-2.0
// Key provider plugins as flow::key_port.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "engine/host/abi_read.hpp"
#include "engine/host/instance.hpp"

namespace callgate::host {
namespace {

constexpr std::uint32_t most_in_a_batch = 4096;

// Batches a provider works on at once, per shard; touched by that shard's thread only.
struct alignas(64) batch_count {
    std::uint32_t value = 0;
};

class sign_body final : public operation_body {
  public:
    // `sent` = indices into job->items of those that go to the provider.
    sign_body(std::unique_ptr<flow::sign_job> job, std::vector<std::uint32_t> sent, batch_count& count, flow::completion_sink& sink)
        : job_(std::move(job)), sent_(std::move(sent)), signatures_(sent_.size()), count_(count), sink_(sink) {
        ++count_.value;
        items_.reserve(sent_.size());
        holds_.reserve(sent_.size());
        for (std::size_t i = 0; i < sent_.size(); ++i) {
            const auto& from = job_->items[sent_[i]];
            cg_sign_item item{};
            item.key = from.key;
            item.purpose = from.purpose;
            item.status = CG_E_INTERNAL;
            item.message = {from.message.data(), from.message.size()};
            item.signature = signatures_[i].data();
            items_.push_back(item);
            holds_.push_back(from.hold);
        }
        batch_.struct_size = sizeof batch_;
        batch_.stride = sizeof(cg_sign_item);
        batch_.items = items_.data();
        batch_.count = items_.size();
    }
    ~sign_body() override { --count_.value; }

    [[nodiscard]] const cg_sign_batch* batch() const noexcept { return &batch_; }

    taken take(const cg_completion& c) override {
        job_->status = c.status;
        for (std::size_t i = 0; i < sent_.size(); ++i) {
            auto& to = job_->items[sent_[i]];
            to.status = c.status == CG_OK ? items_[i].status : c.status;
            if (to.status == CG_OK) std::copy(signatures_[i].begin(), signatures_[i].end(), to.signature);
        }
        return c.status == CG_OK ? taken::ok : taken::failed;
    }
    void deliver() override { sink_.on_signed(std::move(job_)); }
    // The provider may write signatures for a while yet: into memory of this body, never into the job.
    void fail(cg_status status) override {
        job_->status = status;
        for (const auto i : sent_) job_->items[i].status = status;
        sink_.on_signed(std::move(job_));
    }

  private:
    std::unique_ptr<flow::sign_job> job_;
    std::vector<std::uint32_t> sent_;
    std::vector<std::array<std::uint8_t, 64>> signatures_;
    std::vector<cg_sign_item> items_;
    std::vector<flow::pinned_ptr> holds_;
    cg_sign_batch batch_{};
    batch_count& count_;
    flow::completion_sink& sink_;
};

class shared_body final : public operation_body {
  public:
    shared_body(const crypto::key_bytes& peer, flow::request_tag tag, flow::completion_sink& sink) : peer_(peer), tag_(tag), sink_(sink) {}

    [[nodiscard]] cg_bytes peer() const noexcept { return {peer_.data(), peer_.size()}; }

    taken take(const cg_completion& c) override {
        if (c.status != CG_OK) {
            cg_error e{};
            failure_ = make_error(to_errc(c.status), read_struct(c.error, e) ? bounded(e.text, 1024) : std::string(status_name(c.status)));
            // The peer's key comes from an unsigned header. A stranger who sends bad ones must not open the breaker of
            // a provider that works: no login could be signed while it is open.
            return c.status == CG_E_INVALID ? taken::ok : taken::failed;
        }
        cg_shared_key k{};
        const bool usable = read_struct(static_cast<const cg_shared_key*>(c.result), k) &&
                            static_cast<const cg_shared_key*>(c.result)->struct_size >= sizeof k;
        if (usable) shared_ = crypto::secret::copy_of(std::span<const std::uint8_t>(k.key, sizeof k.key));
        else failure_ = make_error(errc::abi, "the provider completed without a shared key");
        crypto::wipe(&k, sizeof k);
        return usable ? taken::ok : taken::fault;
    }
    void deliver() override {
        if (shared_.empty()) sink_.on_shared(tag_, std::move(failure_));
        else sink_.on_shared(tag_, std::move(shared_));
    }
    void fail(cg_status status) override {
        sink_.on_shared(tag_, status == CG_E_DEADLINE ? make_error(errc::deadline, "the key provider did not answer in time")
                                                      : make_error(to_errc(status), "the key provider refused: " + std::string(status_name(status))));
    }

  private:
    const crypto::key_bytes peer_;
    flow::request_tag tag_;
    flow::completion_sink& sink_;
    crypto::secret shared_;
    error failure_;
};

class key_adapter final : public flow::key_port {
  public:
    key_adapter(instance& owner, const cg_key_provider_api& api)
        : owner_(owner), api_(api), counts_(owner.table().control_shard() + 1) {
        cg_key_limits limits{};
        if (api_.limits != nullptr && read_struct(api_.limits(owner_.plugin()), limits)) {
            max_batch_ = std::clamp<std::uint32_t>(limits.max_batch, 1, most_in_a_batch);
            max_in_flight_ = std::max<std::uint32_t>(limits.max_in_flight, 1);
        }
    }

    [[nodiscard]] std::string_view name() const override { return owner_.name(); }
    [[nodiscard]] std::uint32_t max_batch() const override { return max_batch_; }
    [[nodiscard]] std::uint32_t max_in_flight() const override { return max_in_flight_; }

    void sign(std::uint32_t shard, std::unique_ptr<flow::sign_job> job, std::int64_t deadline_ns, flow::completion_sink& sink) override {
        // A shard that does not exist has no count; begin() refuses it.
        auto& count = counts_[std::min<std::size_t>(shard, counts_.size() - 1)];
        if (job->items.size() > max_batch_) return reject(std::move(job), CG_E_INVALID, sink);
        if (count.value >= max_in_flight_) return reject(std::move(job), CG_E_BUSY, sink);
        std::vector<std::uint32_t> sent;
        sent.reserve(job->items.size());
        for (std::uint32_t i = 0; i < job->items.size(); ++i) {
            auto& item = job->items[i];
            if (fits(item)) sent.push_back(i);
            else item.status = CG_E_INVALID;
        }
        if (sent.empty()) {
            job->status = CG_OK;
            sink.on_signed(std::move(job));
            return;
        }
        auto mine = std::make_unique<sign_body>(std::move(job), std::move(sent), count, sink);
        const auto* const batch = mine->batch();
        std::unique_ptr<operation_body> body = std::move(mine);
        const auto why = owner_.begin(shard, deadline_ns, body, [this, batch](cg_op op, void* state) {
            return api_.sign_batch(owner_.plugin(), state, op, batch);
        });
        if (why != refusal::none) body->fail(status_of(why));
    }

    void export_shared(std::uint32_t shard, cg_key key, const crypto::key_bytes& peer, std::int64_t deadline_ns, flow::request_tag tag,
                       flow::completion_sink& sink) override {
        if (api_.export_shared == nullptr) return sink.on_shared(tag, make_error(errc::unsupported, "the key provider has no xkeys"));
        auto mine = std::make_unique<shared_body>(peer, tag, sink);
        const auto peer_bytes = mine->peer();
        std::unique_ptr<operation_body> body = std::move(mine);
        const auto why = owner_.begin(shard, deadline_ns, body, [this, key, peer_bytes](cg_op op, void* state) {
            return api_.export_shared(owner_.plugin(), state, op, key, peer_bytes);
        });
        if (why != refusal::none) sink.on_shared(tag, make_error(to_errc(status_of(why)), "the key provider " + std::string(to_string(why))));
    }

  private:
    void reject(std::unique_ptr<flow::sign_job> job, cg_status status, flow::completion_sink& sink) {
        owner_.count_refused(refusal::busy);
        job->status = status;
        for (auto& item : job->items) item.status = status;
        sink.on_signed(std::move(job));
    }
    [[nodiscard]] bool fits(const flow::sign_job::item& item) const {
        const auto limit = owner_.message_limit(item.key);
        return limit == 0 || item.message.size() <= limit;
    }

    instance& owner_;
    const cg_key_provider_api api_;
    std::vector<batch_count> counts_;
    std::uint32_t max_batch_ = 1;
    std::uint32_t max_in_flight_ = 1;
};

}  // namespace

std::unique_ptr<flow::key_port> make_key_port(instance& owner, const cg_key_provider_api& api) {
    return std::make_unique<key_adapter>(owner, api);
}

}  // namespace callgate::host
