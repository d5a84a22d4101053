// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/signal_set.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <map>
#include <optional>
#include <random>
#include <stdexcept>

#include "bench/load/client_session.hpp"
#include "bench/load/fleet.hpp"
#include "bench/load/options.hpp"
#include "bench/load/peer_loop.hpp"
#include "bench/load/report.hpp"
#include "bench/load/schedule.hpp"

/// The subcommands `clients` and `hold`: real connections, one thread.
namespace callgate::load {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

std::int64_t to_ns(double seconds) { return static_cast<std::int64_t>(std::llround(seconds * 1e9)); }
double rounded(double v) { return std::round(v * 1000) / 1000; }
std::chrono::steady_clock::time_point at(std::int64_t ns) { return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns)); }

struct stretch {
    std::int64_t begin_ns = 0;
    std::uint64_t started = 0, in = 0, failed = 0, closed = 0, in_progress = 0;
    histogram latency;
};

// Sockets, and a little for the rest of the process.
void allow_descriptors(std::uint64_t sockets) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const rlim_t wanted = sockets + 64;
    if (limit.rlim_cur >= wanted) return;
    limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        throw std::runtime_error(fmt::format("{} connections need {} file descriptors, the hard limit is {}: raise it (ulimit -Hn) or use fewer", sockets, wanted, limit.rlim_max));
}

class client_run {
  public:
    explicit client_run(const client_options& o)
        : o_(o), timeout_ns_(o.timeout_s > 0 ? to_ns(o.timeout_s) : o.library.timeout_ns), pace_(io_), deadline_(io_), roll_(io_), signals_(io_), meter_(watched(o)) {
        asio::ip::tcp::resolver resolver(io_);
        for (const auto& server : o.servers) {
            boost::system::error_code failure;
            const auto found = resolver.resolve(server.host, server.port, failure);
            if (failure || found.empty()) throw std::runtime_error(fmt::format("--url {}: {}", server.text(), failure.message()));
            targets_.push_back(found.begin()->endpoint());
        }
    }

    int run() {
        const auto& load = o_.load;
        allow_descriptors(load.storm + load.hold + load.in_flight + (load.rate ? static_cast<std::uint64_t>(std::max(load.rate->first, load.rate->second) * 2) : 0));
        const auto pin = o_.cpu ? std::optional<cpu_pin>(std::in_place, *o_.cpu) : std::nullopt;
        if (load.hold != 0) begin_hold();
        else if (load.storm != 0) begin_storm();
        else if (load.rate) begin_open();
        else begin_closed();
        io_.run();
        return report();
    }

  private:
    static std::vector<watched_process> watched(const client_options& o) {
        auto all = o.watched;
        all.push_back({"generator", ::getpid()});
        return all;
    }

    // ---- the clock

    void start_clock() {
        start_ = steady_ns();
        current_ = {};
        stretches_.clear();
        meter_.start();
        roll();
    }
    void roll() {
        roll_.expires_at(at(start_ + current_.begin_ns + to_ns(o_.interval_s)));
        roll_.async_wait([this, begun = start_](boost::system::error_code failure) {
            // A handler that is queued already is not cancelled any more: it may belong to a clock that has stopped.
            if (failure || finished_ || begun != start_) return;
            close_stretch();
            roll();
        });
    }
    void close_stretch() {
        current_.in_progress = in_progress_;
        const auto next = current_.begin_ns + to_ns(o_.interval_s);
        stretches_.push_back(std::move(current_));
        current_ = {};
        current_.begin_ns = next;
    }
    void finish() {
        if (finished_) return;
        finished_ = true;
        meter_.stop();
        ended_ = steady_ns();
        close_stretch();
        for (auto& s : sessions_) s.second->close();
        sessions_.clear();
        pace_.cancel();
        deadline_.cancel();
        roll_.cancel();
        signals_.cancel();
    }
    void finish_at(std::int64_t when) {
        deadline_.expires_at(at(when));
        deadline_.async_wait([this](boost::system::error_code failure) {
            if (!failure) finish();
        });
    }

