"""What is counted, and how often."""

from waifu_llm.metrics import Histogram, Metrics


def test_what_lies_on_a_bound_is_within_it():
    histogram = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.add(seconds)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 7.5


def test_each_provider_has_its_own():
    metrics = Metrics()
    metrics.of("a").ended("stop", None, 1000.0)
    assert metrics.of("a").generations == {"stop": 1}
    assert metrics.of("a").first_token.counts == [0] * len(metrics.of("a").first_token.counts)
    assert metrics.of("b").generations == {}
