// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/audit_trail.hpp"

#include <algorithm>

namespace callgate::runtime {

audit_trail::audit_trail(std::vector<target> targets)
    : targets_(std::move(targets)), fail_closed_(std::ranges::any_of(targets_, &target::required)) {}

audit_trail::outcome audit_trail::record(flow::audit_record&& r) const {
    if (targets_.empty()) return outcome::everywhere;
    host::audit_event e;
    e.line = to_json_line(r);
    e.record = std::move(r);
    return hand_over(std::move(e));
}

audit_trail::outcome audit_trail::record(host::audit_note&& n, std::int64_t unix_ms) const {
    if (targets_.empty()) return outcome::everywhere;
    host::audit_event e;
    e.kind = CG_AUDIT_NOTE;
    e.line = to_json_line(n, unix_ms);
    e.source = std::move(n.source);
    e.action = std::move(n.action);
    e.record.unix_ms = unix_ms;
    e.record.identity = std::move(n.identity);
    e.record.verdict = std::move(n.outcome);
    return hand_over(std::move(e));
}

audit_trail::outcome audit_trail::hand_over(host::audit_event&& made) const {
    const auto e = std::make_shared<const host::audit_event>(std::move(made));
    const auto size = e->bytes();
    // Room first: a record that one required sink cannot take must not stand in another, as if the login had been.
    for (auto t = targets_.begin(); t != targets_.end(); ++t) {
        if (!t->required || t->sink->reserve(size, true)) continue;
        for (auto before = targets_.begin(); before != t; ++before)
            if (before->required) before->sink->give_back(size);
        return outcome::refused;
    }
    auto result = outcome::everywhere;
    for (const auto& t : targets_) {
        if (t.required || t.sink->reserve(size, false)) t.sink->push(e);
        else result = outcome::somewhere;
    }
    return result;
}

void audit_relay::use(std::shared_ptr<const audit_trail> trail) {
    const std::lock_guard lock(mutex_);
    trail_ = std::move(trail);
}

bool audit_relay::record(host::audit_note&& n) const {
    std::shared_ptr<const audit_trail> trail;
    {
        const std::lock_guard lock(mutex_);
        trail = trail_;
    }
    return !trail || trail->record(std::move(n), clock_.wall_ms()) == audit_trail::outcome::everywhere;
}

}  // namespace callgate::runtime
