// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/draft/audit_sink.h>
#include <callgate/sdk/testing/driver.hpp>
#include <deque>
#include <string>
#include <vector>

namespace callgate::sdk::test {

/// An audit sink as its host calls it, through the C table. One call at a time, as the host does it.
class audit_client {
  public:
    audit_client(fake_host& host, cg_instance* instance)
        : host_(host), instance_(instance), api_(copy_in(static_cast<const cg_audit_sink_api*>(instance->api))) {}

    /// Lines without their line feed. What the sink reads lives until this client ends.
    cg_op write_op(const std::vector<std::string>& lines) {
        auto& b = batches_.emplace_back();
        for (const auto& l : lines) b.lines.push_back(l + "\n");
        for (const auto& l : b.lines) {
            auto e = make<cg_audit_event>();
            e.kind = CG_AUDIT_DECISION;
            e.line = to_c(l);
            e.at_unix_ms = host_.wall_unix_s() * 1000;
            e.verdict = to_c(std::string_view("allow"));
            b.events.push_back(e);
        }
        b.c = make<cg_audit_batch>();
        b.c.stride = sizeof(cg_audit_event);
        b.c.events = b.events.data();
        b.c.count = b.events.size();
        const cg_op op = host_.begin(result_kind::audit_taken);
        if (const auto s = api_.write(instance_, op, &b.c); s != CG_OK) host_.refused(op, s);
        return op;
    }
    completion write(const std::vector<std::string>& lines) { return host_.wait(write_op(lines)).value(); }
    completion flush() { return call(api_.flush); }
    completion reopen() { return call(api_.reopen); }

  private:
    struct batch {
        std::vector<std::string> lines;
        std::vector<cg_audit_event> events;
        cg_audit_batch c{};
    };
    completion call(cg_status (*function)(cg_instance*, cg_op)) {
        const cg_op op = host_.begin(result_kind::none, std::chrono::seconds(5));
        const auto s = function == nullptr ? CG_E_UNSUPPORTED : function(instance_, op);
        if (s != CG_OK) host_.refused(op, s);
        return host_.wait(op).value();
    }

    fake_host& host_;
    cg_instance* instance_;
    cg_audit_sink_api api_;
    std::deque<batch> batches_;
};

}  // namespace callgate::sdk::test
