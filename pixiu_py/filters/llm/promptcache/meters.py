"""The filter's metrics. A model is a label only where it has a tariff: names come from clients, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixiu_py.filters.llm.promptcache.usage import Split

if TYPE_CHECKING:
    from pixiu_py.filters.llm.promptcache.classify import Outcome
    from pixiu_py.observability.metrics import Metrics


class Meters:
    """Counters and times."""

    def __init__(self, metrics: Metrics) -> None:
        counter, histogram = metrics.counter, metrics.histogram
        name = "pixiu_py_promptcache_"
        self.requests = counter(f"{name}requests_total", "Requests, by what of them was cached.", ("outcome",))
        self.tokens = counter(f"{name}tokens_total", "Input tokens read and written, by tier.", ("model", "class"))
        self.skipped = counter(
            f"{name}skipped_total", "Classifications that cached nothing or less, and why.", ("reason",)
        )
        self.degraded = counter(f"{name}degraded_total", "Those that did so because of a fault.", ("reason",))
        self.commits = counter(f"{name}commits_total", "Commits to the index.", ("result",))
        self.vetoes = counter(f"{name}commits_vetoed_total", "Commits that an answer did not deserve.", ("reason",))
        self.rejected = counter(f"{name}markers_rejected_total", "Requests refused for their markers.", ("reason",))
        self.principals = counter(f"{name}principals_total", "Requests by whether their key is known.", ("result",))
        self.untouched = counter(f"{name}answers_untouched_total", "Answers that could not be changed.", ("reason",))
        self.versions = counter(f"{name}tokenizer_versions_total", "Look-ups of a tokenizer's version.", ("result",))
        self.capped = counter(f"{name}splits_capped_total", "Splits larger than the input.")
        self.seconds = histogram(f"{name}classify_seconds", "Time that a classification takes.")

    def classified(self, outcome: Outcome, seconds: float) -> None:
        """One classification has ended."""
        self.seconds.observe(seconds)
        if outcome.skipped:
            (self.degraded if outcome.degraded else self.skipped).inc((outcome.skipped,))

    def served(self, model: str, split: Split) -> None:
        """An answer has told its split."""
        for kind, count in zip(("read", "write_5m", "write_1h", "write_24h"), split, strict=True):
            if count:
                self.tokens.inc((model, kind), count)
