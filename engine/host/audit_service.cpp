// SPDX-License-Identifier: Apache-2.0
#include "engine/host/audit_service.hpp"

#include <callgate/abi/draft/kinds.h>

#include <algorithm>

#include "engine/host/abi_read.hpp"
#include "engine/host/services.hpp"

namespace callgate::host {
namespace {

bool is_word(std::string_view w, bool dots) {
    const auto inner = [dots](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (dots && c == '.'); };
    return !w.empty() && w.size() <= CG_AUDIT_MAX_WORD_BYTES && w.front() >= 'a' && w.front() <= 'z' && std::ranges::all_of(w, inner);
}

bool is_text(cg_str s) { return s.size <= CG_AUDIT_MAX_TEXT_BYTES && (s.data != nullptr || s.size == 0); }

// As /health and /metrics name the kinds.
std::string_view word_of(std::uint32_t kind) {
    switch (kind) {
        case CG_KIND_AUTH_BACKEND: return "backend";
        case CG_KIND_KEY_PROVIDER: return "keys";
        case CG_KIND_CLAIM_STORE: return "store";
        case CG_KIND_MODULE: return "module";
        default: return "plugin";
    }
}

}  // namespace

void audit_service::enable(std::uint32_t kind) { source_ = std::string(word_of(kind)) + "/" + name_; }

bool audit_service::admit() {
    const auto now = clock_.mono_ns();
    const std::lock_guard lock(mutex_);
    if (last_ns_ != 0) tokens_ = std::min<double>(CG_AUDIT_NOTES_BURST, tokens_ + CG_AUDIT_NOTES_PER_SECOND * static_cast<double>(now - last_ns_) * 1e-9);
    last_ns_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
}

cg_status audit_service::record(const cg_audit_note* theirs) {
    if (closed_) return CG_E_CANCELLED;
    cg_audit_note n{};
    if (!read_struct(theirs, n) || !is_word(view(n.action), true) || (n.outcome.size != 0 && !is_word(view(n.outcome), true)) || !is_text(n.identity) ||
        n.field_count > CG_AUDIT_MAX_FIELDS || (n.fields == nullptr && n.field_count != 0))
        return CG_E_INVALID;
    audit_note note{source_, std::string(view(n.action)), std::string(view(n.outcome)), std::string(view(n.identity)), {}};
    note.fields.reserve(n.field_count);
    for (std::size_t i = 0; i < n.field_count; ++i) {
        const auto f = read_element(n.fields, i, n.fields_stride);
        const auto name = view(f.name);
        if (!is_word(name, false) || !is_text(f.value) || std::ranges::any_of(note.fields, [&](const auto& other) { return other.first == name; })) return CG_E_INVALID;
        note.fields.emplace_back(name, view(f.value));
    }
    if (!admit()) return CG_E_BUSY;
    return port_->record(std::move(note)) ? CG_OK : CG_E_BUSY;
}

const cg_audit_api audit_service::api = {
    sizeof(cg_audit_api), 0,
    [](const cg_host* host, const cg_audit_note* note) noexcept -> cg_status { return services::of(host).audit().record(note); }};

}  // namespace callgate::host
