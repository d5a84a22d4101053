// SPDX-License-Identifier: Apache-2.0
#include "plugins/store_sqlite/store_sqlite.hpp"

#include <callgate/sdk/config.hpp>
#include <pthread.h>

namespace callgate::store_sqlite {
namespace {

constexpr cg_claim_limits limits_of_store = {
    .struct_size = sizeof(cg_claim_limits),
    .max_get_keys = 256,
    .max_scan_entries = 1000,
    .max_commit_items = 1024,
    .max_watches = 64,
    .reserved = 0,
    .max_value_bytes = CG_CLAIM_MAX_VALUE_BYTES,
    .max_commit_bytes = 8u << 20,
    .max_page_bytes = 4u << 20,
};
constexpr std::size_t group_size = 128;      // commits in one transaction
constexpr std::size_t events_at_once = 64;   // of one watch, before the next has its turn
constexpr std::size_t compact_after = 256;   // changes

std::thread named_thread(const char* name, std::function<void()> run) {
    std::thread t(std::move(run));
    ::pthread_setname_np(t.native_handle(), name);
    return t;
}

}  // namespace

std::unique_ptr<sdk::claim_store> store::create(sdk::host_ref host, const sdk::create_args& args) {
    using namespace std::chrono_literals;
    const auto c = sdk::config_view::parse(args.config_json);
    c.only({"path", "create", "synchronous", "busy_timeout", "readers", "queue", "history", "history_bytes", "tokens", "max_bytes", "poll_interval"});
    engine_options o;
    if (c.at("path").string().empty()) c.at("path").fail("the path is empty");
    o.store.file = args.resolve(c.at("path").string());
    o.store.create = c.boolean_or("create", true);
    const auto sync = c.string_or("synchronous", "full");
    if (sync != "full" && sync != "normal") c.at("synchronous").fail("must be full or normal");
    o.store.full_sync = sync == "full";
    o.store.busy_timeout_ms = c.duration_or("busy_timeout", 1s, 0s, 30s) / 1ms;
    o.readers = static_cast<std::size_t>(c.integer_or("readers", 2, 1, 16));
    o.queue = static_cast<std::size_t>(c.integer_or("queue", 4096, 16, 65536));
    o.store.history = static_cast<std::uint64_t>(c.integer_or("history", 10'000, 100, 10'000'000));
    o.store.history_bytes = static_cast<std::uint64_t>(c.integer_or("history_bytes", 64 << 20, 1 << 20, std::int64_t{64} << 30));
    o.store.tokens = static_cast<std::uint64_t>(c.integer_or("tokens", 10'000, 1000, 10'000'000));
    o.store.max_bytes = static_cast<std::uint64_t>(c.integer_or("max_bytes", 1 << 30, 1 << 20, std::int64_t{1} << 40));
    o.poll_interval = c.duration_or("poll_interval", 100ms, 10ms, 10s);
    return std::make_unique<store>(host, std::move(o));
}

store::store(sdk::host_ref host, engine_options options) : claim_store(host, limits_of_store), options_(std::move(options)) {}
store::~store() { join(); }

void store::start(sdk::op_handle&& op) {
    prepare_file(options_.store);
    // The threads open connections of their own; what would be wrong with those fails the start here.
    (void)claims(options_.store).revision();
    const auto run = [&](const char* name, void (store::*loop)()) {
        threads_.push_back(named_thread(name, [this, loop] { (this->*loop)(); }));
    };
    for (std::size_t i = 0; i < options_.readers; ++i) run("store-read", &store::read_loop);
    run("store-write", &store::write_loop);
    run("store-watch", &store::watch_loop);
    op.succeed();
}

// ---- life
void store::drain(sdk::op_handle&& op) {
    {
        const std::lock_guard lock(mutex_);
        if (pending_ != 0) {
            drains_.push_back(std::move(op));
            return;
        }
    }
    op.succeed();
}

void store::stop(sdk::op_handle&& op) {
    join();
    std::vector<sdk::op_handle> drains;
    {
        const std::lock_guard lock(mutex_);
        drains.swap(drains_);
    }
    for (auto& d : drains) d.succeed();
    op.succeed();
}

void store::join() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    read_wake_.notify_all();
    write_wake_.notify_all();
    watch_wake_.notify_all();
    for (auto& t : threads_) t.join();
    threads_.clear();
}

sdk::health store::current_health() {
    const std::lock_guard lock(health_mutex_);
    return fault_.empty() ? sdk::health{} : sdk::health{CG_HEALTH_DOWN, fault_};
}

void store::failed(const sdk::status_error& why) {
    // Only what the store itself suffers from, not what a caller got wrong.
    if (why.code() != CG_E_UNAVAILABLE && why.code() != CG_E_PERMISSION && why.code() != CG_E_INTERNAL) return;
    bool fresh = false;
    {
        const std::lock_guard lock(health_mutex_);
        fresh = fault_.empty();
        fault_ = why.where() + ": " + why.what();
    }
    if (fresh) host().log(sdk::log_level::error, "the claim store does not work", {{"file", why.where()}, {"reason", why.what()}});
}

void store::worked() {
    bool recovered = false;
    {
        const std::lock_guard lock(health_mutex_);
        recovered = !fault_.empty();
        fault_.clear();
    }
    if (recovered) host().log(sdk::log_level::info, "the claim store works again", {{"file", options_.store.file}});
}

void store::finished(std::size_t jobs) {
    std::vector<sdk::op_handle> drained;
    {
        const std::lock_guard lock(mutex_);
        pending_ -= jobs;
        if (pending_ == 0) drained.swap(drains_);
    }
    for (auto& d : drained) d.succeed();
}

// ---- what the host calls
template <class Job>
void store::enqueue(std::deque<Job>& queue, std::condition_variable& wake, Job&& job) {
    bool running = false, room = false;
    {
        const std::lock_guard lock(mutex_);
        running = !threads_.empty() && !stopping_;
        room = queue.size() < options_.queue;
        if (running && room) {
            queue.push_back(std::move(job));
            ++pending_;
        }
    }
    if (!running) return job.op.fail(CG_E_UNAVAILABLE, "the claim store is not running");
    if (!room) return job.op.fail(CG_E_BUSY, "more requests wait than `queue` allows (" + std::to_string(options_.queue) + ")");
    wake.notify_one();
}

void store::get(sdk::shard_state*, sdk::op_handle&& op, const sdk::claim_get_view& request) {
    enqueue(reads_, read_wake_, read_job{std::move(op), [request](claims& db, sdk::op_handle& h) {
        sdk::claim_entries out;
        const auto revision = db.get(request, out);
        out.send_values(h, revision);
    }});
}

void store::scan(sdk::shard_state*, sdk::op_handle&& op, const sdk::claim_scan_view& request) {
    enqueue(reads_, read_wake_, read_job{std::move(op), [request, this](claims& db, sdk::op_handle& h) {
        sdk::claim_entries out;
        std::uint64_t revision = 0;
        const auto next = db.scan(request, limits(), out, revision);
        out.send_page(h, revision, next);
    }});
}

void store::snapshot(sdk::op_handle&& op, int fd) {
    enqueue(reads_, read_wake_, read_job{std::move(op), [fd](claims& db, sdk::op_handle& h) {
        const auto t = db.snapshot(fd);
        sdk::send_transfer(h, t.revision, t.entries, t.bytes);
    }});
}

void store::commit(sdk::shard_state*, sdk::op_handle&& op, const sdk::claim_commit_view& request) {
    enqueue(writes_, write_wake_, write_job{std::move(op), request});
}

void store::restore(sdk::op_handle&& op, int fd, bool replace) {
    enqueue(writes_, write_wake_, write_job{std::move(op), [this, fd, replace](claims& db, sdk::op_handle& h) {
        transferred t;
        db.write([&] { t = db.restore(fd, replace, limits()); });
        sdk::send_transfer(h, t.revision, t.entries, t.bytes);
    }});
}

void store::watch(sdk::shard_state*, sdk::op_handle&& op, const sdk::claim_watch_view& request, std::shared_ptr<sdk::stream_source> stream) {
    watcher w;
    w.prefix = request.prefix;
    if (request.resume.empty()) {
        w.at.revision = request.from_revision;
    } else if (const auto at = watch_position::from_token(request.resume)) {
        w.at = *at;
    } else {
        throw sdk::status_error(CG_E_INVALID, "the resume token is none of this store's");
    }
    {
        const std::lock_guard lock(mutex_);
        if (threads_.empty() || stopping_) throw sdk::status_error(CG_E_UNAVAILABLE, "the claim store is not running");
        if (watches_ >= limits().max_watches) throw sdk::status_error(CG_E_BUSY, "more than " + std::to_string(limits().max_watches) + " watches are open");
        ++watches_;
        w.stream = std::move(stream);
        w.opening = std::move(op);
        opening_.push_back(std::move(w));
    }
    watch_wake_.notify_one();
}

void store::stream_changed(cg_stream) {
    {
        const std::lock_guard lock(mutex_);
        look_ = true;
    }
    watch_wake_.notify_one();
}

// ---- threads
void store::read_loop() {
    std::optional<claims> db;
    for (;;) {
        read_job job;
        {
            std::unique_lock lock(mutex_);
            read_wake_.wait(lock, [&] { return stopping_ || !reads_.empty(); });
            if (reads_.empty()) return;
            job = std::move(reads_.front());
            reads_.pop_front();
        }
        try {
            if (job.op.cancelled()) throw sdk::status_error(CG_E_CANCELLED, "nobody waits for this answer any more");
            if (!db) db.emplace(options_.store);
            job.work(*db, job.op);
            worked();
        } catch (const sdk::status_error& e) {
            failed(e);
            job.op.fail(e.code(), e.what(), e.where());
            // A connection that found damage or lost its file keeps saying so; a new one may not.
            if (e.code() == CG_E_UNAVAILABLE) db.reset();
        } catch (const std::exception& e) {
            job.op.fail(CG_E_BUSY, e.what());
        }
        finished(1);
    }
}

void store::write_loop() {
    std::optional<claims> db;
    for (;;) {
        std::vector<write_job> jobs;
        {
            std::unique_lock lock(mutex_);
            write_wake_.wait(lock, [&] { return stopping_ || !writes_.empty(); });
            if (writes_.empty()) return;
            while (!writes_.empty() && jobs.size() < group_size) {
                const bool commit = std::holds_alternative<sdk::claim_commit_view>(writes_.front().work);
                if (!commit && !jobs.empty()) break;
                jobs.push_back(std::move(writes_.front()));
                writes_.pop_front();
                if (!commit) break;
            }
        }
        const auto count = jobs.size();
        try {
            if (!db) db.emplace(options_.store);
            if (!write_together(*db, jobs))
                for (auto& j : jobs)
                    if (j.op) write_alone(*db, j);
        } catch (const sdk::status_error& e) {
            failed(e);
            for (auto& j : jobs)
                if (j.op) j.op.fail(e.code(), e.what(), e.where());
            db.reset();
        } catch (const std::exception& e) {
            for (auto& j : jobs)
                if (j.op) j.op.fail(CG_E_BUSY, e.what());
            db.reset();
        }
        jobs.clear();
        stream_changed(0);
        finished(count);
    }
}

bool store::write_together(claims& db, std::vector<write_job>& jobs) {
    if (!std::holds_alternative<sdk::claim_commit_view>(jobs.front().work)) return false;
    std::vector<std::optional<commit_outcome>> outcomes(jobs.size());
    std::vector<std::optional<sdk::status_error>> refusals(jobs.size());
    try {
        db.write([&] {
            for (std::size_t i = 0; i < jobs.size(); ++i) {
                if (jobs[i].op.cancelled()) {
                    refusals[i].emplace(CG_E_CANCELLED, "nobody waits for this answer any more; nothing was done");
                    continue;
                }
                const auto& request = std::get<sdk::claim_commit_view>(jobs[i].work);
                try {
                    outcomes[i] = db.commit(request);
                } catch (const sdk::status_error& e) {
                    // These are found before anything is written; everything else undoes the transaction.
                    if (e.code() != CG_E_INVALID && e.code() != CG_E_COMPACTED) throw;
                    refusals[i] = e;
                    continue;
                }
                if (outcomes[i]->done && !outcomes[i]->replayed) uncompacted_ += request.puts.size() + request.deletes.size();
            }
            if (uncompacted_ >= compact_after) {
                db.compact();
                uncompacted_ = 0;
            }
        });
    } catch (const sdk::status_error&) {
        // One that is too much for the disk must not fail the others: each once more on its own.
        uncompacted_ = compact_after;
        if (jobs.size() > 1) return false;
        throw;
    }
    worked();
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        if (refusals[i]) jobs[i].op.fail(refusals[i]->code(), refusals[i]->what(), refusals[i]->where());
        else if (outcomes[i]->done) sdk::send_committed(jobs[i].op, outcomes[i]->revision, outcomes[i]->replayed);
        else sdk::send_conflict(jobs[i].op, outcomes[i]->revision, outcomes[i]->conflict_key, outcomes[i]->conflict_revision);
    }
    return true;
}

void store::write_alone(claims& db, write_job& job) {
    try {
        if (std::holds_alternative<sdk::claim_commit_view>(job.work)) {
            std::vector<write_job> one;
            one.push_back({std::move(job.op), job.work});
            try {
                write_together(db, one);
            } catch (...) {
                job.op = std::move(one.front().op);
                throw;
            }
            return;
        }
        std::get<1>(job.work)(db, job.op);
        worked();
    } catch (const sdk::status_error& e) {
        failed(e);
        job.op.fail(e.code(), e.what(), e.where());
    }
}

void store::watch_loop() {
    std::optional<claims> db;
    std::list<watcher> watches;
    std::uint64_t seen = 0;
    for (;;) {
        bool look = false;
        {
            std::unique_lock lock(mutex_);
            const auto news = [&] { return stopping_ || look_ || !opening_.empty(); };
            // Another process says nothing: its commits show in the data version only.
            if (watches.empty()) watch_wake_.wait(lock, news);
            else watch_wake_.wait_for(lock, options_.poll_interval, news);
            look = look_ || !opening_.empty();
            look_ = false;
            watches.splice(watches.end(), opening_);
            if (stopping_) break;
        }
        try {
            if (!db) db.emplace(options_.store);
            const auto version = db->data_version();
            if (version == seen && !look) continue;
            seen = version;
            for (auto& w : watches) serve(*db, w);
        } catch (const sdk::status_error& e) {
            failed(e);
            for (auto& w : watches) {
                if (w.opening) w.opening.fail(e.code(), e.what(), e.where());
                w.stream->end(e.code(), e.what());
            }
            db.reset();
            seen = 0;
        }
        const auto before = watches.size();
        watches.remove_if([](const watcher& w) { return w.stream->ended(); });
        const std::lock_guard lock(mutex_);
        watches_ -= before - watches.size();
    }
    for (auto& w : watches) {
        if (w.opening) w.opening.fail(CG_E_CANCELLED, "the claim store stops");
        w.stream->end(CG_E_CANCELLED);
    }
}

// One turn of one watch; asks for another when there is more to send.
void store::serve(claims& db, watcher& w) {
    auto& stream = *w.stream;
    try {
        if (w.opening) {
            if (w.opening.cancelled() || stream.cancelled()) throw sdk::status_error(CG_E_CANCELLED, "the watch was cancelled while it opened");
            const auto revision = db.check_position(w.at);
            sdk::send_watching(w.opening, stream, revision);
        }
        if (stream.cancelled()) return stream.end(CG_E_CANCELLED);
        const auto room = std::min<std::size_t>(stream.credits(), events_at_once);
        if (room == 0) {
            (void)db.check_position(w.at);
            return;
        }
        const auto found = db.changes(w.prefix, w.at, room);
        for (const auto& c : found) {
            const auto token = c.after.token();
            sdk::send_change(stream, c.kind, c.key, c.value, c.after.revision, {reinterpret_cast<const std::uint8_t*>(token.data()), token.size()});
        }
        if (found.size() == room && stream.credits() != 0) {
            const std::lock_guard lock(mutex_);
            look_ = true;
        }
    } catch (const sdk::status_error& e) {
        if (e.code() != CG_E_COMPACTED && e.code() != CG_E_CANCELLED) throw;
        if (w.opening) w.opening.fail(e.code(), e.what(), e.where());
        stream.end(e.code(), e.what());
    }
}

}  // namespace callgate::store_sqlite
