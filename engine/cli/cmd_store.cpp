// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/cmd_store.hpp"

#include <callgate/abi/draft/claim_store.h>
#include <callgate/abi/draft/kinds.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <fstream>
#include <functional>
#include <istream>
#include <ostream>

#include "engine/base/claim_key.hpp"
#include "engine/cli/findings.hpp"
#include "engine/host/abi_read.hpp"
#include "engine/host/plugin_host.hpp"
#include "engine/runtime/instance_config.hpp"
#include "engine/runtime/serve.hpp"

namespace callgate::cli {
namespace {

constexpr std::int64_t time_limit_ns = 30'000'000'000;
constexpr std::size_t max_document = std::size_t{1} << 20;

// An answer, read while the plugin's memory is there.
class answer_body final : public host::operation_body {
  public:
    answer_body(std::function<void(const void*)> read, std::function<void(result<void>)> done) : read_(std::move(read)), done_(std::move(done)) {}
    host::taken take(const cg_completion& c) override {
        if (c.status == CG_OK && c.result != nullptr) {
            read_(c.result);
            return host::taken::ok;
        }
        cg_error e{};
        const bool explained = host::read_struct(c.error, e);
        failure_ = make_error(host::to_errc(c.status), explained ? host::bounded(e.text, 2048) : std::string(host::status_name(c.status)),
                              explained ? host::bounded(e.where, 1024) : std::string{});
        return host::taken::failed;
    }
    void deliver() override { done_(failure_ ? result<void>(*failure_) : result<void>{}); }
    void fail(cg_status status) override {
        done_(make_error(host::to_errc(status), status == CG_E_DEADLINE ? "the claim store did not answer within 30 s" : "the claim store refused: " + std::string(host::status_name(status))));
    }

  private:
    std::function<void(const void*)> read_;
    std::function<void(result<void>)> done_;
    std::optional<error> failure_;
};

// The plugin in this process, from start to destroy; this thread is its control thread.
class session {
  public:
    static result<std::unique_ptr<session>> open(const runtime::config& c, const runtime::instance_options& which) {
        std::unique_ptr<session> s(new session(c));
        auto factory = s->host_.find_factory(CG_KIND_CLAIM_STORE, which.plugin, which.type);
        if (!factory) return factory.error();
        const auto resolved = runtime::resolve_instance(which, factory->config_schema, c, "stores");
        for (const auto& f : resolved.findings)
            if (f.level == policy::finding::severity::error) return make_error(errc::invalid, f.message());
        auto options = runtime::host_options(resolved.value->options, c);
        options.secrets = resolved.value->secrets;
        options.timeout_ns = 0;  // that one is for logins
        auto made = s->host_.make_instance(CG_KIND_CLAIM_STORE, std::move(options));
        if (!made) return made.error();
        s->instance_ = std::move(*made);
        if (!host::read_struct(static_cast<const cg_claim_store_api*>(s->instance_->api()), s->api_) || s->api_.get == nullptr || s->api_.scan == nullptr ||
            s->api_.commit == nullptr)
            return make_error(errc::abi, "its table lacks get, scan or commit", which.name);
        if (auto r = s->await([&](auto then) { s->instance_->start(time_limit_ns, then); }); !r) return r.error();
        s->started_ = true;
        return s;
    }
    ~session() {
        if (!started_) return;
        const auto r = await([&](auto then) {
            host_.retire(instance_, time_limit_ns, [this](std::uint32_t, std::function<void()> f) { boost::asio::post(io_, std::move(f)); }, then);
        });
        // What was answered is done; a store that does not end is no reason to say otherwise.
        static_cast<void>(r);
    }
    template <class Result, class Call>
    result<void> ask(Call&& call, std::function<void(const Result&)> read) {
        return await([&](std::function<void(result<void>)> then) {
            std::unique_ptr<host::operation_body> body = std::make_unique<answer_body>(
                [read](const void* p) {
                    Result r{};
                    if (host::read_struct(static_cast<const Result*>(p), r)) read(r);
                },
                then);
            const auto why = instance_->begin(host_.control_shard(), clock_.mono_ns() + time_limit_ns, body,
                                              [call, owner = instance_.get(), this](cg_op op, void*) { return call(api_, owner->plugin(), op); });
            if (why != host::refusal::none) then(make_error(host::to_errc(host::status_of(why)), "the claim store " + std::string(host::to_string(why))));
        });
    }

  private:
    explicit session(const runtime::config& c) : host_(io_, clock_, options(c)) {}
    static host::plugin_host::options options(const runtime::config& c) {
        host::plugin_host::options o;
        o.libraries = runtime::plugin_libraries(c);
        o.wake = [](std::uint32_t) {};
        return o;
    }
    result<void> await(const std::function<void(std::function<void(result<void>)>)>& begin) {
        std::optional<result<void>> got;
        begin([&](result<void> r) { got = std::move(r); });
        const auto guard = boost::asio::make_work_guard(io_);
        while (!got) {
            io_.restart();
            io_.run_one();
        }
        return *got;
    }

