// SPDX-License-Identifier: Apache-2.0
// Group "sinks": the contract of callgate/abi/draft/audit_sink.h.
#include <callgate/abi/draft/audit_sink.h>

#include <callgate/sdk/value.hpp>

#include <atomic>
#include <thread>

#include "sdk/check/registry.hpp"

namespace callgate::check {
namespace {

constexpr guard_rule batch_memory = {"the batch or one of its events", "sinks.batch_memory", "sinks.batch_memory"};
constexpr std::int64_t longest_write_ns = 1'000'000;
constexpr std::size_t newer_tail = 40;  // events of a newer host are longer

result_reader taken_result(std::size_t offered) {
    return [offered](const void* result) {
        read_result out;
        auto taken = std::make_shared<std::uint64_t>(0);
        if (result == nullptr) {
            recorder::violated("sinks.taken_count", "write was completed with CG_OK and no cg_audit_taken: the host cannot know what was taken");
        } else {
            *taken = read_checked(static_cast<const cg_audit_taken*>(result), "cg_audit_taken").count;
            if (*taken > offered)
                recorder::violated("sinks.taken_count", "write of " + std::to_string(offered) + " events says that it took " + std::to_string(*taken) +
                                                            ": count those of this batch, from its front");
            *taken = std::min<std::uint64_t>(*taken, offered);
        }
        out.text = std::to_string(*taken);
        out.value = std::move(taken);
        return out;
    };
}

class sink {
  public:
    sink(const settings& s, const good_config& config) : plugin_(load_plugin(s, s.plugin)), i(s, plugin_, config) {
        i.up();
        api = i.api<cg_audit_sink_api>("cg_audit_sink_api");
        if (api.write != nullptr) return;
        recorder::violated("library.struct_sizes", "cg_audit_sink_api has no write function");
        throw cannot_judge("library.struct_sizes", "the sink cannot be written to");
    }

    /// Begins to write; what the sink may read ends at pages that cannot be touched, and is gone when it has completed.
    cg_op begin(const std::vector<std::string>& lines) {
        const auto stride = sizeof(cg_audit_event) + newer_tail;
        std::vector<std::shared_ptr<guarded_block>> memory;
        auto events = std::make_shared<guarded_block>(stride * lines.size(), batch_memory);
        std::memset(events->data(), 0xee, events->size());
        for (std::size_t n = 0; n < lines.size(); ++n) {
            auto text = std::make_shared<guarded_block>(lines[n].size(), batch_memory);
            std::memcpy(text->data(), lines[n].data(), lines[n].size());
            auto e = sdk::make<cg_audit_event>();
            e.struct_size = static_cast<std::uint32_t>(stride);
            e.kind = CG_AUDIT_DECISION;
            e.line = {reinterpret_cast<const char*>(text->data()), text->size()};
            e.at_unix_ms = 1'800'000'000'000 + static_cast<std::int64_t>(n);
            std::memcpy(events->data() + n * stride, &e, sizeof e);
            memory.push_back(std::move(text));
        }
        auto batch = std::make_shared<guarded_block>(sizeof(cg_audit_batch), batch_memory);
        auto b = sdk::make<cg_audit_batch>();
        b.stride = static_cast<std::uint32_t>(stride);
        b.events = reinterpret_cast<const cg_audit_event*>(events->data());
        b.count = lines.size();
        std::memcpy(batch->data(), &b, sizeof b);
        const auto* placed = reinterpret_cast<const cg_audit_batch*>(batch->data());
        memory.push_back(std::move(events));
        memory.push_back(std::move(batch));
        return i.begin("write", taken_result(lines.size()), no_deadline, std::move(memory), [&](cg_op op) { return api.write(i.c(), op, placed); });
    }

