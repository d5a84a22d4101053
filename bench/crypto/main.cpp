// SPDX-License-Identifier: Apache-2.0
// Prints one table: median CPU time of one operation, and how many times faster it is than its baseline. Rounds of all
// benchmarks are shuffled, so that a busy neighbour slows baseline and candidate alike.
#include <benchmark/benchmark.h>
#include <callgate/crypto/secret.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace {

class table_reporter final : public benchmark::BenchmarkReporter {
  public:
    bool ReportContext(const Context&) override { return true; }
    void ReportRuns(const std::vector<Run>& runs) override {
        for (const auto& r : runs) {
            if (r.error_occurred) {
                std::fprintf(stderr, "%s: %s\n", r.benchmark_name().c_str(), r.error_message.c_str());
                failed_ = true;
            }
            if (r.run_type != Run::RT_Iteration || r.iterations == 0) continue;
            const auto& name = r.run_name.function_name;
            if (!rounds_.contains(name)) order_.emplace_back(r.family_index, name);
            const auto items = r.counters.find("per_round");
            const double each = items == r.counters.end() ? 1.0 : items->second.value;
            // CPU time of the thread, in seconds for all iterations.
            rounds_[name].push_back(r.cpu_accumulated_time / static_cast<double>(r.iterations) / each * 1e9);
            if (!r.report_label.empty()) baseline_[name] = r.report_label;
        }
    }
    void Finalize() override {
        std::printf("%-44s %10s %7s %7s  %s\n", "operation", "ns CPU", "+- %", "ratio", "baseline");
        std::ranges::sort(order_);
        for (const auto& [family, name] : order_) {
            auto& r = rounds_[name];
            const double m = median(r);
            std::vector<double> away;
            for (double x : r) away.push_back(x > m ? x - m : m - x);
            std::printf("%-44s %10.0f %7.1f", name.c_str(), m, 100 * median(away) / m);
            if (const auto b = baseline_.find(name); b != baseline_.end() && rounds_.contains(b->second))
                std::printf(" %7.2f  %s", median(rounds_[b->second]) / m, b->second.c_str());
            std::printf("\n");
        }
    }
    [[nodiscard]] bool failed() const { return failed_; }

  private:
    static double median(std::vector<double> v) {
        std::ranges::sort(v);
        return v.empty() ? 0 : v[v.size() / 2];
    }
    std::vector<std::pair<std::int64_t, std::string>> order_;
    std::map<std::string, std::vector<double>> rounds_;
    std::map<std::string, std::string> baseline_;
    bool failed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
    callgate::crypto::init();
    std::vector<char*> args{argv, argv + argc};
    // In front of the caller's own, which win.
    std::string defaults[] = {"--benchmark_repetitions=9", "--benchmark_enable_random_interleaving=true", "--benchmark_min_time=0.02"};
    args.insert(args.begin() + 1, {defaults[0].data(), defaults[1].data(), defaults[2].data()});
    int count = static_cast<int>(args.size());
    benchmark::Initialize(&count, args.data());
    if (benchmark::ReportUnrecognizedArguments(count, args.data())) return 2;
    table_reporter table;
    benchmark::RunSpecifiedBenchmarks(&table);
    return table.failed() ? 1 : 0;
}
