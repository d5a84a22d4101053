// SPDX-License-Identifier: Apache-2.0
#include "engine/host/metrics_service.hpp"

#include <thread>

#include "engine/host/services_fixture.hpp"

namespace callgate::host::test {
namespace {

class metrics_service_test : public capability_test {
  protected:
    const cg_metrics_api& metrics = api<cg_metrics_api>(CG_EXT_METRICS);
    error_text error;

    cg_status define(const char* name, std::uint32_t kind, cg_metric& out, std::vector<cg_metric_label> labels = {},
                     std::vector<std::int64_t> bounds = {}, std::uint32_t unit = CG_METRIC_PLAIN, const char* help = "Said by a test.") {
        const cg_metric_definition d{sizeof d, kind, to_c(name), to_c(help), labels.data(), labels.size(), sizeof(cg_metric_label), unit,
                                     bounds.data(), bounds.size()};
        error.reset();
        return metrics.define(host, &d, &out, &error.buffer);
    }
    std::string text() {
        const exported_metrics all[] = {{"backend", "unit", under_test.exported()}};
        return render_plugin_metrics(all);
    }
};

TEST_F(metrics_service_test, are_exported_summed_over_shards_and_labelled) {
    cg_metric hits = 0, misses = 0, keys = 0;
    ASSERT_EQ(define("lookups_total", CG_METRIC_COUNTER, hits, {{to_c("outcome"), to_c("hit")}}), CG_OK) << error.said();
    ASSERT_EQ(define("lookups_total", CG_METRIC_COUNTER, misses, {{to_c("outcome"), to_c("mi\"ss")}}), CG_OK) << error.said();
    ASSERT_EQ(define("keys", CG_METRIC_GAUGE, keys), CG_OK);
    metrics.add(host, hits, 0, 2);
    metrics.add(host, hits, 1, 3);
    metrics.add(host, hits, CG_METRIC_NO_SHARD, 4);
    metrics.add(host, misses, 77, 1);
    metrics.set(host, keys, CG_METRIC_NO_SHARD, 7);
    metrics.change(host, keys, 0, -9);
    EXPECT_EQ(text(),
              "# HELP callgate_plugin_keys Said by a test.\n# TYPE callgate_plugin_keys gauge\n"
              "callgate_plugin_keys{kind=\"backend\",instance=\"unit\"} -2\n"
              "# HELP callgate_plugin_lookups_total Said by a test.\n# TYPE callgate_plugin_lookups_total counter\n"
              "callgate_plugin_lookups_total{kind=\"backend\",instance=\"unit\",outcome=\"hit\"} 9\n"
              "callgate_plugin_lookups_total{kind=\"backend\",instance=\"unit\",outcome=\"mi\\\"ss\"} 1\n");
}

TEST_F(metrics_service_test, histogram_is_cumulative_and_in_seconds) {
    cg_metric m = 0;
    ASSERT_EQ(define("fetch_seconds", CG_METRIC_HISTOGRAM, m, {}, {1'000'000, 1'000'000'000}, CG_METRIC_NANOSECONDS), CG_OK) << error.said();
    metrics.observe(host, m, 0, -5);
    metrics.observe(host, m, 0, 1'000'000);
    metrics.observe(host, m, 1, 1'000'001);
    metrics.observe(host, m, 1, 2'000'000'000);
    EXPECT_EQ(text(),
              "# HELP callgate_plugin_fetch_seconds Said by a test.\n# TYPE callgate_plugin_fetch_seconds histogram\n"
              "callgate_plugin_fetch_seconds_bucket{kind=\"backend\",instance=\"unit\",le=\"0.001\"} 2\n"
              "callgate_plugin_fetch_seconds_bucket{kind=\"backend\",instance=\"unit\",le=\"1\"} 3\n"
              "callgate_plugin_fetch_seconds_bucket{kind=\"backend\",instance=\"unit\",le=\"+Inf\"} 4\n"
              "callgate_plugin_fetch_seconds_sum{kind=\"backend\",instance=\"unit\"} 2.002000001\n"
              "callgate_plugin_fetch_seconds_count{kind=\"backend\",instance=\"unit\"} 4\n");
}

TEST_F(metrics_service_test, wrong_definitions_are_refused_with_the_reason) {
    cg_metric m = 0;
    const auto refused = [&](cg_status s, const char* part) {
        EXPECT_EQ(s, CG_E_INVALID) << part;
        EXPECT_NE(error.said().find(part), std::string::npos) << error.said();
        EXPECT_EQ(m, 0u);
    };
    refused(define("", CG_METRIC_GAUGE, m), "1 to 60 of a-z and _");
    refused(define("Upper", CG_METRIC_GAUGE, m), "1 to 60 of a-z and _");
    refused(define("a2", CG_METRIC_GAUGE, m), "1 to 60 of a-z and _");
    refused(define(std::string(61, 'a').c_str(), CG_METRIC_GAUGE, m), "1 to 60 of a-z and _");
    refused(define("hits", CG_METRIC_COUNTER, m), "ends in _total");
    refused(define("x", 4, m), "unknown kind");
    refused(define("age", CG_METRIC_GAUGE, m, {}, {}, CG_METRIC_NANOSECONDS), "_seconds");
    refused(define("x", CG_METRIC_GAUGE, m, {}, {}, 0, "two\nlines"), "one line");
    refused(define("x", CG_METRIC_GAUGE, m, {{to_c("instance"), to_c("other")}}), "the host's own");
    refused(define("x", CG_METRIC_GAUGE, m, {{to_c("__a"), to_c("b")}}), "not beginning with __");
    refused(define("x", CG_METRIC_GAUGE, m, {{to_c("a"), to_c("")}}), "printable");
    refused(define("x", CG_METRIC_GAUGE, m, {{to_c("a"), to_c("b\n")}}), "printable");
    refused(define("x", CG_METRIC_GAUGE, m, {{to_c("a"), to_c("b")}, {to_c("a"), to_c("c")}}), "twice");
    refused(define("x", CG_METRIC_GAUGE, m, std::vector<cg_metric_label>(9, {to_c("a"), to_c("b")})), "at most 8");
    refused(define("x", CG_METRIC_HISTOGRAM, m), "1 to 32 bounds");
    refused(define("x", CG_METRIC_HISTOGRAM, m, {}, {2, 2}), "rise");
    refused(define("x", CG_METRIC_GAUGE, m, {}, {1}), "only histograms");
    EXPECT_EQ(text(), "") << "nothing of all that was defined";
    ASSERT_EQ(define("x", CG_METRIC_GAUGE, m), CG_OK);
    m = 0;
    refused(define("x", CG_METRIC_GAUGE, m), "same labels");
    refused(define("x", CG_METRIC_HISTOGRAM, m, {{to_c("a"), to_c("b")}}, {1}), "another kind");
}

TEST_F(metrics_service_test, one_name_has_one_kind_in_the_whole_process) {
    cg_metric m = 0, other_metric = 0;
    ASSERT_EQ(define("state", CG_METRIC_GAUGE, m), CG_OK);
    {
        services other(loop, owner, "other", 0, shared);
        const std::int64_t bound = 1;
        cg_metric_definition d{sizeof d, CG_METRIC_HISTOGRAM, to_c("state"), to_c("h"), nullptr, 0, 0, 0, &bound, 1};
        EXPECT_EQ(metrics.define(other.host(), &d, &other_metric, nullptr), CG_E_INVALID);
        d = {sizeof d, CG_METRIC_GAUGE, to_c("state"), to_c("h"), nullptr, 0, 0, 0, nullptr, 0};
        EXPECT_EQ(metrics.define(other.host(), &d, &other_metric, nullptr), CG_OK);
        d = {sizeof d, CG_METRIC_GAUGE, to_c("gone"), to_c("h"), nullptr, 0, 0, 0, nullptr, 0};
        EXPECT_EQ(metrics.define(other.host(), &d, &other_metric, nullptr), CG_OK);
        const exported_metrics both[] = {{"backend", "unit", under_test.exported()}, {"keys", "other", other.exported()}};
        const auto out = render_plugin_metrics(both);
        EXPECT_EQ(out.find("# TYPE callgate_plugin_state"), out.rfind("# TYPE callgate_plugin_state")) << "one family";
    }
    ASSERT_EQ(define("gone", CG_METRIC_HISTOGRAM, m, {}, {1}), CG_OK) << "the name is free when nobody has it any more: " << error.said();
}

TEST_F(metrics_service_test, number_is_bounded_and_frozen_after_start) {
    cg_metric m = 0;
    for (int i = 0; i < 255; ++i) {
        const std::string value = std::to_string(i);
        ASSERT_EQ(define("x", CG_METRIC_GAUGE, m, {{to_c("n"), to_c(value)}}), CG_OK);
    }
    under_test.metrics().freeze();
    EXPECT_EQ(define("y", CG_METRIC_GAUGE, m), CG_E_PERMISSION);
    EXPECT_EQ(error.said(), "metrics are defined until start has completed, not later");
    services other(loop, owner, "other", 0, shared);
    host = other.host();
    for (int i = 0; i < 256; ++i) {
        const std::string value = std::to_string(i);
        ASSERT_EQ(define("x", CG_METRIC_GAUGE, m, {{to_c("n"), to_c(value)}}), CG_OK);
    }
    EXPECT_EQ(define("y", CG_METRIC_GAUGE, m), CG_E_BUSY);
}

TEST_F(metrics_service_test, wrong_handles_do_nothing) {
    cg_metric m = 0;
    ASSERT_EQ(define("g", CG_METRIC_GAUGE, m), CG_OK);
    metrics.add(host, m, 0, 5);
    metrics.observe(host, m, 0, 5);
    for (const cg_metric wrong : {0u, 2u, 256u, 257u, UINT32_MAX}) {
        metrics.add(host, wrong, 0, 5);
        metrics.set(host, wrong, 0, 5);
        metrics.observe(host, wrong, 0, 5);
    }
    EXPECT_NE(text().find("instance=\"unit\"} 0\n"), std::string::npos);
}

TEST_F(metrics_service_test, nothing_is_lost_when_all_threads_count_and_a_scrape_reads) {
    cg_metric c = 0, h = 0;
    ASSERT_EQ(define("n_total", CG_METRIC_COUNTER, c), CG_OK);
    ASSERT_EQ(define("sizes", CG_METRIC_HISTOGRAM, h, {}, {10, 20}), CG_OK);
    std::vector<std::thread> threads;
    for (std::uint32_t t = 0; t < 4; ++t)
        threads.emplace_back([&, shard = t < 2 ? t : CG_METRIC_NO_SHARD] {
            for (int i = 0; i < 20'000; ++i) {
                metrics.add(host, c, shard, 1);
                metrics.observe(host, h, shard, i % 30);
            }
        });
    std::uint64_t before = 0;
    for (int i = 0; i < 50; ++i) {
        const auto now = static_cast<std::uint64_t>(under_test.exported()->read().front().value);
        EXPECT_GE(now, before);
        before = now;
    }
    for (auto& t : threads) t.join();
    EXPECT_NE(text().find("n_total{kind=\"backend\",instance=\"unit\"} 80000\n"), std::string::npos);
    EXPECT_NE(text().find("sizes_count{kind=\"backend\",instance=\"unit\"} 80000\n"), std::string::npos);
}

}  // namespace
}  // namespace callgate::host::test