    /// As the host: what was not taken is offered again. Records a sink that takes nothing.
    void write_all(std::vector<std::string> lines, const char* check, const std::string& when) {
        for (int idle = 0; !lines.empty();) {
            const cg_op op = begin(lines);
            i.must_complete({op}, check, when);
            const auto a = i.host().refused(op) ? answer{} : *i.host().take(op);
            const auto taken = a.status == CG_OK && a.result.value ? a.as<std::uint64_t>() : 0;
            lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(taken));
            if (taken != 0) {
                idle = 0;
            } else if (++idle == 10) {
                recorder::violated(check, "write takes nothing " + when + ", ten times in a row: " + (a.status == CG_OK ? std::string("CG_OK with a count of 0") : status_text(a.status)) +
                                              (a.error.empty() ? "" : ": " + a.error) + i.host().last_logs());
                throw cannot_judge(check, "the sink takes no events");
            } else {
                control_loop::get().wait_until([] { return false; }, std::chrono::milliseconds(20));
            }
        }
    }
    /// flush or reopen; the function may be missing.
    void call(const char* function, cg_status (*fn)(cg_instance*, cg_op), const char* check) {
        const cg_op op = i.begin_control(function, fn, no_result());
        if (op == 0) return;
        i.must_complete({op}, check);
        const auto a = i.host().refused(op) ? answer{} : *i.host().take(op);
        if (a.status != CG_OK) recorder::violated(check, std::string(function) + " of a sound sink ends with " + status_text(a.status) + (a.error.empty() ? "" : ": " + a.error) + i.host().last_logs());
    }
    /// Writes until the target takes no more. 0: it took everything there was; else the write that is open.
    cg_op stall() {
        for (int n = 0; n < 200; ++n) {
            const cg_op op = begin(lines_of(64, 1000));
            const bool done = i.wait({op}, std::chrono::milliseconds(100));
            if (!done) return op;
        }
        return 0;
    }
    static std::vector<std::string> lines_of(std::size_t count, std::size_t size) {
        std::vector<std::string> out;
        for (std::size_t n = 0; n < count; ++n) {
            auto head = "{\"n\":" + std::to_string(n) + ",\"text\":\"";
            out.push_back(head + std::string(size > head.size() + 3 ? size - head.size() - 3 : 1, 'x') + "\"}\n");
        }
        return out;
    }

  private:
    loaded_plugin plugin_;

