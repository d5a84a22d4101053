// SPDX-License-Identifier: Apache-2.0
#include <boost/json.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>

#include "bench/load/options.hpp"
#include "bench/load/peer_drivers.hpp"
#include "bench/load/report.hpp"

/// The subcommand `peer`: makes the requests, runs one way of offering them, verifies, reports.
namespace callgate::load {
namespace {

namespace json = boost::json;

// In a closed loop nobody knows when a request will be sent. Its server is one that waits a minute, so it is valid at any time of the run.
constexpr std::int64_t closed_life_s = 60;

std::int64_t to_ns(double seconds) { return static_cast<std::int64_t>(std::llround(seconds * 1e9)); }
double rounded(double v) { return std::round(v * 1000) / 1000; }

class peer_session {
  public:
    explicit peer_session(const peer_options& o)
        : o_(o), maker_(o.expected.issuer, o.xkey, o.credentials, o.simulated_servers), book_(maker_), meter_(watched(o)) {
        for (std::uint32_t c = 0; c < o.connections; ++c) {
            std::vector<std::string> hashes;
            for (std::size_t s = c; s < maker_.servers().size(); s += o.connections) hashes.push_back(maker_.servers()[s].hash);
            links_.push_back(std::make_unique<broker_link>(o.servers[c % o.servers.size()], hashes));
        }
    }

    int run() {
        if (o_.load.storm != 0) storm();
        else if (o_.load.rate) open();
        else closed();
        return report();
    }

  private:
    static std::vector<watched_process> watched(const peer_options& o) {
        auto all = o.watched;
        all.push_back({"generator", ::getpid()});
        return all;
    }

    // `count` requests for clients 0.., made by all processors; iat_of(index) in unix seconds.
    template <class IatOf>
    std::vector<made_request> make_requests(std::uint64_t count, std::int64_t life_s, IatOf iat_of) {
        const auto first = book_.size();
        if (first + count > peer_book::max_requests)
            throw std::runtime_error(fmt::format("{} requests are more than the {} that one run keeps: offer less or for a shorter time", first + count, peer_book::max_requests));
        std::vector<made_request> made(count);
        std::atomic<std::uint64_t> next{0};
        std::vector<std::jthread> threads;
        for (unsigned w = 0; w < std::max(1u, std::thread::hardware_concurrency()); ++w)
            threads.emplace_back([&] {
                for (auto i = next++; i < count; i = next++) made[i] = maker_.make(first + i, i, iat_of(i), life_s);
            });
        threads.clear();
        return made;
    }
    void add(std::vector<made_request> made) {
        for (std::uint64_t i = 0; i < made.size(); ++i) book_.add(std::move(made[i]), i);
    }