    // ---- one login

    void try_login(std::uint64_t client, std::int64_t intended) {
        ++started_;
        ++in_progress_;
        ++current_.started;
        send_lag_.record(steady_ns() - intended);
        const auto& who = o_.credentials[client % o_.credentials.size()];
        auto session = std::make_shared<client_session>(
            io_, who, fmt::format("callgate-load-{}", client), [this, client, intended](const login_end& how) { ended(client, intended, how); },
            [this, client] { lost(client); });
        sessions_[client] = session;
        session->start(targets_[client % targets_.size()], timeout_ns_);
    }

    void ended(std::uint64_t client, std::int64_t intended, const login_end& how) {
        const auto now = steady_ns();
        --in_progress_;
        last_end_ = now;
        if (how.in) {
            ++in_;
            ++current_.in;
            latency_.record(now - intended);
            current_.latency.record(now - intended);
        } else {
            ++failed_;
            ++current_.failed;
            constexpr std::size_t max_texts = 50;
            const bool room = outcomes_.size() < max_texts || outcomes_.contains(how.text);
            ++outcomes_[room ? how.text : std::string("(other)")];
        }
        if (fleet_) return fleet_ended(client, now, how);
        if (const auto s = sessions_.find(client); s != sessions_.end()) {
            s->second->close();
            sessions_.erase(s);
        }
        if (!o_.load.rate) fill_closed();
        else if (next_ == plan_->count() && in_progress_ == 0) finish();
    }

    // ---- steady

    void begin_closed() {
        start_clock();
        finish_at_ = start_ + to_ns(o_.load.duration_s);
        fill_closed();
    }
    void fill_closed() {
        // From the loop, not from inside the end of a login: a server that refuses at once would recurse.
        asio::post(io_, [this] {
            if (finished_) return;
            const bool over = next_ >= o_.load.count || steady_ns() >= finish_at_;
            while (!over && in_progress_ < o_.load.in_flight && next_ < o_.load.count) try_login(next_++, steady_ns());
            if (in_progress_ == 0) finish();
        });
    }
    void begin_open() {
        plan_.emplace(o_.load.rate->first, o_.load.rate->second, to_ns(o_.load.duration_s));
        start_clock();
        step_open();
    }
    void step_open() {
        if (finished_) return;
        while (next_ < plan_->count() && !stopped_) {
            const auto intended = start_ + plan_->intended_ns(next_);
            if (intended > steady_ns()) break;
            const auto rate = plan_->rate_at(intended - start_);
            const auto backlog = backlog_ms(in_progress_, rate);
            most_backlog_ms_ = std::max(most_backlog_ms_, backlog);
            if (o_.load.stop_at_backlog_ms > 0 && backlog >= o_.load.stop_at_backlog_ms) {
                stopped_ = rate;
                plan_.emplace(rate, rate, 1);
                next_ = plan_->count();
                break;
            }
            try_login(next_++, intended);
        }
        if (next_ >= plan_->count()) return;
        pace_.expires_at(at(start_ + plan_->intended_ns(next_)));
        pace_.async_wait([this](boost::system::error_code failure) {
            if (!failure) step_open();
        });
    }

    // ---- a fleet