    boost::asio::io_context io_{1};
    system_clock_source clock_;
    host::plugin_host host_;
    std::shared_ptr<host::instance> instance_;
    cg_claim_store_api api_{};
    bool started_ = false;
};

std::string_view text(cg_bytes b) { return {reinterpret_cast<const char*>(b.data), b.data == nullptr ? 0 : b.size}; }
cg_bytes bytes(const std::string& s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

result<std::string> read_document(const std::string& file, std::istream& in) {
    std::ifstream opened;
    const bool standard = file.empty() || file == "-";
    if (!standard) {
        opened.open(file, std::ios::binary);
        if (!opened) return make_error(errc::not_found, "cannot be read", file);
    }
    auto& from = standard ? in : opened;
    std::string out(max_document + 1, '\0');
    from.read(out.data(), static_cast<std::streamsize>(out.size()));
    out.resize(static_cast<std::size_t>(from.gcount()));
    if (out.size() > max_document) return make_error(errc::invalid, "is larger than 1 MiB", standard ? "standard input" : file);
    return out;
}

result<void> get(session& s, const std::string& key, std::ostream& out) {
    const auto name = host::to_c(key);
    cg_claim_get q{};
    q.struct_size = sizeof q;
    q.keys = {&name, 1};
    bool found = false;
    const auto r = s.ask<cg_claim_values>([&q](const cg_claim_store_api& api, cg_instance* i, cg_op op) { return api.get(i, nullptr, op, &q); },
                                          [&](const cg_claim_values& v) {
                                              if (v.count != 1 || v.entries == nullptr) return;
                                              const auto e = host::read_element(v.entries, 0, v.stride);
                                              found = e.revision != 0;
                                              if (found) out << text(e.value);
                                          });
    if (!r) return r;
    if (!found) return make_error(errc::not_found, "the store has no such key", key);
    return {};
}

result<void> scan(session& s, const std::string& prefix, std::ostream& out) {
    std::string cursor;
    std::uint64_t at = 0;
    do {
        cg_claim_scan q{};
        q.struct_size = sizeof q;
        q.prefix = host::to_c(prefix);
        q.cursor = bytes(cursor);
        q.at_revision = at;
        std::string next;
        const auto r = s.ask<cg_claim_page>([&q](const cg_claim_store_api& api, cg_instance* i, cg_op op) { return api.scan(i, nullptr, op, &q); },
                                            [&](const cg_claim_page& p) {
                                                for (std::size_t n = 0; n < p.count; ++n) {
                                                    const auto e = host::read_element(p.entries, n, p.stride);
                                                    out << host::view(e.key) << '\t' << e.revision << '\t' << e.value.size << '\n';
                                                }
                                                next = text(p.next);
                                                at = p.revision;
                                            });
        if (!r) return r;
        if (next == cursor && !next.empty()) return make_error(errc::abi, "the listing does not end");
        cursor = next;
    } while (!cursor.empty());
    return {};
}

result<void> commit(session& s, const store_request& request, const std::string& document, std::ostream& out) {
    const auto key = host::to_c(request.key);
    const cg_claim_put put{key, bytes(document)};
    const cg_claim_precondition pre{request.at_revision == std::uint64_t{0} ? CG_CLAIM_KEY_ABSENT : CG_CLAIM_KEY_AT, 0, key, request.at_revision.value_or(0)};
    cg_claim_commit q{};
    q.struct_size = sizeof q;
    q.precondition_stride = sizeof pre;
    q.preconditions = &pre;
    q.precondition_count = request.at_revision ? 1 : 0;
    q.put_stride = sizeof put;
    if (request.what == store_request::verb::put) {
        q.puts = &put;
        q.put_count = 1;
    } else {
        q.deletes = {&key, 1};
    }
    cg_claim_committed done{};
    const auto r = s.ask<cg_claim_committed>([&q](const cg_claim_store_api& api, cg_instance* i, cg_op op) { return api.commit(i, nullptr, op, &q); },
                                             [&](const cg_claim_committed& c) { done = c; });
    if (!r) return r;
    if (done.outcome != CG_OK)
        return make_error(errc::invalid,
                          done.conflict_revision == 0 ? "the key is absent; nothing was done"
                                                      : "the key is at revision " + std::to_string(done.conflict_revision) + "; nothing was done",
                          request.key);
    out << "revision " << done.revision << '\n';
    return {};
}

}  // namespace

result<void> run_store(const store_request& request, std::istream& in, std::ostream& out, std::ostream& err) {
    using verb = store_request::verb;
    const auto fault = request.what == verb::scan ? claim_prefix_fault(request.key) : claim_key_fault(request.key);
    if (!fault.empty()) return make_error(errc::invalid, "\"" + request.key + "\" " + std::string(fault), "--key");
    std::string document;
    if (request.what == verb::put) {
        auto read = read_document(request.document_file, in);
        if (!read) return read.error();
        document = std::move(*read);
    }
    const auto loaded = runtime::load_config(request.config_file);
    if (print_findings(loaded.findings, err); !loaded.value) return make_error(errc::invalid, "the configuration cannot be used as it is", request.config_file);
    const auto& stores = loaded.value->stores;
    if (request.store.empty() && stores.size() != 1)
        return make_error(errc::invalid, stores.empty() ? "the configuration has no claim store (stores:)" : "the configuration has several claim stores; say which", "--store");
    const auto which = request.store.empty() ? stores.begin() : std::find_if(stores.begin(), stores.end(), [&](const auto& s) { return s.name == request.store; });
    if (which == stores.end()) return make_error(errc::not_found, "no claim store is named \"" + request.store + "\" under stores:", "--store");
    auto opened = session::open(*loaded.value, *which);
    if (!opened) return opened.error();
    switch (request.what) {
        case verb::get: return get(**opened, request.key, out);
        case verb::scan: return scan(**opened, request.key, out);
        case verb::put:
        case verb::erase: break;
    }
    return commit(**opened, request, document, out);
}

}  // namespace callgate::cli