  public:
    instance i;
    cg_audit_sink_api api{};
};

const good_config& stalled_config(const settings& s) {
    if (s.stalled.empty())
        throw not_applicable("there is no configuration whose target stalls: give one with --stalled (its folder has a FIFO named `stalled` that nobody reads)");
    return s.stalled[0];
}

void takes_events(const settings& s) {
    sink k(s, s.good[0]);
    for (const std::size_t count : {std::size_t{1}, std::size_t{2}, std::size_t{CG_AUDIT_MAX_BATCH_EVENTS}})
        k.write_all(sink::lines_of(count, 600), "sinks.takes_events", "of a batch of " + std::to_string(count) + " ordinary events");
    k.write_all(sink::lines_of(1, 300'000), "sinks.takes_events", "of one event with a line of 300,000 bytes (take and drop what is too long, nothing behind it gets through otherwise)");
    k.i.down();
}

// The count is judged with every write.
void taken_count(const settings& s) { takes_events(s); }

void batch_life(const settings& s) {
    sink k(s, s.good[0]);
    for (int n = 0; n < 5; ++n) k.write_all(sink::lines_of(10, 200), "sinks.takes_events", "of ten events");
    // Late readers get their chance before the life ends.
    k.call("flush", k.api.flush, "sinks.flush");
    control_loop::get().wait_until([] { return false; }, std::chrono::milliseconds(100));
    k.i.down();
}

void flushes(const settings& s) {
    sink k(s, s.good[0]);
    k.call("flush", k.api.flush, "sinks.flush");
    k.write_all(sink::lines_of(20, 500), "sinks.takes_events", "before a flush");
    k.call("flush", k.api.flush, "sinks.flush");
    k.i.down();
}

void reopens(const settings& s) {
    sink k(s, s.good[0]);
    for (int n = 0; n < 3; ++n) {
        k.write_all(sink::lines_of(5, 300), n == 0 ? "sinks.takes_events" : "sinks.reopen", n == 0 ? "of five events" : "after a reopen that was answered with CG_OK");
        k.call("reopen", k.api.reopen, "sinks.reopen");
    }
    k.i.down();
}

void cancelled(const settings& s) {
    sink k(s, stalled_config(s));
    for (int n = 0; n < 3; ++n) {
        const cg_op op = k.stall();
        if (op == 0) throw not_applicable("every write to the target that should stall completes: nothing is open that could be cancelled");
        k.i.cancel(op, CG_CANCEL_DEADLINE);
        k.i.must_complete({op}, "sinks.cancel", "whose target stalls, after cancel(),");
    }
    k.i.down();
}

// Judged by the quickest of many: what a loaded machine adds to a call it does not add to all, a wait for the target is in each.
void stalled_write(const settings& s) {
    sink k(s, stalled_config(s));
    std::int64_t quickest = INT64_MAX;
    std::atomic<bool> over{false};
    std::exception_ptr failure;
    // Not on a thread of the harness: a write that never returns must not take it along.
    auto* writer = new std::thread([&] {
        progress::name_thread("audit writer");
        use_fault_stack();
        try {
            int stalled = 0;
            for (int n = 0; n < 300 && stalled < 10; ++n) {
                const auto lines = sink::lines_of(64, 1000);
                const stall_meter meter;
                const cg_op op = k.begin(lines);
                const auto r = meter.stop();
                const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(30);
                while (!k.i.host().done(op) && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(1));
                const bool open = !k.i.host().done(op);
                const auto a = open ? std::nullopt : k.i.host().take(op);
                const bool some_left = a && (a->status != CG_OK || !a->result.value || a->as<std::uint64_t>() < lines.size());
                if (open || some_left) {
                    ++stalled;
                    quickest = std::min(quickest, r.blocked_ns);
                }
                if (open) {
                    k.i.cancel(op, CG_CANCEL_DEADLINE);
                    while (!k.i.host().done(op) && !over) std::this_thread::sleep_for(std::chrono::milliseconds(1));
                }
            }
        } catch (...) {
            failure = std::current_exception();
        }
        over = true;
    });
    if (!control_loop::get().wait_until([&] { return over.load(); }, s.patience * 5)) {
        // Whether a write or its cancel hangs: the one that was open is told apart by its own check.
        over = true;
        control_loop::get().wait_until([] { return false; }, std::chrono::milliseconds(50));
        if (k.i.host().open() == 0) {
            recorder::violated("sinks.stalled_write", "write() does not return while its target takes nothing: hand over to a thread of the plugin, or write without waiting, and complete later");
            throw cannot_judge("sinks.stalled_write", "write() does not return");
        }
        recorder::violated("sinks.cancel", "a write whose target stalls does not complete after cancel()");
        throw cannot_judge("sinks.cancel", "a write does not complete");
    }
    writer->join();
    delete writer;
    if (failure) std::rethrow_exception(failure);
    if (quickest == INT64_MAX) throw not_applicable("every write to the target that should stall completes");
    if (quickest > longest_write_ns)
        recorder::violated("sinks.stalled_write", "write() holds its thread while its target takes nothing: the quickest of ten calls waited " + std::to_string(quickest / 1000) +
                                                      " us, the limit is 1000: hand over to a thread of the plugin, or write without waiting, and complete later");
    k.i.down();
}

}  // namespace

void add_sink_checks(std::vector<check_entry>& out) {
    out.insert(out.end(), {
        {"sinks.takes_events", "batches of 1, 2 and 256 events and a line of 300,000 bytes are taken", sinks_only, takes_events},
        {"sinks.taken_count", "write says how many events it took, never more than there were", sinks_only, taken_count},
        {"sinks.batch_memory", "nothing of a batch is read beyond its end or after its completion", sinks_only, batch_life},
        {"sinks.flush", "flush completes", sinks_only, flushes},
        {"sinks.reopen", "after a reopen events are taken as before", sinks_only, reopens},
        {"sinks.cancel", "a write whose target stalls completes when it is cancelled", sinks_only, cancelled},
        {"sinks.stalled_write", "write returns within 1 ms while its target stalls", sinks_only, stalled_write},
    });
}

}  // namespace callgate::check
