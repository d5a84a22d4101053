// SPDX-License-Identifier: Apache-2.0
// An auth backend that does what the credential says, with one host capability each, so that clients and operators can see from
// outside that it works. Suites: tests/node/capabilities. `KIND:REST` in auth_token:
//   secret:VALUE   in when VALUE is the present secret
//   fifo:NAME      in when NAME was written into the FIFO of the configuration (fd/1); "-NAME" there takes it away (cache-invalidate/1)
//   store:KEY      in as what stands under KEY of the claim store (instance/1)
//   sign:TEXT      in as the key's name; nkey, text and signature are published (instance/1, nats/1)
//   ask:QUESTION   in when witness.directory answers "yes" (nats/1)
//   work:MS        in after a job of the pool has slept so long (worker/1)
//   sick:TEXT, well:   what health says from now on
// Factory `witness` is free of threads; `blocking` is CG_THREADS_SERIAL and sleeps in authenticate itself: block:MS.
#include <fcntl.h>
#include <unistd.h>

#include <callgate/sdk/auth_backend.hpp>
#include <callgate/sdk/config.hpp>
#include <callgate/sdk/extensions_events.hpp>
#include <callgate/sdk/extensions_fd.hpp>
#include <callgate/sdk/extensions_instance.hpp>
#include <callgate/sdk/extensions_metrics.hpp>
#include <callgate/sdk/extensions_nats.hpp>
#include <callgate/sdk/extensions_secrets.hpp>
#include <callgate/sdk/extensions_worker.hpp>
#include <callgate/sdk/plugin.hpp>

#include <atomic>
#include <charconv>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

using namespace callgate::sdk;

