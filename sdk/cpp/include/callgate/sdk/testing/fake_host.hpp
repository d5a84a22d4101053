// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <callgate/abi/auth_backend.h>
#include <callgate/abi/key_provider.h>
#include <callgate/sdk/extensions.hpp>
#include <callgate/sdk/testing/capture.hpp>
#include <callgate/sdk/testing/fake_capabilities.hpp>
#include <condition_variable>
#include <deque>
#include <limits>
#include <map>
#include <mutex>
#include <optional>

/// A host in the test's process: clock, timers and HTTP answers are the test's, completions are kept.
/// The test's thread is [control] and every [shard] at once; a plugin's own threads may call in.
namespace callgate::sdk::test {

struct fake_response {
    cg_status status = CG_OK;
    int code = 200;
    std::string body{};
    std::vector<std::pair<std::string, std::string>> headers{};
    std::string error{};
};

struct fake_request {
    std::uint64_t id = 0;
    std::string method, url, body, ca_file;
    std::uint32_t flags = 0;
    std::int64_t timeout_ns = 0;
    std::uint64_t max_body_bytes = 0;
    std::vector<std::pair<std::string, std::string>> headers;
    [[nodiscard]] std::string header(std::string_view name) const {
        for (const auto& [k, v] : headers)
            if (k == name) return v;
        return {};
    }
};

struct log_record {
    log_level level;
    std::string message;
    std::vector<std::pair<std::string, std::string>> fields;
    [[nodiscard]] std::string text() const {
        std::string out = message;
        for (const auto& [k, v] : fields) out += " " + k + "=" + v;
        return out;
    }
};

class fake_host : public fake_capabilities {
  public:
    /// Answers GETs and the like while run() is called; without a route an exchange waits in pending_http().
    using route = std::function<fake_response(const fake_request&)>;

    explicit fake_host(std::string instance_name = "under_test", std::uint32_t shards = 1) : name_(std::move(instance_name)) {
        core_ = make<cg_core>();
        core_.now_ns = [](const cg_host* h) noexcept { return self(h).now_.load(); };
        core_.wall_unix_s = [](const cg_host* h) noexcept { return self(h).wall_unix_s(); };
        core_.time_left_ns = [](const cg_host* h, cg_op op) noexcept { return self(h).time_left(op); };
        core_.is_cancelled = [](const cg_host* h, cg_op op) noexcept { return self(h).is_cancelled(op) ? 1 : 0; };
        core_.scratch = [](const cg_host* h, cg_op op, std::size_t n, std::size_t a) noexcept { return self(h).scratch(op, n, a); };
        core_.complete = [](const cg_host* h, cg_op op, const cg_completion* c) noexcept { return self(h).complete(op, c); };
        core_.log_enabled = [](const cg_host*, std::int32_t) noexcept { return 1; };
        core_.log = [](const cg_host* h, std::int32_t level, cg_str m, const cg_log_field* f, std::size_t n, std::size_t stride) noexcept {
            self(h).log(level, m, f, n, stride);
        };
        timer_ = make<cg_timer_api>();
        timer_.start = [](const cg_host* h, std::int64_t after, void (*fn)(void*), void* ctx, std::uint64_t* id) noexcept {
            return self(h).start_timer(after, fn, ctx, id);
        };
        timer_.cancel = [](const cg_host* h, std::uint64_t id) noexcept { return self(h).cancel_timer(id); };
        snapshot_ = make<cg_snapshot_api>();
        snapshot_.create = [](const cg_host* h, void (*destroy)(void*), cg_snapshot_cell** out) noexcept -> cg_status {
            auto cell = std::make_unique<cell_impl>();
            cell->owner = &self(h);
            cell->destroy = destroy;
            ++self(h).cells_;
            *out = reinterpret_cast<cg_snapshot_cell*>(cell.release());
            return CG_OK;
        };
        snapshot_.publish = [](cg_snapshot_cell* c, void* object) noexcept {
            auto& cell = impl(c);
            std::shared_ptr<void> next(object, [d = cell.destroy](void* p) { if (p != nullptr) d(p); });
            const std::lock_guard lock(cell.mutex);
            cell.current.swap(next);
        };
        snapshot_.acquire = [](cg_snapshot_cell* c, std::uint32_t* pin) noexcept -> const void* {
            auto& cell = impl(c);
            const std::lock_guard lock(cell.mutex);
            *pin = ++cell.last_pin;
            cell.pins[*pin] = cell.current;
            return cell.current.get();
        };
        snapshot_.release = [](cg_snapshot_cell* c, std::uint32_t pin) noexcept {
            auto& cell = impl(c);
            std::shared_ptr<void> old;
            const std::lock_guard lock(cell.mutex);
            if (const auto i = cell.pins.find(pin); i != cell.pins.end()) {
                old = std::move(i->second);
                cell.pins.erase(i);
            } else {
                ++cell.owner->faults_;
            }
        };
        snapshot_.destroy = [](cg_snapshot_cell* c) noexcept {
            auto& cell = impl(c);
            if (!cell.pins.empty()) ++cell.owner->faults_;
            --cell.owner->cells_;
            delete &cell;
        };
        http_ = make<cg_http_client_api>();
        http_.start = [](const cg_host* h, const cg_http_request* r, std::uint64_t* id, cg_errbuf*) noexcept { return self(h).start_http(r, id); };
        http_.cancel = [](const cg_host* h, std::uint64_t id) noexcept { self(h).cancel_http(id); };
        host_ = make<cg_host>();
        host_.abi_major = CG_ABI_MAJOR;
        host_.abi_minor = CG_ABI_MINOR;
        host_.shard_count = shards;
        host_.impl = static_cast<fake_capabilities*>(this);
        host_.core = &core_;
        host_.query = [](const cg_host* h, cg_str id) noexcept -> const void* { return self(h).find(view(id)); };
        host_.instance_name = to_c(name_);
    }
    fake_host(const fake_host&) = delete;
    fake_host& operator=(const fake_host&) = delete;
    virtual ~fake_host() = default;

