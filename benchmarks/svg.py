"""The headline numbers of a run as one SVG: a panel of bars per metric, the shorter the better."""

from __future__ import annotations

from xml.sax.saxutils import escape

from benchmarks.bench import Metric, Result
from benchmarks.report import Report

HEADLINES = (
    ("plain", "cpu_us"),
    ("sse", "cpu_us"),
    ("sse_burst", "cpu_us"),
    ("latency", "p50"),
    ("latency", "first"),
    ("memory", "idle"),
    ("memory", "stream"),
    ("start", "ms"),
)
_COLOURS = {"gateway": "#3b6fd4", "go": "#5aa9a3", "nginx": "#8a9a5b"}
_OTHER = "#b0a08a"
_WIDTH, _COLUMN, _BAR, _GAP, _HEAD = 920, 440, 18, 6, 34
_LABEL, _ROOM = 110, 70


def draw(report: Report) -> str:
    """The picture; metrics that were not measured have no panel."""
    results = {result.name: result for result in report.results}
    panels = [panel for name, key in HEADLINES if name in results for panel in _panel(results[name], key)]
    height = (max((len(bars) for _, bars in panels), default=0)) * (_BAR + _GAP) + _HEAD + 16
    rows = (len(panels) + 1) // 2
    total = rows * height + 56
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{total}" viewBox="0 0 {_WIDTH} {total}"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _text(20, 26, "Medians of interleaved rounds, one core per proxy; shorter is better", size=15),
    ]
    for index, (title, bars) in enumerate(panels):
        parts += _bars(20 + index % 2 * (_COLUMN + 10), 48 + index // 2 * height, title, bars)
    parts.append(_text(20, total - 12, " · ".join(report.versions.values()), size=10, colour="#777777"))
    return "\n".join([*parts, "</svg>\n"])


def _panel(result: Result, key: str) -> list[tuple[str, list[tuple[str, float, str]]]]:
    metric = next(metric for metric in result.metrics if metric.key == key)
    medians = [(name, result.median(name, key)) for name in result.rounds if name != "direct"]
    bars = [(name, value, _label(value, metric)) for name, value in medians if value is not None]
    return [(f"{result.name}: {metric.title}", bars)] if bars else []


def _label(value: float, metric: Metric) -> str:
    return f"{value:,.{metric.digits}f} {metric.unit}"


def _bars(x: float, y: float, title: str, bars: list[tuple[str, float, str]]) -> list[str]:
    parts = [_text(x, y + 16, title)]
    longest = max(value for _, value, _ in bars) or 1.0
    for index, (name, value, label) in enumerate(bars):
        top = y + _HEAD - 8 + index * (_BAR + _GAP)
        length = max(1.0, max(value, 0.0) / longest * (_COLUMN - _LABEL - _ROOM - 20))
        colour = _COLOURS.get(name, _OTHER)
        parts += [
            _text(x, top + 13, name, colour="#444444"),
            f'<rect x="{x + _LABEL}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="2" fill="{colour}"/>',
            _text(x + _LABEL + length + 6, top + 13, label, colour="#444444"),
        ]
    return parts


def _text(x: float, y: float, text: str, size: int = 13, colour: str = "#111111") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
