// SPDX-License-Identifier: Apache-2.0
#include "engine/host/verdict_invalidations.hpp"

#include <algorithm>

#include "engine/host/abi_read.hpp"
#include "engine/host/services.hpp"

namespace callgate::host {

std::uint64_t verdict_invalidations::record(std::string_view backend, std::uint32_t kind, std::string_view issuer, std::string_view subject,
                                            std::string_view credential_id) {
    const std::lock_guard lock(mutex_);
    const auto next = generation_.load(std::memory_order_relaxed) + 1;
    if (entries_.size() == remembered) entries_.pop_front();
    entries_.push_back({next, kind, std::string(backend), std::string(issuer), std::string(subject), std::string(credential_id)});
    generation_.store(next, std::memory_order_release);
    return next;
}

bool verdict_invalidations::is_void(std::string_view backend, std::string_view issuer, std::string_view subject,
                                    std::string_view credential_id, std::uint64_t since) const {
    if (since == generation()) return false;
    const std::lock_guard lock(mutex_);
    if (entries_.empty()) return false;
    if (since + 1 < entries_.front().generation) return true;
    const auto first = std::upper_bound(entries_.begin(), entries_.end(), since, [](std::uint64_t g, const entry& e) { return g < e.generation; });
    return std::any_of(first, entries_.end(), [&](const entry& e) {
        if (e.backend != backend) return false;
        switch (e.kind) {
            case CG_CACHE_SUBJECT: return e.subject == subject && (e.issuer.empty() || e.issuer == issuer);
            case CG_CACHE_CREDENTIAL: return e.credential_id == credential_id;
            default: return true;
        }
    });
}

const cg_cache_invalidate_api cache_invalidate_api = {
    sizeof(cg_cache_invalidate_api), 0, [](const cg_host* host, const cg_cache_scope* scope) noexcept -> cg_status {
        constexpr std::size_t max_text = 4096;
        cg_cache_scope s{};
        if (!read_struct(scope, s)) return CG_E_INVALID;
        const auto issuer = view(s.issuer), subject = view(s.subject), credential = view(s.credential_id);
        if (issuer.size() > max_text || subject.size() > max_text || credential.size() > max_text) return CG_E_INVALID;
        if (s.kind < CG_CACHE_ALL || s.kind > CG_CACHE_CREDENTIAL) return CG_E_INVALID;
        if ((s.kind == CG_CACHE_SUBJECT && subject.empty()) || (s.kind == CG_CACHE_CREDENTIAL && credential.empty())) return CG_E_INVALID;
        auto& services = services::of(host);
        services.shared().invalidations->record(services.name(), s.kind, issuer, subject, credential);
        return CG_OK;
    }};

}  // namespace callgate::host