    void begin_storm() {
        fleet_.emplace(o_.load.storm, o_.library, std::random_device{}());
        start_clock();
        fleet_->begin(start_);
        measured_ = o_.load.storm;
        measure_from_ = start_;
        finish_at(start_ + to_ns(o_.load.duration_s));
        pump();
    }
    void begin_hold() {
        fleet_.emplace(o_.load.hold, o_.library, std::random_device{}());
        signals_.add(SIGUSR1);
        signals_.add(SIGINT);
        signals_.add(SIGTERM);
        wait_signal();
        start_clock();
        for (std::size_t i = 0; i < fleet_->size(); ++i) fleet_->begin_at(i, start_ + static_cast<std::int64_t>(static_cast<double>(i) / o_.connect_rate * 1e9));
        pump();
    }
    void wait_signal() {
        signals_.async_wait([this](boost::system::error_code failure, int number) {
            if (failure) return;
            if (number == SIGUSR1) kick();
            else finish();
            if (!finished_) wait_signal();
        });
    }
    void pump() {
        if (finished_) return;
        while (const auto client = fleet_->pop_due(steady_ns())) try_login(*client, fleet_->due_of(*client));
        const auto next = fleet_->next_due();
        if (!next) return;
        pace_.expires_at(at(*next));
        pace_.async_wait([this](boost::system::error_code failure) {
            if (!failure) pump();
        });
    }
    void fleet_ended(std::uint64_t client, std::int64_t now, const login_end& how) {
        if (how.in) {
            fleet_->entered(client);
            if (measured_ != 0) entries_.push_back(now - measure_from_);
        } else {
            sessions_.erase(client);
            if (!o_.retry) ++gone_;
            else if (how.auth_error ? fleet_->refused(client, now) : fleet_->failed(client, now)) ++current_.closed;
            else pump_soon();
        }
        settle();
    }
    void pump_soon() {
        asio::post(io_, [this] { pump(); });
    }
    // Nobody is under way any more?
    void settle() {
        if (fleet_->in() + fleet_->closed() + gone_ < fleet_->size()) return;
        if (measured_ != 0) return finish();
        if (held_) return;
        held_ = fleet_->in();
        fmt::print("holding {} connections\n", *held_);
        std::fflush(stdout);
        if (o_.kick_after_s <= 0) return;
        deadline_.expires_after(std::chrono::nanoseconds(to_ns(o_.kick_after_s)));
        deadline_.async_wait([this](boost::system::error_code failure) {
            if (!failure) kick();
        });
    }
    void begin_recovery() {
        if (measured_ != 0 || o_.load.hold == 0) return;
        // The filling is over; what is told from here on is the recovery.
        fill_latency_ = std::exchange(latency_, histogram());
        fill_failed_ = std::exchange(failed_, 0);
        started_ = in_ = 0;
        outcomes_.clear();
        roll_.cancel();
        start_clock();
        measure_from_ = start_;
        measured_ = fleet_->in();
        finish_at(start_ + to_ns(o_.load.duration_s));
    }
    void lost(std::uint64_t client) {
        if (finished_ || !fleet_) return;
        ++lost_;
        if (held_) begin_recovery();
        sessions_.erase(client);
        fleet_->lost(client, steady_ns());
        pump_soon();
    }
    void kick() {
        if (finished_ || !held_ || measured_ != 0) return;
        begin_recovery();
        for (std::uint64_t client = 0; client < fleet_->size(); ++client) {
            if (fleet_->state_of(client) != fleet::state::in) continue;
            sessions_.at(client)->close();
            sessions_.erase(client);
            fleet_->lost(client, start_);
            ++lost_;
        }
        pump_soon();
    }

    // ---- the end

