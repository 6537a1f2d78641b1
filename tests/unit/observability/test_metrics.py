"""Rules of metrics: exact sums, Prometheus's text, and bounded memory whatever the labels."""

from __future__ import annotations

import pytest

from pixiu_py.observability.metrics import LONGEST_LABEL, Metrics


def sample_lines(metrics):
    return [line for line in metrics.render().decode().splitlines() if not line.startswith("#")]


def test_a_counter_adds_up_per_labels():
    metrics = Metrics()
    counter = metrics.counter("requests_total", "Requests.", ("method",))
    counter.inc(("GET",))
    counter.inc(("GET",), 2)
    counter.inc(("POST",), 0.5)
    assert metrics.render().decode() == (
        "# HELP requests_total Requests.\n"
        "# TYPE requests_total counter\n"
        'requests_total{method="GET"} 3\n'
        'requests_total{method="POST"} 0.5\n'
    )


def test_a_counter_without_labels():
    metrics = Metrics()
    metrics.counter("a_total", "A.").inc()
    assert sample_lines(metrics) == ["a_total 1"]


def test_a_histogram_has_cumulative_buckets_with_inclusive_bounds():
    metrics = Metrics()
    histogram = metrics.histogram("t_seconds", "T.", ("cluster",), bounds=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value, ("a",))
    assert sample_lines(metrics) == [
        't_seconds_bucket{cluster="a",le="0.1"} 2',
        't_seconds_bucket{cluster="a",le="1"} 3',
        't_seconds_bucket{cluster="a",le="+Inf"} 4',
        't_seconds_sum{cluster="a"} 7.65',
        't_seconds_count{cluster="a"} 4',
    ]


def test_label_values_and_help_are_escaped():
    metrics = Metrics()
    metrics.counter("a_total", 'One "\nline\\.', ("l",)).inc(('a"b\\c\nd',))
    text = metrics.render().decode()
    assert '# HELP a_total One "\\nline\\\\.\n' in text
    assert 'a_total{l="a\\"b\\\\c\\nd"} 1\n' in text


def test_a_label_that_is_no_utf8_does_not_break_the_page():
    metrics = Metrics()
    metrics.counter("a_total", "A.", ("l",)).inc((b"\xff".decode("utf-8", "surrogateescape"),))
    assert sample_lines(metrics) == ['a_total{l="?"} 1']


@pytest.mark.parametrize("kind", ["counter", "histogram"])
def test_above_max_series_new_labels_are_counted_together(kind):
    metrics = Metrics(max_series=2)
    metric = getattr(metrics, kind)("m", "M.", ("a", "b"))
    bump = metric.inc if kind == "counter" else lambda labels: metric.observe(1.0, labels)
    for number in range(100):
        bump((str(number), "x"))
    bump(("0", "x"))
    assert list(metric.series) == [("0", "x"), ("1", "x"), ("overflow", "overflow")]
    counts = metric.series if kind == "counter" else {labels: cells[-1] for labels, cells in metric.series.items()}
    assert list(counts.values()) == [2, 1, 98]


@pytest.mark.parametrize("kind", ["counter", "histogram"])
def test_long_label_values_are_counted_together(kind):
    """Clients may make up names of any length, and each would be kept."""
    metric = getattr(Metrics(), kind)("m", "M.", ("a", "b"))
    bump = metric.inc if kind == "counter" else lambda labels: metric.observe(1.0, labels)
    for number in range(3):
        bump((f"{number}" * (LONGEST_LABEL + 1), "x"))
    assert list(metric.series) == [("overflow", "overflow")]


def test_the_same_name_is_the_same_metric():
    metrics = Metrics()
    assert metrics.counter("a", "A.", ("l",)) is metrics.counter("a", "A.", ("l",))


def test_a_name_cannot_be_two_things():
    metrics = Metrics()
    metrics.counter("a", "A.", ("l",))
    with pytest.raises(ValueError, match="metric a"):
        metrics.counter("a", "A.")
    with pytest.raises(ValueError, match="metric a"):
        metrics.histogram("a", "A.", ("l",))


def test_gateways_do_not_share_metrics():
    one, other = Metrics(), Metrics()
    one.counter("a", "A.").inc()
    assert sample_lines(other) == []


def test_the_wrong_number_of_labels_is_found():
    metrics = Metrics()
    metrics.counter("a", "A.", ("l",)).inc(("1", "2"))
    with pytest.raises(ValueError, match="zip"):
        metrics.render()


def test_a_reading_is_asked_when_the_text_is_made_and_not_before():
    metrics = Metrics()
    values = []
    metrics.reading("open", "Open.", ("pool",)).add(lambda: values)
    values.append((("a",), 2))
    assert metrics.render().decode() == '# HELP open Open.\n# TYPE open gauge\nopen{pool="a"} 2\n'


def test_readers_of_the_same_series_are_added_up_until_they_are_dropped():
    metrics = Metrics()
    first, second = lambda: [((), 2)], lambda: [((), 3)]
    for reader in (first, second):
        metrics.reading("open", "Open.").add(reader)
    assert sample_lines(metrics) == ["open 5"]
    metrics.reading("open", "Open.").drop(first)
    metrics.reading("open", "Open.").drop(first)
    assert sample_lines(metrics) == ["open 3"]


def test_a_reading_may_be_of_what_only_grows():
    metrics = Metrics()
    metrics.reading("lost_total", "Lost.", type_="counter").add(lambda: [((), 1)])
    assert "# TYPE lost_total counter\n" in metrics.render().decode()
    with pytest.raises(ValueError, match="another type"):
        metrics.reading("lost_total", "Lost.")
    with pytest.raises(ValueError, match="another type"):
        metrics.counter("lost_total", "Lost.")