namespace {

std::span<const std::uint8_t> bytes_of(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

std::string hex(const std::uint8_t* data, std::size_t size) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (std::size_t i = 0; i < size; ++i) out += {digits[data[i] >> 4], digits[data[i] & 15]};
    return out;
}

std::chrono::milliseconds milliseconds_of(std::string_view text) {
    int n = 0;
    std::from_chars(text.data(), text.data() + text.size(), n);
    return std::chrono::milliseconds(n);
}

void answer(op_handle& op, std::string_view subject) {
    reply_builder reply;
    if (subject.empty()) reply.deny("not_this_time").send(op);
    else reply.allow(subject).send(op);
}

constexpr std::string_view event_names[] = {"", "config_reloaded", "key_rotated", "backend_degraded", "backend_recovered", "shutting_down"};

class witness final : public auth_backend {
  public:
    static constexpr std::string_view type = "witness";
    static constexpr std::string_view summary = "shows host capabilities to tests";
    static constexpr std::string_view config_schema = R"({"type": "object", "additionalProperties": false, "properties": {
      "secret": {"type": "string", "x-callgate-secret": true}, "other": {"type": "string", "x-callgate-secret": true},
      "fifo": {"type": "string"}, "cluster": {"type": "string"}, "keys": {"type": "string"}, "store": {"type": "string"}, "generation": {"type": "integer"}}})";

    static std::unique_ptr<auth_backend> create(host_ref host, const create_args& args) { return std::make_unique<witness>(host, args); }

    witness(host_ref host, const create_args& args) : auth_backend(host) {
        const auto config = config_view::parse(args.config_json);
        secret_ = config.string_or("secret", {});
        other_ = config.string_or("other", {});
        fifo_path_ = config.has("fifo") ? args.resolve(config.at("fifo").string()) : std::string();
        cluster_ = config.string_or("cluster", {});
        keys_name_ = config.string_or("keys", {});
        store_name_ = config.string_or("store", {});
        for (std::size_t i = 1; i < std::size(event_names); ++i)
            events_seen_[i] = metric_counter(host, "witness_events_total", "Events that came.", {{"event", event_names[i]}});
        changed_secret_ = metric_counter(host, "witness_secret_changes_total", "Secrets that changed.", {{"secret", "secret"}});
        changed_other_ = metric_counter(host, "witness_secret_changes_total", "Secrets that changed.", {{"secret", "other"}});
        asked_ = metric_counter(host, "witness_logins_total", "Logins that were asked about.");
        known_ = metric_gauge(host, "witness_names", "Names from the FIFO.");
    }
    ~witness() override {
        if (fifo_ >= 0) ::close(fifo_);
    }

    void start(op_handle&& op) override {
        if (!secret_.empty()) changes_.emplace(host(), [this](std::string_view handle) { (handle == secret_ ? changed_secret_ : changed_other_).add(); });
        jobs_.emplace(host());
        if (!keys_name_.empty()) keys_.emplace(host(), keys_name_);
        if (!store_name_.empty()) store_.emplace(host(), store_name_);
        if (!cluster_.empty()) {
            nats_.emplace(host(), cluster_);
            const auto echo = [this](const nats_incoming& m) {
                (void)nats_->publish({m.reply(), m.payload(), {{"Echo", m.header("Trace")}, {"Lost", std::to_string(m.lost())}}});
            };
            nats_->subscribe("witness.echo", echo, "echoes");
            nats_->subscribe("witness.pool.*", echo, {}, CG_NATS_ON_WORKER);
            nats_->subscribe("witness.slow", [](const nats_incoming&) { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }, {}, CG_NATS_ON_WORKER);
            nats_->subscribe("witness.last", echo);
        }
        watcher_.emplace(host(), std::initializer_list<std::uint32_t>{CG_EVENT_CONFIG_RELOADED, CG_EVENT_KEY_ROTATED, CG_EVENT_BACKEND_DEGRADED,
                                                                     CG_EVENT_BACKEND_RECOVERED, CG_EVENT_SHUTTING_DOWN},
                         [this](const host_event& e) {
                             events_seen_[e.kind].add();
                             if (nats_) (void)nats_->publish({"witness.event." + std::string(event_names[e.kind]), bytes_of(std::string(e.subject) + "|" + std::string(e.text))});
                         });
        if (!fifo_path_.empty()) {
            fifo_ = ::open(fifo_path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
            if (fifo_ < 0) throw status_error(CG_E_NOT_FOUND, "cannot open the FIFO", fifo_path_);
            watch_.emplace(host());
            watch_->start(fifo_, CG_FD_READ, [this](std::uint32_t) { read_fifo(); });
        }
        op.succeed();
    }

    void stop(op_handle&& op) override {
        watch_.reset();
        watcher_.reset();
        changes_.reset();
        if (nats_) (void)nats_->publish({"witness.bye", bytes_of(host().instance_name())});
        jobs_->when_idle([kept = std::make_shared<op_handle>(std::move(op))] { kept->succeed(); });
    }

    health current_health() override {
        const std::lock_guard lock(mutex_);
        return {ill_.empty() ? static_cast<std::uint32_t>(CG_HEALTH_OK) : static_cast<std::uint32_t>(CG_HEALTH_DEGRADED), ill_};
    }

    void authenticate(shard_state*, op_handle&& op, const request_view& request) override {
        asked_.add(request.shard());
        const auto token = request.credential();
        const auto colon = token.find(':');
        const auto what = token.substr(0, colon);
        const auto rest = colon == std::string_view::npos ? std::string_view() : token.substr(colon + 1);
        if (what == "secret") return answer(op, rest == read_secret(host(), secret_).text() ? "keeper" : "");
        if (what == "fifo") {
            const std::lock_guard lock(mutex_);
            return answer(op, names_.contains(std::string(rest)) ? rest : "");
        }
        if (what == "sick" || what == "well") {
            const std::lock_guard lock(mutex_);
            ill_ = what == "sick" ? rest : std::string_view();
            return answer(op, "doctor");
        }
        const auto kept = std::make_shared<op_handle>(std::move(op));
        if (what == "work") {
            const auto time = milliseconds_of(rest);
            return jobs_->run([time] { std::this_thread::sleep_for(time); }, [kept] { answer(*kept, "worker"); });
        }
        if (what == "store")
            return store_->get({std::string(rest)}, [kept](const call_answer<cg_claim_values>& a) {
                if (a.status != CG_OK) return kept->fail(a.status, a.error);
                if (a.result->count == 0) return answer(*kept, "");
                const auto& e = *a.result->entries;
                answer(*kept, {reinterpret_cast<const char*>(e.value.data), e.value.size});
            });
        if (what == "sign") {
            const std::string text(rest);
            return keys_->sign("issuer", CG_SIGN_GENERIC, bytes_of(text), [this, kept, text](const call_answer<cg_instance_signature>& a) {
                if (a.status != CG_OK) return kept->fail(a.status, a.error);
                const auto line = std::string(view(a.result->nkey)) + " " + hex(a.result->signature, sizeof a.result->signature);
                (void)nats_->publish({"witness.signed", bytes_of(line)});
                answer(*kept, "signer");
            });
        }
        if (what == "ask") {
            const auto s = nats_->request({"witness.directory", bytes_of(rest), {{"Asks", "witness"}}}, [kept](cg_status status, const nats_incoming* m) {
                if (status == CG_E_NOT_FOUND) return reply_builder{}.deny("no_directory").send(*kept);
                if (status != CG_OK) return kept->fail(status, "the directory does not answer");
                answer(*kept, m->text() == "yes" ? "known" : "");
            }, {}, kept->id());
            if (s != CG_OK) kept->fail(s, "not connected");
            return;
        }
        reply_builder{}.abstain("unknown_word").send(*kept);
    }

  private:
    void read_fifo() {
        char buffer[512];
        for (ssize_t n = 0; (n = ::read(fifo_, buffer, sizeof buffer)) > 0;) line_.append(buffer, static_cast<std::size_t>(n));
        const std::lock_guard lock(mutex_);
        for (std::size_t end = 0; (end = line_.find('\n')) != std::string::npos; line_.erase(0, end + 1)) {
            const auto name = line_.substr(0, end);
            if (!name.starts_with('-')) {
                names_.insert(name);
                continue;
            }
            names_.erase(name.substr(1));
            verdict_cache(host()).forget_subject({}, name.substr(1));
        }
        known_.set(static_cast<std::int64_t>(names_.size()));
    }

    std::string secret_, other_, fifo_path_, cluster_, keys_name_, store_name_, line_;
    metric_counter events_seen_[std::size(event_names)], changed_secret_, changed_other_, asked_;
    metric_gauge known_;
    std::optional<secret_changes> changes_;
    std::optional<worker_jobs> jobs_;
    std::optional<key_user> keys_;
    std::optional<store_user> store_;
    std::optional<nats_client> nats_;
    std::optional<event_subscription> watcher_;
    std::optional<fd_watch> watch_;
    int fifo_ = -1;
    std::mutex mutex_;
    std::set<std::string> names_;
    std::string ill_;
};

class blocking final : public auth_backend {
  public:
    static constexpr std::string_view type = "blocking";
    static constexpr std::string_view summary = "sleeps in authenticate, one call at a time";
    static constexpr std::string_view config_schema = R"({"type": "object", "additionalProperties": false})";
    static constexpr std::uint32_t thread_model = CG_THREADS_SERIAL;

    static std::unique_ptr<auth_backend> create(host_ref host, const create_args&) { return std::make_unique<blocking>(host); }
    explicit blocking(host_ref host) : auth_backend(host) {}

    void authenticate(shard_state*, op_handle&& op, const request_view& request) override {
        const auto token = request.credential();
        if (!token.starts_with("block:")) return reply_builder{}.abstain("unknown_word").send(op);
        const bool alone = !busy_.exchange(true);
        std::this_thread::sleep_for(milliseconds_of(token.substr(6)));
        busy_ = false;
        answer(op, alone ? "sleeper" : "");
    }

  private:
    std::atomic<bool> busy_{false};
};

}  // namespace

CALLGATE_PLUGIN("org.callgate.test.witness", "1.0.0", "callgate", "Apache-2.0", witness, blocking)