    int report() {
        json::object load{{"servers", targets_.size()}, {"timeout_s", rounded(static_cast<double>(timeout_ns_) / 1e9)}};
        const auto elapsed = std::max<std::int64_t>(last_end_ - start_, 1);
        load["seconds"] = rounded(static_cast<double>(elapsed) / 1e9);
        load["logins_per_s"] = std::round(static_cast<double>(in_) / static_cast<double>(elapsed) * 1e9);
        if (o_.load.rate) {
            load["loop"] = "open";
            load["rate_from"] = o_.load.rate->first;
            load["rate_to"] = o_.load.rate->second;
            load["most_backlog_ms"] = rounded(most_backlog_ms_);
            load["stopped_at_rate"] = stopped_ ? json::value(rounded(*stopped_)) : json::value(nullptr);
        } else if (fleet_) {
            load["loop"] = o_.load.hold != 0 ? "hold" : "storm";
            load["clients"] = fleet_->size();
            load["library"] = o_.retry ? std::string(o_.library.name) : "once";
            load["closed_after"] = o_.library.closed_after;
        } else {
            load["loop"] = "closed";
            load["in_flight"] = o_.load.in_flight;
        }
        const auto lag = latency_json(send_lag_);
        load["send_lag_p99_ms"] = lag.at("p99_ms");
        load["send_lag_max_ms"] = lag.at("max_ms");

        json::object result{{"mode", o_.load.hold != 0 ? "hold" : "clients"}, {"machine", machine_json(o_.command)}, {"load", load}};
        result["counts"] = json::object{{"started", started_}, {"in", in_}, {"failed", failed_}, {"unfinished", in_progress_}, {"failures", counts_json(outcomes_)}};
        if (fleet_) {
            json::object course{{"clients", fleet_->size()}, {"in", fleet_->in()}, {"closed", fleet_->closed()},
                                {"still_trying", fleet_->size() - fleet_->in() - fleet_->closed() - gone_}, {"attempts", started_}};
            if (o_.load.hold != 0) {
                course["held"] = held_.value_or(0);
                course["lost"] = lost_;
                course["fill_failed"] = fill_failed_;
                course["fill_p99_ms"] = latency_json(fill_latency_).at("p99_ms");
            }
            course["t50_ms"] = reached_json(entries_, measured_, 0.5);
            course["t99_ms"] = reached_json(entries_, measured_, 0.99);
            course["t100_ms"] = reached_json(entries_, measured_, 1);
            result[o_.load.hold != 0 ? "recovery" : "storm"] = course;
        }
        result["cpu"] = cpu_json(meter_, in_, ended_ - start_);
        result["latency"] = latency_json(latency_);
        json::array rows;
        for (const auto& s : stretches_) {
            const auto latency = latency_json(s.latency);
            rows.push_back(json::object{{"t_s", rounded(static_cast<double>(s.begin_ns) / 1e9)}, {"started", s.started}, {"in", s.in}, {"failed", s.failed},
                                        {"closed", s.closed}, {"in_progress", s.in_progress}, {"p50_ms", latency.at("p50_ms")}, {"p99_ms", latency.at("p99_ms")}});
        }
        result["interval"] = rows;
        print_result(result);
        if (!o_.json_file.empty()) write_json(o_.json_file, result);
        return 0;
    }

    const client_options& o_;
    const std::int64_t timeout_ns_;
    asio::io_context io_;
    asio::steady_timer pace_, deadline_, roll_;
    asio::signal_set signals_;
    cpu_meter meter_;
    std::vector<client_session::endpoint> targets_;
    std::map<std::uint64_t, std::shared_ptr<client_session>> sessions_;
    std::optional<fleet> fleet_;
    std::optional<schedule> plan_;
    std::optional<double> stopped_;
    std::optional<std::size_t> held_;
    std::map<std::string, std::uint64_t> outcomes_;
    std::vector<std::int64_t> entries_;
    std::vector<stretch> stretches_;
    stretch current_;
    histogram latency_, fill_latency_, send_lag_;
    std::uint64_t next_ = 0, started_ = 0, in_progress_ = 0, in_ = 0, failed_ = 0, fill_failed_ = 0, lost_ = 0, gone_ = 0;
    std::size_t measured_ = 0;  // clients whose way in is timed; 0: none yet
    std::int64_t start_ = 0, ended_ = 0, last_end_ = 0, finish_at_ = 0, measure_from_ = 0;
    double most_backlog_ms_ = 0;
    bool finished_ = false;
};

}  // namespace

int run_clients(const client_options& options) { return client_run(options).run(); }

}  // namespace callgate::load