    [[nodiscard]] const cg_host* get() const noexcept { return &host_; }
    /// This host no longer offers that capability (to instances that ask from now on).
    void withhold(std::string_view extension_id) { withheld_.emplace_back(extension_id); }

    // ---- clock and timers
    [[nodiscard]] std::int64_t now_ns() const noexcept { return now_; }
    [[nodiscard]] std::int64_t wall_unix_s() const noexcept { return wall_at_zero_ + now_ / 1'000'000'000; }
    void set_wall_unix_s(std::int64_t now) noexcept { wall_at_zero_ = now - now_ / 1'000'000'000; }
    /// Moves both clocks and fires what becomes due, in order; answers routed HTTP exchanges as it goes.
    void advance(std::chrono::nanoseconds by) {
        const std::int64_t until = now_ + by.count();
        run();
        for (;;) {
            std::int64_t next = until;
            {
                const std::lock_guard lock(mutex_);
                for (const auto& [id, t] : timers_) next = std::min(next, t.due);
            }
            now_ = std::max<std::int64_t>(now_, next);
            run();
            if (now_ >= until) return;
        }
    }
    /// Fires due timers and answers routed exchanges until nothing is left to do. Ends after 10,000 steps.
    void run() {
        for (int i = 0; i < 10'000 && (fire_one() || answer_one()); ++i) {}
    }
    [[nodiscard]] std::size_t timer_count() const {
        const std::lock_guard lock(mutex_);
        return timers_.size();
    }

    // ---- HTTP
    void on_http(std::string url, route r) { routes_[std::move(url)] = std::move(r); }
    [[nodiscard]] std::vector<fake_request> pending_http() const {
        const std::lock_guard lock(mutex_);
        std::vector<fake_request> out;
        for (const auto& e : exchanges_) out.push_back(e.request);
        return out;
    }
    /// Every exchange ever started.
    [[nodiscard]] std::size_t http_count() const noexcept { return http_started_; }
    /// Ends the exchange `id`; false when there is none.
    bool answer_http(std::uint64_t id, const fake_response& r) {
        exchange e;
        {
            const std::lock_guard lock(mutex_);
            const auto i = std::find_if(exchanges_.begin(), exchanges_.end(), [&](const auto& x) { return x.request.id == id; });
            if (i == exchanges_.end()) return false;
            e = *i;
            exchanges_.erase(i);
        }
        std::vector<cg_http_header> headers;
        for (const auto& [k, v] : r.headers) headers.push_back({to_c(k), to_c(v)});
        auto out = make<cg_http_response>();
        out.http_status = r.code;
        out.status = r.status;
        out.headers_stride = sizeof(cg_http_header);
        out.error = to_c(r.error);
        out.headers = headers.data();
        out.header_count = headers.size();
        out.body = {reinterpret_cast<const std::uint8_t*>(r.body.data()), r.body.size()};
        e.on_done(e.ctx, &out);
        return true;
    }

    // ---- operations
    /// A new operation whose result is of type `k`; `left` = time to its deadline.
    [[nodiscard]] cg_op begin(result_kind k, std::optional<std::chrono::nanoseconds> left = std::nullopt) {
        const std::lock_guard lock(mutex_);
        const cg_op op = ++last_op_;
        auto& o = ops_[op];
        o.kind = k;
        o.deadline = left ? now_ + left->count() : std::numeric_limits<std::int64_t>::max();
        return op;
    }
    /// is_cancelled answers 1 from now on; the caller also calls the plugin's cancel.
    void mark_cancelled(cg_op op) {
        const std::lock_guard lock(mutex_);
        ops_[op].cancelled = true;
    }
    [[nodiscard]] bool done(cg_op op) const {
        const std::lock_guard lock(mutex_);
        const auto i = ops_.find(op);
        return i != ops_.end() && i->second.done;
    }
    /// Waits for a completion from another thread, at most 20 s; nullopt when none came.
    [[nodiscard]] std::optional<completion> wait(cg_op op) {
        std::unique_lock lock(mutex_);
        if (!completed_.wait_for(lock, std::chrono::seconds(20), [&] { return ops_[op].done; })) return std::nullopt;
        return ops_[op].result;
    }
    /// The plugin did not accept the operation: it counts as completed with that status.
    void refused(cg_op op, cg_status status) {
        {
            const std::lock_guard lock(mutex_);
            auto& o = ops_[op];
            if (o.done) ++faults_;
            o.result = {};
            o.result.status = status;
            o.result.error = "not accepted";
            o.done = true;
        }
        completed_.notify_all();
    }
    /// Drops what is kept of a completed operation; for tests that run very many.
    void forget(cg_op op) {
        const std::lock_guard lock(mutex_);
        if (const auto i = ops_.find(op); i != ops_.end() && i->second.done) ops_.erase(i);
    }
    /// The completion that is there already; nullopt when none is.
    [[nodiscard]] std::optional<completion> take(cg_op op) const {
        const std::lock_guard lock(mutex_);
        const auto i = ops_.find(op);
        if (i == ops_.end() || !i->second.done) return std::nullopt;
        return i->second.result;
    }
    /// Contract violations seen: a second completion, a wrong release of a pin, a cell destroyed in use.
    [[nodiscard]] int faults() const noexcept { return faults_; }
    [[nodiscard]] int live_cells() const noexcept { return cells_; }

    [[nodiscard]] std::vector<log_record> logs() const {
        const std::lock_guard lock(mutex_);
        return logs_;
    }
    [[nodiscard]] bool logged(std::string_view part) const {
        for (const auto& l : logs())
            if (l.text().find(part) != std::string::npos) return true;
        return false;
    }

  protected:
    /// Capabilities of hosts derived from this one.
    [[nodiscard]] virtual const void* find_more(std::string_view /*extension_id*/) const noexcept { return nullptr; }
    static fake_host& self(const cg_host* h) noexcept { return static_cast<fake_host&>(*static_cast<fake_capabilities*>(h->impl)); }

  private:
    struct operation {
        result_kind kind = result_kind::none;
        std::int64_t deadline = 0;
        bool cancelled = false;
        bool done = false;
        std::size_t scratch_used = 0;
        std::deque<std::vector<unsigned char>> scratch;
        completion result;
    };
    struct timer_entry {
        std::int64_t due;
        void (*fn)(void*);
        void* ctx;
    };
    struct exchange {
        fake_request request;
        void* ctx = nullptr;
        void (*on_done)(void*, const cg_http_response*) = nullptr;
        bool cancelled = false;
    };
    struct cell_impl {
        fake_host* owner = nullptr;
        void (*destroy)(void*) = nullptr;
        std::mutex mutex;
        std::shared_ptr<void> current;
        std::map<std::uint32_t, std::shared_ptr<void>> pins;
        std::uint32_t last_pin = 0;
    };

    static cell_impl& impl(cg_snapshot_cell* c) noexcept { return *reinterpret_cast<cell_impl*>(c); }

    const void* find(std::string_view id) const noexcept {
        for (const auto& w : withheld_)
            if (w == id) return nullptr;
        if (id == CG_EXT_TIMER) return &timer_;
        if (id == CG_EXT_SNAPSHOT) return &snapshot_;
        if (id == CG_EXT_HTTP_CLIENT) return &http_;
        if (const void* table = find_more(id)) return table;
        return find_draft(id);
    }
    std::int64_t time_left(cg_op op) const {
        const std::lock_guard lock(mutex_);
        const auto i = ops_.find(op);
        if (i == ops_.end() || i->second.done) return 0;
        return i->second.deadline == std::numeric_limits<std::int64_t>::max() ? i->second.deadline : i->second.deadline - now_;
    }
    bool is_cancelled(cg_op op) const {
        const std::lock_guard lock(mutex_);
        const auto i = ops_.find(op);
        return i == ops_.end() || i->second.done || i->second.cancelled || i->second.deadline < now_;
    }
    void* scratch(cg_op op, std::size_t size, std::size_t align) {
        const std::lock_guard lock(mutex_);
        const auto i = ops_.find(op);
        if (i == ops_.end() || i->second.done || i->second.scratch_used + size > 65536) return nullptr;
        i->second.scratch_used += size;
        auto& block = i->second.scratch.emplace_back(size + align);
        void* p = block.data();
        std::size_t space = block.size();
        return std::align(align, size, p, space);
    }
    cg_status complete(cg_op op, const cg_completion* c) {
        const auto mine = copy_in(c);
        result_kind kind{};
        {
            const std::lock_guard lock(mutex_);
            const auto i = ops_.find(op);
            if (i == ops_.end() || i->second.done) {
                ++faults_;
                return CG_E_NOT_FOUND;
            }
            kind = i->second.kind;
        }
        completion captured = capture(kind, mine);
        if (mine.release != nullptr) mine.release(mine.release_ctx);
        {
            const std::lock_guard lock(mutex_);
            auto& o = ops_[op];
            o.result = std::move(captured);
            o.done = true;
            o.scratch.clear();
        }
        completed_.notify_all();
        return CG_OK;
    }
    void log(std::int32_t level, cg_str message, const cg_log_field* f, std::size_t n, std::size_t stride) {
        log_record r{static_cast<log_level>(level), std::string(view(message)), {}};
        for (std::size_t i = 0; i < n; ++i) {
            const auto& x = *reinterpret_cast<const cg_log_field*>(reinterpret_cast<const unsigned char*>(f) + i * stride);
            r.fields.emplace_back(view(x.key), view(x.value));
        }
        const std::lock_guard lock(mutex_);
        logs_.push_back(std::move(r));
    }
    cg_status start_timer(std::int64_t after, void (*fn)(void*), void* ctx, std::uint64_t* id) {
        const std::lock_guard lock(mutex_);
        if (timers_.size() >= 256) return CG_E_BUSY;
        *id = ++last_timer_;
        timers_[*id] = {now_ + after, fn, ctx};
        return CG_OK;
    }
    cg_status cancel_timer(std::uint64_t id) {
        const std::lock_guard lock(mutex_);
        return timers_.erase(id) != 0 ? CG_OK : CG_E_NOT_FOUND;
    }
    bool fire_one() {
        timer_entry due{};
        {
            const std::lock_guard lock(mutex_);
            auto best = timers_.end();
            for (auto i = timers_.begin(); i != timers_.end(); ++i)
                if (i->second.due <= now_ && (best == timers_.end() || i->second.due < best->second.due)) best = i;
            if (best == timers_.end()) return false;
            due = best->second;
            timers_.erase(best);
        }
        due.fn(due.ctx);
        return true;
    }
    cg_status start_http(const cg_http_request* request, std::uint64_t* id) {
        const auto r = copy_in(request);
        exchange e;
        e.ctx = r.ctx;
        e.on_done = r.on_done;
        e.request.method = view(r.method);
        e.request.url = view(r.url);
        e.request.body.assign(reinterpret_cast<const char*>(r.body.data), r.body.data == nullptr ? 0 : r.body.size);
        e.request.ca_file = view(r.ca_file);
        e.request.flags = r.flags;
        e.request.timeout_ns = r.timeout_ns;
        e.request.max_body_bytes = r.max_body_bytes;
        for (std::size_t i = 0; i < r.header_count; ++i) {
            const auto& h = *reinterpret_cast<const cg_http_header*>(reinterpret_cast<const unsigned char*>(r.headers) + i * r.headers_stride);
            e.request.headers.emplace_back(view(h.name), view(h.value));
        }
        const std::lock_guard lock(mutex_);
        if (exchanges_.size() >= 32) return CG_E_BUSY;
        e.request.id = *id = ++http_started_;
        exchanges_.push_back(std::move(e));
        return CG_OK;
    }
    void cancel_http(std::uint64_t id) {
        const std::lock_guard lock(mutex_);
        for (auto& e : exchanges_)
            if (e.request.id == id) e.cancelled = true;
    }
    bool answer_one() {
        std::uint64_t id = 0;
        fake_response response;
        {
            std::unique_lock lock(mutex_);
            for (const auto& e : exchanges_) {
                if (e.cancelled) {
                    id = e.request.id;
                    response.status = CG_E_CANCELLED;
                    response.code = 0;
                    response.error = "cancelled";
                    break;
                }
                if (const auto r = routes_.find(e.request.url); r != routes_.end()) {
                    const fake_request request = e.request;
                    lock.unlock();
                    id = request.id;
                    response = r->second(request);
                    break;
                }
            }
        }
        return id != 0 && answer_http(id, response);
    }

    mutable std::mutex mutex_;
    std::condition_variable completed_;
    std::string name_;
    std::atomic<std::int64_t> now_{1'000'000'000'000};
    std::atomic<std::int64_t> wall_at_zero_{1'800'000'000};
    std::map<cg_op, operation> ops_;
    cg_op last_op_ = 100;
    std::map<std::uint64_t, timer_entry> timers_;
    std::uint64_t last_timer_ = 0;
    std::vector<exchange> exchanges_;
    std::atomic<std::uint64_t> http_started_{0};
    std::map<std::string, route, std::less<>> routes_;
    std::vector<std::string> withheld_;
    std::vector<log_record> logs_;
    std::atomic<int> faults_{0};
    std::atomic<int> cells_{0};
    cg_core core_{};
    cg_timer_api timer_{};
    cg_snapshot_api snapshot_{};
    cg_http_client_api http_{};
    cg_host host_{};
};

}  // namespace callgate::sdk::test
