// SPDX-License-Identifier: Apache-2.0
#include "engine/host/nats_service.hpp"

#include <algorithm>
#include <utility>

#include "engine/host/abi_read.hpp"
#include "engine/host/nats_channel.hpp"
#include "engine/host/services.hpp"

namespace callgate::host {

nats_service::nats_service(std::shared_ptr<control_loop> loop, operation_owner& owner, std::shared_ptr<worker_service> workers,
                           std::string instance, std::vector<std::string> uses, std::map<std::string, nats_opener> openers)
    : loop_(std::move(loop)), owner_(owner), workers_(std::move(workers)), instance_(std::move(instance)), uses_(std::move(uses)), openers_(std::move(openers)) {}

nats_service::~nats_service() { close(); }

cg_status nats_service::open(std::string_view cluster, cg_nats& handle, std::string& why) {
    const auto name = std::string(cluster.substr(0, 256));
    if (std::ranges::find(uses_, "nats/" + name) == uses_.end()) {
        why = "nats/" + name + " is not under `uses` of this instance";
        return CG_E_PERMISSION;
    }
    const auto opener = openers_.find(name);
    if (opener == openers_.end()) {
        why = "there are no connections to NATS in this host";
        return CG_E_UNSUPPORTED;
    }
    if (closed_) return CG_E_CANCELLED;
    for (std::size_t i = 0; i < channels_.size(); ++i) {
        if (channels_[i]->cluster() != name) continue;
        handle = static_cast<cg_nats>(i + 1);
        return CG_OK;
    }
    if (channels_.size() >= CG_NATS_MAX_CLUSTERS) {
        why = "this instance has opened " + std::to_string(CG_NATS_MAX_CLUSTERS) + " clusters already";
        return CG_E_BUSY;
    }
    auto made = std::make_shared<nats_channel>(loop_, owner_, workers_, name);
    if (const auto opened = made->open(opener->second, instance_); !opened) {
        why = opened.error().message();
        return CG_E_INTERNAL;
    }
    const std::lock_guard lock(mutex_);
    channels_.push_back(std::move(made));
    handle = static_cast<cg_nats>(channels_.size());
    return CG_OK;
}

std::shared_ptr<nats_channel> nats_service::channel(cg_nats handle) const {
    const std::lock_guard lock(mutex_);
    return handle == 0 || handle > channels_.size() ? nullptr : channels_[handle - 1];
}

void nats_service::end_delivery() {
    for (const auto& c : channels_) c->end_delivery();
}

std::size_t nats_service::close() {
    closed_ = true;
    std::size_t left = 0;
    for (const auto& c : channels_) left += c->close();
    return left;
}

std::vector<nats_report> nats_service::report() const {
    std::vector<nats_report> out;
    out.reserve(channels_.size());
    for (const auto& c : channels_) out.push_back(c->report());
    return out;
}

namespace {
std::shared_ptr<nats_channel> of(const cg_host* host, cg_nats nats) { return services::of(host).nats().channel(nats); }
}  // namespace

// noexcept: running out of memory inside the host must not unwind through a plugin written in C.
const cg_nats_api nats_service::api = {
    sizeof(cg_nats_api), 0,
    [](const cg_host* host, cg_str cluster, cg_nats* nats, cg_errbuf* error) noexcept -> cg_status {
        if (nats == nullptr) return CG_E_INVALID;
        std::string why;
        const auto status = services::of(host).nats().open(view(cluster), *nats, why);
        if (status != CG_OK) write_error(error, status, why);
        return status;
    },
    [](const cg_host* host, cg_nats nats, cg_nats_status* out) noexcept -> cg_status {
        const auto c = of(host, nats);
        cg_nats_status now{};
        if (!c || !read_struct(out, now)) return CG_E_INVALID;
        const auto theirs = now.struct_size;
        const auto status = c->status(now);
        std::memcpy(static_cast<void*>(out), &now, std::min<std::size_t>(theirs, sizeof now));
        return status;
    },
    [](const cg_host* host, cg_nats nats, const cg_nats_message* message) noexcept -> cg_status {
        const auto c = of(host, nats);
        auto copy = copy_message(message);
        return c && copy ? c->publish(std::move(*copy)) : CG_E_INVALID;
    },
    [](const cg_host* host, cg_nats nats, const cg_nats_subscription* subscription, std::uint64_t* id) noexcept -> cg_status {
        const auto c = of(host, nats);
        cg_nats_subscription wanted{};
        return c && id != nullptr && read_struct(subscription, wanted) ? c->subscribe(wanted, *id) : CG_E_INVALID;
    },
    [](const cg_host* host, cg_nats nats, std::uint64_t id) noexcept -> cg_status {
        const auto c = of(host, nats);
        return c ? c->unsubscribe(id) : CG_E_INVALID;
    },
    [](const cg_host* host, cg_nats nats, const cg_nats_request* request, std::uint64_t* id) noexcept -> cg_status {
        const auto c = of(host, nats);
        cg_nats_request wanted{};
        if (!c || !read_struct(request, wanted)) return CG_E_INVALID;
        auto copy = copy_message(wanted.message);
        return copy ? c->request(wanted, std::move(*copy), id) : CG_E_INVALID;
    },
    [](const cg_host* host, cg_nats nats, std::uint64_t id) noexcept {
        if (const auto c = of(host, nats)) c->cancel(id);
    }};

}  // namespace callgate::host
