#include <limits>

#include "check.hpp"
#include "tokenrelay/stats.hpp"

using tokenrelay::Histogram;

TEST(an_empty_histogram_says_zero) { CHECK_EQUAL(Histogram().quantile(0.5), 0); }

TEST(a_quantile_is_at_most_an_eighth_above_the_value) {
    for (std::int64_t ns = 8; ns < 1'000'000'000; ns += 1 + ns / 7) {
        Histogram histogram;
        histogram.record(ns);
        CHECK(histogram.quantile(0) >= ns);
        CHECK(histogram.quantile(1) <= ns + ns / 8 + 1);
    }
}

TEST(quantiles_count_in_order) {
    Histogram histogram;
    for (int i = 0; i < 99; ++i) histogram.record(100);
    histogram.record(1'000'000);
    CHECK(histogram.quantile(0.5) < 120);
    CHECK(histogram.quantile(0.99) < 120);
    CHECK(histogram.quantile(1) >= 1'000'000);
}

TEST(extreme_values_have_a_bucket) {
    Histogram histogram;
    histogram.record(-5);
    histogram.record(0);
    histogram.record(std::numeric_limits<std::int64_t>::max());
    CHECK(histogram.quantile(0) <= 9);
    CHECK(histogram.quantile(1) > 1'000'000'000);
}