    // Makes requests whose iat depends on when the clock will start, and says when that is: far enough ahead that all are made by then.
    template <class DueOf>
    std::int64_t make_for_a_start(std::uint64_t count, std::int64_t life_s, DueOf due_of) {
        constexpr std::uint64_t sample = 200;
        const auto before = steady_ns();
        for (std::uint64_t i = 0; i < sample; ++i) (void)maker_.make(i, i, 1, 2);
        auto estimate = (steady_ns() - before) * static_cast<std::int64_t>(count / sample + 1) + 300'000'000;
        // Others may want the processors too: with more time once more, until it was enough.
        for (int round = 0; round < 4; ++round, estimate *= 2) {
            const auto start = steady_ns() + estimate;
            wall_offset_ = wall_offset_ns();
            auto made = make_requests(count, life_s, [&](std::uint64_t i) { return (start + due_of(i) + wall_offset_) / 1'000'000'000; });
            if (steady_ns() + 20'000'000 > start) continue;
            add(std::move(made));
            return start;
        }
        throw std::runtime_error(fmt::format("{} requests could not be made within {} s: the machine is too busy", count, estimate / 2'000'000'000));
    }

    void closed() {
        const auto patience = to_ns(o_.give_up_s);
        const auto iat = (steady_ns() + wall_offset_ns()) / 1'000'000'000;
        add(make_requests(o_.warm_up + o_.load.count, closed_life_s, [&](std::uint64_t) { return iat; }));
        wall_offset_ = wall_offset_ns();
        loop_.emplace(book_, links_, patience, to_ns(o_.interval_s));
        warm_up_closed();
        const auto start = steady_ns();
        const auto valid_until = (iat + closed_life_s) * 1'000'000'000 - wall_offset_ - patience;
        const auto end = std::min(start + to_ns(o_.load.duration_s), valid_until);
        closed_driver driver(first_, o_.load.count, o_.load.in_flight, end);
        timed(driver, start);
        load_ = {{"loop", "closed"}, {"in_flight", o_.load.in_flight}, {"request_timeout_s", closed_life_s}};
    }

    void open() {
        const schedule plan(o_.load.rate->first, o_.load.rate->second, to_ns(o_.load.duration_s));
        warm_up();
        const auto start = make_for_a_start(plan.count(), life_s(), [&](std::uint64_t i) { return plan.intended_ns(i); });
        loop_.emplace(book_, links_, to_ns(o_.auth_timeout_s), to_ns(o_.interval_s));
        open_driver driver(first_, plan, start, o_.load.stop_at_backlog_ms);
        timed(driver, start);
        load_ = {{"loop", "open"}, {"rate_from", o_.load.rate->first}, {"rate_to", o_.load.rate->second}, {"duration_s", o_.load.duration_s},
                 {"request_timeout_s", o_.auth_timeout_s}};
        load_["stopped_at_rate"] = driver.stopped_at() ? json::value(rounded(*driver.stopped_at())) : json::value(nullptr);
    }

    void storm() {
        warm_up();
        // Due times from 0; the fleet that runs gets the same ones, moved to the start.
        const auto seed = std::random_device{}();
        fleet plan(o_.load.storm, o_.library, seed);
        plan.begin(0);
        const auto start = make_for_a_start(o_.load.storm, life_s(), [&](std::uint64_t i) { return plan.due_of(i); });
        fleet running(o_.load.storm, o_.library, seed);
        running.begin(start);
        loop_.emplace(book_, links_, to_ns(o_.auth_timeout_s), to_ns(o_.interval_s));
        storm_driver driver(book_, maker_, running, first_, start, start + to_ns(o_.load.duration_s), life_s(), wall_offset_);
        timed(driver, start);
        load_ = {{"loop", "storm"}, {"clients", o_.load.storm}, {"library", o_.library.name}, {"closed_after", o_.library.closed_after},
                 {"request_timeout_s", o_.auth_timeout_s}};
        storm_ = {{"clients", o_.load.storm}, {"in", running.in()}, {"closed", running.closed()}, {"still_trying", running.size() - running.in() - running.closed()},
                  {"attempts", running.attempts()}, {"t50_ms", reached_json(driver.entries(), running.size(), 0.5)},
                  {"t99_ms", reached_json(driver.entries(), running.size(), 0.99)}, {"t100_ms", reached_json(driver.entries(), running.size(), 1)},
                  {"retries_signed_when_due", driver.made_late()}};
    }

    std::int64_t life_s() const { return std::max<std::int64_t>(1, static_cast<std::int64_t>(o_.auth_timeout_s)); }

    void warm_up() {
        if (o_.warm_up == 0) return;
        const auto iat = (steady_ns() + wall_offset_ns()) / 1'000'000'000;
        add(make_requests(o_.warm_up, closed_life_s, [&](std::uint64_t) { return iat; }));
        loop_.emplace(book_, links_, to_ns(o_.give_up_s), to_ns(o_.interval_s));
        warm_up_closed();
    }
    // The service meets each server's keys for the first time; none of it counts.
    void warm_up_closed() {
        first_ = o_.warm_up;
        if (o_.warm_up == 0) return;
        closed_driver driver(0, o_.warm_up, 16, never_ns);
        loop_->run(driver, steady_ns());
    }

    void timed(peer_driver& driver, std::int64_t start) {
        const auto pin = o_.cpu ? std::optional<cpu_pin>(std::in_place, *o_.cpu) : std::nullopt;
        // What the service does while it waits for the start is not its callouts' CPU time.
        if (const auto early = start - steady_ns() - 5'000'000; early > 0) loop_->linger(early);
        meter_.start();
        loop_->run(driver, start);
        meter_.stop();
        ended_ = steady_ns();
        loop_->linger(200'000'000);
    }

    json::array interval_rows() const {
        json::array rows;
        for (const auto& i : loop_->intervals()) {
            json::object row{{"t_s", rounded(static_cast<double>(i.begin_ns) / 1e9)}, {"sent", i.sent}, {"replied", i.replied}, {"late", i.late},
                             {"unanswered", i.given_up}, {"in_flight", i.in_flight}};
            if (o_.load.storm != 0) {
                row["in"] = i.allowed;
                row["denied"] = i.refused;
                row["closed"] = i.closed;
            } else if (o_.load.rate) {
                row["offered_per_s"] = rounded(i.offered_rate);
                row["backlog_ms"] = rounded(i.backlog_ms);
            }
            const auto latency = latency_json(i.latency);
            row["p50_ms"] = latency.at("p50_ms");
            row["p99_ms"] = latency.at("p99_ms");
            rows.push_back(std::move(row));
        }
        return rows;
    }

    int report() {
        const auto totals = book_.judge(first_, o_.expected, wall_offset_);
        const auto elapsed = loop_->last_reply_ns() - loop_->start_ns();
        const auto answered = totals.replied + totals.late;
        load_["seconds"] = rounded(static_cast<double>(elapsed) / 1e9);
        load_["callouts_per_s"] = elapsed > 0 ? std::round(static_cast<double>(totals.replied) / static_cast<double>(elapsed) * 1e9) : 0;
        if (o_.load.rate) load_["most_backlog_ms"] = rounded(loop_->most_backlog_ms());
        const auto lag = latency_json(loop_->send_lag());
        load_["send_lag_p99_ms"] = lag.at("p99_ms");
        load_["send_lag_max_ms"] = lag.at("max_ms");
        load_["sealed"] = maker_.sealed();
        load_["servers"] = maker_.servers().size();
        load_["connections"] = links_.size();
        load_["request_bytes"] = book_.at(0).made.wire.size();
        load_["nats_server"] = links_.front()->server_version();
        load_["warm_up"] = first_;

        json::object result{{"mode", "peer"}, {"machine", machine_json(o_.command)}, {"load", load_}};
        result["counts"] = json::object{{"sent", totals.sent}, {"replied", totals.replied}, {"late", totals.late}, {"unanswered", totals.unanswered},
                                        {"doubled", totals.doubled}, {"stray", totals.stray}, {"allowed", totals.allowed}, {"denied", totals.denied},
                                        {"invalid", totals.invalid}, {"verified", answered}, {"invalid_reasons", counts_json(totals.invalid_reasons)},
                                        {"denied_reasons", counts_json(totals.denied_reasons)}};
        if (!storm_.empty()) result["storm"] = storm_;
        // Per reply: what is dropped unread costs the service something too, and that belongs to the callouts it served.
        result["cpu"] = cpu_json(meter_, answered, ended_ - loop_->start_ns());
        result["latency"] = latency_json(loop_->latency());
        result["interval"] = interval_rows();
        print_result(result);
        if (!o_.json_file.empty()) write_json(o_.json_file, result);
        if (totals.invalid == 0 && totals.doubled == 0) return 0;
        fmt::print(stderr, "callgate-load: {} invalid and {} doubled replies\n", totals.invalid, totals.doubled);
        return 1;
    }

    const peer_options& o_;
    request_maker maker_;
    peer_book book_;
    cpu_meter meter_;
    std::vector<std::unique_ptr<broker_link>> links_;
    std::optional<peer_loop> loop_;
    std::uint64_t first_ = 0;  // of the timed requests
    std::int64_t wall_offset_ = 0, ended_ = 0;
    json::object load_, storm_;
};

}  // namespace

int run_peer(const peer_options& options) { return peer_session(options).run(); }

}  // namespace callgate::load
