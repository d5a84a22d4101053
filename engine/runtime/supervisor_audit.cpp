// SPDX-License-Identifier: Apache-2.0
// The part of the supervisor that looks after audit sinks: they are on no shard, outlive everything that records, and have a
// thread each (engine/host/audit_sink.hpp).
#include <algorithm>
#include <memory>
#include <utility>

#include "engine/base/log.hpp"
#include "engine/runtime/supervisor.hpp"

namespace callgate::runtime {

namespace {
constexpr std::int64_t flush_limit_ns = 5'000'000'000;
}

// SIGHUP is what log rotation sends: a sink that is kept opens its file anew.
void supervisor::reopen_sinks(const std::shared_ptr<candidate>& c, done_fn done) {
    const auto all = std::make_shared<gathering>(std::move(done));
    for (const auto& [key, i] : c->instances) {
        if (!i->sink) continue;
        all->expect();
        const auto where = place_of(c->settings, *i->section, i->options);
        i->sink->reopen([all, where](result<void> r) {
            if (!r) return all->one_less(make_error(r.error().code, "cannot open its target anew: " + r.error().message(), where));
            all->one_less();
        });
    }
    all->one_less();
}

result<void> supervisor::assemble_audit(candidate& c) {
    const auto& audit = c.settings.audit;
    std::vector<audit_trail::target> targets;
    for (const auto& [key, i] : c.instances) {
        if (!i->is(CG_KIND_AUDIT_SINK)) continue;
        if (!i->sink) {
            auto sink = host::audit_sink::open(i->instance);
            if (!sink) return make_error(sink.error().code, sink.error().message(), place_of(c.settings, *i->section, i->options));
            i->sink = std::move(*sink);
        }
        i->sink->set_queue_bytes(audit.queue_bytes);
        const bool required = audit.fail_closed && (audit.required.empty() || std::ranges::find(audit.required, i->options.name) != audit.required.end());
        targets.push_back({i->sink, required});
    }
    c.audit = std::make_shared<const audit_trail>(std::move(targets));
    return {};
}

void supervisor::end_sink(std::shared_ptr<running_instance> r, std::function<void()> done) {
    const auto sink = std::exchange(r->sink, nullptr);
    const auto limit = std::min(flush_limit_ns, current_ ? current_->settings.drain_limit_ns : flush_limit_ns);
    sink->close(limit, [this, r, sink, done](bool ended) {
        const auto s = sink->state();
        audit_written_before_ += s.written;
        audit_lost_before_ += s.lost;
        // Its thread is inside the plugin for good: nothing of it may be taken away.
        if (!ended) return done();
        end_instance(r, done);
    });
}

std::vector<audit_report> supervisor::report_sinks() {
    std::vector<audit_report> out;
    if (!current_) return out;
    for (const auto& [key, i] : current_->instances) {
        if (!i->sink) continue;
        i->sink->announce();
        const auto s = i->sink->state();
        out.push_back({i->options.name, s.fault, s.written, s.lost, s.waiting});
    }
    return out;
}

}  // namespace callgate::runtime
